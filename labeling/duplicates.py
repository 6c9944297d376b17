"""Groups of near-duplicates, and what people decide about them: the one door for that."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from gallery import set_aside
from gallery.access import User
from gallery.models import Image, Project, set_aside_ids
from labeling.models import Annotation, DuplicateDecision, Fingerprint, NearDuplicate

State = NearDuplicate.State
# A chain of pictures, each a little unlike the next, is cut here; what is left over groups afterwards.
MOST_IN_GROUP = 30
# The nearest pairs that are grouped at a time; others come up as these are decided about.
MOST_PAIRS = 20_000
# Pictures differ in these when by more than that, as a part of the larger figure. One that is so soft beside
# another was blurred or enlarged: its pixels tell nothing.
MORE_PIXELS, SHARPER, SOFT = 0.02, 0.1, 0.3


class Changed(Exception):
    """These images are no group any more: somebody decided about them. Nothing was written."""


@dataclass
class Member:
    """An image of a group, with what tells which is best."""

    image: Image
    sharpness: float
    share: int  # its sharpness, in percent of the sharpest one's of the group

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height

    @property
    def words(self) -> str:
        """How sharp it is beside the others."""
        return "sharp" if self.share >= 90 else "softer" if self.share >= 60 else "blurred"


@dataclass
class Group:
    """Nearly the same pictures, the best one first."""

    key: int  # the largest id among them
    members: list[Member]
    reason: str  # why the first is the best

    @property
    def ids(self) -> list[int]:
        return [member.image.pk for member in self.members]

    @property
    def best(self) -> Image:
        return self.members[0].image


# Which images belong together


def open_pairs(project: Project) -> QuerySet[NearDuplicate]:
    """Pairs that nobody decided about, of images that are not set aside."""
    return _shown(NearDuplicate.objects.filter(project=project, state=State.OPEN), project.pk)


def _shown(pairs: QuerySet[NearDuplicate], project_id: int) -> QuerySet[NearDuplicate]:
    aside = set_aside_ids().filter(project=project_id)
    return pairs.exclude(first__in=aside).exclude(second__in=aside)


def grouped(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected parts of these pairs, the nearest of which come first; none of more than MOST_IN_GROUP.

    Those with the newest images first, each with its ids from the lowest.
    """
    parts: dict[int, list[int]] = {}
    for first, second in pairs:
        one, other = parts.setdefault(first, [first]), parts.setdefault(second, [second])
        if one is other or len(one) + len(other) > MOST_IN_GROUP:
            continue
        if len(one) < len(other):
            one, other = other, one
        one += other
        for image_id in other:
            parts[image_id] = one
    groups = {id(part): sorted(part) for part in parts.values() if len(part) > 1}
    return sorted(groups.values(), key=lambda ids: -ids[-1])


def groups(project: Project) -> list[list[int]]:
    """The ids of the images of each group. `described` tells more of some of them."""
    pairs = open_pairs(project).order_by("distance", "id").values_list("first_id", "second_id")
    return grouped(pairs[:MOST_PAIRS])


def described(some: Sequence[Sequence[int]]) -> list[Group]:
    """Groups with their images and figures, in the same order: two queries for any number of them."""
    ids = [image_id for group in some for image_id in group]
    images = Image.objects.select_related("project", "uploaded_by").in_bulk(ids)
    sharpness = dict(Fingerprint.objects.filter(image__in=ids).values_list("image_id", "sharpness"))
    found = []
    for group in some:
        there = [images[image_id] for image_id in group if image_id in images]
        if len(there) > 1:
            found.append(_group(there, sharpness))
    return found


def _group(images: Sequence[Image], sharpness: dict[int, float]) -> Group:
    sharpest = max(sharpness.get(image.pk, 0.0) for image in images) or 1.0
    members = [
        Member(image, its := sharpness.get(image.pk, 0.0), round(100 * its / sharpest)) for image in images
    ]
    best, reason = _best(members)
    rest = sorted(
        (member for member in members if member is not best),
        key=lambda member: (-member.pixels, -member.sharpness, -member.image.size, member.image.pk),
    )
    return Group(max(image.pk for image in images), [best, *rest], reason)


def _best(members: Sequence[Member]) -> tuple[Member, str]:
    """The one to keep, and why: of those that are not soft the one of most pixels, of such the sharpest, then
    the largest file, then the oldest."""
    clear = [member for member in members if member.share >= 100 * (1 - SOFT)] or list(members)
    most = max(member.pixels for member in clear)
    large = [member for member in clear if member.pixels >= most * (1 - MORE_PIXELS)]
    if len(large) == 1:
        others = [member for member in members if member is not large[0]]
        if all(member.pixels < most * (1 - MORE_PIXELS) for member in others):
            return large[0], "most pixels"
        return large[0], "sharpest" if len(clear) == 1 else "most pixels of the sharp ones"
    least = max(member.sharpness for member in large) * (1 - SHARPER)
    sharp = [member for member in large if member.sharpness >= least]
    beside = "" if len(large) == len(members) else " of those with most pixels"
    if len(sharp) == 1:
        return sharp[0], f"sharpest{beside}"
    size = max(member.image.size for member in sharp)
    heavy = [member for member in sharp if member.image.size == size]
    if len(heavy) == 1:
        return heavy[0], "as large and sharp as others, and the largest file"
    return min(heavy, key=lambda member: member.image.pk), "as good as others, and here first"


