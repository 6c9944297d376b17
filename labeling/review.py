"""The one door for people's decisions: decide, undo, what comes next. No task writes here."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from gallery.access import User, allowed
from gallery.models import Image
from labeling import ordering
from labeling.models import Annotation, LabelSet, Match, Review
from labeling.ordering import Key

Verdict = Review.Verdict
# Rows of one statement: SQLite holds its write lock no longer than that takes.
AT_ONCE = 200


@dataclass(frozen=True)
class Decision:
    """What a person says of an image: a label of the set, or `none` of them, or `skipped`.

    Without a label, `accepted` means the suggestion, as it stands when the decision is written.
    """

    image_id: int
    verdict: Verdict
    label_id: int | None = None


@transaction.atomic
def decide(label_set: LabelSet, user: User, decisions: Sequence[Decision]) -> uuid.UUID:
    """Write decisions down as one batch, which `undo` takes back whole. Returns the batch.

    Raises ValidationError, and then writes nothing: an image or label of another set, an image twice,
    or `accepted` where there is no suggestion.
    """
    batch = uuid.uuid4()
    ids = [decision.image_id for decision in decisions]
    labels = {label.pk: label for label in label_set.labels.all()}
    matches = {match.image_id: match for match in Match.objects.filter(label_set=label_set, image__in=ids)}
    known = set(Image.objects.filter(project=label_set.project_id, pk__in=ids).values_list("pk", flat=True))
    if len(set(ids)) < len(ids):
        raise ValidationError("An image stands twice in these reviews. Send each one once.")
    reviews = []
    for decision in decisions:
        if decision.image_id not in known:
            raise ValidationError(f"There is no image {decision.image_id} in this project.")
        if decision.label_id is not None and decision.label_id not in labels:
            raise ValidationError(f"There is no label {decision.label_id} in this label set.")
        match = matches.get(decision.image_id)
        verdict, label_id = _resolved(decision, match)
        reviews.append(
            Review(
                image_id=decision.image_id,
                label_set=label_set,
                user=user,
                label=labels.get(label_id),
                label_name=labels[label_id].name if label_id else "",
                verdict=verdict,
                suggested_name=labels[match.label_id].name if match else "",
                suggested_probability=match.probability if match else None,
                batch=batch,
            )
        )
    Review.objects.bulk_create(reviews, batch_size=AT_ONCE)
    _settle(label_set, ids)
    return batch


def _resolved(decision: Decision, match: Match | None) -> tuple[Verdict, int | None]:
    """The verdict and label to store: a label is accepted where CLIP said the same, else corrected."""
    if decision.verdict in (Verdict.NONE, Verdict.SKIPPED):
        if decision.label_id is not None:
            raise ValidationError(f"Image {decision.image_id} is {decision.verdict}, and yet has a label.")
        return decision.verdict, None
    suggested = match.label_id if match else None
    label_id = decision.label_id or suggested
    if label_id is None or decision.verdict not in (Verdict.ACCEPTED, Verdict.CORRECTED):
        raise ValidationError(f"Image {decision.image_id} has no suggestion yet: say which label it has.")
    if decision.verdict == Verdict.CORRECTED and decision.label_id is None:
        raise ValidationError(f"Image {decision.image_id} is corrected to what? Give a label.")
    return (Verdict.ACCEPTED if label_id == suggested else Verdict.CORRECTED), label_id


@dataclass(frozen=True)
class Undone:
    images: list[int]  # back to what they were before the batch
    kept: list[int]  # somebody decided after the batch, and that stands


@transaction.atomic
def undo(label_set: LabelSet, user: User, role: str, batch: uuid.UUID) -> Undone:
    """Take a batch back, except where somebody decided after it.

    Raises PermissionDenied for another person's batch, unless the role may undo for others.
    """
    reviews = list(label_set.reviews.filter(batch=batch, undone_by=None).exclude(verdict=Verdict.UNDONE))
    if any(review.user_id != user.pk for review in reviews) and "undo for others" not in allowed(role):
        raise PermissionDenied("Somebody else decided this. Ask a reviewer of the project to take it back.")
    standing = _effective(label_set, [review.image_id for review in reviews])
    kept = {
        review.image_id
        for review in reviews
        if any(other.pk > review.pk and _decides(other) for other in standing[review.image_id])
    }
    undone = [review for review in reviews if review.image_id not in kept]
    Review.objects.bulk_create(
        [
            Review(
                image_id=review.image_id,
                label_set=label_set,
                user=user,
                verdict=Verdict.UNDONE,
                label_id=review.label_id,
                label_name=review.label_name,
                undoes=review,
            )
            for review in undone
        ],
        batch_size=AT_ONCE,
    )
    images = [review.image_id for review in undone]
    _settle(label_set, images)
    return Undone(images, sorted(kept))


def last_batch(label_set: LabelSet, user: User) -> uuid.UUID | None:
    """What this person's next undo takes back: not what somebody decided about since."""
    standing = label_set.reviews.filter(undone_by=None).exclude(verdict=Verdict.UNDONE)
    later = standing.filter(image=OuterRef("image"), pk__gt=OuterRef("pk")).filter(DECIDES)
    last = standing.filter(~Exists(later), user=user).order_by("-id").first()
    return last.batch if last else None


