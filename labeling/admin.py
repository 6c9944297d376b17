"""Labels, matches and decisions in Django's admin. A decision is corrected by one more, never rewritten."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django_q.models import Failure, OrmQ, Schedule, Success

from gallery.access import Role
from gallery.admin import ByDoor, Cascading, ImageAdmin, ReadOnly
from gallery.models import Image
from labeling import label_sets, review
from labeling.label_sets import LabelSpec
from labeling.models import (
    Annotation,
    Assignment,
    Batch,
    BatchPart,
    Embedding,
    ImageAttempt,
    Keymap,
    Label,
    LabelSet,
    Lease,
    Match,
    Review,
    SavedView,
    ScoringChunk,
    ScoringRun,
    WorkerBeat,
)
from labeling.review import Decision, Verdict

# The queue only rings; what there is to do stands in runs and chunks.
for model in (Schedule, Success, Failure, OrmQ):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class LabelInline(ReadOnly, admin.TabularInline):
    model = Label
    fields = ["position", "name", "prompts"]
    extra = 0
    show_change_link = True


@admin.register(LabelSet)
class LabelSetAdmin(Cascading, ByDoor):
    list_display = ["name", "project", "created_at"]
    list_select_related = ["project"]
    list_filter = ["created_at"]
    search_fields = ["name", "project__name", "project__slug"]
    readonly_fields = ["project", "votes", "created_at"]
    inlines = [LabelInline]
    view_on_site = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: LabelSet, form: ModelForm, change: bool) -> None:
        label_sets.change(obj, request.user, name=obj.name, templates=obj.templates)

    def delete_model(self, request: HttpRequest, obj: LabelSet) -> None:
        label_sets.delete(obj, Role.OWNER)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LabelSet]) -> None:
        for label_set in queryset:
            label_sets.delete(label_set, Role.OWNER)


@admin.register(Label)
class LabelAdmin(ByDoor):
    list_display = ["name", "label_set", "position"]
    list_select_related = ["label_set"]
    search_fields = ["name", "label_set__name", "label_set__project__name"]
    readonly_fields = ["label_set", "position"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Label | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Label, form: ModelForm, change: bool) -> None:
        labels = [obj if label.pk == obj.pk else label for label in obj.label_set.labels.all()]
        specs = [LabelSpec(label.name, label.prompts, label.pk) for label in labels]
        label_sets.change(obj.label_set, request.user, labels=specs)


class ReviewInline(ReadOnly, admin.TabularInline):
    model = Review
    verbose_name_plural = "history"
    fields = readonly_fields = ["at", "user", "verdict", "label_name", "label_set", "suggested_name"]
    ordering = ["-id"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Review]:
        return super().get_queryset(request).select_related("user", "label_set")


admin.site.unregister(Image)


@admin.register(Image)
class ImageWithHistoryAdmin(ImageAdmin):
    inlines = [ReviewInline]


@admin.register(Annotation)
class AnnotationAdmin(ByDoor):
    """The answer can be corrected, which is one more decision in its history."""

    list_display = ["image", "label_set", "label", "status", "source", "decided_by", "decided_at"]
    list_select_related = ["image", "label_set", "label", "decided_by"]
    list_filter = ["status", "source", "decided_at"]
    search_fields = ["image__name", "label__name", "label_set__name", "decided_by__username"]
    readonly_fields = ["image", "label_set", "status", "source", "decided_by", "decided_at", "history"]
    fields = ["image", "label_set", "label", *readonly_fields[2:]]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Annotation | None = None) -> bool:
        return False

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "label":
            pk = request.resolver_match.kwargs.get("object_id")
            field.queryset = Label.objects.filter(label_set__annotations=pk)
            field.empty_label = "none of these"
        return field

    def save_model(self, request: HttpRequest, obj: Annotation, form: ModelForm, change: bool) -> None:
        if not form.has_changed():
            return
        verdict = Verdict.CORRECTED if obj.label_id else Verdict.NONE
        review.decide(obj.label_set, request.user, [Decision(obj.image_id, verdict, obj.label_id)])

    @admin.display(description="history")
    def history(self, annotation: Annotation) -> SafeString:
        reviews = (
            annotation.label_set.reviews.filter(image=annotation.image_id)
            .select_related("user")
            .order_by("-id")
        )
        rows = ((review.at.strftime("%Y-%m-%d %H:%M"), review.user or "—", str(review)) for review in reviews)
        body = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
        head = "<tr><th>At</th><th>User</th><th>Decision</th></tr>"
        return format_html("<table><thead>{}</thead><tbody>{}</tbody></table>", SafeString(head), body)


@admin.register(Review)
class ReviewAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "user", "image", "label_set", "verdict", "label_name", "suggested_name", "batch_id"]
    list_select_related = ["user", "image", "label_set"]
    list_filter = ["verdict", "at"]
    search_fields = ["image__name", "user__username", "label_name", "label_set__name", "=batch__id"]
    show_full_result_count = False


@admin.register(Match)
class MatchAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["image", "label_set", "label", "probability", "similarity", "margin", "runner_up", "run"]
    list_select_related = ["image", "label_set", "label", "runner_up", "run"]
    search_fields = ["image__name", "label__name", "label_set__name"]
    show_full_result_count = False


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
    list_filter = ["state", "precision", "created_at"]
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


@admin.register(Batch)
class BatchAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "user", "label_set", "kind", "verdict", "label_name", "total", "state"]
    list_select_related = ["user", "label_set"]
    list_filter = ["kind", "state", "at"]
    search_fields = ["=id", "user__username", "label_name", "label_set__name", "query"]
    show_full_result_count = False


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
