"""What workers do, and what people keep for themselves, in Django's admin: to be looked at alone."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django_q.models import Failure, OrmQ, Schedule, Success

from gallery.admin import ByProject, ReadOnly
from labeling.models import (
    Assignment,
    BatchPart,
    DuplicateDecision,
    DuplicateSearch,
    Embedding,
    Fingerprint,
    GroundTruth,
    ImageAttempt,
    Keymap,
    LabelImport,
    Lease,
    MapLayout,
    NearDuplicate,
    Pick,
    Probe,
    SavedView,
    ScoringChunk,
    ScoringRun,
    UnknownGroup,
    UnknownsRun,
    WorkerBeat,
)

# The queue only rings; what there is to do stands in runs, chunks and batches.
for model in (Schedule, Success, Failure, OrmQ):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "model"]
    list_select_related = ["image"]
    search_fields = ["image__name", "model"]
    exclude = ["vector"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Embedding]:
        return super().get_queryset(request).defer("vector")


@admin.register(ScoringRun)
class ScoringRunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "label_set", "model", "precision", "state", "created_by", "created_at"]
    list_select_related = ["project", "label_set", "created_by"]
    list_filter = ["state", ByProject, "precision", "created_at"]
    search_fields = ["project__name", "project__slug", "label_set__name", "model", "error"]
    exclude = ["label_vectors"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScoringRun]:
        return super().get_queryset(request).defer("label_vectors")


@admin.register(ScoringChunk)
class ScoringChunkAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "run", "size", "state", "attempts", "leased_until", "queued_at"]
    list_select_related = ["run"]
    list_filter = ["state"]
    search_fields = ["=run__id", "token"]
    show_full_result_count = False


@admin.register(ImageAttempt)
class ImageAttemptAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "run", "attempts", "failed", "reason"]
    list_select_related = ["image", "run"]
    list_filter = ["failed"]
    search_fields = ["image__name", "reason", "=run__id"]


@admin.register(WorkerBeat)
class WorkerBeatAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["worker", "at"]
    search_fields = ["worker"]


@admin.register(BatchPart)
class BatchPartAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "batch", "size", "done", "left"]
    list_select_related = ["batch"]
    list_filter = ["done"]
    search_fields = ["=batch__id"]
    show_full_result_count = False


@admin.register(Lease)
class LeaseAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "label_set", "user", "until"]
    list_select_related = ["image", "label_set", "user"]
    search_fields = ["image__name", "user__username", "label_set__name"]


@admin.register(Assignment)
class AssignmentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "label_set", "user", "batch"]
    list_select_related = ["image", "label_set", "user", "batch"]
    search_fields = ["image__name", "user__username", "label_set__name"]
    show_full_result_count = False


@admin.register(Pick)
class PickAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "user", "at"]
    list_select_related = ["project", "user"]
    search_fields = ["=id", "project__name", "user__username"]


@admin.register(Probe)
class ProbeAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "user", "model", "at"]
    list_select_related = ["project", "user"]
    search_fields = ["=id", "project__name", "user__username"]


@admin.register(UnknownsRun)
class UnknownsRunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "label_set", "model", "state", "looked", "unknown", "created_by", "created_at"]
    list_select_related = ["label_set", "created_by"]
    list_filter = ["state", "created_at"]
    search_fields = ["=id", "label_set__name", "model", "error"]


@admin.register(UnknownGroup)
class UnknownGroupAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "name", "run", "similarity", "label", "dismissed"]
    list_select_related = ["run", "label"]
    list_filter = ["dismissed"]
    search_fields = ["name", "=run__id"]


@admin.register(MapLayout)
class MapLayoutAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "model", "method", "state", "created_by", "created_at"]
    list_select_related = ["project", "created_by"]
    list_filter = ["state", ByProject, "created_at"]
    search_fields = ["project__name", "project__slug", "model", "error"]
    exclude = ["image_ids", "points"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MapLayout]:
        return super().get_queryset(request).defer("image_ids", "points")


@admin.register(SavedView)
class SavedViewAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["name", "label_set", "user", "query", "is_shared", "created_at"]
    list_select_related = ["label_set", "user"]
    list_filter = ["is_shared", "created_at"]
    search_fields = ["name", "query", "user__username", "label_set__name"]


@admin.register(Keymap)
class KeymapAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["user"]
    list_select_related = ["user"]
    search_fields = ["user__username"]


@admin.register(Fingerprint)
class FingerprintAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "hash", "sharpness", "compared"]
    list_select_related = ["image"]
    search_fields = ["image__name"]
    exclude = ["windows"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fingerprint]:
        return super().get_queryset(request).defer("windows")


@admin.register(DuplicateSearch)
class DuplicateSearchAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["project", "state", "error", "asked_at", "finished_at"]
    list_select_related = ["project"]
    list_filter = ["state"]
    search_fields = ["project__name", "project__slug", "error"]


@admin.register(DuplicateDecision)
class DuplicateDecisionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "user", "at", "undone_by", "undone_at"]
    list_select_related = ["project", "user", "undone_by"]
    search_fields = ["=id", "project__name", "project__slug", "user__username"]


@admin.register(NearDuplicate)
class NearDuplicateAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["first", "second", "cosine", "distance", "state", "decided_by", "decided_at"]
    list_select_related = ["first", "second", "decided_by"]
    list_filter = ["state", ByProject]
    search_fields = ["first__name", "second__name", "decided_by__username"]
    show_full_result_count = False


@admin.register(LabelImport)
class LabelImportAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "label_set", "user", "name", "format", "step", "state", "created_at"]
    list_select_related = ["project", "label_set", "user"]
    list_filter = ["state", "step", "format", ByProject]
    search_fields = ["=id", "name", "project__name", "project__slug", "user__username", "error"]


@admin.register(GroundTruth)
class GroundTruthAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "label_set", "label", "source"]
    list_select_related = ["image", "label_set", "label", "source"]
    search_fields = ["image__name", "label__name", "label_set__name"]
    show_full_result_count = False
