"""API v1 of label sets, runs, matches and reviews. Changes go through the doors, as on the pages."""

import re
from base64 import b64decode
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from gallery import access
from gallery.api import checked
from gallery.decoding import BadPicture
from gallery.models import Image, Project
from gallery.rest import CappedJSONParser, CursorPages
from gallery.serializers import IdField
from labeling import batches, best_match, exports, figures, label_sets, review, runs, votes
from labeling.filters import ImageFilter, LineFilter, LineFilterBackend
from labeling.label_sets import LabelSpec
from labeling.models import LabelSet, ScoringRun
from labeling.serializers import (
    BatchSerializer,
    BestMatchErrorSerializer,
    BestMatchRequestSerializer,
    BestMatchSerializer,
    LabelledImageSerializer,
    LabelSetSerializer,
    MatchSerializer,
    ReviewsSerializer,
    RunSerializer,
    ScoresSerializer,
    ShortRunSerializer,
    UndoneSerializer,
    UndoSerializer,
)


class Conflict(APIException):
    status_code = 409


def label_sets_with_run() -> QuerySet[LabelSet]:
    """Each with id, state and model of its newest run."""
    newest = ScoringRun.objects.filter(label_set=OuterRef("pk")).order_by("-id")
    return LabelSet.objects.select_related("project").annotate(
        run_id=Subquery(newest.values("id")[:1]),
        run_state=Subquery(newest.values("state")[:1]),
        run_model=Subquery(newest.values("model")[:1]),
    )


def _answer(label_set: LabelSet) -> dict[str, Any]:
    return LabelSetSerializer(label_sets_with_run().get(pk=label_set.pk)).data


def _specs(asked: dict[str, Any], label_set: LabelSet | None = None) -> list[LabelSpec] | None:
    """The labels that a request names. Of one that is there, prompts that aren't mentioned stay."""
    if "labels" not in asked:
        return None
    prompts = {label.pk: label.prompts for label in label_set.labels.all()} if label_set else {}
    return [
        LabelSpec(label["name"], label.get("prompts", prompts.get(label.get("id"), [])), label.get("id"))
        for label in asked["labels"]
    ]


