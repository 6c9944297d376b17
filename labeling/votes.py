"""What people's answers to one image come to: one settles it, or several that agree. And who sees which."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from gallery.access import User, allowed
from labeling.models import Annotation, Label, LabelSet, Review

Status, Verdict = Annotation.Status, Review.Verdict
# A skip decides nothing, and neither does a label that was deleted since.
DECIDES = Q(verdict=Verdict.NONE) | Q(label__isnull=False, verdict__in=[Verdict.ACCEPTED, Verdict.CORRECTED])


class Answer(NamedTuple):
    """A settled answer. Disputed: people's answers differ, and a reviewer is to settle it."""

    status: str
    label_id: int | None
    user_id: int | None
    at: datetime
    imported: bool = False


def asked(label_set: LabelSet) -> int:
    """How many votes settle an image, as it is now: the object at hand may be older."""
    return LabelSet.objects.values_list("votes", flat=True).get(pk=label_set.pk)


def given(reviews: Sequence[Review]) -> list[Review]:
    """Each person's vote: of the reviews that decide, oldest first, everybody's last."""
    votes: dict[Hashable, Review] = {}
    for review in reviews:
        # Of people who left nothing tells one from another: each of their answers counts.
        voter = review.user_id if review.user_id is not None else ("gone", review.pk)
        votes.pop(voter, None)
        votes[voter] = review
    return list(votes.values())


def settled(reviews: Sequence[Review], asked: int) -> Answer | None:
    """What standing reviews, oldest first, come to where `asked` votes settle; None while votes lack.

    One vote: the last word counts. Several: all must agree, or a reviewer's word stands over them.
    """
    if not reviews:
        return None
    if asked == 1:
        return _said(reviews[-1])
    if words := [review for review in reviews if review.settles]:
        return _said(words[-1])
    votes = given(reviews)
    if len(votes) < asked:
        return None
    last = votes[-1]
    if len({vote.label_id for vote in votes}) > 1:
        return Answer(Status.DISPUTED, None, None, last.at)
    return _said(last)


def _said(review: Review) -> Answer:
    return Answer(review.verdict, review.label_id, review.user_id, review.at, review.imported)


def visible(label_set: LabelSet, user: User, role: str, reviews: QuerySet[Review]) -> QuerySet[Review]:
    """Those of the label set's `reviews` that this person may see: votes are blind until they are given.

    Where several votes are asked for, all may see how a settled image came to its answer. Of a disputed one
    those see the votes who settle disputes or have voted on it, and of any other everybody sees their own.
    """
    if label_set.votes == 1:
        return reviews
    settled = label_set.annotations.filter(image=OuterRef("image"))
    shown = Exists(settled.exclude(status=Status.DISPUTED))
    if "settle disputes" in allowed(role):
        shown = Exists(settled)
    else:
        own = label_set.reviews.filter(DECIDES, image=OuterRef("image"), user=user, undone_by=None)
        shown |= Exists(settled) & Exists(own)
    # What somebody took back of one's own is about that alone.
    return reviews.filter(Q(user=user) | Q(undoes__user=user) | shown)


def waiting_for(label: Label) -> int:
    """On how many images that aren't settled a person's vote is this label."""
    standing = label.label_set.reviews.filter(DECIDES, undone_by=None)
    later = standing.filter(image=OuterRef("image"), user=OuterRef("user"), pk__gt=OuterRef("pk"))
    settled = Annotation.objects.filter(label_set=label.label_set_id, image=OuterRef("image"))
    open_ones = ~Exists(settled.exclude(status=Status.DISPUTED))
    votes = standing.filter(~Exists(later), open_ones, label=label)
    return votes.aggregate(n=Count("image", distinct=True))["n"]
