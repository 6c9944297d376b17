"""All rows of labelling: short classes that point at each other, in the one module where Django looks."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Case, F, FilteredRelation, Q, Value, When
from django.urls import reverse
from django.utils import timezone

from gallery.models import ForUser, Image, ImageScoped, OfShownImages, Project, Upload

DEFAULT_TEMPLATE = "a photo of a {label}."


def default_templates() -> list[str]:
    return [DEFAULT_TEMPLATE]


class LabelSet(models.Model):
    """Labels that compete with each other for each image of the project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_sets")
    name = models.CharField(max_length=120, default="Labels")
    templates = models.JSONField(default=default_templates, help_text="Each with {label} in it.")
    votes = models.PositiveSmallIntegerField(
        default=1, help_text="How many people's answers settle an image."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"{reverse('gallery', args=[self.project.slug])}?label_set={self.pk}"

    def images(self) -> models.QuerySet[Image]:
        """The project's images, each with its `status`, settled or best `label_id`, and its match's figures
        in this label set."""
        here = {"match": "matches", "annotation": "annotations"}
        relations = {
            name: FilteredRelation(path, condition=Q(**{f"{path}__label_set": self}))
            for name, path in here.items()
        }
        settled = Q(annotation__isnull=False)
        return Image.objects.filter(project=self.project_id).annotate(
            **relations,
            status=Case(
                When(settled, then=F("annotation__status")),
                When(match__isnull=False, then=Value(UNREVIEWED)),
                default=Value(UNSCORED),
            ),
            label_id=Case(When(settled, then=F("annotation__label_id")), default=F("match__label_id")),
            suggested_id=F("match__label_id"),
            runner_up_id=F("match__runner_up_id"),
            similarity=F("match__similarity"),
            probability=F("match__probability"),
            margin=F("match__margin"),
            decided_at=F("annotation__decided_at"),
        )


class LabelSetScoped(ForUser):
    project_path = "label_set__project__"


class Label(models.Model):
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=200)
    prompts = models.JSONField(
        default=list, blank=True, help_text="Used instead of the templates, where there are any."
    )
    position = models.PositiveIntegerField(default=0)

    objects = LabelSetScoped.as_manager()

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["label_set", "name"], name="one_label_per_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def colour(self) -> int:
        """Which of the twelve label colours it wears."""
        return self.position % 12

    @property
    def key(self) -> str:
        """The key that usually chooses it in review: 1 to 9, 0 for the tenth, or none."""
        return str((self.position + 1) % 10) if self.position < 10 else ""


class Embedding(models.Model):
    """One image's unit vector under one model: float32, little-endian."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="embeddings")
    model = models.CharField(max_length=200, help_text="name@revision")
    vector = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "model"], name="one_embedding")]
        # The newest ones, without a look at the vectors.
        indexes = [models.Index(fields=["model", "id", "image"])]

    def __str__(self) -> str:
        return f"{self.image_id} by {self.model}"


class ScoringRun(models.Model):
    """Every image of a project against one snapshot of a label set and a model.

    Images that are uploaded later extend it. Without a label set it only embeds.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    label_set = models.ForeignKey(
        LabelSet, null=True, blank=True, on_delete=models.CASCADE, related_name="runs"
    )
    model = models.CharField(max_length=200, help_text="name@revision")
    precision = models.CharField(max_length=8, blank=True)
    templates = models.JSONField(default=list)
    labels = models.JSONField(default=list, help_text="[{id, name, prompts}], in the vectors' order.")
    label_vectors = models.BinaryField(null=True, blank=True, help_text="One unit float32 row a label.")
    logit_scale = models.FloatField(null=True, blank=True)
    logit_bias = models.FloatField(null=True, blank=True, help_text="Set: probability is a sigmoid (SigLIP).")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    error = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="To prepare it, since it last got on.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"run {self.pk}"


ACTIVE = (ScoringRun.State.QUEUED, ScoringRun.State.RUNNING)