class LabelSets(ListAPIView):
    """The project's label sets, newest first."""

    serializer_class = LabelSetSerializer
    queryset = LabelSet.objects.all()

    def get_queryset(self) -> QuerySet[LabelSet]:
        project = access.fetch(Project.objects, self.request.user, "view", slug=self.kwargs["slug"])
        return label_sets_with_run().filter(project=project).prefetch_related("labels")

    @extend_schema(responses={201: LabelSetSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Make a label set; the project's images are scored with it at once."""
        project = access.fetch(Project.objects, request.user, "edit labels", slug=slug)
        asked = checked(LabelSetSerializer(data=request.data))
        label_set = label_sets.create(
            project, request.user, asked["name"], _specs(asked), asked.get("templates"), asked.get("votes")
        )
        return Response(_answer(label_set), status=201)


class LabelSetDetail(GenericAPIView):
    serializer_class = LabelSetSerializer

    def get(self, request: Request, pk: int) -> Response:
        """One label set with its labels and its newest run."""
        label_set = access.fetch(label_sets_with_run(), request.user, "view", pk=pk)
        return Response(LabelSetSerializer(label_set).data)

    def patch(self, request: Request, pk: int) -> Response:
        """Change what is given; images are scored again where that changes what CLIP is asked."""
        label_set = access.fetch(
            LabelSet.objects.select_related("project"), request.user, "edit labels", pk=pk
        )
        asked = checked(LabelSetSerializer(label_set, data=request.data, partial=True))
        specs = _specs(asked, label_set)
        label_sets.change(label_set, request.user, asked.get("name"), specs, asked.get("templates"))
        if "votes" in asked:
            batches.ask_votes(label_set, request.user, asked["votes"])
        return Response(_answer(label_set))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a label set; one that people have labelled images with only an owner deletes."""
        label_set = access.fetch(LabelSet.objects, request.user, "edit labels", pk=pk)
        label_sets.delete(label_set, label_set.role)
        return Response(status=204)


class Runs(GenericAPIView):
    serializer_class = ShortRunSerializer

    @extend_schema(request=None, responses={202: ShortRunSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Score every image of the project again, from its stored embedding where it has one."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "run", pk=pk)
        run = runs.start(label_set.project, label_set, request.user)
        return Response(ShortRunSerializer(run).data, status=202)


class Run(GenericAPIView):
    serializer_class = RunSerializer

    def get(self, request: Request, pk: int) -> Response:
        """How far a run is, counted in images, and which images failed.

        It is at its end where `state` is `done` and `done + failed` reaches `total`: a picture that comes
        after the last one was scored is in `total` at once, and a moment later the run goes on.
        """
        rows = ScoringRun.objects.select_related("project").defer("label_vectors")
        return Response(RunSerializer(access.fetch(rows, request.user, "view", pk=pk)).data)


class RunCancel(GenericAPIView):
    serializer_class = ShortRunSerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Stop a run; what it has written stays. One that has ended is left as it is."""
        run = access.fetch(ScoringRun.objects, request.user, "run", pk=pk)
        runs.cancel(run)
        run.refresh_from_db(fields=["state"])
        return Response(ShortRunSerializer(run).data)


class RunRetry(GenericAPIView):
    serializer_class = ShortRunSerializer

    @extend_schema(
        request=None,
        responses={202: ShortRunSerializer, 409: OpenApiResponse(description="Not done, or not the newest.")},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Try the images again that failed in the newest run of a label set, once it is done."""
        run = access.fetch(ScoringRun.objects, request.user, "run", pk=pk)
        if not runs.retry_failed(run):
            raise Conflict(runs.NO_RETRY)
        run.refresh_from_db(fields=["state"])
        return Response(ShortRunSerializer(run).data, status=202)


class ScoresQuerySerializer(Serializer):
    label_set = IdField()


class ImageScores(GenericAPIView):
    serializer_class = ScoresSerializer

    @extend_schema(parameters=[ScoresQuerySerializer])
    def get(self, request: Request, pk: int) -> Response:
        """Similarity and probability of every label of one label set."""
        image = access.fetch(Image.objects, request.user, "view", pk=pk)
        asked = checked(ScoresQuerySerializer(data=request.query_params))
        label_set = get_object_or_404(LabelSet, project=image.project_id, pk=asked["label_set"])
        scores = figures.label_scores(label_set, image)
        answer = {"image": image.pk, "label_set": label_set.pk, "scores": scores}
        return Response(ScoresSerializer(answer).data)


class MatchPages(CursorPages):
    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        # One of the filter's own orderings by now: the filter has refused any other.
        ordering = request.query_params.get("ordering") or "-id"
        return (ordering,) if ordering.endswith("id") else (ordering, "id")


class Matches(ListAPIView):
    """What CLIP says of each image that it has come to, and what people settled on.

    Filtered and sorted as in the gallery.
    """

    serializer_class = MatchSerializer
    pagination_class = MatchPages
    filter_backends: ClassVar = [LineFilterBackend]
    filterset_class = ImageFilter
    queryset = Image.objects.all()

    def get_queryset(self) -> QuerySet[Image]:
        self.label_set = access.fetch(
            LabelSet.objects.select_related("project"), self.request.user, "view", pk=self.kwargs["pk"]
        )
        return self.label_set.images().filter(suggested_id__isnull=False)


class LabelSetImages(ListAPIView):
    """The project's images with their label and status in this label set, scored or not, newest first."""

    serializer_class = LabelledImageSerializer
    filter_backends: ClassVar = [LineFilterBackend]
    filterset_class = LineFilter
    queryset = Image.objects.all()

    def get_queryset(self) -> QuerySet[Image]:
        self.label_set = access.fetch(
            LabelSet.objects.select_related("project"), self.request.user, "view", pk=self.kwargs["pk"]
        )
        return self.label_set.images().select_related("project", "uploaded_by")


class Reviews(GenericAPIView):
    serializer_class = ReviewsSerializer

    @extend_schema(
        responses={
            201: BatchSerializer,
            409: OpenApiResponse(description="Somebody decided in the meantime; nothing was written."),
        }
    )
    def post(self, request: Request, pk: int) -> Response:
        """Write decisions down, all of them or none, but for those that `leave_stale` leaves.

        `accepted`: the suggestion stands; `corrected`: it is `label`; `none`: none of these; `skipped`.
        """
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        serializer = ReviewsSerializer(data=request.data)
        asked, decisions = checked(serializer), serializer.decisions()
        if asked["settles"]:
            access.fetch(LabelSet.objects, request.user, "settle disputes", pk=pk)
        try:
            batch = review.decide(
                label_set, request.user, decisions, asked["settles"], leave_stale=asked["leave_stale"]
            )
        except review.Stale as stale:
            raise Conflict(stale.sentences) from stale
        decided = list(label_set.reviews.filter(batch=batch))
        left = {decision.image_id for decision in decisions} - {each.image_id for each in decided}
        answer = {"batch": batch, "decided": decided, "left": sorted(left)}
        return Response(BatchSerializer(answer).data, status=201)


class Undo(GenericAPIView):
    serializer_class = UndoSerializer

    @extend_schema(
        responses={
            200: UndoneSerializer,
            409: OpenApiResponse(description="It is too large for one request."),
        }
    )
    def post(self, request: Request, pk: int) -> Response:
        """Take a batch back, except where somebody decided after it."""
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        batch = checked(UndoSerializer(data=request.data))["batch"]
        if batches.is_large(label_set, batch):
            raise Conflict(f"That is a worker's: POST to batches/{batch}/undo/ instead.")
        undone = review.undo(label_set, request.user, label_set.role, batch)
        return Response(UndoneSerializer(undone).data)


class Export(GenericAPIView):
    filterset_class = ImageFilter
    queryset = Image.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("format", enum=list(exports.FORMATS), default="csv"),
            OpenApiParameter("images", bool, description="With the pictures; some formats always are."),
            OpenApiParameter("size", int, description="Pictures at most so many pixels a side."),
            OpenApiParameter("jpeg", bool, description="All pictures as JPEG."),
            OpenApiParameter("include", enum=["suggested"], description="CLIP's suggestions as well."),
            OpenApiParameter("raw", bool, description="CSV cells as they are, formulas too."),
            OpenApiParameter("columns", description="Some of a table's columns, with commas between."),
            OpenApiParameter("split", description="Train, val and test in percent, such as `80/10/10`."),
            OpenApiParameter("seed", int, description="Of the split; the same one gives the same split."),
            OpenApiParameter("prefix", description="What Label Studio's addresses of pictures begin with."),
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "application/xml"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
            (200, "application/zip"): OpenApiTypes.BINARY,
        },
        filters=True,
    )
    def get(self, request: Request, pk: int) -> StreamingHttpResponse:
        """The settled images as a file, streamed."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "export", pk=pk)
        reviews = votes.visible(label_set, request.user, label_set.role, label_set.reviews.all())
        return exports.download(label_set, request.user, request.query_params, reviews)


class PictureJSONParser(CappedJSONParser):
    def limit(self) -> int:
        """A picture of the largest size in base64, and the texts."""
        return settings.UPLOAD_MAX_BYTES * 4 // 3 + 2**16


class BestMatch(APIView):
    """The first demo's request and answer, so that its client works unchanged."""

    parser_classes: ClassVar = [PictureJSONParser]

    def get_authenticators(self) -> list:
        return [] if settings.BEST_MATCH_PUBLIC else super().get_authenticators()

    def get_permissions(self) -> list:
        return [AllowAny()] if settings.BEST_MATCH_PUBLIC else super().get_permissions()

    @extend_schema(
        request=BestMatchRequestSerializer,
        responses={
            200: BestMatchSerializer,
            400: OpenApiResponse(BestMatchErrorSerializer, "The request is not as described; or no JSON."),
        },
    )
    def post(self, request: Request) -> Response:
        """Which of two texts fits the image better?"""
        serializer = BestMatchRequestSerializer(data=request.data)
        if not serializer.is_valid():
            field, [problem, *_] = next(iter(serializer.errors.items()))
            return Response({"error": f"{field}: {problem}"}, status=400)
        asked = serializer.validated_data
        try:
            content = b64decode(re.sub(r"^data:[^,]*,|\s", "", asked["image_base64"]), validate=True)
        except ValueError:
            return Response({"error": "image_base64 is no base64."}, status=400)
        try:
            best = best_match.best_match(content, [asked["text_input1"], asked["text_input2"]])
        except BadPicture as problem:
            return Response({"error": str(problem)}, status=400)
        return Response({"best_match": best})
