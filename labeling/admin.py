"""Label sets, labels and the history of images in Django's admin."""

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from gallery.access import Role
from gallery.admin import ByDoor, ByProject, Cascading, ImageAdmin, ReadOnly
from gallery.models import Image
from labeling import batches, decision_admin, label_sets, run_admin
from labeling.label_sets import LabelSpec
from labeling.models import Annotation, Label, LabelSet, Review

__all__ = ["decision_admin", "run_admin"]


class LabelInline(ReadOnly, admin.TabularInline):
    model = Label
    fields = ["position", "name", "prompts"]
    extra = 0
    show_change_link = True


@admin.register(LabelSet)
class LabelSetAdmin(Cascading, ByDoor):
    list_display = ["name", "project", "votes", "created_at"]
    list_select_related = ["project"]
    list_filter = ["created_at", ByProject]
    search_fields = ["name", "project__name", "project__slug"]
    readonly_fields = ["project", "created_at"]
    inlines = [LabelInline]
    view_on_site = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: LabelSet, form: ModelForm, change: bool) -> None:
        if form.changed_data != ["votes"]:
            label_sets.change(obj, request.user, name=obj.name, templates=obj.templates)
        batches.ask_votes(obj, request.user, obj.votes)

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


class ByAnswer(admin.SimpleListFilter):
    """What people decided about an image in any label set."""

    title, parameter_name = "decision", "answered"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*Annotation.Status.choices, ("no", "nobody decided")]

    def queryset(self, request: HttpRequest, images: QuerySet[Image]) -> QuerySet[Image]:
        answers = Annotation.objects.filter(image=OuterRef("pk"))
        if self.value() == "no":
            return images.filter(~Exists(answers))
        return images.filter(Exists(answers.filter(status=self.value()))) if self.value() else images


@admin.register(Image)
class ImageWithHistoryAdmin(ImageAdmin):
    list_filter = (*ImageAdmin.list_filter, ByAnswer)
    inlines = [ReviewInline]