class Leased(models.Model):
    """A worker's work as one row: how it stands, and who holds it until when."""

    State = ScoringRun.State

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    error = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Since it last got on.")
    token = models.CharField(max_length=120, blank=True, help_text="host:pid:nonce of who holds it.")
    leased_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class ScoringChunk(models.Model):
    """A part of a run that one worker takes at a time."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"

    run = models.ForeignKey(ScoringRun, on_delete=models.CASCADE, related_name="chunks")
    image_ids = models.JSONField()
    size = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    token = models.CharField(max_length=120, blank=True, help_text="host:pid:nonce of who holds it.")
    leased_until = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(default=timezone.now, help_text="Nobody takes it before.")
    error = models.CharField(
        max_length=300, blank=True, help_text="Why the last attempt failed, if it could say."
    )

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["state", "id"]), models.Index(fields=["run", "state"])]

    def __str__(self) -> str:
        return f"chunk {self.pk} of run {self.run_id}"


class ImageAttempt(models.Model):
    """An image that could not be scored, or that was being decoded when its worker died."""

    run = models.ForeignKey(ScoringRun, on_delete=models.CASCADE, related_name="image_attempts")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    attempts = models.PositiveIntegerField(default=0)
    failed = models.BooleanField(default=False)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "image"], name="one_attempt_row")]

    def __str__(self) -> str:
        return f"image {self.image_id} in run {self.run_id}"


class Match(models.Model):
    """What CLIP thinks: the best label of an image. Recomputed by every run."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="matches")
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="matches")
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="matches")
    similarity = models.FloatField(help_text="Cosine, −1 to 1.")
    probability = models.FloatField()
    margin = models.FloatField(help_text="Probability less the runner-up's.")
    runner_up = models.ForeignKey(
        Label, null=True, blank=True, on_delete=models.SET_NULL, related_name="runner_up_matches"
    )
    run = models.ForeignKey(ScoringRun, on_delete=models.CASCADE, related_name="matches", db_index=False)

    objects = OfShownImages()
    everything = ImageScoped.as_manager()

    class Meta:
        verbose_name_plural = "matches"
        constraints = [models.UniqueConstraint(fields=["image", "label_set"], name="one_match")]
        indexes = [
            # A page in this order, without a look at the rows.
            models.Index(fields=["label_set", "probability", "image"]),
            models.Index(fields=["label_set", "margin", "image"]),
            # Counted by label, and a label's least certain ones.
            models.Index(fields=["label_set", "label", "margin", "image"]),
            # How far a run is.
            models.Index(fields=["run", "image"]),
        ]

    def __str__(self) -> str:
        return f"{self.image_id}: {self.label_id}"


