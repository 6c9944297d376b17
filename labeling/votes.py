"""What people's answers to one image come to: one settles it, or several that agree."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import NamedTuple

from labeling.models import Annotation, LabelSet, Review

Status = Annotation.Status


class Answer(NamedTuple):
    """A settled answer. Disputed: people's answers differ, and a reviewer is to settle it."""

    status: str
    label_id: int | None
    user_id: int | None
    at: datetime


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
    return Answer(review.verdict, review.label_id, review.user_id, review.at)
