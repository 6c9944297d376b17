"""API v1 of images that no label fits: look for them, see them, and make labels of their groups."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from labeling import unknown_groups, unknown_runs
from labeling.api import Conflict
from labeling.models import LabelSet, UnknownGroup, UnknownsRun

LABEL_SETS = LabelSet.objects.select_related("project")
GROUPS = UnknownGroup.objects.select_related("run__label_set__project")


class UnknownsRunSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(
        source="created_by.username", allow_null=True, default=None, read_only=True
    )

    class Meta:
        model = UnknownsRun
        fields = ["id", "state", "percent", "error", "model", "looked", "unknown"]
        fields += ["created_by", "created_at", "finished_at"]
        read_only_fields = fields


class OutlierSerializer(serializers.Serializer):
    """An image far from every label and from its neighbours."""

    image = serializers.IntegerField(source="image.pk")
    name = serializers.CharField(source="image.name")
    label = serializers.CharField(help_text="The label that it is most like.")
    similarity = serializers.FloatField(help_text="To that label, cosine.")
    nearest = serializers.FloatField(help_text="Similarity to its nearest neighbour.")
    far = serializers.FloatField(help_text="Robust deviations from what is usual in the project.")


class UnknownGroupSerializer(serializers.Serializer):
    id = serializers.IntegerField(source="group.pk")
    name = serializers.CharField(source="group.name", help_text="Proposed: the word that fits best.")
    alternatives = serializers.ListField(child=serializers.CharField(), source="group.alternatives")
    near = serializers.CharField(source="group.near", help_text="A label that fits better, or empty.")
    similarity = serializers.FloatField(
        source="group.similarity", help_text="Mean cosine of its images to their middle."
    )
    size = serializers.IntegerField()
    images = serializers.ListField(child=serializers.IntegerField(), source="ids")


class UnknownsSerializer(serializers.Serializer):
    run = UnknownsRunSerializer(allow_null=True, help_text="The look that was begun last.")
    found = UnknownsRunSerializer(allow_null=True, help_text="The look whose findings these are.")
    outliers = OutlierSerializer(many=True)
    groups = UnknownGroupSerializer(many=True)


class MakeLabelSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    set = serializers.BooleanField(default=True, help_text="Give the label to the group's images.")


class LabelMadeSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    batch = serializers.UUIDField(allow_null=True, help_text="Which gave it to the images; undo takes it.")


class Unknowns(GenericAPIView):
    serializer_class = UnknownsSerializer

    def get(self, request: Request, pk: int) -> Response:
        """How the look for unknowns stands, and what the last finished one has found that still stands."""
        label_set = access.fetch(LABEL_SETS, request.user, "view", pk=pk)
        return Response(_answer(label_set))

    @extend_schema(request=None, responses={202: UnknownsRunSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Look for unknowns; the answer is the look that is under way already, where there is one."""
        label_set = access.fetch(LABEL_SETS, request.user, "run", pk=pk)
        run = unknown_runs.start(label_set, request.user)
        return Response(UnknownsRunSerializer(run).data, status=202)


def _answer(label_set: LabelSet) -> dict[str, Any]:
    found = unknown_groups.found(label_set)
    told = {
        "run": unknown_groups.newest(label_set),
        "found": found.run,
        "outliers": found.outliers,
        "groups": found.groups,
    }
    return UnknownsSerializer(told).data


class UnknownsCancel(GenericAPIView):
    serializer_class = UnknownsSerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Stop the look that is under way. One that has ended is left as it is."""
        label_set = access.fetch(LABEL_SETS, request.user, "run", pk=pk)
        if run := unknown_groups.newest(label_set):
            unknown_runs.cancel(run)
        return Response(_answer(label_set))


class UnknownGroupDetail(GenericAPIView):
    serializer_class = UnknownGroupSerializer

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int, group: int) -> Response:
        """Not a group: it is not shown again in the findings of this look."""
        found = access.fetch(GROUPS, request.user, "run", pk=group, run__label_set=pk)
        unknown_groups.dismiss(found)
        return Response(status=204)


class UnknownGroupLabel(GenericAPIView):
    serializer_class = MakeLabelSerializer

    @extend_schema(
        responses={
            201: LabelMadeSerializer,
            409: OpenApiResponse(description="A label was made of this group, or it was dismissed."),
        }
    )
    def post(self, request: Request, pk: int, group: int) -> Response:
        """Make a label of a group, and give it to the group's images as one batch."""
        found = access.fetch(GROUPS, request.user, "edit labels", pk=group, run__label_set=pk)
        asked = checked(MakeLabelSerializer(data=request.data))
        if found.label_id or found.dismissed:
            raise Conflict("Something was made of this group already.")
        label, batch = unknown_groups.make_label(
            found, found.run.label_set, request.user, asked["name"], asked["set"]
        )
        made = {"id": label.pk, "name": label.name, "batch": batch.pk if batch else None}
        return Response(LabelMadeSerializer(made).data, status=201)