class Batch(models.Model):
    """One action of one person: written down at once, or in parts by a worker; undone whole."""

    class Kind(models.TextChoices):
        DECIDE = "decide", "decided"
        UNDO = "undo", "undone"
        REDO = "redo", "redone"
        VOTES = "votes", "votes changed"
        ASSIGN = "assign", "assigned"
        IMPORT = "import", "imported"

    class State(models.TextChoices):
        RUNNING = "running", "in progress"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="batches")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.DECIDE)
    # Of a batch that says the same of all its images: that. Empty where it says several things.
    verdict = models.CharField(max_length=10, blank=True)
    label = models.ForeignKey(Label, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    label_name = models.CharField(max_length=200, blank=True, help_text="Outlives the label.")
    query = models.CharField(max_length=1000, blank=True, help_text="The search line that chose the images.")
    reverses = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="reversed_by"
    )
    # Whom an assignment is for; how many votes are asked for from now on.
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    votes = models.PositiveSmallIntegerField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DONE)
    error = models.CharField(max_length=300, blank=True)
    total = models.PositiveIntegerField(default=0, help_text="Images that it was asked for.")
    at = models.DateTimeField(default=timezone.now)

    objects = LabelSetScoped.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "batches"
        indexes = [
            models.Index(fields=["label_set", "-at", "-id"]),
            models.Index(fields=["label_set", "user", "-at"]),
            models.Index(fields=["state"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.label_name}".strip()


class BatchPart(models.Model):
    """Some of the images of a batch that is too large for one request, written in one transaction."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="parts")
    image_ids = models.JSONField()
    size = models.PositiveIntegerField()
    done = models.BooleanField(default=False)
    left = models.PositiveIntegerField(default=0, help_text="Images that were left as they were.")
    said = models.JSONField(
        null=True, blank=True, help_text="Of an import: [verdict, label's id] of each image."
    )

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["batch", "done"])]

    def __str__(self) -> str:
        return f"part {self.pk} of {self.batch_id}"


class Review(models.Model):
    """What a person decided. Rows are only ever added; an undo is a row of its own."""

    class Verdict(models.TextChoices):
        ACCEPTED = "accepted", "accepted"
        CORRECTED = "corrected", "corrected"
        NONE = "none", "none of these"
        SKIPPED = "skipped", "skipped"
        UNDONE = "undone", "undone"

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="reviews")
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="reviews")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    label = models.ForeignKey(Label, null=True, blank=True, on_delete=models.SET_NULL, related_name="reviews")
    label_name = models.CharField(max_length=200, blank=True, help_text="Outlives the label.")
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    suggested_name = models.CharField(max_length=200, blank=True, help_text="What CLIP said then.")
    suggested_probability = models.FloatField(null=True, blank=True)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="reviews")
    settles = models.BooleanField(default=False, help_text="A reviewer's word: it stands over all votes.")
    imported = models.BooleanField(default=False, help_text="It was read from a file.")
    undoes = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="undone_by"
    )
    at = models.DateTimeField(default=timezone.now)

    objects = ImageScoped.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["label_set", "image"]),
            models.Index(fields=["label_set", "user", "at"]),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} {self.label_name}".strip()


UNSCORED, UNREVIEWED = "unscored", "unreviewed"


class Annotation(models.Model):
    """The settled answer of an image: a label, or none of these. Follows from its reviews."""

    class Status(models.TextChoices):
        ACCEPTED = "accepted", "accepted"
        CORRECTED = "corrected", "corrected"
        NONE = "none", "none of these"
        DISPUTED = "disputed", "disputed"

    class Source(models.TextChoices):
        HUMAN = "human"
        AUTO = "auto"
        IMPORT = "import"

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="annotations")
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="annotations")
    # RESTRICT: a label that somebody gave to an image goes only with its whole project.
    label = models.ForeignKey(
        Label, null=True, blank=True, on_delete=models.RESTRICT, related_name="annotations"
    )
    status = models.CharField(max_length=10, choices=Status.choices)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.HUMAN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    objects = OfShownImages()
    everything = ImageScoped.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "label_set"], name="one_annotation")]
        # Counted by status and label, without a look at the rows.
        indexes = [models.Index(fields=["label_set", "status", "label", "image"])]

    def __str__(self) -> str:
        return self.label.name if self.label else "none of these"


STATUSES = [(UNSCORED, "not scored yet"), (UNREVIEWED, "suggested"), *Annotation.Status.choices]


class Lease(models.Model):
    """An image that one person holds for a while, so that nobody else is shown it in review."""

    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="leases")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    queue = models.CharField(max_length=64, help_text="Which of the person's queues it is for.")
    position = models.PositiveIntegerField(default=0, help_text="In that queue.")
    until = models.DateTimeField()

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["label_set", "image"], name="one_lease")]
        indexes = [models.Index(fields=["label_set", "user", "queue"])]

    def __str__(self) -> str:
        return f"{self.image_id} held by {self.user_id}"


class Assignment(models.Model):
    """An image that an owner gave to a member to review."""

    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="assignments")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="assignments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="assignments")

    objects = LabelSetScoped.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["label_set", "image", "user"], name="one_assignment_each")
        ]
        indexes = [models.Index(fields=["label_set", "user"])]

    def __str__(self) -> str:
        return f"{self.image_id} for {self.user_id}"


class SavedView(models.Model):
    """A search line with a name, one's own or shared in the project."""

    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="views")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=1000, blank=True)
    ordering = models.CharField(max_length=20, blank=True)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = LabelSetScoped.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["label_set", "user", "name"], name="one_view_per_name")
        ]

    def __str__(self) -> str:
        return self.name


