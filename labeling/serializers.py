from typing import Any, ClassVar

from rest_framework import serializers

from gallery.models import Image
from gallery.serializers import IdField, ImageSerializer
from labeling import beat, clip, review, runs
from labeling.label_sets import LONGEST_TEXT, MOST_LABELS, MOST_TEXTS
from labeling.models import STATUSES, UNREVIEWED, Label, LabelSet, ScoringRun
from labeling.runs import RunState

MOST_REVIEWS = 1000
SHOWN_FAILURES = 100


class ModelSerializer(serializers.Serializer):
    """Which CLIP a run was made with, from the run's `name@revision`."""

    name = serializers.CharField()
    revision = serializers.CharField()
    is_starter = serializers.BooleanField()
    note = serializers.CharField(
        allow_blank=True, help_text="What to know of the starter model, where it is in use."
    )

    def to_representation(self, model: str) -> dict[str, Any]:
        name, revision = model.rsplit("@", 1)
        is_starter = name == clip.STARTER_NAME
        note = clip.STARTER_NOTE if is_starter else ""
        return {"name": name, "revision": revision, "is_starter": is_starter, "note": note}


class ShortRunSerializer(serializers.ModelSerializer):
    class Meta:
        model = ScoringRun
        fields = ["id", "state"]


class PromptField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=LONGEST_TEXT, **options)


class LabelSerializer(serializers.ModelSerializer):
    id = IdField(required=False, help_text="Of a label that is there, to rename it or change its prompts.")
    prompts = serializers.ListField(
        child=PromptField(), max_length=MOST_TEXTS, required=False, help_text="Used instead of the templates."
    )

    class Meta:
        model = Label
        fields = ["id", "name", "prompts"]


class LabelSetSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField("slug", read_only=True)
    templates = serializers.ListField(
        child=PromptField(), max_length=MOST_TEXTS, required=False, help_text="Each with `{label}` in it."
    )
    labels = LabelSerializer(
        many=True, max_length=MOST_LABELS, help_text="All of them, in order: one that is left out is removed."
    )
    votes = serializers.IntegerField(
        min_value=1,
        max_value=9,
        required=False,
        help_text="How many people's answers settle an image. A change settles anew what was answered.",
    )
    run = serializers.SerializerMethodField(help_text="The newest.")
    model = serializers.SerializerMethodField(help_text="What the newest run was made with.")

    class Meta:
        model = LabelSet
        fields = ["id", "project", "name", "templates", "labels", "votes", "run", "model", "created_at"]
        read_only_fields = ["created_at"]
        extra_kwargs = {"name": {"required": True}}

    def validate_labels(self, labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A change of a label set may leave out any field, of a label none but the optional ones."""
        if any("name" not in label for label in labels):
            raise serializers.ValidationError("Each label needs a name, also one that is there.")
        return labels

    def get_run(self, label_set: LabelSet) -> ShortRunSerializer(allow_null=True):
        return {"id": label_set.run_id, "state": label_set.run_state} if label_set.run_id else None

    def get_model(self, label_set: LabelSet) -> ModelSerializer(allow_null=True):
        return ModelSerializer(label_set.run_model).data if label_set.run_id else None


class FailureSerializer(serializers.Serializer):
    image = serializers.IntegerField(source="image_id")
    name = serializers.CharField(source="image.name")
    reason = serializers.CharField()


class RunSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField("slug", read_only=True)
    label_set = serializers.IntegerField(source="label_set_id", allow_null=True)
    model = ModelSerializer()
    total = serializers.IntegerField(source="progress.total")
    done = serializers.IntegerField(source="progress.done")
    failed = serializers.IntegerField(source="progress.failed")
    percent = serializers.SerializerMethodField()
    failures = serializers.SerializerMethodField(help_text=f"The first {SHOWN_FAILURES} images that failed.")
    worker_online = serializers.SerializerMethodField(help_text="Without a worker nothing goes on.")

    class Meta:
        model = ScoringRun
        fields = [
            *(
                "id",
                "project",
                "label_set",
                "model",
                "precision",
                "state",
                "total",
                "done",
                "failed",
                "percent",
            ),
            *("error", "failures", "worker_online", "created_at", "finished_at"),
        ]

    def to_representation(self, run: ScoringRun) -> dict[str, Any]:
        run.progress = runs.progress(run)
        return super().to_representation(run)

    def get_percent(self, run: ScoringRun) -> int:
        return 100 if run.state == RunState.DONE else run.progress.percent

    def get_failures(self, run: ScoringRun) -> FailureSerializer(many=True):
        failures = run.image_attempts.filter(failed=True).select_related("image").order_by("image_id")
        return FailureSerializer(failures[:SHOWN_FAILURES], many=True).data

    def get_worker_online(self, run: ScoringRun) -> bool:
        return beat.worker_is_online()


class ScoreSerializer(serializers.Serializer):
    label = serializers.IntegerField(source="label_id")
    name = serializers.CharField()
    similarity = serializers.FloatField()
    probability = serializers.FloatField()


class ScoresSerializer(serializers.Serializer):
    image = serializers.IntegerField()
    label_set = serializers.IntegerField()
    scores = ScoreSerializer(many=True, help_text="Best first. Empty where the image is not embedded yet.")


class MatchSerializer(serializers.Serializer):
    """An image of `label_set.images()` that is matched."""

    image = serializers.IntegerField(source="pk")
    file_name = serializers.CharField(source="name")
    label = serializers.IntegerField(source="suggested_id", help_text="What CLIP says.")
    similarity = serializers.FloatField()
    probability = serializers.FloatField()
    margin = serializers.FloatField()
    runner_up = serializers.IntegerField(source="runner_up_id", allow_null=True)
    status = serializers.ChoiceField(STATUSES)
    seen = serializers.SerializerMethodField(
        help_text="The version of the answer that stands; empty where nobody decided."
    )
    settled = serializers.SerializerMethodField(
        help_text="The label that people settled on; null where nobody decided, or for none of these."
    )

    def get_seen(self, image: Image) -> str:
        return image.decided_at.isoformat() if image.decided_at else ""

    def get_settled(self, image: Image) -> int | None:
        return None if image.status == UNREVIEWED else image.label_id


class LabelledImageSerializer(ImageSerializer):
    """An image of `label_set.images()`."""

    label = serializers.IntegerField(
        source="label_id", allow_null=True, help_text="Settled, or else suggested; null for none."
    )
    status = serializers.ChoiceField(STATUSES)

    class Meta(ImageSerializer.Meta):
        fields: ClassVar = [*ImageSerializer.Meta.fields, "label", "status"]
        read_only_fields = fields


class DecisionSerializer(serializers.Serializer):
    image = IdField()
    label = IdField(required=False, allow_null=True, help_text="Not needed to accept the suggestion.")
    verdict = serializers.ChoiceField(["accepted", "corrected", "none", "skipped"])
    seen = serializers.CharField(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=40,
        help_text="A match's `seen`: where another answer stands by now, nothing is written (409).",
    )


class ReviewsSerializer(serializers.Serializer):
    reviews = DecisionSerializer(many=True, allow_empty=False, max_length=MOST_REVIEWS)
    settles = serializers.BooleanField(
        default=False, help_text="A reviewer's word, which stands over people's votes."
    )
    leave_stale = serializers.BooleanField(
        default=False,
        help_text="Leave what somebody decided about since it was `seen`, and write the others down. "
        "Where nothing is left to write, it is refused all the same.",
    )

    def decisions(self) -> list[review.Decision]:
        return [
            review.Decision(
                each["image"], review.Verdict(each["verdict"]), each.get("label"), each.get("seen")
            )
            for each in self.validated_data["reviews"]
        ]


class DecidedSerializer(serializers.Serializer):
    image = serializers.IntegerField(source="image_id")
    label = serializers.IntegerField(source="label_id", allow_null=True)
    verdict = serializers.CharField()


class BatchSerializer(serializers.Serializer):
    batch = serializers.UUIDField(help_text="Undo takes it.")
    decided = DecidedSerializer(many=True)
    left = serializers.ListField(
        child=serializers.IntegerField(), help_text="Images that were left as they are: see `leave_stale`."
    )


class UndoSerializer(serializers.Serializer):
    batch = serializers.UUIDField()


class UndoneSerializer(serializers.Serializer):
    undone = serializers.ListField(child=serializers.IntegerField(), source="images", help_text="Images.")
    kept = serializers.ListField(
        child=serializers.IntegerField(), help_text="Images that somebody decided about after this batch."
    )


class BestMatchRequestSerializer(serializers.Serializer):
    image_base64 = serializers.CharField(help_text="With or without `data:image/…;base64,` in front.")
    text_input1 = serializers.CharField(max_length=10_000, trim_whitespace=False)
    text_input2 = serializers.CharField(max_length=10_000, trim_whitespace=False)


class BestMatchSerializer(serializers.Serializer):
    best_match = serializers.CharField(help_text="The text that is more similar to the image.")


class BestMatchErrorSerializer(serializers.Serializer):
    error = serializers.CharField()
