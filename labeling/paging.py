"""A page of the gallery, and how many images of each kind there are, in as few steps as indexes allow."""

from collections import Counter
from collections.abc import Sequence

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Value

from gallery.models import Image
from labeling import ordering
from labeling.models import UNREVIEWED, UNSCORED, Annotation, LabelSet, Match
from labeling.ordering import Key

# What is counted apart: matches, those of settled images among them, and images.
MATCHED, BOTH, IMAGES = "matched", "both", "images"


def counted(label_set: LabelSet) -> list[tuple[int | None, str, int]]:
    """Label (settled, or else suggested), status and number of all images of a label set.

    From indexes and in one statement, so that nothing changes in between: a join of all images with their
    matches and annotations takes three times as long.
    """
    settled = Annotation.objects.filter(label_set=label_set).order_by()
    match = Match.objects.filter(label_set=label_set, image=OuterRef("image")).values("label")[:1]
    parts = [
        settled.values_list("label_id", "status"),
        label_set.matches.order_by().values_list("label_id", Value(MATCHED)),
        settled.values_list(Subquery(match), Value(BOTH)),
        Image.objects.filter(project=label_set.project_id)
        .order_by()
        .values_list(Value(None, output_field=IntegerField()), Value(IMAGES)),
    ]
    first, *others = (part.annotate(n=Count("pk")) for part in parts)
    rows = list(first.union(*others, all=True))
    of = {
        kind: Counter({label: n for label, status, n in rows if status == kind})
        for kind in (MATCHED, BOTH, IMAGES)
    }
    found = [row for row in rows if row[1] not in of]
    waiting = [(label, UNREVIEWED, n - of[BOTH][label]) for label, n in of[MATCHED].items()]
    either = sum(n for _, _, n in found) + sum(n for _, _, n in waiting)
    return [row for row in [*found, *waiting, (None, UNSCORED, of[IMAGES].total() - either)] if row[2]]


def rows(
    label_set: LabelSet, images: QuerySet[Image], keys: Sequence[Key], start: int, stop: int, number: int
) -> list[Image]:
    """Of `number` images of `label_set.images()`, in the order of `keys`: from `start` to before `stop`."""
    return _of(label_set, _ids(images, keys, start, min(stop, number), number))


def by_figure(label_set: LabelSet, keys: Sequence[Key], start: int, stop: int) -> list[Image]:
    """The same of all images of a label set, in an order of their matches' figures that an index has.

    None of a page that shows images without a match, which come last.
    """
    figure = keys[0]
    sign = "-" if figure.descending else ""
    places = label_set.matches.order_by(f"{sign}{figure.name}", "image_id").values_list("image_id", flat=True)
    ids = list(places[start:stop])
    return _of(label_set, ids) if len(ids) == stop - start else []


def _of(label_set: LabelSet, ids: list[int]) -> list[Image]:
    found = label_set.images().in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]


def _ids(images: QuerySet[Image], keys: Sequence[Key], start: int, stop: int, number: int) -> list[int]:
    """From the end that is nearer. Only the rows of one page are read whole."""
    if stop <= start:
        return []
    places = ordering.ordered(images, keys).values_list("pk", flat=True)
    if start + stop > number:
        return list(places.reverse()[number - stop : number - start])[::-1]
    return list(places[start:stop])
