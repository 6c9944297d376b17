"""Near-duplicates on pages: groups side by side, deciding about one, and the search for them."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from gallery import set_aside
from gallery.access import allowed, fetch
from gallery.answers import next_address, refused
from gallery.forms import is_id, sentences
from gallery.models import Project
from labeling import batches, beat, duplicates, looking
from labeling.board import chosen_label_set
from labeling.duplicate_forms import DecisionForm, LabelForm
from labeling.models import ACTIVE, Batch, DuplicateSearch, LabelSet
from labeling.review import Verdict

A_PAGE = 20


def _address(project: Project) -> str:
    return reverse("duplicates", args=[project.slug])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def duplicates_page(request: HttpRequest, slug: str) -> HttpResponse:
    action = "delete images" if request.method == "POST" else "view"
    project = fetch(Project.objects.all(), request.user, action, slug=slug)
    if request.method == "POST":
        return _decide(request, project)
    label_set, label_sets = chosen_label_set(project, request.GET.get("label_set"))
    page = Paginator(duplicates.groups(project), A_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "may": allowed(project.role),
        "tab": "duplicates",
        "label_set": label_set,
        "label_sets": label_sets,
        "page": page,
        "groups": _groups(page, label_set),
        "last": duplicates.last_decision(project),
        "batch": _batch(project, request.GET.get("batch", "")),
        "aside": set_aside.of(project).count(),
        "next": request.get_full_path(),
        **_search(project),
    }
    return render(request, "labeling/duplicates.html", context)


def _groups(page: Page, label_set: LabelSet | None) -> list[duplicates.Group]:
    """The groups of the page; each member's image with its label in the label set."""
    groups = duplicates.described(page.object_list)
    labels = duplicates.labels_of(groups, label_set.pk) if label_set else {}
    for group in groups:
        for member in group.members:
            member.image.label_name = labels.get(member.image.pk, "")
    return groups


def _search(project: Project) -> dict[str, Any]:
    """How the search for them stands."""
    search = DuplicateSearch.objects.filter(project=project).first()
    progress = looking.progress(project)
    is_active = search is not None and search.state in ACTIVE
    return {
        "search": search,
        "progress": progress,
        "is_active": is_active,
        "waits": search is None and progress.total > 0,
        "is_stuck": is_active and not beat.worker_is_online(),
    }


def _batch(project: Project, pk: str) -> Batch | None:
    """The batch of labels that this page has just set, to be undone from here."""
    try:
        return Batch.objects.filter(label_set__project=project, pk=pk).first() if pk else None
    except ValidationError:  # no id of a batch
        return None


def _decide(request: HttpRequest, project: Project) -> HttpResponse:
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    try:
        decision = duplicates.decide(project, request.user, form.cleaned_data["image"], form.kept())
    except ValidationError as error:
        return refused(request, error.messages)
    except duplicates.Changed as changed:
        return refused(request, [str(changed)], status=409)
    messages.success(request, _said(len(decision.kept), len(decision.set_aside)))
    return redirect(next_address(request, _address(project)))


def _said(kept: int, aside: int) -> str:
    if not aside:
        return f"All {kept} are kept, and won't be asked about again."
    return f"Kept {kept}, set {aside} aside."


@login_required
@require_POST
def duplicates_undo(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "delete images", slug=slug)
    pk = request.POST.get("decision", "")
    if not is_id(pk):
        return refused(request, ["Say which decision is to be undone."])
    decision = get_object_or_404(project.duplicate_decisions, pk=pk)
    if duplicates.undo(decision, request.user):
        messages.success(request, "Undone: the group is open again, and its images are back.")
    else:
        messages.info(request, "It was undone already.")
    return redirect(next_address(request, _address(project)))


@login_required
@require_POST
def duplicates_label(request: HttpRequest, slug: str) -> HttpResponse:
    """Set a label on all images of a group, as one batch."""
    project = fetch(Project.objects.all(), request.user, "review", slug=slug)
    form = LabelForm(project, request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    label, ids = form.cleaned_data["label"], list(dict.fromkeys(form.cleaned_data["image"]))
    try:
        batch = batches.decide_all(label.label_set, request.user, ids, Verdict.CORRECTED, label.pk)
    except ValidationError as error:
        return refused(request, error.messages)
    words = f"{label} is set on {len(ids)} image{'' if len(ids) == 1 else 's'}."
    messages.success(request, words)
    back = next_address(request, "")
    if back and not back.startswith(_address(project)):
        return redirect(back)
    return redirect(f"{_address(project)}?label_set={label.label_set_id}&batch={batch.pk}")


@login_required
@require_POST
def duplicates_search(request: HttpRequest, slug: str) -> HttpResponse:
    """Look for near-duplicates, or `stop` doing so."""
    project = fetch(Project.objects.all(), request.user, "run", slug=slug)
    if "stop" in request.POST:
        looking.stop(project)
    else:
        looking.start(project)
    return redirect(next_address(request, _address(project)))
