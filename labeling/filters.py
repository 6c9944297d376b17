"""The search line and the filters beside it, for lists of the API and exports."""

from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request

from gallery.access import User
from gallery.models import Image
from gallery.serializers import BIGGEST_ID
from labeling import query
from labeling.models import STATUSES, LabelSet
from labeling.query import Query
from labeling.selection import ORDERINGS, in_order


class IdFilter(django_filters.NumberFilter):
    # Not the decimal that a number is by default: of `-1e7000000` that makes an integer, which takes minutes.
    field_class = forms.IntegerField

    def get_max_validator(self) -> None:
        return None


class QueryField(forms.CharField):
    """A search line. Whose it is, and of which label set, the filter says that it belongs to."""

    label_set: LabelSet
    user: User

    def clean(self, value: Any) -> Query:
        return query.parse(super().clean(value), self.label_set, self.user)


class QueryFilter(django_filters.CharFilter):
    field_class = QueryField


class LineFilter(django_filters.FilterSet):
    """Of `label_set.images()`: those that fit the search line."""

    q = QueryFilter(
        method="search",
        strip=False,
        label="A search line, as in the gallery: `label:cat status:unreviewed probability:<0.6 -by:anna`",
    )

    class Meta:
        model = Image
        fields: list[str] = []

    def __init__(self, *args: Any, label_set: LabelSet, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        line = self.filters["q"].field
        line.label_set, line.user = label_set, user

    def search(self, images: QuerySet[Image], name: str, value: Query) -> QuerySet[Image]:
        return value.filter(images)


class ImageFilter(LineFilter):
    """Those with this label (settled, or else suggested), status and certainty as well."""

    label = IdFilter(field_name="label_id", label="A label's id", min_value=1, max_value=BIGGEST_ID)
    status = django_filters.ChoiceFilter(choices=STATUSES)
    probability__lt = django_filters.NumberFilter(field_name="probability", lookup_expr="lt")
    probability__gt = django_filters.NumberFilter(field_name="probability", lookup_expr="gt")
    margin__lt = django_filters.NumberFilter(field_name="margin", lookup_expr="lt")
    margin__gt = django_filters.NumberFilter(field_name="margin", lookup_expr="gt")
    ordering = django_filters.ChoiceFilter(choices=ORDERINGS, method="order", empty_label=None)

    def order(self, images: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        return in_order(images, value)


class LineFilterBackend(DjangoFilterBackend):
    """For a list of the API whose view knows its `label_set`."""

    def get_filterset_kwargs(self, request: Request, queryset: QuerySet[Image], view: Any) -> dict[str, Any]:
        more = {"label_set": view.label_set, "user": request.user}
        return super().get_filterset_kwargs(request, queryset, view) | more
