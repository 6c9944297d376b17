"""What the API says of batches, and what a request for one says."""

from typing import Any

from rest_framework import serializers

from gallery.serializers import IdField, ProblemSerializer
from labeling.bulk import Saying
from labeling.history import Entry
from labeling.models import Batch, LabelSet
from labeling.review import Verdict

MOST_IMAGES = 1000


class HistorySerializer(serializers.Serializer):
    """An Entry of the history."""

    id = serializers.UUIDField(source="batch.pk")
    label_set = serializers.IntegerField(source="batch.label_set_id")
    kind = serializers.ChoiceField(Batch.Kind.choices, source="batch.kind")
    what = serializers.CharField(help_text="In words.")
    verdict = serializers.SerializerMethodField(
        help_text="Empty where it says several things, and for votes of others that are not told yet."
    )
    label = serializers.SerializerMethodField()
    query = serializers.SerializerMethodField(help_text="The search line that chose the images.")
    user = serializers.SerializerMethodField(help_text="Null for somebody who left.")
    assignee = serializers.SerializerMethodField(help_text="Whom images were assigned to.")
    votes = serializers.IntegerField(source="batch.votes", allow_null=True)
    at = serializers.DateTimeField(source="batch.at")
    state = serializers.ChoiceField(Batch.State.choices, source="batch.state")
    error = serializers.CharField(source="batch.error")
    total = serializers.IntegerField(source="batch.total", help_text="Images that it was asked for.")
    done = serializers.IntegerField(source="tally.done", help_text="Images that it has come to.")
    left = serializers.IntegerField(source="tally.left", help_text="Of these, left as they were.")
    undone = serializers.IntegerField(help_text="Images that were taken back since.")
    reverses = serializers.UUIDField(
        source="batch.reverses_id", allow_null=True, help_text="The batch that it takes back."
    )
    may_undo = serializers.BooleanField(help_text="By you, now.")

    def get_verdict(self, entry: Entry) -> str:
        return "" if entry.is_blind else entry.batch.verdict

    def get_label(self, entry: Entry) -> IdField(allow_null=True):
        return None if entry.is_blind else entry.batch.label_id

    def get_query(self, entry: Entry) -> str:
        return "" if entry.is_blind else entry.batch.query

    def get_user(self, entry: Entry) -> serializers.CharField(allow_null=True):
        return entry.batch.user.get_username() if entry.batch.user else None

    def get_assignee(self, entry: Entry) -> serializers.CharField(allow_null=True):
        return entry.batch.assignee.get_username() if entry.batch.assignee else None


class BulkSerializer(serializers.Serializer):
    """Which images, and what is said of them."""

    images = serializers.ListField(
        child=IdField(), required=False, allow_empty=False, max_length=MOST_IMAGES, help_text="Their ids; or:"
    )
    q = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=1000,
        help_text="The search line: all images that it finds, all of the project where it is empty.",
    )
    count = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31,
        help_text="With `q`: how many images you mean. Where the number differs by now, nothing is written.",
    )
    verdict = serializers.ChoiceField(
        ["accepted", "corrected", "none"], help_text="`corrected`: it is `label`, on all of them."
    )
    label = IdField(required=False, allow_null=True)

    def __init__(self, label_set: LabelSet | None = None, **options: Any) -> None:
        self.label_set = label_set
        super().__init__(**options)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if ("images" in asked) == ("q" in asked):
            raise serializers.ValidationError("Give either `images` or `q`.")
        if "q" in asked and "count" not in asked:
            raise serializers.ValidationError({"count": "With `q`, say how many images you mean."})
        return asked | {"saying": self._saying(asked["verdict"], asked.get("label"))}

    def _saying(self, verdict: str, label_id: int | None) -> Saying:
        if label_id is None:
            if verdict == Verdict.CORRECTED:
                raise serializers.ValidationError({"label": "Corrected to what? Give a label."})
            return Saying(Verdict(verdict))
        label = self.label_set.labels.filter(pk=label_id).first()
        if verdict == Verdict.NONE or label is None:
            raise serializers.ValidationError({"label": "There is no such label, or it is none of these."})
        return Saying(Verdict.CORRECTED, label)


class DiffersSerializer(ProblemSerializer):
    count = serializers.IntegerField(help_text="How many images there are now.")
