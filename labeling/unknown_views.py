"""Images that no label fits: look for them, see them, and make labels of their groups."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from gallery.access import allowed, fetch
from gallery.answers import refused
from gallery.forms import is_id, sentences
from labeling import beat, board, clip, unknown_groups, unknown_runs
from labeling.models import ACTIVE, LabelSet, UnknownGroup
from labeling.unknown_forms import MakeLabelForm

LABEL_SETS = LabelSet.objects.select_related("project")
GROUPS = UnknownGroup.objects.select_related("run__label_set__project")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def unknowns(request: HttpRequest, pk: int) -> HttpResponse:
    """What was found; a POST looks again."""
    action = "run" if request.method == "POST" else "view"
    label_set = fetch(LABEL_SETS, request.user, action, pk=pk)
    if request.method == "POST":
        try:
            unknown_runs.start(label_set, request.user)
        except ValidationError as error:
            return refused(request, error.messages)
        except clip.ModelUnusable as error:
            return refused(request, [str(error)], 503)
        return redirect("unknowns", pk)
    found = unknown_groups.found(label_set)
    context = _state(label_set, found.run.pk if found.run else 0) | {
        "label_sets": label_set.project.label_sets.all(),
        "project": label_set.project,
        "tab": "progress",
        "work_page": "unknowns",
        "found": found,
        "starter_note": board.starter_note(label_set.runs.defer("label_vectors").first()),
        "next": request.get_full_path(),
    }
    return render(request, "labeling/unknowns.html", context | _possible(label_set))


def _state(label_set: LabelSet, seen: int) -> dict[str, Any]:
    """How the look stands that was begun last. `seen`: the one whose findings the page shows."""
    run = unknown_groups.newest(label_set)
    is_active = run is not None and run.state in ACTIVE
    return {
        "label_set": label_set,
        "may": allowed(label_set.role),
        "run": run,
        "seen": seen,
        "is_active": is_active,
        "worker_online": not is_active or beat.worker_is_online(),
    }


def _possible(label_set: LabelSet) -> dict[str, Any]:
    try:
        return {"is_possible": unknown_runs.is_possible(label_set), "error": ""}
    except clip.ModelUnusable as error:
        return {"is_possible": False, "error": str(error)}


@login_required
@require_safe
def unknowns_state(request: HttpRequest, pk: int) -> HttpResponse:
    """The strip of a look that is under way; the page is loaded anew where the first findings came in."""
    label_set = fetch(LABEL_SETS, request.user, "view", pk=pk)
    seen = request.GET.get("seen", "")
    context = _state(label_set, int(seen) if is_id(seen) else 0)
    if context["run"] and not context["is_active"] and not context["seen"]:
        return HttpResponseClientRefresh()
    return render(request, "labeling/_unknowns_state.html", context)


@login_required
@require_POST
def unknowns_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LABEL_SETS, request.user, "run", pk=pk)
    run = unknown_groups.newest(label_set)
    if run is None or not unknown_runs.cancel(run):
        messages.info(request, "It had ended already.")
    return redirect("unknowns", pk)


@login_required
@require_POST
def unknown_label(request: HttpRequest, pk: int, group: int) -> HttpResponse:
    found = fetch(GROUPS, request.user, "edit labels", pk=group, run__label_set=pk)
    form = MakeLabelForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    try:
        label, batch = unknown_groups.make_label(
            found, found.run.label_set, request.user, form.cleaned_data["name"], form.cleaned_data["set"]
        )
    except ValidationError as error:
        return refused(request, error.messages)
    except clip.ModelUnusable as error:
        return refused(request, [str(error)], 503)
    given = f", and {batch.total:,} image{'' if batch.total == 1 else 's'} have it" if batch else ""
    messages.success(request, f"“{label.name}” is a label now{given}. The project is scored again.")
    return redirect("unknowns", pk)


@login_required
@require_POST
def unknown_dismiss(request: HttpRequest, pk: int, group: int) -> HttpResponse:
    found = fetch(GROUPS, request.user, "run", pk=group, run__label_set=pk)
    unknown_groups.dismiss(found)
    return redirect("unknowns", pk)


@login_required
@require_POST
def unknown_show(request: HttpRequest, pk: int, group: int) -> HttpResponse:
    """Show a group's images in the gallery."""
    found = fetch(GROUPS, request.user, "view", pk=group, run__label_set=pk)
    label_set = found.run.label_set
    try:
        pick = unknown_groups.pick(found, label_set, request.user)
    except ValidationError as error:
        return refused(request, error.messages)
    gallery = reverse("gallery", args=[label_set.project.slug])
    return redirect(f"{gallery}?label_set={pk}&q=picked:{pick.pk}")
