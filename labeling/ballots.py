"""How the votes on images stand, as one person may know it: how many are given, and which they may see."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from gallery.access import User
from gallery.models import Image
from labeling import votes
from labeling.models import UNREVIEWED, UNSCORED, Annotation, Label, LabelSet, Review
from labeling.votes import DECIDES

OPEN = (UNREVIEWED, UNSCORED)


class Choice(NamedTuple):
    """An answer that was voted for: a label, or none of these; and by how many."""

    label: Label | None
    number: int


class Ballot(NamedTuple):
    """The votes on one image. A reviewer's word that settles it is none of them."""

    asked: int
    given: int
    own: Review | None
    shown: list[Review]  # those that the person may see, the first to be given first

    @property
    def hidden(self) -> int:
        """How many of them the person may not see yet."""
        return self.given - len(self.shown)

    @property
    def choices(self) -> list[Choice]:
        """What was voted for, most votes first."""
        labels = {vote.label_id: vote.label for vote in self.shown}
        numbers = Counter(vote.label_id for vote in self.shown)
        return [Choice(labels[label_id], number) for label_id, number in numbers.most_common()]

    @property
    def majority(self) -> Choice | None:
        """What more than half of the votes say."""
        first = self.choices[0] if self.choices else None
        return first if first and first.number * 2 > len(self.shown) else None


def ballots(label_set: LabelSet, user: User, role: str, image_ids: Sequence[int]) -> dict[int, Ballot]:
    """Of each image its ballot, in a number of queries that doesn't depend on theirs."""
    standing = label_set.reviews.filter(DECIDES, image__in=image_ids, undone_by=None, settles=False)
    seen = set(votes.visible(label_set, user, role, standing).values_list("pk", flat=True))
    by_image: dict[int, list[Review]] = defaultdict(list)
    for review in standing.select_related("user", "label").order_by("pk"):
        by_image[review.image_id].append(review)
    return {image_id: _ballot(label_set, user, by_image[image_id], seen) for image_id in image_ids}


def of_image(label_set: LabelSet, user: User, role: str, image: Image) -> Ballot | None:
    """The ballot of an image of `label_set.images()`; None where it is settled, or one vote settles it."""
    if label_set.votes == 1 or image.status not in (*OPEN, Annotation.Status.DISPUTED):
        return None
    return ballots(label_set, user, role, [image.pk])[image.pk]


def _ballot(label_set: LabelSet, user: User, reviews: Sequence[Review], seen: set[int]) -> Ballot:
    given = votes.given(reviews)
    own = next((vote for vote in given if vote.user_id == user.pk), None)
    return Ballot(label_set.votes, len(given), own, [vote for vote in given if vote.pk in seen])


def told(label_set: LabelSet, user: User, role: str, images: Sequence[Image]) -> str:
    """What votes that this person has just given came to. `images`: of `board.with_labels`."""
    if len(images) > 1:
        open_ones = sum(image.status in OPEN for image in images)
        disputed = sum(image.status == Annotation.Status.DISPUTED for image in images)
        parts = [(len(images) - open_ones - disputed, "settled"), (disputed, "disputed")]
        parts.append((open_ones, "waiting for more votes"))
        return "voted; " + ", ".join(f"{number:,} {words}" for number, words in parts if number)
    [image] = images
    ballot = ballots(label_set, user, role, [image.pk])[image.pk]
    vote = f"your vote is {named(ballot.own.label)}" if ballot.own else "your vote is given"
    if image.status in OPEN:
        return f"{vote}; {ballot.given} of {ballot.asked} votes given"
    if image.status == Annotation.Status.DISPUTED:
        return f"{vote}; people disagree, and a reviewer settles it"
    return f"{vote}; it is settled as {named(image.label)}"


def named(label: Label | None) -> str:
    return label.name if label else "none of these"
