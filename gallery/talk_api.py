"""API v1 of comments. Changes go through the door, as on the pages."""

from typing import ClassVar

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access, comments
from gallery.api import checked
from gallery.comment_serializers import CommentSerializer, ResolvedSerializer
from gallery.models import Comment, Image


def rows() -> QuerySet[Comment]:
    return Comment.objects.select_related("image__project", "user", "resolved_by").prefetch_related(
        "mentions"
    )


class ImageComments(ListAPIView):
    """The comments on an image, newest first."""

    serializer_class = CommentSerializer
    queryset = Comment.objects.all()

    def get_queryset(self) -> QuerySet[Comment]:
        image = access.fetch(Image.objects, self.request.user, "view", pk=self.kwargs["pk"])
        return rows().filter(image=image)

    @extend_schema(responses={201: CommentSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Say something of an image. A member's name after an @ mentions them; other names are only text."""
        image = access.fetch(Image.objects, request.user, "comment", pk=pk)
        comment = comments.add(image, request.user, **checked(CommentSerializer(data=request.data)))
        return Response(CommentSerializer(rows().get(pk=comment.pk)).data, status=201)


class CommentFilter(django_filters.FilterSet):
    mentions = django_filters.ChoiceFilter(
        choices=[("me", "me")], method="naming", label="`me`: the open ones that name you"
    )
    resolved = django_filters.BooleanFilter(field_name="resolved_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = Comment
        fields: ClassVar[list[str]] = []

    def naming(self, rows: QuerySet[Comment], name: str, value: str) -> QuerySet[Comment]:
        return rows.filter(comments.OPEN, mentions=self.request.user.pk)


class Comments(ListAPIView):
    """The comments on all images of your projects, newest first."""

    serializer_class = CommentSerializer
    filterset_class = CommentFilter
    queryset = Comment.objects.all()

    def get_queryset(self) -> QuerySet[Comment]:
        return rows().for_user(self.request.user)


class CommentDetail(GenericAPIView):
    serializer_class = CommentSerializer

    @extend_schema(request=ResolvedSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Resolve a comment, or open it again."""
        comment = access.fetch(Comment.objects, request.user, "comment", pk=pk)
        if checked(ResolvedSerializer(data=request.data))["resolved"]:
            comments.resolve(comment, request.user)
        else:
            comments.reopen(comment)
        return Response(CommentSerializer(rows().get(pk=pk)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a comment: your own, or any where your role lets you delete images."""
        comments.delete(comments.to_delete(request.user, pk))
        return Response(status=204)
