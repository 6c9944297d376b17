"""API v1 of what a reviewer has at hand: redo, clear, similar images, keys."""

from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from gallery.models import Image
from gallery.serializers import IdField
from labeling import figures, keys, review
from labeling.api import Conflict
from labeling.models import STATUSES, LabelSet
from labeling.serializers import UndoneSerializer, UndoSerializer


class Redo(GenericAPIView):
    serializer_class = UndoSerializer

    @extend_schema(responses=UndoneSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Take the undoing of a batch back: `batch` is the undoing's. What somebody decided since is kept."""
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        batch = checked(UndoSerializer(data=request.data))["batch"]
        redone = review.redo(label_set, request.user, label_set.role, batch)
        return Response(UndoneSerializer(redone).data)


class ClearSerializer(serializers.Serializer):
    image = IdField()
    seen = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=40,
        help_text="A match's `seen`: where another answer stands by now, nothing is cleared (409).",
    )


class Clear(GenericAPIView):
    serializer_class = ClearSerializer

    @extend_schema(
        responses={
            200: UndoneSerializer,
            409: OpenApiResponse(description="Somebody decided in the meantime; nothing was written."),
        }
    )
    def post(self, request: Request, pk: int) -> Response:
        """Take the standing answer of one image back. The batch that gave it keeps its other images."""
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        asked = checked(ClearSerializer(data=request.data))
        seen = asked.get("seen")
        try:
            cleared = review.clear(label_set, request.user, label_set.role, asked["image"], seen)
        except review.Stale as stale:
            raise Conflict(stale.sentences) from stale
        return Response(UndoneSerializer(cleared).data)


class SimilarQuerySerializer(serializers.Serializer):
    label_set = IdField()


class SimilarSerializer(serializers.Serializer):
    image = serializers.IntegerField(source="pk")
    file_name = serializers.CharField(source="name")
    similarity = serializers.FloatField(source="likeness", help_text="Cosine of the two embeddings.")
    status = serializers.ChoiceField(STATUSES)
    label = serializers.IntegerField(
        source="label_id", allow_null=True, help_text="Settled, or what CLIP says where nobody decided."
    )


class SimilarImagesSerializer(serializers.Serializer):
    image = serializers.IntegerField()
    label_set = serializers.IntegerField()
    similar = SimilarSerializer(many=True, help_text="Most similar first. Empty before it is embedded.")


class SimilarImages(GenericAPIView):
    serializer_class = SimilarImagesSerializer

    @extend_schema(parameters=[SimilarQuerySerializer])
    def get(self, request: Request, pk: int) -> Response:
        """The project's images that CLIP finds most similar to this one."""
        image = access.fetch(Image.objects.select_related("project"), request.user, "view", pk=pk)
        wanted = checked(SimilarQuerySerializer(data=request.query_params))["label_set"]
        label_set = access.fetch(LabelSet.objects, request.user, "view", pk=wanted, project=image.project_id)
        answer = {"image": pk, "label_set": wanted, "similar": figures.similar(label_set, image)}
        return Response(SimilarImagesSerializer(answer).data)


class KeysSerializer(serializers.Serializer):
    keys = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(max_length=40), max_length=keys.MOST_KEYS),
        help_text="Of each action; one that isn't named gets its usual keys.",
    )


class Keys(GenericAPIView):
    serializer_class = KeysSerializer

    def get(self, request: Request) -> Response:
        """Your keys for reviewing."""
        return Response({"keys": keys.of(request.user)})

    def put(self, request: Request) -> Response:
        """Choose other keys, like `n`, `Enter`, `shift+z`; an empty list switches an action's key off."""
        chosen = checked(KeysSerializer(data=request.data))["keys"]
        try:
            keys.change(request.user, chosen)
        except ValidationError as error:
            raise Refused({"keys": error.message_dict}) from error
        request.user.refresh_from_db()
        return Response({"keys": keys.of(request.user)})