def near(image: Image) -> list[int]:
    """The images of which this one is a near-duplicate, as nobody decided yet."""
    # Not by the project, whose index would lead through all its pairs.
    rows = _shown(
        NearDuplicate.objects.filter(Q(first=image) | Q(second=image), state=State.OPEN), image.project_id
    )
    pairs = rows.order_by("distance", "id").values_list("first_id", "second_id")[:MOST_IN_GROUP]
    return [first if second == image.pk else second for first, second in pairs]


def without(image_ids: Sequence[int], annotation: Annotation | None) -> list[int]:
    """Those of the images that lack the label of this annotation of another; none where it has no label."""
    if not image_ids or annotation is None or annotation.label_id is None:
        return []
    rows = Annotation.objects.filter(label_set=annotation.label_set_id, image__in=image_ids)
    have = set(rows.filter(label=annotation.label_id).values_list("image_id", flat=True))
    return [image_id for image_id in image_ids if image_id not in have]


# What people decide


@transaction.atomic
def decide(
    project: Project, user: User, image_ids: Collection[int], keep: Collection[int]
) -> DuplicateDecision:
    """Keep these of a group, for ever, and set its other images aside.

    `image_ids`: the group, or a part of it that hangs together, as the person saw it. Raises ValidationError
    where that can't be, and Changed where these are no group any more.
    """
    ids, kept = set(image_ids), set(keep)
    if not kept or not kept <= ids:
        raise ValidationError("Choose at least one image of the group to keep.")
    if not 2 <= len(ids) <= MOST_IN_GROUP:
        raise ValidationError(f"A group has from 2 to {MOST_IN_GROUP} images.")
    # Locked: nobody else decides about them, or sets one aside, meanwhile.
    rows = Image.objects.filter(project=project, pk__in=ids).order_by("pk")
    there = set(rows.select_for_update(no_key=True).values_list("pk", flat=True))
    open_ones = open_pairs(project).filter(first__in=there, second__in=there)
    pairs = open_ones.order_by("distance", "id").values_list("first_id", "second_id")
    if grouped(pairs) != [sorted(ids)]:
        raise Changed("These images are no group any more: somebody decided about them, or they are gone.")
    aside = set_aside.set_aside(project, ids - kept, user)
    decision = DuplicateDecision.objects.create(
        project=project, user=user, kept=sorted(kept), set_aside=sorted(aside)
    )
    _settle(decision, ids, kept)
    return decision


def _settle(decision: DuplicateDecision, ids: set[int], kept: set[int]) -> None:
    """Write down what was decided of each pair in the group, also where the two are not near themselves."""
    rows = NearDuplicate.objects.filter(project=decision.project, first__in=ids, second__in=ids)
    known = set(rows.values_list("first_id", "second_id"))
    said = {"decision": decision, "decided_by": decision.user, "decided_at": decision.at}
    both = Q(first__in=kept, second__in=kept)
    still_open = rows.filter(state=State.OPEN)
    still_open.filter(both).update(state=State.KEPT, **said)
    still_open.update(state=State.ASIDE, **said)
    NearDuplicate.objects.bulk_create(
        NearDuplicate(
            project=decision.project,
            first_id=first,
            second_id=second,
            state=State.KEPT if {first, second} <= kept else State.ASIDE,
            **said,
        )
        for first, second in combinations(sorted(ids), 2)
        if (first, second) not in known
    )


@transaction.atomic
def undo(decision: DuplicateDecision, user: User) -> bool:
    """Take a decision back: its images are shown again, and its pairs are open. False where it is already.

    An image that a later decision set aside as well stays so.
    """
    undone = DuplicateDecision.objects.filter(pk=decision.pk, undone_at=None)
    if not undone.update(undone_at=timezone.now(), undone_by=user):
        return False
    pairs = NearDuplicate.objects.filter(decision=decision)
    pairs.filter(distance=None).delete()
    pairs.update(state=State.OPEN, decision=None, decided_by=None, decided_at=None)
    later = DuplicateDecision.objects.filter(project=decision.project, pk__gt=decision.pk, undone_at=None)
    held = {image_id for ids in later.values_list("set_aside", flat=True) for image_id in ids}
    set_aside.bring_back(decision.project, set(decision.set_aside) - held)
    return True


def last_decision(project: Project) -> DuplicateDecision | None:
    """The newest one that stands."""
    return project.duplicate_decisions.select_related("user").filter(undone_at=None).first()


def names(image_ids: Sequence[int]) -> dict[int, str]:
    """Of images that are there, set aside or not."""
    return dict(Image.everything.filter(pk__in=image_ids).values_list("pk", "name"))


def labels_of(groups_shown: Sequence[Group], label_set_id: int) -> dict[int, str]:
    """By image, the label that it has in the label set."""
    ids = [image_id for group in groups_shown for image_id in group.ids]
    rows = Annotation.objects.filter(label_set=label_set_id, image__in=ids, label__isnull=False)
    return dict(rows.values_list("image_id", "label__name"))
