"""A page of the gallery, and how many images of each kind there are, in as few steps as indexes allow."""

from collections import Counter
from collections.abc import Sequence

from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, QuerySet, Value, When
from django.db.models.functions import Coalesce

from gallery.models import SAMPLE, Image
from labeling import ordering
from labeling.models import STATUSES, UNREVIEWED, UNSCORED, Annotation, LabelSet, Match
from labeling.ordering import Key

# What is counted of images: those of any status.
ALL = "all"
KNOWN = list(dict(STATUSES))


def grouped(images: QuerySet[Image]) -> list[tuple[int | None, str, int]]:
    """Label (settled, or else suggested), status and number of some of `label_set.images()`.

    A group is one number in the database, which sorts what it groups: by two values that takes longer.
    """
    settled = [When(annotation__status=value, then=Value(n)) for n, value in enumerate(KNOWN[2:], start=2)]
    status = Case(*settled, When(match__isnull=False, then=Value(1)), default=Value(0))
    group = Coalesce(F("label_id"), 0) * len(KNOWN) + status
    rows = images.order_by().annotate(group=group).values_list("group").annotate(n=Count("*"))
    return [(group // len(KNOWN) or None, KNOWN[group % len(KNOWN)], n) for group, n in rows]


def are_few(label_set: LabelSet, images: QuerySet[Image]) -> bool:
    """Whether these are few of `label_set.images()`, as far as a sample tells."""
    return 8 * images.order_by().filter(pk__in=label_set.project.sample()).count() < SAMPLE


def counted(label_set: LabelSet, but: QuerySet[Image] | None = None) -> list[tuple[int | None, str, int]]:
    """What `grouped` tells of all images of a label set, `but` for some of them.

    From indexes and in one statement, so that nothing changes in between: a join of all images with their
    matches and annotations takes three times as long.
    """
    settled = Annotation.objects.filter(label_set=label_set).order_by()
    waiting = label_set.matches.filter(~Exists(settled.filter(image=OuterRef("image")))).order_by()
    images = label_set.project.images.order_by()
    parts = [
        settled.values_list("label_id", "status"),
        waiting.values_list("label_id", Value(UNREVIEWED)),
        images.values_list(Value(None, output_field=IntegerField()), Value(ALL)),
    ]
    first, *others = (part.annotate(n=Count("pk")) for part in parts)
    if but is not None:
        others.append(but.order_by().values_list("label_id", "status").annotate(n=-Count("pk")))
    counts: Counter[tuple[int | None, str]] = Counter()
    unscored = 0
    for label, status, n in first.union(*others, all=True):
        if status == ALL:
            unscored += n
        else:
            counts[label, status] += n
            unscored -= max(n, 0)
    counts[None, UNSCORED] += unscored
    return [(label, status, n) for (label, status), n in counts.items() if n]


class Counts:
    """How many images of a label set have which label (settled, or else suggested) and which status.

    `images`: those that are counted, of `label_set.images()`; all of them, where it is left out. `others`:
    those that are not.
    """

    def __init__(
        self,
        label_set: LabelSet,
        images: QuerySet[Image] | None = None,
        others: QuerySet[Image] | None = None,
    ) -> None:
        self.rows: list[tuple[int | None, str, int]]
        if images is None or (others is not None and are_few(label_set, others)):
            self.rows = counted(label_set, others)
        else:
            self.rows = grouped(images)

    def by_status(self, label: int | None = None) -> Counter[str]:
        """Of the images with this label, or of all."""
        counts: Counter[str] = Counter()
        for its_label, status, count in self.rows:
            if label in (None, its_label):
                counts[status] += count
        return counts

    def by_label(self, status: str | None = None) -> Counter[int | None]:
        """Of the images with this status, or of all."""
        counts: Counter[int | None] = Counter()
        for label, its_status, count in self.rows:
            if status in (None, its_status):
                counts[label] += count
        return counts


def rows(
    label_set: LabelSet, images: QuerySet[Image], keys: Sequence[Key], start: int, stop: int, number: int
) -> list[Image]:
    """Of `number` images of `label_set.images()`, in the order of `keys`: from `start` to before `stop`."""
    places = ordering.ordered(images, keys).values_list("pk", flat=True)
    return _of(label_set, _ids(places, start, min(stop, number), number))


def by_figure(
    label_set: LabelSet, matches: QuerySet[Match], keys: Sequence[Key], start: int, stop: int, number: int
) -> list[Image]:
    """The same of the images of `number` matches, in an order of a figure that an index has."""
    figure = keys[0]
    places = matches.order_by(f"{'-' if figure.descending else ''}{figure.name}", "image_id")
    return _of(label_set, _ids(places.values_list("image_id", flat=True), start, min(stop, number), number))


def _of(label_set: LabelSet, ids: list[int]) -> list[Image]:
    found = label_set.images().in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]


def _ids(places: QuerySet, start: int, stop: int, number: int) -> list[int]:
    """From the end that is nearer. Only the rows of one page are read whole."""
    if stop <= start:
        return []
    if start + stop > number:
        return list(places.reverse()[number - stop : number - start])[::-1]
    return list(places[start:stop])