def _effective(label_set: LabelSet, image_ids: Iterable[int]) -> dict[int, list[Review]]:
    """Of each image, the reviews that were not taken back, oldest first."""
    standing: dict[int, list[Review]] = defaultdict(list)
    rows = label_set.reviews.filter(image__in=list(image_ids), undone_by=None)
    for review in rows.exclude(verdict=Verdict.UNDONE).order_by("id"):
        standing[review.image_id].append(review)
    return standing


def _settle(label_set: LabelSet, image_ids: Sequence[int]) -> None:
    """Make the annotations of these images say what their standing reviews say."""
    standing = _effective(label_set, image_ids)
    settled = {}
    for image_id in image_ids:
        decided = [review for review in standing[image_id] if _decides(review)]
        if decided:
            settled[image_id] = decided[-1]
    label_set.annotations.filter(image__in=set(image_ids) - set(settled)).delete()
    Annotation.objects.bulk_create(
        [
            Annotation(
                image_id=image_id,
                label_set=label_set,
                label_id=review.label_id,
                status=review.verdict,
                source=Annotation.Source.HUMAN,
                decided_by_id=review.user_id,
                decided_at=review.at,
            )
            for image_id, review in settled.items()
        ],
        update_conflicts=True,
        unique_fields=["image", "label_set"],
        update_fields=["label", "status", "source", "decided_by", "decided_at"],
        batch_size=AT_ONCE,
    )


# A skip decides nothing, and neither does a label that was deleted since.
DECIDES = Q(verdict=Verdict.NONE) | (Q(label__isnull=False) & ~Q(verdict=Verdict.SKIPPED))


def _decides(review: Review) -> bool:
    """The same of a review that is here."""
    return review.verdict == Verdict.NONE or (
        review.verdict != Verdict.SKIPPED and review.label_id is not None
    )


# Least certain first, and what the person skipped last.
QUEUE = (Key("was_skipped"), Key("probability"), Key("image_id"))


def queue(label_set: LabelSet, user: User) -> QuerySet[Match]:
    """What this person has to review, in its order: the suggestions that nobody has decided about."""
    # Of matches, not of images with all that is known of them: each decision asks for its neighbours.
    settled = Annotation.objects.filter(label_set=label_set, image=OuterRef("image"))
    waiting = label_set.matches.filter(~Exists(settled))
    return ordering.ordered(waiting.annotate(was_skipped=_was_skipped(label_set, user, "image")), QUEUE)


def _was_skipped(label_set: LabelSet, user: User, image: str) -> ExpressionWrapper:
    skipped = label_set.reviews.filter(user=user, verdict=Verdict.SKIPPED, undone_by=None)
    # One list for the whole query: an EXISTS would be asked of each row, several times over.
    return ExpressionWrapper(Q(**{f"{image}__in": skipped.values("image")}), models.BooleanField())


@dataclass(frozen=True)
class Place:
    """An image in a person's queue; the ids of those before and after it are looked up when asked for.

    Before the queue stand the images that this person has decided about, the newest last. After the last one
    comes the first: so long as any other waits, there is a next.
    """

    label_set: LabelSet
    user: User
    image: Image

    @cached_property
    def previous(self) -> int | None:
        if self._decided_here:
            return self._decided.filter(pk__lt=self._decided_here.pk).values_list("image", flat=True).last()
        before = ordering.before(self._others, QUEUE, self._key).first()
        return before or self._decided.values_list("image", flat=True).last()

    @cached_property
    def next(self) -> int | None:
        if self._decided_here:
            decided = self._decided.filter(pk__gt=self._decided_here.pk)
            after = decided.values_list("image", flat=True).first()
        else:
            after = ordering.after(self._others, QUEUE, self._key).first()
        return after or self._others.first()

    @property
    def _key(self) -> dict[str, Any]:
        image = self.image
        return {"was_skipped": image.was_skipped, "probability": image.probability, "image_id": image.pk}

    @property
    def _others(self) -> QuerySet[int]:
        waiting = queue(self.label_set, self.user).exclude(image=self.image.pk)
        return waiting.values_list("image_id", flat=True)

    @property
    def _decided(self) -> QuerySet[Review]:
        """What this person decided about other images."""
        return _decisions(self.label_set, self.user).exclude(image=self.image.pk)

    @cached_property
    def _decided_here(self) -> Review | None:
        return _decisions(self.label_set, self.user).filter(image=self.image.pk).last()


def _decisions(label_set: LabelSet, user: User) -> QuerySet[Review]:
    standing = label_set.reviews.filter(DECIDES, user=user, undone_by=None)
    return standing.exclude(verdict=Verdict.UNDONE)


def place(label_set: LabelSet, user: User, image_id: int | None = None) -> Place | None:
    """Where the image stands in the queue, also one that is reviewed already; without an id, the first.

    None where there is no such image, or nothing left to review.
    """
    if image_id is None:
        image_id = queue(label_set, user).values_list("image_id", flat=True).first()
    images = label_set.images().annotate(was_skipped=_was_skipped(label_set, user, "pk"))
    image = images.filter(pk=image_id).first() if image_id else None
    return Place(label_set, user, image) if image else None
