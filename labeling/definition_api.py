"""API v1 of label sets as documents: the definition of one that is there, and the sets to start from."""

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gallery import access
from labeling import definitions, ready_sets
from labeling.models import LabelSet


class DefinedLabelSerializer(serializers.Serializer):
    name = serializers.CharField()
    prompts = serializers.ListField(child=serializers.CharField())


class DefinitionSerializer(serializers.Serializer):
    """A label set as it travels: it can be posted to `projects/{slug}/label-sets/` as it is."""

    format = serializers.IntegerField(help_text="The version of this document.")
    name = serializers.CharField()
    templates = serializers.ListField(child=serializers.CharField())
    votes = serializers.IntegerField()
    labels = DefinedLabelSerializer(many=True)


class Definition(GenericAPIView):
    serializer_class = DefinitionSerializer
    queryset = LabelSet.objects.all()

    @extend_schema(
        parameters=[OpenApiParameter("format", enum=list(definitions.FORMATS), default="json")],
        responses={(200, "application/json"): DefinitionSerializer, (200, "text/plain"): OpenApiTypes.STR},
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        """The label set as a file: JSON with all that it is made of, or its labels one a line."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
        return definitions.download(label_set, request.query_params.get("format", "json"))


class ShortReadySetSerializer(serializers.Serializer):
    key = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    labels = serializers.IntegerField(help_text="How many.")


class ReadySetSerializer(DefinitionSerializer):
    description = serializers.CharField()


class ReadySets(APIView):
    @extend_schema(responses=ShortReadySetSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The label sets that come with the site, to start from."""
        every = ready_sets.every().items()
        rows = [document | {"key": key, "labels": len(document["labels"])} for key, document in every]
        return Response(ShortReadySetSerializer(rows, many=True).data)


class ReadySet(GenericAPIView):
    serializer_class = ReadySetSerializer

    def get(self, request: Request, key: str) -> Response:
        """One of them: it can be posted to `projects/{slug}/label-sets/` as it is."""
        if key not in ready_sets.every():
            raise Http404
        return Response(ReadySetSerializer(ready_sets.every()[key]).data)
