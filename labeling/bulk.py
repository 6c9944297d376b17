"""Which images an action on many is about, and what it would overwrite: asked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.http import QueryDict

from gallery.access import User
from labeling import batches, votes
from labeling.models import Batch, Label, LabelSet
from labeling.review import Verdict
from labeling.selection import Selection


class Differs(Exception):
    """The data are not what the person saw: nothing was written, and they are asked again."""

    def __init__(self, count: int, overwrites: int) -> None:
        self.count, self.overwrites = count, overwrites
        super().__init__(f"There are {count:,} images now.")


@dataclass(frozen=True)
class Saying:
    """What is said of each of the images: a verdict, and a label for all of them or none."""

    verdict: Verdict
    label: Label | None = None

    def sentence(self, images: str) -> str:
        """`images`: of which, as in `37 selected`."""
        if self.label:
            return f"Set {self.label} on {images}"
        return {
            Verdict.ACCEPTED: f"Accept the suggestions for {images}",
            Verdict.NONE: f"None of these for {images}",
        }[self.verdict]


def matching(label_set: LabelSet, user: User, params: QueryDict) -> tuple[list[int], str]:
    """The ids of the images that a page with these parameters shows, and the search line for them.

    Raises ValidationError for a line that can't be understood.
    """
    selection = Selection(label_set, params, user)
    if selection.mistakes:
        raise selection.mistakes
    ids = selection.images.order_by("pk").values_list("pk", flat=True)
    return list(ids), selection.params.get("q", "")


def overwritten(label_set: LabelSet, user: User, image_ids: Sequence[int]) -> int:
    """How many of the images other people have settled: where one vote settles, theirs would be lost."""
    if votes.asked(label_set) > 1:
        return 0
    others = label_set.annotations.exclude(decided_by=user)
    if len(image_ids) <= batches.IN_REQUEST:
        return others.filter(image__in=image_ids).count()
    return len(set(image_ids).intersection(others.values_list("image_id", flat=True)))


def say(
    label_set: LabelSet,
    user: User,
    saying: Saying,
    image_ids: Sequence[int],
    query: str = "",
    count: int | None = None,
    overwrites: int | None = None,
) -> Batch:
    """Say the same of all these images, if they are as many as the person saw.

    `overwrites`: of how many other people's answers they know; None where that is not asked. Raises Differs,
    ValidationError as `batches.decide_all`, and where there is no suggestion to accept.
    """
    lost = overwritten(label_set, user, image_ids) if overwrites is not None else None
    if count not in (None, len(image_ids)) or lost != overwrites:
        raise Differs(len(image_ids), lost or 0)
    if saying.verdict == Verdict.ACCEPTED and saying.label is None:
        image_ids = _suggested(label_set, image_ids)
    label_id = saying.label.pk if saying.label else None
    return batches.decide_all(label_set, user, image_ids, saying.verdict, label_id, query)


def _suggested(label_set: LabelSet, image_ids: Sequence[int]) -> list[int]:
    """Those of the images for which there is a suggestion. Raises ValidationError where there is none."""
    matched = label_set.matches
    if len(image_ids) <= batches.IN_REQUEST:
        matched = matched.filter(image__in=image_ids)
    there = set(matched.values_list("image_id", flat=True))
    if kept := [image_id for image_id in image_ids if image_id in there]:
        return kept
    raise ValidationError("There is no suggestion for these images yet.")
