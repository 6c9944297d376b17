"""A class at a time: all that CLIP proposed as one label, for a person who takes the wrong ones out."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from gallery.access import User
from labeling import leases, votes
from labeling.models import Annotation, Label, LabelSet, Lease, Match
from labeling.review import AT_ONCE, DECIDES, Verdict


@dataclass(frozen=True)
class Class:
    """A label, how many images are proposed as it, and how many of them the person may still decide about."""

    label: Label
    total: int
    waiting: int

    @property
    def decided(self) -> int:
        return self.total - self.waiting


def _waits(label_set: LabelSet, user: User) -> Q:
    """Of matches: nothing is settled, and where several votes are asked for, this person's is not given."""
    settled = Annotation.objects.filter(label_set=label_set, image=OuterRef("image"))
    waits = Q(~Exists(settled))
    if votes.asked(label_set) > 1:
        voted = label_set.reviews.filter(DECIDES, user=user, undone_by=None, image=OuterRef("image"))
        waits &= Q(~Exists(voted))
    return waits


def classes(label_set: LabelSet, user: User) -> list[Class]:
    """All labels of the set, those that most images wait for first."""
    rows = label_set.matches.order_by().values("label")
    counted = rows.annotate(total=Count("pk"), waiting=Count("pk", filter=_waits(label_set, user)))
    by_label = {row["label"]: row for row in counted}
    none = {"total": 0, "waiting": 0}
    found = [
        Class(label, row["total"], row["waiting"])
        for label in label_set.labels.all()
        for row in [by_label.get(label.pk, none)]
    ]
    return sorted(found, key=lambda each: (-each.waiting, -each.total))


def _queue(label: Label) -> str:
    return f"class-{label.pk}"


def let_go(label_set: LabelSet, user: User, but: Label | None = None) -> None:
    """Hold no image of any class any longer, but of this one."""
    held = label_set.leases.filter(user=user, queue__startswith="class-")
    (held.exclude(queue=_queue(but)) if but else held).delete()


def proposed(label_set: LabelSet, user: User, label: Label) -> list[Match]:
    """The next images of the class, with their runners-up, least certain first; held for the person by now.

    What the person skipped comes last, and what somebody else holds not at all. Sets how many it shows to
    what one statement writes, so that they are settled in one batch.
    """
    let_go(label_set, user, but=label)
    ids = _candidates(label_set, user, label)
    mine = leases.hold_class(label_set, user, ids, _queue(label))
    rows = label_set.matches.filter(image__in=mine).select_related("image", "runner_up")
    matches = {match.image_id: match for match in rows}
    return [matches[image_id] for image_id in ids if image_id in matches]


def _candidates(label_set: LabelSet, user: User, label: Label) -> list[int]:
    held = Lease.objects.filter(label_set=label_set, image=OuterRef("image"), until__gt=timezone.now())
    waiting = label_set.matches.filter(_waits(label_set, user), ~Exists(held.exclude(user=user)), label=label)
    ids = waiting.order_by("margin", "image_id").values_list("image_id", flat=True)
    skips = label_set.reviews.filter(user=user, verdict=Verdict.SKIPPED, undone_by=None).values("image")
    # Two questions: sorted by what was skipped, the whole class would be read for the first of it.
    found = list(ids.exclude(image__in=skips)[:AT_ONCE])
    return found + list(ids.filter(image__in=skips)[: AT_ONCE - len(found)])


def marks(label_set: LabelSet, user: User, batch_id: uuid.UUID, image_ids: Collection[int]) -> dict[int, str]:
    """What this person's batch said otherwise than CLIP of these images: a label's id, `none` or `skip`."""
    said = label_set.reviews.filter(batch=batch_id, user=user, image__in=image_ids)
    wrong = said.filter(verdict__in=[Verdict.CORRECTED, Verdict.NONE, Verdict.SKIPPED])
    words = {Verdict.NONE: "none", Verdict.SKIPPED: "skip"}
    rows = wrong.values_list("image_id", "verdict", "label_id")
    return {image_id: words.get(verdict, str(label_id)) for image_id, verdict, label_id in rows}


def left(label_set: LabelSet, batch_id: uuid.UUID, image_ids: Collection[int]) -> list[str]:
    """The names of the images that a batch was asked about and left as they were."""
    said = label_set.reviews.filter(batch=batch_id).values("image")
    rows = label_set.project.images.filter(pk__in=image_ids).exclude(pk__in=said)
    return list(rows.order_by("name").values_list("name", flat=True))


def of(label_set: LabelSet, image_ids: QuerySet[int]) -> int | None:
    """The label that the first of these images is proposed as."""
    first = image_ids.first()
    return label_set.matches.filter(image=first).values_list("label_id", flat=True).first()
