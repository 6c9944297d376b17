"""API v1 of near-duplicates: the same doors as the pages."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from gallery import access
from gallery.api import checked
from gallery.forms import is_id
from gallery.models import Project
from gallery.serializers import BIGGEST_ID, IdField, ImageSerializer
from labeling import beat, duplicates, looking
from labeling.api import Conflict
from labeling.models import DuplicateDecision, DuplicateSearch

A_PAGE = 50


class TwinSerializer(serializers.Serializer):
    image = ImageSerializer()
    sharpness = serializers.FloatField(
        help_text="Variance of the Laplacian; of nearly the same pictures alone."
    )


class GroupSerializer(serializers.Serializer):
    best = serializers.IntegerField(source="best.pk", help_text="The id of the image that is best kept.")
    reason = serializers.CharField(help_text="Why, in words.")
    members = TwinSerializer(many=True, help_text="The best one first.")


class GroupPageSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    count = serializers.IntegerField(help_text="Groups in all.")
    results = GroupSerializer(many=True)


class DecisionSerializer(serializers.ModelSerializer):
    user = serializers.CharField(source="user.username", default=None, allow_null=True, read_only=True)
    kept = serializers.ListField(child=serializers.IntegerField())
    set_aside = serializers.ListField(child=serializers.IntegerField())

    class Meta:
        model = DuplicateDecision
        fields = ["id", "user", "kept", "set_aside", "at", "undone_at"]


class DecideSerializer(serializers.Serializer):
    images = serializers.ListField(
        child=IdField(),
        min_length=2,
        max_length=duplicates.MOST_IN_GROUP,
        help_text="The group, as you saw it.",
    )
    keep = serializers.ListField(
        child=IdField(),
        min_length=1,
        max_length=duplicates.MOST_IN_GROUP,
        help_text="Those that stay; the others are set aside. All of them: they are never a group again.",
    )


class UndoDecisionSerializer(serializers.Serializer):
    decision = IdField()


class DuplicateSearchSerializer(serializers.Serializer):
    state = serializers.ChoiceField(["none", *DuplicateSearch.State.values])
    error = serializers.CharField()
    total = serializers.IntegerField(help_text="Images of the project.")
    seen = serializers.IntegerField(help_text="Images whose look is known.")
    compared = serializers.IntegerField(help_text="Images that are compared with all others.")
    worker_online = serializers.BooleanField(help_text="Without a worker nothing goes on.")


class Duplicates(GenericAPIView):
    serializer_class = GroupSerializer
    queryset = DuplicateDecision.objects.none()
    pagination_class = None

    @extend_schema(
        parameters=[OpenApiParameter("cursor", str, description="From `next` of the page before.")],
        responses=GroupPageSerializer,
    )
    def get(self, request: Request, slug: str) -> Response:
        """The groups of near-duplicates that nobody decided about, those with the newest images first."""
        project = access.fetch(Project.objects.all(), request.user, "view", slug=slug)
        groups = duplicates.groups(project)
        left = [ids for ids in groups if ids[-1] < self._before(request)]
        page = left[:A_PAGE]
        following = None
        if len(left) > len(page):
            following = replace_query_param(request.build_absolute_uri(), "cursor", page[-1][-1])
        answer = {"next": following, "count": len(groups), "results": duplicates.described(page)}
        return Response(GroupPageSerializer(answer, context={"request": request}).data)

    def _before(self, request: Request) -> int:
        cursor = request.query_params.get("cursor")
        if cursor and not is_id(cursor):
            raise NotFound("Invalid cursor")
        return int(cursor) if cursor else BIGGEST_ID + 1

    @extend_schema(
        request=DecideSerializer,
        responses={
            201: DecisionSerializer,
            409: OpenApiResponse(description="These images are no group any more."),
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        """Decide about a group: keep some or all of its images, and set the others aside."""
        project = access.fetch(Project.objects.all(), request.user, "delete images", slug=slug)
        asked = checked(DecideSerializer(data=request.data))
        try:
            decision = duplicates.decide(project, request.user, asked["images"], asked["keep"])
        except duplicates.Changed as changed:
            raise Conflict(str(changed)) from changed
        return Response(DecisionSerializer(decision).data, status=201)


class DuplicatesUndo(GenericAPIView):
    serializer_class = DecisionSerializer

    @extend_schema(request=UndoDecisionSerializer, responses=DecisionSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Undo a decision: its images are shown again, and the group is open. Twice is as good as once."""
        project = access.fetch(Project.objects.all(), request.user, "delete images", slug=slug)
        asked = checked(UndoDecisionSerializer(data=request.data))
        decision = get_object_or_404(project.duplicate_decisions, pk=asked["decision"])
        duplicates.undo(decision, request.user)
        decision.refresh_from_db()
        return Response(DecisionSerializer(decision).data)


class DuplicatesSearch(GenericAPIView):
    serializer_class = DuplicateSearchSerializer

    def get(self, request: Request, slug: str) -> Response:
        """How far the search for near-duplicates is."""
        project = access.fetch(Project.objects.all(), request.user, "view", slug=slug)
        return Response(self._told(project))

    @extend_schema(request=None, responses={202: DuplicateSearchSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Look for near-duplicates. Images that were compared before are not compared again."""
        project = access.fetch(Project.objects.all(), request.user, "run", slug=slug)
        looking.start(project)
        return Response(self._told(project), status=202)

    @extend_schema(responses={200: DuplicateSearchSerializer})
    def delete(self, request: Request, slug: str) -> Response:
        """Stop the search; what it has found stays."""
        project = access.fetch(Project.objects.all(), request.user, "run", slug=slug)
        looking.stop(project)
        return Response(self._told(project))

    def _told(self, project: Project) -> dict[str, Any]:
        search = DuplicateSearch.objects.filter(project=project).first()
        progress = looking.progress(project)
        answer = {
            "state": search.state if search else "none",
            "error": search.error if search else "",
            "total": progress.total,
            "seen": progress.seen,
            "compared": progress.compared,
            "worker_online": beat.worker_is_online(),
        }
        return DuplicateSearchSerializer(answer).data
