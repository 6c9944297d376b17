"""A scoring run: how far it is, start, cancel and retry."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from gallery.access import allowed, fetch
from gallery.answers import next_address, refused
from labeling import board, clip, runs
from labeling.models import LabelSet, ScoringRun

RUNS = ScoringRun.objects.select_related("project", "label_set__project", "created_by").defer("label_vectors")
FAILED_A_PAGE = 100


@login_required
@require_safe
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
    return _strip(request, label_set, label_set.role)


def _strip(request: HttpRequest, label_set: LabelSet, role: str) -> HttpResponse:
    """How the work stands; the grid draws itself again where that is not what the page has `seen`."""
    work = board.work(label_set)
    polled = "seen" in request.GET
    context = {"work": work, "label_set": label_set, "may": allowed(role), "polled": polled}
    response = render(request, "labeling/_progress.html", context)
    if request.GET.get("seen") != work.version:
        trigger_client_event(response, "images-changed")
    return response


@login_required
@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    found = fetch(RUNS, request.user, "view", pk=pk)
    failed = found.image_attempts.filter(failed=True).select_related("image").order_by("image_id")
    context = {
        "run": found,
        "project": found.project,
        "label_set": found.label_set,
        "may": allowed(found.role),
        "progress": runs.progress(found),
        "starter_note": board.starter_note(found),
        "is_newest": runs.newest(found) == found,
        "page": Paginator(failed, FAILED_A_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "labeling/run.html", context)


@login_required
@require_POST
def run_start(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "run", pk=pk)
    try:
        runs.start(label_set.project, label_set, request.user)
    except clip.ModelUnusable as error:
        return refused(request, [str(error)])
    return _changed(request, label_set, label_set.role, label_set.get_absolute_url())


@login_required
@require_POST
def run_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    found = fetch(RUNS, request.user, "run", pk=pk)
    runs.cancel(found)
    return _changed(request, found.label_set, found.role, reverse("run", args=[pk]))


@login_required
@require_POST
def run_retry(request: HttpRequest, pk: int) -> HttpResponse:
    found = fetch(RUNS, request.user, "run", pk=pk)
    if not runs.retry_failed(found):
        return refused(request, [runs.NO_RETRY])
    return _changed(request, found.label_set, found.role, reverse("run", args=[pk]))


def _changed(request: HttpRequest, label_set: LabelSet | None, role: str, page: str) -> HttpResponse:
    """The strip anew where the gallery's strip asked, or else on to the next page."""
    if request.htmx and label_set:
        return _strip(request, label_set, role)
    return redirect(next_address(request, page))
