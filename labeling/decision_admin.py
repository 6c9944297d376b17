"""Matches, reviews, annotations and batches in Django's admin. A decision is corrected by one more, never
rewritten: each correction, and each action on many rows, goes through the door of reviews and batches."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gallery.access import Role
from gallery.admin import ByDoor, ByProject, ReadOnly, TextFilter
from labeling import batches, review
from labeling.models import Annotation, Batch, Label, LabelSet, Match, Review
from labeling.review import Decision, Stale, Verdict


class ByLabelSet(TextFilter):
    title, parameter_name = "label set", "label_set"
    lookups = ("label_set__name",)


class ByLabel(TextFilter):
    # Typed, not chosen: there may be ten thousands of them on a site.
    title, parameter_name = "label", "label"
    lookups = ("label__name",)


class ByLabelName(ByLabel):
    """Of reviews, which keep the name of a label that is deleted."""

    lookups = ("label_name",)


class IsAnswered(admin.SimpleListFilter):
    title, parameter_name = "decision", "answered"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*Annotation.Status.choices, ("no", "nobody decided")]

    def queryset(self, request: HttpRequest, matches: QuerySet[Match]) -> QuerySet[Match]:
        answers = Annotation.objects.filter(image=OuterRef("image"), label_set=OuterRef("label_set"))
        if self.value() == "no":
            return matches.filter(~Exists(answers))
        return matches.filter(Exists(answers.filter(status=self.value()))) if self.value() else matches


class Deciding(admin.ModelAdmin):
    """Rows of one image and one label set each, about many of which one decides at a time."""

    actions = ("accept_suggestion", "none_of_these", "take_back")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("labeling.add_review")

    @admin.action(description="Accept the suggestion", permissions=["decide"])
    def accept_suggestion(self, request: HttpRequest, rows: QuerySet) -> HttpResponse | None:
        return self._decided(request, rows, "accept_suggestion", Match)

    @admin.action(description="None of these", permissions=["decide"])
    def none_of_these(self, request: HttpRequest, rows: QuerySet) -> HttpResponse | None:
        return self._decided(request, rows, "none_of_these", self.model)

    @admin.action(description="Take the decision back", permissions=["decide"])
    def take_back(self, request: HttpRequest, rows: QuerySet) -> HttpResponse | None:
        return self._decided(request, rows, "take_back", Annotation)

    def _decided(
        self, request: HttpRequest, rows: QuerySet, action: str, model: type[Match | Annotation]
    ) -> HttpResponse | None:
        """Ask first, with the count; then one batch a label set, about images that have a row of `model`."""
        chosen = _chosen(rows, model)
        count = sum(len(image_ids) for _, image_ids in chosen)
        sent = request.POST.get("expected")
        if sent != str(count):
            if sent:
                messages.warning(request, "Something has changed since you looked. Nothing was decided.")
            return self._asked(request, rows, action, chosen, count)
        for label_set, image_ids in chosen:
            if action == "take_back":
                batches.clear_all(label_set, request.user, Role.OWNER, image_ids, "in the admin")
            else:
                verdict = Verdict.ACCEPTED if action == "accept_suggestion" else Verdict.NONE
                batches.decide_all(label_set, request.user, image_ids, verdict, query="in the admin")
        images = "1 image" if count == 1 else f"{count:,} images"
        messages.success(request, f"Done for {images}. It can be undone whole: see batches.")
        return None

    def _asked(
        self,
        request: HttpRequest,
        rows: QuerySet,
        action: str,
        chosen: list[tuple[LabelSet, list[int]]],
        count: int,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{self.get_action(action)[2]}?",
            "opts": self.opts,
            "chosen": [(label_set, len(image_ids)) for label_set, image_ids in chosen],
            "count": count,
            "left": rows.count() - count,
            "action": action,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "checked": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/decide_selected.html", context)


def _chosen(rows: QuerySet, model: type[Match | Annotation]) -> list[tuple[LabelSet, list[int]]]:
    """By label set, the images of these rows that have a row of `model` in it, oldest first."""
    rows = rows.order_by()
    label_sets = LabelSet.objects.select_related("project").filter(pk__in=rows.values("label_set"))
    chosen = []
    for label_set in label_sets.order_by("pk"):
        images = rows.filter(label_set=label_set).values("image")
        having = model.objects.filter(label_set=label_set, image__in=images)
        chosen.append((label_set, list(having.order_by("image").values_list("image", flat=True))))
    return [(label_set, image_ids) for label_set, image_ids in chosen if image_ids]


class CorrectionForm(forms.ModelForm):
    # Which answer the person saw.
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Annotation
        fields = ("label",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = review.version(self.instance)


@admin.register(Annotation)
class AnnotationAdmin(Deciding, ByDoor):
    """The answer can be corrected, which is one more decision in its history."""

    list_display = ["image", "label_set", "label", "status", "source", "decided_by", "decided_at"]
    list_select_related = ["image", "label_set", "label", "decided_by"]
    list_filter = ["status", "source", "decided_at", ByLabel, ByLabelSet, ByProject]
    search_fields = ["image__name", "label__name", "label_set__name", "decided_by__username"]
    readonly_fields = ["image", "label_set", "status", "source", "decided_by", "decided_at", "history"]
    fields = ["image", "label_set", "label", *readonly_fields[2:], "seen"]
    form = CorrectionForm
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
        if "label" not in form.changed_data:
            return
        verdict = Verdict.CORRECTED if obj.label_id else Verdict.NONE
        seen = form.cleaned_data["seen"] or None
        correction = Decision(obj.image_id, verdict, obj.label_id, seen)
        try:
            # Over people's votes, where several are asked for.
            review.decide(obj.label_set, request.user, [correction], settles=obj.label_set.votes > 1)
        except Stale as stale:
            raise ValidationError(stale.sentences) from stale

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
    list_filter = ["verdict", "at", "settles", ByLabelName, ByLabelSet, ByProject]
    search_fields = ["image__name", "user__username", "label_name", "label_set__name", "=batch__id"]
    show_full_result_count = False


@admin.register(Match)
class MatchAdmin(ReadOnly, Deciding):
    list_display = ["image", "label_set", "label", "probability", "similarity", "margin", "runner_up", "run"]
    list_select_related = ["image", "label_set", "label", "runner_up", "run"]
    list_filter = [IsAnswered, ByLabel, ByLabelSet, ByProject]
    search_fields = ["image__name", "label__name", "label_set__name"]
    show_full_result_count = False


@admin.register(Batch)
class BatchAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "user", "label_set", "kind", "verdict", "label_name", "total", "state"]
    list_select_related = ["user", "label_set"]
    list_filter = ["kind", "state", "at", ByLabelName, ByLabelSet, ByProject]
    search_fields = ["=id", "user__username", "label_name", "label_set__name", "query"]
    show_full_result_count = False
    actions = ("undo",)

    def has_undo_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("labeling.add_review")

    @admin.action(description="Undo", permissions=["undo"])
    def undo(self, request: HttpRequest, rows: QuerySet[Batch]) -> None:
        """Newest first, since what came later stands over what came before."""
        undone, left = 0, 0
        for batch in rows.select_related("label_set__project").order_by("-at", "-id"):
            if batches.undo(batch.label_set, request.user, Role.OWNER, batch.pk):
                undone += 1
            else:
                left += 1
        kept = f" In {left:,} there was nothing to take back." if left else ""
        messages.info(request, f"{undone:,} undone.{kept}")
