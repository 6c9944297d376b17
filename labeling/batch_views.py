"""Acting on many images at once, and the history: what everybody did, and taking it back."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from gallery.access import allowed, fetch
from gallery.answers import next_address, refused
from gallery.forms import sentences
from labeling import batches, beat, bulk, history, review
from labeling.batch_forms import BulkForm, HistoryForm
from labeling.bulk import Differs
from labeling.models import Batch, LabelSet

BATCHES = Batch.objects.select_related("label_set__project")
LABEL_SETS = LabelSet.objects.select_related("project")
A_PAGE = 30


@login_required
@require_POST
def bulk_action(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LABEL_SETS, request.user, "review", pk=pk)
    form = BulkForm(request.POST, label_set, request.user)
    if not form.is_valid():
        return refused(request, sentences(form))
    try:
        ids, query = form.images()
        batch = bulk.say(label_set, request.user, form.cleaned_data["what"], ids, query, **form.seen())
    except ValidationError as error:
        return refused(request, error.messages)
    except Differs as differs:
        return _asked_again(request, label_set, form, differs)
    return _begun(request, label_set, form, batch)


def _asked_again(request: HttpRequest, label_set: LabelSet, form: BulkForm, differs: Differs) -> HttpResponse:
    """The same form once more, with the numbers as they are now: in a dialog, or without script as a page."""
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "sentence": form.sentence(differs.count),
        "differs": differs,
        "seen": form.cleaned_data["count"] if form.cleaned_data["all"] else differs.count,
        "values": form.values(),
        "before": next_address(request, label_set.get_absolute_url()),
    }
    template = "labeling/_bulk_ask.html" if request.htmx else "labeling/bulk_ask.html"
    response = render(request, template, context, status=409)
    response["HX-Retarget"], response["HX-Reswap"] = "#bulk-ask", "innerHTML"
    return response


def _begun(request: HttpRequest, label_set: LabelSet, form: BulkForm, batch: Batch) -> HttpResponse:
    if batch.state == Batch.State.RUNNING:
        words = f"{form.sentence(batch.total)}: begun"
    else:
        words = _entry(request, label_set, batch.pk).what
        words = words[0].upper() + words[1:]
    if not request.htmx:
        messages.success(request, words)
        if batch.state == Batch.State.RUNNING:
            return redirect("batch", batch.pk)
        return redirect(next_address(request, label_set.get_absolute_url()))
    response = render(
        request, "labeling/_said.html", {"label_set": label_set, "words": words, "undoable": True}
    )
    # Once this answer is drawn: the grid is not to be asked for twice.
    for event in ("images-changed", "batches-changed", "bulk-done"):
        trigger_client_event(response, event, after="settle")
    return response


def _entry(request: HttpRequest, label_set: LabelSet, pk: uuid.UUID) -> history.Entry:
    """One batch as the person may see it. The label set carries their role."""
    found = history.batches_of(label_set).filter(pk=pk)
    [entry] = history.told(label_set, request.user, label_set.role, found)
    return entry


def _label_set_of(batch: Batch) -> LabelSet:
    batch.label_set.role = batch.role
    return batch.label_set


@login_required
@require_safe
def batch(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = fetch(BATCHES, request.user, "view", pk=pk)
    label_set = _label_set_of(found)
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "entry": _entry(request, label_set, pk),
        "worker_online": beat.worker_is_online(),
    }
    return render(request, "labeling/_batch.html" if request.htmx else "labeling/batch.html", context)


@login_required
@require_POST
def batch_undo(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = fetch(BATCHES, request.user, "review", pk=pk)
    label_set = _label_set_of(found)
    undoing = batches.undo(label_set, request.user, label_set.role, pk)
    if undoing is None:
        messages.warning(request, "There is nothing to take back: it is undone, or somebody decided later.")
        return redirect(next_address(request, reverse("batch", args=[pk])))
    what = _entry(request, label_set, undoing.pk).what
    if undoing.state == Batch.State.RUNNING:
        messages.success(request, f"Begun to take back {undoing.total:,}")
        return redirect("batch", undoing.pk)
    messages.success(request, what[0].upper() + what[1:])
    return redirect(next_address(request, reverse("batch", args=[pk])))


@login_required
@require_POST
def batch_stop(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = fetch(BATCHES, request.user, "review", pk=pk)
    review.check_may_reverse(found, request.user, found.role)
    if not batches.cancel(found):
        messages.info(request, "It had ended already.")
    return redirect(next_address(request, reverse("batch", args=[pk])))


@login_required
@require_safe
def running(request: HttpRequest, pk: int) -> HttpResponse:
    """The line of each batch that is under way; what the grid shows is drawn again when one has ended."""
    label_set = fetch(LABEL_SETS, request.user, "view", pk=pk)
    context = lines(label_set, request.user, label_set.role)
    response = render(request, "labeling/_running.html", context)
    gone = set(request.GET.get("seen", "").split()) - {str(entry.batch.pk) for entry in context["entries"]}
    return trigger_client_event(response, "images-changed") if gone else response


def lines(label_set: LabelSet, user: Any, role: str) -> dict[str, Any]:
    """What the lines of the batches that are under way show."""
    found = list(history.batches_of(label_set).filter(state=Batch.State.RUNNING))
    entries = history.told(label_set, user, role, found) if found else []
    return {
        "label_set": label_set,
        "entries": entries,
        "worker_online": not entries or beat.worker_is_online(),
    }


@login_required
@require_safe
def history_page(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LABEL_SETS, request.user, "view", pk=pk)
    form = HistoryForm(request.GET)
    chosen = form.cleaned_data if form.is_valid() else {}
    found = history.batches_of(label_set)
    if chosen.get("by"):
        found = found.filter(user__username=chosen["by"])
    if chosen.get("kind"):
        found = found.filter(kind=chosen["kind"])
    page = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    members = label_set.project.memberships.select_related("user").order_by("user__username")
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "tab": "progress",
        "chosen": chosen,
        "people": [member.user.get_username() for member in members],
        "kinds": Batch.Kind.choices,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
        "entries": history.told(label_set, request.user, label_set.role, list(page.object_list)),
        "next": request.get_full_path(),
    }
    return render(request, "labeling/history.html", context)
