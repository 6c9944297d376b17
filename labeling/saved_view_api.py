"""API v1 of saved views. Changes go through the door, as on the pages."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from labeling import saved_views
from labeling.models import LabelSet, SavedView
from labeling.selection import FIND_ORDERINGS
from labeling.terms import LONGEST


class ViewSerializer(serializers.ModelSerializer):
    label_set = serializers.IntegerField(source="label_set_id", read_only=True)
    query = serializers.CharField(
        max_length=LONGEST,
        allow_blank=True,
        required=False,
        trim_whitespace=False,
        help_text="A search line: the `q` of matches and exports.",
    )
    ordering = serializers.ChoiceField(FIND_ORDERINGS, allow_blank=True, required=False)
    user = serializers.CharField(source="user.username", read_only=True, help_text="Who saved it.")

    class Meta:
        model = SavedView
        fields = ["id", "label_set", "name", "query", "ordering", "is_shared", "user", "created_at"]
        read_only_fields = ["id", "created_at"]

    def asked(self) -> dict[str, Any]:
        """What the request says, as the door takes it."""
        asked = dict(checked(self))
        if "query" in asked:
            asked["line"] = asked.pop("query")
        return asked


class Views(ListAPIView):
    """Your saved views of a label set, and those that others share, newest first."""

    serializer_class = ViewSerializer
    queryset = SavedView.objects.all()

    def get_queryset(self) -> QuerySet[SavedView]:
        label_set = access.fetch(LabelSet.objects, self.request.user, "view", pk=self.kwargs["pk"])
        return saved_views.visible(self.request.user).filter(label_set=label_set)

    @extend_schema(responses={201: ViewSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Save a view; it takes the place of yours of that name. To share it asks for a labeler's role."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
        asked = ViewSerializer(data=request.data).asked()
        view = saved_views.save(label_set, request.user, label_set.role, **asked)
        return Response(ViewSerializer(view).data, status=201)


class ViewDetail(GenericAPIView):
    serializer_class = ViewSerializer

    def _view(self, request: Request, pk: int) -> SavedView:
        rows = saved_views.visible(request.user).select_related("user", "label_set__project")
        return access.fetch(rows, request.user, "view", pk=pk)

    def patch(self, request: Request, pk: int) -> Response:
        """Change what is given of a view of yours."""
        view = self._view(request, pk)
        asked = ViewSerializer(view, data=request.data, partial=True).asked()
        return Response(ViewSerializer(saved_views.change(view, request.user, view.role, **asked)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a view of yours; one that somebody else shares asks for “edit labels”."""
        view = self._view(request, pk)
        saved_views.delete(view, request.user, view.role)
        return Response(status=204)
