"""The one door for comments on images, and who finds which of them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.db.models import BooleanField, Count, ExpressionWrapper, Q, QuerySet
from django.utils import timezone

from gallery import access
from gallery.access import User
from gallery.models import Comment, Image, Membership

LONGEST = Comment._meta.get_field("text").max_length
A_PAGE = 50
# So many names are offered while somebody types; any other can be typed out.
NAMES = 500
OPEN = Q(resolved_at=None)
# Not within a word: an address for mail mentions nobody.
AT = re.compile(r"(?<!\w)@")


@transaction.atomic
def add(image: Image, user: User, text: str) -> Comment:
    """Say something of an image; members whose names stand in it after an @ are mentioned.

    Raises ValidationError where the text is none, too long or can't be kept, and where the image is gone.
    """
    text = _checked(text)
    # Locked: who deletes the image takes this comment along, or has done so before it is written.
    if not Image.objects.select_for_update(no_key=True).filter(pk=image.pk).first():
        raise ValidationError("This image was deleted in the meantime.")
    comment = Comment.objects.create(image_id=image.pk, user=user, text=text)
    if "@" in text:
        members = dict(_members(image).values_list("user__username", "user_id"))
        comment.mentions.set({members[name] for _, name in pieces(text, members) if name})
    return comment


def _checked(text: str) -> str:
    # A browser sends two characters for the end of a line, and counts one.
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise ValidationError({"text": "There is nothing in this comment: write something first."})
    if len(text) > LONGEST:
        raise ValidationError(
            {"text": f"A comment has at most {LONGEST:,} characters; this one has {len(text):,}."}
        )
    if "\x00" in text:
        raise ValidationError({"text": "A comment can't hold the null character."})
    return text


def _members(image: Image) -> QuerySet[Membership]:
    return Membership.objects.filter(project=image.project_id)


def to_delete(user: User, pk: int) -> Comment:
    """The comment, for who wrote it or may delete the image itself. Raises as access.fetch does."""
    rows = Comment.objects.select_related("image__project")
    comment = access.fetch(rows, user, "view", pk=pk)
    return access.fetch(rows, user, asks_to_delete(comment, user), pk=pk)


def asks_to_delete(comment: Comment, user: User) -> str:
    """The action that deleting this comment asks of this user's role."""
    return "comment" if comment.user_id == user.pk else "delete images"


def delete(comment: Comment) -> None:
    Comment.objects.filter(pk=comment.pk).delete()


def resolve(comment: Comment, user: User) -> None:
    """Done with. Who resolved it first stays the one who did."""
    Comment.objects.filter(OPEN, pk=comment.pk).update(resolved_by=user, resolved_at=timezone.now())


def reopen(comment: Comment) -> None:
    Comment.objects.filter(pk=comment.pk).update(resolved_by=None, resolved_at=None)


def pieces(text: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The text in pieces, each with the one of `names` that it mentions, or with nothing.

    Of several that fit after an @ it is the longest, and rather one written the same than one in other
    capitals. A name ends where no letter, digit or underscore follows.
    """
    exact = set(names)
    folded = {name.lower(): name for name in exact}
    lengths = sorted({len(name) for name in exact}, reverse=True)
    told = 0
    for at in AT.finditer(text):
        if at.start() < told:  # within the name before
            continue
        for end in (at.end() + length for length in lengths):
            written, following = text[at.end() : end], text[end : end + 1]
            name = written if written in exact else folded.get(written.lower())
            if name and not (following.isalnum() or following == "_"):
                if told < at.start():
                    yield text[told : at.start()], ""
                yield text[at.start() : end], name
                told = end
                break
    if told < len(text):
        yield text[told:], ""


@dataclass(frozen=True)
class Thread:
    """One page of what is said of an image: first what is open, newest first, then what is resolved."""

    image: Image
    page: Page
    open_count: int

    @property
    def open(self) -> list[Comment]:
        """Oldest first, as a conversation is read."""
        return [comment for comment in reversed(self.page.object_list) if not comment.resolved_at]

    @property
    def resolved(self) -> list[Comment]:
        return [comment for comment in reversed(self.page.object_list) if comment.resolved_at]

    @cached_property
    def names(self) -> list[str]:
        """Whom one can mention."""
        return list(_members(self.image).values_list("user__username", flat=True)[:NAMES])


def thread(image: Image, number: str | None = None) -> Thread:
    """The page of that number; the first where there is none such."""
    counts = image.comments.order_by().aggregate(all=Count("pk"), open=Count("pk", filter=OPEN))
    is_resolved = ExpressionWrapper(~OPEN, BooleanField())
    rows = image.comments.select_related("user", "resolved_by").prefetch_related("mentions")
    paginator = Paginator(rows.order_by(is_resolved, "-pk"), A_PAGE)
    paginator.count = counts["all"]
    page = paginator.get_page(number)
    page.object_list = list(page.object_list)
    return Thread(image, page, counts["open"])


def with_counts(images: Iterable[Image]) -> list[Image]:
    """The images, each with the number of its open comments as `open_comments`: one query for all."""
    images = list(images)
    there = Comment.objects.filter(OPEN, image__in=[image.pk for image in images])
    counts = dict(there.order_by().values_list("image").annotate(Count("pk")))
    for image in images:
        image.open_comments = counts.get(image.pk, 0)
    return images


def naming(user: User) -> QuerySet[Comment]:
    """The open comments that mention this person, in the projects that they are a member of now."""
    return Comment.objects.for_user(user).filter(OPEN, mentions=user.pk).order_by("-pk")
