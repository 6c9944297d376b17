"""What a look for unknowns has found, as people see it, and what they make of its groups."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from gallery.access import User
from gallery.models import Image
from labeling import batches, label_sets, picks
from labeling.models import Annotation, Batch, Label, LabelSet, Pick, UnknownGroup, UnknownsRun
from labeling.review import Verdict

RunState = UnknownsRun.State
# Thumbnails of a group; the gallery shows the rest.
STRIP = 12


@dataclass(frozen=True)
class Outlier:
    """An image far from every label and from its neighbours, with why."""

    image: Image
    label: str
    similarity: float
    nearest: float
    far: float


@dataclass(frozen=True)
class Shown:
    """A group with those of its images that nobody has settled since."""

    group: UnknownGroup
    ids: Sequence[int]
    images: Sequence[Image]

    @property
    def size(self) -> int:
        return len(self.ids)

    @property
    def more(self) -> int:
        """Images that have no thumbnail here."""
        return len(self.ids) - len(self.images)


@dataclass(frozen=True)
class Found:
    """What the newest finished look has found and still stands. Without a run: none is finished."""

    run: UnknownsRun | None = None
    outliers: Sequence[Outlier] = ()
    groups: Sequence[Shown] = ()
    labelled: Sequence[UnknownGroup] = field(default=(), kw_only=True)


def newest(label_set: LabelSet) -> UnknownsRun | None:
    """The look that was begun last, whatever became of it."""
    return label_set.unknowns_runs.select_related("created_by").first()


def open_images(label_set: LabelSet, ids: Iterable[int]) -> QuerySet[Image]:
    """Those of the images that are there and that nobody has settled in this label set."""
    settled = Annotation.objects.filter(label_set=label_set, image=OuterRef("pk"))
    images = Image.objects.filter(project=label_set.project_id, pk__in=picks.listed(ids))
    return images.filter(~Exists(settled))


def found(label_set: LabelSet) -> Found:
    """What stands of the newest finished look; in a bounded number of queries."""
    run = label_set.unknowns_runs.filter(state=RunState.DONE).select_related("created_by").first()
    if run is None:
        return Found()
    groups = list(run.groups.filter(dismissed=False).select_related("label", "batch"))
    waiting = [group for group in groups if not group.label_id]
    asked = {image_id for group in waiting for image_id in group.image_ids}
    asked.update(row["image"] for row in run.outliers)
    there = set(open_images(label_set, asked).values_list("pk", flat=True)) if asked else set()
    kept = {group.pk: [pk for pk in group.image_ids if pk in there] for group in waiting}
    images = _pictures([*(row["image"] for row in run.outliers), *_strips(kept.values())], there)
    shown = [
        Shown(group, kept[group.pk], [images[pk] for pk in kept[group.pk][:STRIP] if pk in images])
        for group in waiting
        if kept[group.pk]
    ]
    outliers = [
        Outlier(images[row["image"]], *(row[name] for name in ("label", "similarity", "nearest", "far")))
        for row in run.outliers
        if row["image"] in images
    ]
    return Found(run, outliers, shown, labelled=[group for group in groups if group.label_id])


def _strips(groups: Iterable[Sequence[int]]) -> list[int]:
    return [image_id for ids in groups for image_id in ids[:STRIP]]


def _pictures(ids: Iterable[int], there: Collection[int]) -> dict[int, Image]:
    wanted = [image_id for image_id in dict.fromkeys(ids) if image_id in there]
    return Image.objects.filter(pk__in=picks.listed(wanted)).in_bulk() if wanted else {}


@transaction.atomic
def make_label(
    group: UnknownGroup, label_set: LabelSet, user: User, name: str, sets: bool = True
) -> tuple[Label, Batch | None]:
    """Add a label of this name to the label set, and with `sets` give it to the group's images in one batch.

    Whoever asks for it twice gets one label. Raises clip.ModelUnusable, and ValidationError: a name that is
    none or taken, a group that a label was made of, or one of whose images none waits any more.
    """
    group = UnknownGroup.objects.select_for_update().get(pk=group.pk)
    if group.label_id or group.dismissed:
        raise ValidationError("Something was made of this group already.")
    ids = list(open_images(label_set, group.image_ids).order_by("pk").values_list("pk", flat=True))
    if sets and not ids:
        raise ValidationError("None of the images of this group waits any more.")
    label = label_sets.add(label_set, user, name)
    batch = batches.decide_all(label_set, user, ids, Verdict.CORRECTED, label.pk) if sets else None
    UnknownGroup.objects.filter(pk=group.pk).update(label=label, batch=batch)
    return label, batch


def dismiss(group: UnknownGroup) -> bool:
    """Not a group: not shown again in the findings of this look. False where it was dismissed before."""
    return bool(UnknownGroup.objects.filter(pk=group.pk, dismissed=False).update(dismissed=True))


def pick(group: UnknownGroup, label_set: LabelSet, user: User) -> Pick:
    """The group's open images as a choice for the gallery. Raises ValidationError where there is none."""
    ids = list(open_images(label_set, group.image_ids).values_list("pk", flat=True))
    if not ids:
        raise ValidationError("None of the images of this group waits any more.")
    return picks.pick(label_set.project, user, ids)
