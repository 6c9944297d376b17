from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.text import slugify
from knox.models import AbstractAuthToken

from gallery.access import Role, User

SAMPLE = 200


class ForUser(models.QuerySet):
    """Rows that belong to a project, directly or through `project_path`."""

    project_path = "project__"

    def for_user(self, user: User) -> Self:
        """The rows of projects that `user` is a member of, each with the user's `role` in it."""
        membership = f"{self.project_path}memberships__"
        return self.filter(**{f"{membership}user_id": user.pk}).annotate(role=F(f"{membership}role"))


class ProjectQuerySet(ForUser):
    project_path = ""


class Project(models.Model):
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=140, unique=True, editable=False)
    description = models.TextField(blank=True, max_length=2000)
    guidelines = models.TextField(
        blank=True, max_length=20_000, help_text="How to label, in Markdown. A key away in review."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("gallery", args=[self.slug])

    def sample(self) -> models.QuerySet:
        """For `pk__in`: up to SAMPLE images, as good as random by their hashes."""
        return self.images.order_by("sha256").values("pk")[:SAMPLE]


def free_slug(name: str) -> str:
    """A slug that no project has: the name's own, or that with a few random characters."""
    slug = slugify(name)[:120] or "project"
    if slug == "new" or Project.objects.filter(slug=slug).exists():
        slug = f"{slug}-{uuid.uuid4().hex[:6]}"
    return slug


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.LABELER)

    class Meta:
        ordering = ["user__username"]
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class InvitationQuerySet(models.QuerySet):
    def usable(self) -> Self:
        """Those that still let somebody in: unused, in time, and made by who may still invite."""
        inviters = Membership.objects.filter(
            project=OuterRef("project"), user=OuterRef("created_by"), role=Role.OWNER, user__is_active=True
        )
        return self.filter(Exists(inviters), used_at=None, expires_at__gt=timezone.now())


class Invitation(models.Model):
    """A way into a project for whoever has its link, once."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.LABELER)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.project} ({self.role})"


class ApiToken(AbstractAuthToken):
    """A token of a program. Only its hash is stored."""

    name = models.CharField(max_length=100, help_text="What the token is for.")

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        # Knox's own is the hash.
        return f"{self.name} ({self.token_key[:8]}…)"


class KeyedCall(models.Model):
    """A call of the API with an `Idempotency-Key`, and what was answered, to answer the same again."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=500)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of all that was asked.")
    at = models.DateTimeField(default=timezone.now)
    # Whose it is to answer, and for how long nobody else may try.
    token = models.UUIDField(default=uuid.uuid4, editable=False)
    leased_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="None: still at work.")
    content_type = models.CharField(max_length=100, blank=True)
    body = models.BinaryField(null=True, help_text="None for an answer with a secret in it.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_call_per_key")]
        indexes = [models.Index(fields=["at"], name="keyed_calls_by_age")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# Longer than between two signs of life of an unpacking that goes on.
SILENCE = timedelta(minutes=1)


class Upload(models.Model):
    """One act of adding images; what became of each name stands in its entries."""

    class State(models.TextChoices):
        OPEN = "open", "in progress"
        DONE = "done", "done"
        FAILED = "failed", "failed"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="uploads")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DONE)
    error = models.CharField(max_length=300, blank=True)
    # A ZIP waits here until its last entry is in; `beat_at` tells a live expansion from a dead one.
    archive = models.FileField(upload_to="uploads", blank=True, max_length=200)
    total = models.PositiveIntegerField(default=0)
    beat_at = models.DateTimeField(null=True, blank=True)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"upload {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("upload", args=[self.pk])

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come of its ZIP for a while."""
        return self.state == self.State.OPEN and timezone.now() - (self.beat_at or self.created_at) > SILENCE

    @cached_property
    def counts(self) -> Counter[str]:
        """How many of its entries had which outcome."""
        return Counter(dict(self.entries.order_by("outcome").values_list("outcome").annotate(Count("pk"))))

    @cached_property
    def fresh(self) -> list[UploadEntry]:
        """The entries that this very object brought about: of an upload in several requests, this one's."""
        return []

    @cached_property
    def refusals(self) -> set[int]:
        """The HTTP statuses that stand for what was refused among `fresh`."""
        return set()

    @property
    def status_code(self) -> int:
        """What a request answers that brought about `fresh`."""
        if self.state == self.State.OPEN:
            return 202
        if any(entry.outcome != UploadEntry.Outcome.REFUSED for entry in self.fresh):
            return 201
        return next(iter(self.refusals)) if len(self.refusals) == 1 else 400


class ShownImages(models.Manager.from_queryset(ForUser)):
    """All but those that were set aside."""

    def get_queryset(self) -> ForUser:
        return super().get_queryset().filter(set_aside_at=None)


