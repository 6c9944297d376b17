"""Label sets on pages: make one, change one, delete one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gallery.access import allowed, fetch
from gallery.answers import asked_back, next_address, refused
from gallery.models import Project
from labeling import batches, clip, definitions, label_sets, ready_sets
from labeling.forms import LabelSetForm, shown
from labeling.models import Batch, LabelSet


def chosen_ready_set(request: HttpRequest) -> dict[str, Any] | None:
    """The ready set that the address fills the form with, if any. Raises Http404 for an unknown one."""
    key = request.GET.get("ready")
    if key and key not in ready_sets.every():
        raise Http404
    return ready_sets.every()[key] if key else None


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def label_set_new(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "edit labels", slug=slug)
    ready = chosen_ready_set(request)
    initial = shown(ready) if ready else None
    form = LabelSetForm(request.POST or None, request.FILES or None, initial=initial)
    if _saves(request) and form.is_valid():
        chosen = [form.cleaned_data[name] for name in ("name", "labels", "templates", "votes")]
        try:
            return redirect(label_sets.create(project, request.user, *chosen))
        except ValidationError as error:
            form.add_refusal(error)
        except clip.ModelUnusable as error:
            form.add_error(None, str(error))
    return _form_page(request, project, form, project.role)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def label_set_edit(request: HttpRequest, pk: int) -> HttpResponse:
    rows = LabelSet.objects.select_related("project")
    label_set = fetch(rows, request.user, "edit labels", pk=pk)
    form = LabelSetForm(request.POST or None, label_set=label_set)
    if _saves(request) and form.is_valid():
        chosen = form.cleaned_data
        try:
            label_sets.change(label_set, request.user, chosen["name"], chosen["labels"], chosen["templates"])
            asking = batches.ask_votes(label_set, request.user, chosen["votes"]) if chosen["votes"] else None
            messages.success(request, f"“{label_set.name}” is saved.{_settled_anew(asking)}")
            return redirect(label_set)
        except ValidationError as error:
            form.add_refusal(error)
        except clip.ModelUnusable as error:
            form.add_error(None, str(error))
    return _form_page(request, label_set.project, form, label_set.role, label_set)


@login_required
@require_safe
def definition(request: HttpRequest, pk: int) -> HttpResponse:
    """The label set itself as a file, to keep or to make the same one of elsewhere."""
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
    try:
        return definitions.download(label_set, request.GET.get("format", "json"))
    except ValidationError as error:
        return refused(request, error.messages)


@login_required
@require_POST
def label_add(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a label of what was searched: its words are what CLIP is asked."""
    rows = LabelSet.objects.select_related("project")
    label_set = fetch(rows, request.user, "edit labels", pk=pk)
    words = request.POST.get("words", "").strip()
    try:
        label = label_sets.add(
            label_set, request.user, request.POST.get("name", ""), [words] if words else []
        )
    except ValidationError as error:
        return refused(request, error.messages)
    except clip.ModelUnusable as error:
        return refused(request, [str(error)], 503)
    messages.success(request, f"“{label}” is a label now. The images are compared with it.")
    return redirect(next_address(request, label_set.get_absolute_url()))


def _saves(request: HttpRequest) -> bool:
    return request.method == "POST" and "preview" not in request.POST


def _settled_anew(batch: Batch | None) -> str:
    """What a change of the votes that are asked for does, in words."""
    if batch is None:
        return ""
    asked = "One vote settles" if batch.votes == 1 else f"{batch.votes} votes settle"
    images = "1 image" if batch.total == 1 else f"{batch.total:,} images"
    where = " in the background" if batch.state == Batch.State.RUNNING else ""
    more = f" The answers to {images} are settled anew{where}." if batch.total else ""
    return f" {asked} an image from now on.{more}"


def _form_page(
    request: HttpRequest, project: Project, form: LabelSetForm, role: str, label_set: LabelSet | None = None
) -> HttpResponse:
    """The form, or, while somebody types in it, what CLIP would be asked."""
    context: dict[str, Any] = {"project": project, "label_set": label_set, "may": allowed(role), "form": form}
    context["prompts"] = form.prompts()
    if "preview" in request.POST and request.htmx:
        return render(request, "labeling/_prompts.html", context)
    context |= {
        "tab": "labels",
        "images": project.images.count(),
        "label_sets": project.label_sets.all(),
        "ready_sets": ready_sets.every(),
        "ready": None if label_set else chosen_ready_set(request),
        "decided": label_set.annotations(manager="everything").count() if label_set else 0,
    }
    return render(request, "labeling/label_set_form.html", context)


@login_required
@require_POST
def label_set_delete(request: HttpRequest, pk: int) -> HttpResponse:
    rows = LabelSet.objects.select_related("project")
    label_set = fetch(rows, request.user, "edit labels", pk=pk)
    label_sets.check_deletable(label_set, label_set.role)
    decided = label_set.annotations(manager="everything").count()
    images = "1 image" if decided == 1 else f"{decided:,} images"
    detail = f"Decisions about {images} go with it, for good. The images stay."
    if ask := asked_back(request, f"Delete the label set “{label_set.name}”?", detail, "Delete"):
        return ask
    label_sets.delete(label_set, label_set.role)
    messages.success(request, f"“{label_set.name}” is deleted.")
    return redirect(label_set.project)
