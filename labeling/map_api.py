"""API v1 of the map, and of images that are chosen by hand."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import conditional_page
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gallery import access
from gallery.api import checked
from gallery.models import Project
from gallery.serializers import IdField
from labeling import layouts, maps, picks
from labeling.board import chosen_label_set
from labeling.models import MapLayout, Pick


class LayoutSerializer(serializers.ModelSerializer):
    progress = serializers.SerializerMethodField(help_text="In per cent.")
    created_by = serializers.CharField(source="created_by.username", allow_null=True, default=None)

    class Meta:
        model = MapLayout
        fields = ["id", "model", "method", "state", "progress", "error", "created_by", "created_at"]
        fields += ["finished_at"]
        read_only_fields = fields

    def get_progress(self, layout: MapLayout) -> int:
        return maps.progress(layout)


class MapLabelSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    colour = serializers.IntegerField(help_text="Which of twelve, from 0.")


class MapStatusSerializer(serializers.Serializer):
    value = serializers.CharField()
    name = serializers.CharField()


def _column(words: str, **options: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.IntegerField(), help_text=words, **options)


class MapSerializer(serializers.Serializer):
    """All images on the map in one answer: columns of equal length, 100,000 images in 2 MB or so."""

    map = LayoutSerializer(allow_null=True, help_text="The one that is shown.")
    newest = LayoutSerializer(allow_null=True, help_text="The one that was asked for last.")
    labels = MapLabelSerializer(many=True, help_text="Of the label set.")
    statuses = MapStatusSerializer(many=True)
    images = _column("Ids. None that is deleted.")
    x = _column(f"0 to {maps.EXTENT}.")
    y = _column(f"0 to {maps.EXTENT}.")
    label = _column("Which of `labels`, from 0; −1: none. Empty without a label set.")
    status = _column("Which of `statuses`, from 0. Empty without a label set.")
    found = _column("Whether `q` finds it, 1 or 0. Null without `q`.", allow_null=True)
    missing = serializers.IntegerField(help_text="Images that came since, and can be drawn.")
    unembedded = serializers.IntegerField(help_text="Images that no map can show yet.")


COLUMNS = ("images", "x", "y", "label", "status", "found", "missing", "unembedded", "statuses")


class Map(GenericAPIView):
    serializer_class = LayoutSerializer
    queryset = MapLayout.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("label_set", int, description="The oldest, where none is named."),
            OpenApiParameter("q", str, description="A search line: which of them it finds."),
        ],
        responses=MapSerializer,
    )
    # Before it is packed, which never comes out the same twice.
    @method_decorator([gzip_page, conditional_page])
    def get(self, request: Request, slug: str) -> Response:
        """Where each image of the project stands on its map, all at once: alike ones are near each other."""
        project = access.fetch(Project.objects.all(), request.user, "view", slug=slug)
        label_set, _ = chosen_label_set(project, request.query_params.get("label_set"))
        found = maps.points(project, label_set, request.query_params, request.user)
        layouts_of = {name: found[name] and LayoutSerializer(found[name]).data for name in ("map", "newest")}
        labels = MapLabelSerializer(found["labels"], many=True).data
        # The columns go out as they are: a serializer would look at each of their numbers.
        return Response(layouts_of | {"labels": labels} | {name: found[name] for name in COLUMNS})

    @extend_schema(request=None, responses={202: LayoutSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Draw the map again, in the background. Where that goes on already, the answer is that one."""
        project = access.fetch(Project.objects.all(), request.user, "run", slug=slug)
        return Response(LayoutSerializer(layouts.start(project, request.user)).data, status=202)


class MapCancel(APIView):
    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, slug: str) -> Response:
        """Stop drawing; the map before it stays. Where nothing is being drawn, nothing happens."""
        project = access.fetch(Project.objects.all(), request.user, "run", slug=slug)
        if layout := layouts.active(project):
            layouts.cancel(layout)
        return Response(status=204)


class PickRequestSerializer(serializers.Serializer):
    images = serializers.ListField(child=IdField(), allow_empty=False, max_length=picks.MOST_PICKED)


class PickSerializer(serializers.ModelSerializer):
    count = serializers.SerializerMethodField()
    query = serializers.SerializerMethodField(help_text="The search line that finds them.")
    images = serializers.ListField(child=serializers.IntegerField(), source="image_ids")

    class Meta:
        model = Pick
        fields = ["id", "count", "query", "images", "at"]
        read_only_fields = fields

    def get_count(self, pick: Pick) -> int:
        return len(pick.image_ids)

    def get_query(self, pick: Pick) -> str:
        return f"picked:{pick.pk}"


class Picks(GenericAPIView):
    serializer_class = PickSerializer
    queryset = Pick.objects.all()

    @extend_schema(request=PickRequestSerializer, responses={201: PickSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Remember images that were chosen, such as with a lasso; those of other projects are left out."""
        project = access.fetch(Project.objects.all(), request.user, "view", slug=slug)
        asked = checked(PickRequestSerializer(data=request.data))
        pick = picks.pick(project, request.user, asked["images"])
        return Response(PickSerializer(pick).data, status=201)


class PickDetail(GenericAPIView):
    serializer_class = PickSerializer
    queryset = Pick.objects.all()

    def get(self, request: Request, pk: int) -> Response:
        """Images that were chosen, by their ids of then."""
        return Response(PickSerializer(access.fetch(Pick.objects, request.user, "view", pk=pk)).data)