def original_path(image: Image, filename: str) -> str:
    return f"images/{image.project_id}/{uuid.uuid4().hex}{Path(filename).suffix}"


class Image(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="images")
    name = models.CharField(max_length=255)
    file = models.FileField(upload_to=original_path, max_length=200)
    thumbnail = models.FileField(upload_to=original_path, max_length=200)
    preview = models.FileField(upload_to=original_path, max_length=200)
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField(help_text="In pixels, orientation applied.")
    height = models.PositiveIntegerField(help_text="In pixels, orientation applied.")
    format = models.CharField(max_length=8)
    size = models.PositiveBigIntegerField(help_text="In bytes.")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    uploaded_at = models.DateTimeField(default=timezone.now)
    set_aside_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Kept, but shown and counted nowhere."
    )
    set_aside_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    # What people see and count. The files and quotas are of `everything`.
    objects = ShownImages()
    everything = ForUser.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="one_image_per_hash")]
        indexes = [
            # Counts read the first alone, and pages go along it.
            models.Index(fields=["project", "set_aside_at", "id"], name="shown_images"),
            models.Index(
                fields=["project", "set_aside_at"],
                condition=Q(set_aside_at__isnull=False),
                name="set_aside_images",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("image", args=[self.pk])


def set_aside_ids() -> models.QuerySet:
    """Of all images that were set aside: for `image__in`, as one list that is made once for a query."""
    return Image.everything.filter(set_aside_at__isnull=False).order_by().values("pk")


class ImageScoped(ForUser):
    project_path = "image__project__"

    def for_user(self, user: User) -> Self:
        return super().for_user(user).filter(image__set_aside_at=None)


class OfShownImages(models.Manager.from_queryset(ImageScoped)):
    """All but those about images that were set aside."""

    def get_queryset(self) -> ImageScoped:
        return super().get_queryset().exclude(image__in=set_aside_ids())


class UploadEntry(models.Model):
    class Outcome(models.TextChoices):
        ADDED = "added", "added"
        DUPLICATE = "duplicate", "already here"
        REFUSED = "refused", "refused"

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="entries")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=255)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    image = models.ForeignKey(Image, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["position"]
        verbose_name_plural = "upload entries"
        constraints = [models.UniqueConstraint(fields=["upload", "position"], name="one_entry_per_position")]

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"


class Comment(models.Model):
    """What somebody says of an image to the others of the project."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="comments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    text = models.TextField(max_length=2000)
    mentions = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = ImageScoped.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text[:60]


class WebhookEndpoint(models.Model):
    """An address that is told what happens in a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    events = models.JSONField(default=list, help_text="Names of the events that it is told of.")
    is_active = models.BooleanField(default=True)
    # Its secret is derived from this and SECRET_KEY; its fingerprint tells whether it is still the same one.
    salt = models.CharField(max_length=64, editable=False)
    fingerprint = models.CharField(max_length=16, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    tried_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="Since it last took one.")
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    rests_until = models.DateTimeField(null=True, blank=True, editable=False)
    off_because = models.CharField(max_length=300, blank=True, editable=False)

    objects = ForUser.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.url

    def get_absolute_url(self) -> str:
        return reverse("webhook", args=[self.pk])


class OfEndpoint(ForUser):
    project_path = "endpoint__project__"


class WebhookDelivery(models.Model):
    """One event for one endpoint: what is sent, how often it was tried, and what came of it."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        DELIVERED = "delivered", "delivered"
        FAILED = "failed", "given up"

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event = models.CharField(max_length=40)
    about = models.CharField(max_length=40, blank=True, help_text="News of the same thing takes its place.")
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    # While it has a token somebody is at it, until `next_at`; after that it is tried again.
    next_at = models.DateTimeField(default=timezone.now)
    token = models.CharField(max_length=32, blank=True)
    # Of the last attempt.
    sent_at = models.DateTimeField(null=True, blank=True)
    headers = models.JSONField(default=dict)
    status = models.PositiveIntegerField(null=True, blank=True, help_text="HTTP status of the answer.")
    seconds = models.FloatField(null=True, blank=True)
    answer = models.TextField(blank=True, help_text="Its first characters.")
    error = models.CharField(max_length=300, blank=True)

    objects = OfEndpoint.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        indexes = [
            # What is due, and what is pruned.
            models.Index(fields=["state", "next_at"]),
            models.Index(fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint_id}"

    def get_absolute_url(self) -> str:
        return reverse("webhook_delivery", args=[self.pk])

    @property
    def message_id(self) -> str:
        """The same on each try, so that the receiver can tell a repetition."""
        return f"msg_{self.key.hex}"
