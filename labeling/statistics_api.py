"""API v1 of how the work on a label set stands."""

from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from labeling.models import LabelSet
from labeling.statistics import Statistics
from labeling.truth import Measured


class LabelStatisticsSerializer(serializers.Serializer):
    label = serializers.IntegerField(source="label.pk")
    name = serializers.CharField(source="label.name")
    suggested = serializers.IntegerField(help_text="Images that CLIP gives it now.")
    accepted = serializers.IntegerField(help_text="Of those, settled as this label.")
    corrected_away = serializers.IntegerField(help_text="Of those, settled as another one or none of these.")
    corrected_to = serializers.IntegerField(
        help_text="Settled as this label, where CLIP says something else."
    )
    settled = serializers.IntegerField()
    precision = serializers.FloatField(
        allow_null=True, help_text="The share of its suggestions that people accepted, 0 to 1."
    )


class PersonStatisticsSerializer(serializers.Serializer):
    username = serializers.CharField(allow_null=True, help_text="Null: people who are deleted.")
    decided = serializers.IntegerField(help_text="Images, by the last answer that stands.")
    accepted = serializers.IntegerField()
    corrected = serializers.IntegerField()
    none = serializers.IntegerField()
    skipped = serializers.IntegerField()
    minutes = serializers.IntegerField(help_text="In which they decided anything.")
    images_a_minute = serializers.FloatField(source="pace", allow_null=True)
    last_active = serializers.DateTimeField()


class TruthOfLabelSerializer(serializers.Serializer):
    label = serializers.IntegerField(source="label.pk")
    known = serializers.IntegerField(help_text="Images that are known to show it and have a suggestion.")
    right = serializers.IntegerField(help_text="Of these, suggested as it.")
    suggested = serializers.IntegerField(help_text="Of all known ones.")
    recall = serializers.FloatField(allow_null=True)
    precision = serializers.FloatField(allow_null=True)


class ConfusionSerializer(serializers.Serializer):
    known = serializers.CharField()
    suggested = serializers.CharField()
    number = serializers.IntegerField()


class GroundTruthSerializer(serializers.Serializer):
    """CLIP's suggestions beside the ground truth that was imported."""

    known = serializers.IntegerField(help_text="Images with a known label.")
    compared = serializers.IntegerField(help_text="Of these, with a suggestion.")
    right = serializers.IntegerField()
    accuracy = serializers.FloatField(allow_null=True)
    labels = TruthOfLabelSerializer(many=True)
    confusions = ConfusionSerializer(many=True, help_text="The most frequent ten.")


class StatisticsSerializer(serializers.Serializer):
    total = serializers.IntegerField(help_text="Images of the project.")
    settled = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="With a suggestion, neither settled nor disputed.")
    unscored = serializers.IntegerField()
    disputed = serializers.IntegerField()
    votes_given = serializers.IntegerField(help_text="Of one image no more than it asks for.")
    votes_asked = serializers.IntegerField()
    left = serializers.IntegerField(help_text="Decisions that the waiting images still ask for.")
    last_hour = serializers.IntegerField(help_text="Decisions in the last hour.")
    decisions_a_minute = serializers.FloatField(
        source="pace", allow_null=True, help_text="While a person works, over all of them."
    )
    work_left = serializers.SerializerMethodField(help_text="For one person, in seconds.")
    time_left = serializers.SerializerMethodField(
        help_text="At the pace of the last hour, in seconds; null where nobody decided in it."
    )
    labels = LabelStatisticsSerializer(many=True)
    people = PersonStatisticsSerializer(many=True, help_text="Who decided most first.")
    ground_truth = serializers.SerializerMethodField()

    def get_ground_truth(self, statistics: Statistics) -> GroundTruthSerializer:
        return GroundTruthSerializer(Measured(statistics.label_set)).data

    def get_work_left(self, statistics: Statistics) -> float | None:
        return statistics.work_left and statistics.work_left.total_seconds()

    def get_time_left(self, statistics: Statistics) -> float | None:
        return statistics.time_left and statistics.time_left.total_seconds()


class LabelSetStatistics(GenericAPIView):
    serializer_class = StatisticsSerializer

    def get(self, request: Request, pk: int) -> Response:
        """How the work stands: of the project, of each label and of each person; what is undone left out."""
        rows = LabelSet.objects.select_related("project").prefetch_related("labels")
        label_set = access.fetch(rows, request.user, "view", pk=pk)
        return Response(StatisticsSerializer(Statistics(label_set)).data)
