"""A page of the gallery, and how many images of each kind there are, in as few steps as indexes allow."""

from collections.abc import Sequence

from django.db.models import Count, Exists, IntegerField, OuterRef, QuerySet, Value

from gallery.models import Image
from labeling import ordering
from labeling.models import UNREVIEWED, UNSCORED, Annotation, LabelSet
from labeling.ordering import Key


def counted(label_set: LabelSet) -> list[tuple[int | None, str, int]]:
    """Label (settled, or else suggested), status and number of all images of a label set.

    From indexes and in one statement, so that nothing changes in between: a join of all images with their
    matches and annotations takes three times as long.
    """
    settled = Annotation.objects.filter(label_set=label_set).order_by()
    waiting = label_set.matches.filter(~Exists(settled.filter(image=OuterRef("image")))).order_by()
    images = label_set.project.images.order_by()
    parts = [
        settled.values_list("label_id", "status"),
        waiting.values_list("label_id", Value(UNREVIEWED)),
        images.values_list(Value(None, output_field=IntegerField()), Value(UNSCORED)),
    ]
    first, *others = (part.annotate(n=Count("pk")) for part in parts)
    found = {(label, status): n for label, status, n in first.union(*others, all=True)}
    # All images were counted, so far.
    found[None, UNSCORED] = 2 * found.get((None, UNSCORED), 0) - sum(found.values())
    return [(label, status, n) for (label, status), n in found.items() if n]


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
