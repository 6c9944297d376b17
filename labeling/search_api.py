"""API v1 of search: by words, images and a picture, in one project or in all."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from gallery.models import Project
from gallery.serializers import IdField
from labeling import found, probes

MOST = 500


class SearchQuerySerializer(serializers.Serializer):
    q = serializers.CharField(
        required=False,
        help_text="Up to 1,000 characters: `red car + snow - person`, `similar:12`, `cutoff:0.25`.",
    )
    similar = IdField(required=False, help_text="Images like this one; the same as `similar:ID`.")
    limit = serializers.IntegerField(required=False, default=found.MOST, min_value=1, max_value=MOST)


class FoundSerializer(serializers.Serializer):
    image = serializers.IntegerField(source="pk")
    file_name = serializers.CharField(source="name")
    project = serializers.SlugField(source="project.slug")
    similarity = serializers.FloatField(source="likeness")


class FindSerializer(serializers.Serializer):
    query = serializers.CharField(source="line", help_text="The line that finds the same again.")
    searched = serializers.IntegerField(help_text="How many images were looked at.")
    found = serializers.IntegerField(source="number", help_text="How many are at the cut-off or above.")
    results = FoundSerializer(source="images", many=True, help_text="At the cut-off or above, best first.")


class PictureSerializer(serializers.Serializer):
    picture = serializers.FileField()


def answer(request: Request, slug: str = "") -> Response:
    asked = checked(SearchQuerySerializer(data=request.query_params))
    like = f"similar:{asked['similar']}" if "similar" in asked else ""
    words = asked.get("q", "").strip()
    line = f"{like} + {words}" if like and words else like or words
    return Response(FindSerializer(find(request.user, line, slug, asked["limit"])).data)


def find(user: access.User, line: str, slug: str, limit: int) -> found.Answer:
    answer = found.find(user, line, slug, limit)
    if answer.mistakes:
        raise Refused({"q": answer.mistakes.messages})
    return answer


class Search(GenericAPIView):
    serializer_class = FindSerializer

    @extend_schema(parameters=[SearchQuerySerializer])
    def get(self, request: Request) -> Response:
        """The images of all your projects that fit some words."""
        return answer(request)


class ProjectSearch(GenericAPIView):
    serializer_class = FindSerializer
    parser_classes: ClassVar = [MultiPartParser, FormParser]

    @extend_schema(parameters=[SearchQuerySerializer])
    def get(self, request: Request, slug: str) -> Response:
        """The project's images that fit some words, or are like an image of it."""
        access.fetch(Project.objects, request.user, "view", slug=slug)
        return answer(request, slug)

    @extend_schema(
        request={"multipart/form-data": PictureSerializer},
        responses={
            200: FindSerializer,
            415: OpenApiResponse(description="It is no picture that is read here."),
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        """The project's images that are like a picture. It isn't kept; `query` finds the same for days."""
        project = access.fetch(Project.objects, request.user, "view", slug=slug)
        picture = checked(PictureSerializer(data=request.data))["picture"]
        probe = probes.show(project, request.user, picture)
        return Response(FindSerializer(find(request.user, f"picture:{probe.pk}", slug, found.MOST)).data)
