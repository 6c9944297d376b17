"""API v1 of batches: acting on many images, the history, and taking back. The same doors as the pages."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access, problems
from gallery.api import checked
from gallery.rest import CursorPages
from labeling import batches, bulk, history, review
from labeling.api import Conflict
from labeling.batch_serializers import BulkSerializer, DiffersSerializer, HistorySerializer
from labeling.models import Batch, LabelSet

BATCHES = Batch.objects.select_related("label_set__project")


class BatchPages(CursorPages):
    ordering = ("-at", "-id")


def _answer(label_set: LabelSet, role: str, user: access.User, pk: uuid.UUID, status: int = 200) -> Response:
    found = history.batches_of(label_set).filter(pk=pk)
    [entry] = history.told(label_set, user, role, found)
    return Response(HistorySerializer(entry).data, status=status)


def _begun(batch: Batch) -> int:
    """201 where it is done, 202 where a worker is at it."""
    return 202 if batch.state == Batch.State.RUNNING else 201


class Batches(GenericAPIView):
    serializer_class = HistorySerializer
    pagination_class = BatchPages
    queryset = Batch.objects.all()

    def get_queryset(self) -> QuerySet[Batch]:
        return Batch.objects.none()

    @extend_schema(responses=HistorySerializer(many=True))
    def get(self, request: Request, pk: int) -> Response:
        """The history of a label set, newest first."""
        label_set = access.fetch(LabelSet.objects, request.user, "view", pk=pk)
        page = self.paginate_queryset(history.batches_of(label_set))
        entries = history.told(label_set, request.user, label_set.role, page)
        return self.get_paginated_response(HistorySerializer(entries, many=True).data)

    @extend_schema(
        request=BulkSerializer,
        responses={
            201: HistorySerializer,
            202: OpenApiResponse(HistorySerializer, description="A worker goes on with it."),
            409: OpenApiResponse(DiffersSerializer, description="`count` is another number by now."),
        },
    )
    def post(self, request: Request, pk: int) -> HttpResponse:
        """Say the same of many images, as one batch.

        Those that somebody decides about while a worker is at it are left as they are.
        """
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "review", pk=pk)
        asked = checked(BulkSerializer(label_set, data=request.data))
        try:
            batch = self._said(label_set, request, asked)
        except bulk.Differs as differs:
            return problems.answer(409, str(differs), count=differs.count)
        return _answer(label_set, label_set.role, request.user, batch.pk, _begun(batch))

    def _said(self, label_set: LabelSet, request: Request, asked: dict[str, Any]) -> Batch:
        if "images" in asked:
            return bulk.say(label_set, request.user, asked["saying"], list(dict.fromkeys(asked["images"])))
        params = QueryDict(mutable=True)
        params["q"] = asked["q"]
        ids, query = bulk.matching(label_set, request.user, params)
        return bulk.say(label_set, request.user, asked["saying"], ids, query, asked["count"])


class BatchDetail(GenericAPIView):
    serializer_class = HistorySerializer

    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """How far a batch is, and what of it stands."""
        batch = access.fetch(BATCHES, request.user, "view", pk=pk)
        return _answer(batch.label_set, batch.role, request.user, pk)


class BatchUndo(GenericAPIView):
    serializer_class = HistorySerializer

    @extend_schema(
        request=None,
        responses={
            201: HistorySerializer,
            202: OpenApiResponse(HistorySerializer, description="A worker goes on with it."),
            409: OpenApiResponse(description="There is nothing to take back."),
        },
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Take a batch back, or bring back what an undoing took; the answer is the batch that does it.

        Except where somebody decided after it. One that is under way is stopped first.
        """
        batch = access.fetch(BATCHES, request.user, "review", pk=pk)
        undoing = batches.undo(batch.label_set, request.user, batch.role, pk)
        if undoing is None:
            raise Conflict("There is nothing to take back: it is undone, or somebody decided later.")
        return _answer(batch.label_set, batch.role, request.user, undoing.pk, _begun(undoing))


class BatchStop(GenericAPIView):
    serializer_class = HistorySerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Stop a batch; what it has written stays, and can be undone. One that has ended is left as it is."""
        batch = access.fetch(BATCHES, request.user, "review", pk=pk)
        review.check_may_reverse(batch, request.user, batch.role)
        batches.cancel(batch)
        return _answer(batch.label_set, batch.role, request.user, pk)
