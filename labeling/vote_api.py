"""API v1 of several opinions: the disputed images with their votes, and how far people agree."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.rest import CursorPages
from labeling import review
from labeling.agreement import Agreement, Kappa, Pair, Person, agreement
from labeling.ballots import ballots
from labeling.models import Annotation, LabelSet


class VoteSerializer(serializers.Serializer):
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    label = serializers.IntegerField(source="label_id", allow_null=True)
    verdict = serializers.ChoiceField(["accepted", "corrected", "none"])
    at = serializers.DateTimeField()


class DisputeSerializer(serializers.Serializer):
    image = serializers.IntegerField(source="image_id")
    file_name = serializers.CharField(source="image.name")
    seen = serializers.SerializerMethodField(
        help_text="Send it along with the review that settles the image."
    )
    votes = VoteSerializer(source="ballot.shown", many=True, help_text="Each person's last.")

    def get_seen(self, annotation: Annotation) -> str:
        return review.version(annotation)


class DisputePages(CursorPages):
    ordering = ("-image_id",)


class Disputes(ListAPIView):
    """The images about which people disagree, with their votes, newest first.

    A review with `settles` settles one.
    """

    serializer_class = DisputeSerializer
    pagination_class = DisputePages
    queryset = Annotation.objects.all()

    def get_queryset(self) -> QuerySet[Annotation]:
        self.label_set = access.fetch(
            LabelSet.objects, self.request.user, "settle disputes", pk=self.kwargs["pk"]
        )
        return self.label_set.annotations.filter(status=Annotation.Status.DISPUTED).select_related("image")

    def paginate_queryset(self, queryset: QuerySet[Annotation]) -> list[Annotation]:
        page = super().paginate_queryset(queryset)
        ids = [annotation.image_id for annotation in page]
        found = ballots(self.label_set, self.request.user, self.label_set.role, ids)
        for annotation in page:
            annotation.ballot = found[annotation.image_id]
        return page


class KappaSerializer(serializers.Serializer):
    kappa = serializers.FloatField(
        source="value", allow_null=True, help_text="Null where it is not defined: all the votes are the same."
    )
    images = serializers.IntegerField()
    votes = serializers.IntegerField(help_text="On each of these images.")
    words = serializers.CharField(help_text="As Landis and Koch (1977) call it.")


class PairSerializer(serializers.Serializer):
    users = serializers.ListField(
        child=serializers.CharField(allow_null=True), help_text="Null: another member, whom you aren't told."
    )
    kappa = serializers.FloatField(allow_null=True)
    images = serializers.IntegerField(help_text="That both voted on.")
    words = serializers.CharField()


class ShareSerializer(serializers.Serializer):
    same = serializers.IntegerField()
    of = serializers.IntegerField()


class PersonSerializer(serializers.Serializer):
    user = serializers.CharField()
    votes = serializers.IntegerField()
    settled = ShareSerializer(help_text="Votes that are the same as the answer that was settled.")
    clip = ShareSerializer(help_text="Votes that are the same as CLIP's suggestion of then.")


class AgreementSerializer(serializers.Serializer):
    images = serializers.IntegerField(help_text="Settled or disputed, with two or more people's votes.")
    is_cut = serializers.BooleanField(help_text="There are more: these are the newest.")
    fleiss = KappaSerializer(allow_null=True)
    pairs = PairSerializer(many=True, help_text="Cohen's kappa of each two people, most images first.")
    more_pairs = serializers.IntegerField(help_text="Left out: those with the fewest images.")
    people = PersonSerializer(many=True)

    def to_representation(self, found: Agreement) -> dict[str, Any]:
        return {
            "images": found.images,
            "is_cut": found.is_cut,
            "fleiss": KappaSerializer(found.fleiss).data if found.fleiss else None,
            "pairs": [_pair(found, pair) for pair in found.pairs],
            "more_pairs": found.more_pairs,
            "people": [_person(found, person) for person in found.people],
        }


def _pair(found: Agreement, pair: Pair) -> dict[str, Any]:
    kappa: Kappa = pair.kappa
    users = [found.names.get(user) for user in pair.users]
    return {"users": users, "kappa": kappa.value, "images": kappa.images, "words": kappa.words}


def _person(found: Agreement, person: Person) -> dict[str, Any]:
    shares = {"settled": ShareSerializer(person.settled).data, "clip": ShareSerializer(person.clip).data}
    return {"user": found.names[person.user], "votes": person.votes, **shares}


class AgreementFigures(GenericAPIView):
    serializer_class = AgreementSerializer

    @extend_schema(responses=AgreementSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """How far people agree who voted on the same images.

        Who settles disputes is told of everybody, others of themselves.
        """
        label_set = access.fetch(LabelSet.objects, request.user, "view", pk=pk)
        return Response(AgreementSerializer(agreement(label_set, request.user, label_set.role)).data)