class Pick(models.Model):
    """Images that somebody chose by hand or by eye, such as with a lasso: `picked:ID` in the search line."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="picks")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    image_ids = models.JSONField(default=list)
    at = models.DateTimeField(default=timezone.now)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{len(self.image_ids):,} images"


class Probe(models.Model):
    """What a picture that was shown to search by is like. The picture itself is not kept."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="probes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    model = models.CharField(max_length=200, help_text="name@revision")
    vector = models.BinaryField()
    at = models.DateTimeField(default=timezone.now)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"picture {self.pk}"


class Fingerprint(models.Model):
    """What an image looks like, for near-duplicates: computed once from its thumbnail by a worker."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="fingerprint")
    hash = models.BigIntegerField(help_text="64-bit perceptual hash, as a signed number.")
    windows = models.BinaryField(help_text="Of the whole and of crops, 32 bytes each. Empty: can't be read.")
    sharpness = models.FloatField(help_text="Variance of the Laplacian of its grey version.")
    # By which model's embeddings it was compared with all others. Empty: not yet.
    compared = models.CharField(max_length=200, blank=True, help_text="name@revision")

    class Meta:
        indexes = [models.Index(fields=["compared"])]

    def __str__(self) -> str:
        return f"fingerprint of {self.image_id}"


class DuplicateSearch(Leased):
    """The search for near-duplicates in a project. What is done stands in fingerprints and pairs."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="duplicate_search")
    asked_at = models.DateTimeField(default=timezone.now)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "duplicate searches"
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"search in {self.project_id}"


class DuplicateDecision(models.Model):
    """What a person decided about a group of near-duplicates. Undone whole."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="duplicate_decisions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    kept = models.JSONField(default=list, help_text="Ids of images.")
    set_aside = models.JSONField(default=list, help_text="Ids of images; none where all are kept.")
    at = models.DateTimeField(default=timezone.now)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    undone_at = models.DateTimeField(null=True, blank=True)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"kept {len(self.kept)}, set {len(self.set_aside)} aside"


class NearDuplicate(models.Model):
    """Two images that look nearly the same. Once it is decided about, no search changes it."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        KEPT = "kept", "both kept"
        ASIDE = "aside", "one set aside"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="near_duplicates")
    first = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    # None where they are a pair only by a decision about their group.
    cosine = models.FloatField(null=True, blank=True)
    distance = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Bits of 256.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    decision = models.ForeignKey(
        DuplicateDecision, null=True, blank=True, on_delete=models.SET_NULL, related_name="pairs"
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="one_pair"),
            models.CheckConstraint(condition=models.Q(first__lt=F("second")), name="pair_in_order"),
        ]
        indexes = [models.Index(fields=["project", "state", "distance", "id"])]

    def __str__(self) -> str:
        return f"{self.first_id} and {self.second_id}"


