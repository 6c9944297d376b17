"""The gallery's filters, the same on pages, in the API and in exports."""

from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import urlencode

import django_filters
from django import forms
from django.db.models import Count, QuerySet
from django.http import QueryDict

from gallery.models import Image
from gallery.serializers import BIGGEST_ID
from labeling import ordering
from labeling.models import STATUSES, UNREVIEWED, Annotation, Label, LabelSet
from labeling.ordering import Key

ORDERINGS = [
    ("-id", "Newest"),
    ("id", "Oldest"),
    ("-probability", "Most certain"),
    ("probability", "Least certain"),
    ("-margin", "Largest margin"),
    ("margin", "Smallest margin"),
]


class IdFilter(django_filters.NumberFilter):
    # Not the decimal that a number is by default: of `-1e7000000` that makes an integer, which takes minutes.
    field_class = forms.IntegerField

    def get_max_validator(self) -> None:
        return None


class ImageFilter(django_filters.FilterSet):
    """Of `label_set.images()`: those with this label (settled, or else suggested), status and certainty."""

    label = IdFilter(field_name="label_id", label="A label's id", min_value=1, max_value=BIGGEST_ID)
    status = django_filters.ChoiceFilter(choices=STATUSES)
    probability__lt = django_filters.NumberFilter(field_name="probability", lookup_expr="lt")
    probability__gt = django_filters.NumberFilter(field_name="probability", lookup_expr="gt")
    margin__lt = django_filters.NumberFilter(field_name="margin", lookup_expr="lt")
    margin__gt = django_filters.NumberFilter(field_name="margin", lookup_expr="gt")
    ordering = django_filters.ChoiceFilter(choices=ORDERINGS, method="order", empty_label=None)

    class Meta:
        model = Image
        fields: list[str] = []

    def order(self, images: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        return ordering.ordered(images, keys(value))


def keys(value: str) -> list[Key]:
    """What one of ORDERINGS sorts by; newest first where it is none of them."""
    if value not in dict(ORDERINGS):
        value = "-id"
    return [Key(value.lstrip("-"), value.startswith("-")), Key("pk")]


class Place(NamedTuple):
    """The ids of the images before and after one in the gallery, and how many there are before it."""

    previous: int | None
    next: int | None
    position: int


class Counts:
    """How many images of a label set have which label (settled, or else suggested) and which status."""

    def __init__(self, label_set: LabelSet) -> None:
        grouped = label_set.images().order_by().values_list("label_id", "status").annotate(n=Count("pk"))
        self.rows: list[tuple[int | None, str, int]] = list(grouped)

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


class Selection:
    """A label set's images as the parameters of a page filter and sort them, and the ways on from there."""

    NAMES = tuple(ImageFilter.base_filters)

    def __init__(self, label_set: LabelSet, params: QueryDict) -> None:
        self.label_set = label_set
        self.params = {name: params[name] for name in self.NAMES if params.get(name)}
        self.filterset = ImageFilter(params, label_set.images())
        self.images = self.filterset.qs
        chosen = self.filterset.form.cleaned_data
        self.status: str | None = chosen.get("status") or None
        self.label: int | None = chosen.get("label")
        self.ordering: str = chosen.get("ordering") or "-id"
        self.counts = Counts(label_set)

    @property
    def is_filtered(self) -> bool:
        return bool(self.params.keys() - {"ordering"})

    @property
    def total(self) -> int:
        """All images of the project."""
        return self.counts.by_status().total()

    def number(self) -> int:
        """How many images are left by the filters."""
        if self.params.keys() <= {"ordering", "status", "label"}:
            by_label = self.counts.by_label(self.status)
            return by_label.total() if self.label is None else by_label[self.label]
        return self.images.count()

    def query(self, **changes: Any) -> str:
        """The parameters of an address that shows the same, but for `changes`; None leaves one out."""
        params = {"label_set": self.label_set.pk} | self.params | changes
        return urlencode({name: value for name, value in params.items() if value is not None})

    @property
    def left(self) -> int:
        """Images of the label set that wait for a review."""
        return self.counts.by_status()[UNREVIEWED]

    @property
    def settled(self) -> int:
        """Images that people decided about, among those of the chosen label and status."""
        counts = self.counts.by_status(self.label)
        chosen = [self.status] if self.status else Annotation.Status.values
        return sum(counts[status] for status in chosen if status in Annotation.Status.values)

    def place(self, image: Image) -> Place:
        """Where an image of `label_set.images()` stands, also one that the filters leave out (by now)."""
        order = keys(self.ordering)
        at = {key.name: getattr(image, key.name) for key in order}
        before = ordering.before(self.images, order, at).values_list("pk", flat=True)
        after = ordering.after(self.images, order, at).values_list("pk", flat=True)
        return Place(before.first(), after.first(), before.count())

    def statuses(self) -> list[tuple[str, str, int, str]]:
        """Value, name, number of images and address of each status that is there or chosen, and of all."""
        counts = self.counts.by_status(self.label)
        named = [
            (value, name, counts[value], self.query(status=value))
            for value, name in STATUSES
            if counts[value] or value == self.status
        ]
        return [("", "all", counts.total(), self.query(status=None)), *named]

    def labels(self) -> list[tuple[Label, int]]:
        """Each label, and how many images of the chosen status have it."""
        counts = self.counts.by_label(self.status)
        return [(label, counts[label.pk]) for label in self.label_set.labels.all()]
