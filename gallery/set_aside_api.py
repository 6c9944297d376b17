"""API v1 of what is set aside. Changes go through the door, as on the pages."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access, set_aside
from gallery.api import checked
from gallery.models import Image, Project
from gallery.rest import CursorPages
from gallery.serializers import IdField, ImageSerializer

MOST_IMAGES = 1000


class AsideSerializer(ImageSerializer):
    set_aside_by = serializers.CharField(
        source="set_aside_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta(ImageSerializer.Meta):
        fields = [*ImageSerializer.Meta.fields, "set_aside_at", "set_aside_by"]
        read_only_fields = fields


class BringBackSerializer(serializers.Serializer):
    images = serializers.ListField(child=IdField(), allow_empty=False, max_length=MOST_IMAGES)


class BroughtBackSerializer(serializers.Serializer):
    images = serializers.ListField(
        child=serializers.IntegerField(), help_text="Those that were set aside, and are back."
    )


class AsidePages(CursorPages):
    ordering = ("-id",)


class SetAside(ListAPIView):
    """The images of the project that are set aside, newest first."""

    serializer_class = AsideSerializer
    pagination_class = AsidePages
    queryset = Image.everything.all()

    def get_queryset(self) -> QuerySet[Image]:
        project = access.fetch(Project.objects, self.request.user, "view", slug=self.kwargs["slug"])
        return set_aside.of(project).select_related("project", "uploaded_by", "set_aside_by")

    @extend_schema(request=BringBackSerializer, responses=BroughtBackSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Bring images back. They are shown, counted and labelled again as before."""
        project = access.fetch(Project.objects, request.user, "delete images", slug=slug)
        asked = checked(BringBackSerializer(data=request.data))
        return Response({"images": set_aside.bring_back(project, asked["images"])})