class MapLayout(Leased):
    """Where each image of a project stands on its map, by one model's embeddings."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="layouts")
    model = models.CharField(max_length=200, help_text="name@revision")
    method = models.CharField(max_length=20)
    iteration = models.PositiveIntegerField(default=0, help_text="How often the points were moved.")
    image_ids = models.BinaryField(null=True, blank=True, help_text="int64, little-endian.")
    points = models.BinaryField(
        null=True, blank=True, help_text="A pair of float32, little-endian, for each."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state__in=["queued", "running"]),
                name="one_map_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return f"map {self.pk}"


class LabelImport(Leased):
    """A file of labels: read to show what it would do, then written as one batch."""

    class Step(models.TextChoices):
        READ = "read", "read"
        WRITE = "write", "write"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    # None until it is written, where the file's own labels make a new one.
    label_set = models.ForeignKey(
        LabelSet, null=True, blank=True, on_delete=models.CASCADE, related_name="imports"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=255, help_text="Of the file.")
    format = models.CharField(max_length=20)
    # Its labels alone: pictures that came along are an upload.
    file = models.FileField(upload_to="imports", blank=True, max_length=200)
    upload = models.ForeignKey(Upload, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    step = models.CharField(max_length=10, choices=Step.choices, default=Step.READ)
    choices = models.JSONField(default=dict, help_text="What a person chose of what it would do.")
    report = models.JSONField(default=dict, help_text="What was found in the file.")
    rows_read = models.PositiveIntegerField(
        default=0, help_text="Rows of the file that this step has come past."
    )
    batch = models.ForeignKey(Batch, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("import", args=[self.pk])


class GroundTruth(models.Model):
    """What an image is known to show, to measure CLIP against. It settles nothing."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="ground_truths")
    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="ground_truths")
    label = models.ForeignKey(
        Label,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="None of them: empty.",
    )
    source = models.ForeignKey(LabelImport, on_delete=models.CASCADE, related_name="ground_truths")

    objects = OfShownImages()
    everything = ImageScoped.as_manager()

    class Meta:
        # Of several files the newest counts; where it is taken back, the one before counts again.
        constraints = [
            models.UniqueConstraint(fields=["label_set", "image", "source"], name="one_ground_truth_a_file")
        ]

    def __str__(self) -> str:
        return self.label.name if self.label else "none of these"


class Keymap(models.Model):
    """The keys that a person has chosen for review, where they differ from the usual ones."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="keymap")
    keys = models.JSONField(default=dict, help_text="{action: key}")

    def __str__(self) -> str:
        return f"keys of {self.user}"


class WorkerBeat(models.Model):
    """When a worker last said that it is alive."""

    worker = models.CharField(max_length=120, unique=True)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.worker


class UnknownsRun(Leased):
    """A look for images that no label of a label set fits. Its findings stay until the next one is done."""

    label_set = models.ForeignKey(LabelSet, on_delete=models.CASCADE, related_name="unknowns_runs")
    model = models.CharField(max_length=200, help_text="name@revision")
    percent = models.PositiveSmallIntegerField(default=0)
    looked = models.PositiveIntegerField(default=0, help_text="Images that nobody had settled.")
    unknown = models.PositiveIntegerField(default=0, help_text="Of these, far from every label.")
    outliers = models.JSONField(
        default=list, help_text="[{image, label, similarity, nearest, far}], the most outlying first."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = LabelSetScoped.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["label_set"],
                condition=Q(state__in=["queued", "running"]),
                name="one_look_for_unknowns_at_a_time",
            )
        ]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"look for unknowns {self.pk}"


class OfUnknownsRun(ForUser):
    project_path = "run__label_set__project__"


class UnknownGroup(models.Model):
    """Images that no label fits and that are like each other, with a name proposed for them."""

    run = models.ForeignKey(UnknownsRun, on_delete=models.CASCADE, related_name="groups")
    position = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=200, blank=True, help_text="The word that fits best.")
    alternatives = models.JSONField(default=list, help_text="The next best words.")
    near = models.CharField(max_length=200, blank=True, help_text="A label that fits better than the name.")
    similarity = models.FloatField(help_text="Mean cosine of its images to their middle.")
    image_ids = models.JSONField(default=list, help_text="The most typical first.")
    dismissed = models.BooleanField(default=False)
    label = models.ForeignKey(
        Label, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="Made of it."
    )
    batch = models.ForeignKey(
        Batch, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="Which set it."
    )

    objects = OfUnknownsRun.as_manager()

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name or f"group {self.pk}"
