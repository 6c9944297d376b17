"""Reviewing: one image at a time, a decision from any page, and its undoing."""

import re
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from gallery.access import allowed, fetch
from gallery.answers import next_address, refused
from gallery.forms import is_id, sentences
from gallery.models import Image
from labeling import ballots, batches, figures, leases, queue, review
from labeling.board import starter_note, with_labels
from labeling.forms import ClearForm, DecisionForm, LeaveForm, UndoForm
from labeling.models import Label, LabelSet
from labeling.queue import Place, Queue
from labeling.review import Stale, Undone, Verdict
from labeling.selection import Selection

KEYED = 10


def _label_set(request: HttpRequest, pk: int) -> LabelSet:
    rows = LabelSet.objects.select_related("project").prefetch_related("labels")
    return fetch(rows, request.user, "review", pk=pk)


@login_required
@require_safe
def review_page(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    wanted = request.GET.get("image", "")
    if wanted and not is_id(wanted):
        raise Http404("No such image.")
    try:
        whose = _queue(request, label_set)
    except ValidationError:  # the gallery points at the mistake
        return redirect(
            f"{label_set.get_absolute_url()}&{urlencode({'q': request.GET['q']}, errors='replace')}"
        )
    is_open = bool(request.htmx)
    place = queue.show(whose, int(wanted) if wanted else None, goes_on=is_open, looks=is_open)
    if wanted and place is None:
        raise Http404("No such image in this project.")
    template = "labeling/_review.html" if request.htmx else "labeling/review.html"
    return render(request, template, _review(request, whose, place))


def _queue(request: HttpRequest, label_set: LabelSet) -> Queue:
    """Which of the person's queues it is about. Raises ValidationError for a mistake in its search line."""
    params = request.POST if request.method == "POST" else request.GET
    since = _seconds(params.get("since", ""))
    return queue.asked_for(label_set, request.user, params.get("order", ""), params.get("q", ""), since)


def _goes_on(request: HttpRequest, label_set: LabelSet) -> Queue:
    """The queue in which a decision was made: all that waits, where its search line holds no more."""
    try:
        return _queue(request, label_set)
    except ValidationError:
        return Queue(label_set, request.user)


def _seconds(value: str) -> float:
    """Since when, in seconds since 1970; 0 for what is no such time."""
    return float(value) if re.fullmatch(r"\d{1,10}(\.\d{1,6})?", value, re.ASCII) else 0


def _review(request: HttpRequest, whose: Queue, place: Place | None) -> dict[str, Any]:
    """What the review page shows of the image at this place, or of the end."""
    label_set = whose.label_set
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "can_undo": review.next_undo(label_set, request.user) is not None,
        "can_redo": review.next_redo(label_set, request.user) is not None,
        "place": place,
        "queue": whose,
        "orders": queue.ORDERS,
        "keep": _kept(whose),
        **queue.standing(label_set)._asdict(),
    }
    if place is None:
        return context | {"with_others": queue.with_others(whose)}
    image = with_labels([place.image], label_set)[0]
    annotation = label_set.annotations.select_related("decided_by").filter(image=image).first()
    return context | {
        "held_by": place.held_by,
        "image": image,
        "annotation": annotation,
        "can_clear": annotation is not None or _voted(request, label_set, image),
        "choices": _choices(label_set, image),
        "starter_note": starter_note(label_set.runs.defer("label_vectors").first()),
    }


def _voted(request: HttpRequest, label_set: LabelSet, image: Image) -> bool:
    """Whether this person gave a vote that settles nothing yet."""
    if label_set.votes == 1:
        return False
    answers = review.effective(label_set, [image.pk])[image.pk]
    return any(answer.user_id == request.user.pk for answer in answers)


def _choices(label_set: LabelSet, image: Image) -> list[dict[str, Any]]:
    """The labels to choose from: those with a key in their order, then the others, most probable first."""
    scores = {score.label_id: score for score in figures.label_scores(label_set, image)}
    labels = list(label_set.labels.all())

    def least_probable(label: Label) -> float:
        return -scores[label.pk].probability if label.pk in scores else 0

    labels = labels[:KEYED] + sorted(labels[KEYED:], key=least_probable)
    return [{"label": label, "score": scores.get(label.pk)} for label in labels]


@login_required
@require_POST
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    ids, page = form.cleaned_data["image"], form.cleaned_data["page"]
    # Told before the decision: then the image is in the list no more.
    following = queue.following(_goes_on(request, label_set), ids[0]) if page == "review" else None
    settles = form.cleaned_data["settles"]
    if settles:
        fetch(LabelSet.objects, request.user, "settle disputes", pk=pk)
    try:
        review.decide(label_set, request.user, form.decisions(), settles)
    except ValidationError as error:
        return refused(request, error.messages)
    except Stale as stale:
        return _stale(request, stale)
    images = _decided(label_set, ids)
    if label_set.votes > 1 and form.cleaned_data["verdict"] != Verdict.SKIPPED and not settles:
        said = ballots.told(label_set, request.user, label_set.role, images)
    else:
        said = _said(images, form.cleaned_data["verdict"])
    words = f"{_named(images)}: {said}"
    return _answer(request, label_set, page, images, words, following, True)


@login_required
@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    form = UndoForm(request.POST)
    if not form.is_valid():
        return refused(request, ["There is no such batch to undo."])
    page = form.cleaned_data["page"]
    batch = form.cleaned_data["batch"] or review.next_undo(label_set, request.user)
    if batch and batches.is_large(label_set, batch):
        return _undone_later(request, label_set, page, batch)
    undone = review.undo(label_set, request.user, label_set.role, batch) if batch else Undone([], [])
    images = _decided(label_set, undone.images)
    show = undone.images[0] if undone.images else None
    return _answer(request, label_set, page, images, _reversed("Undone", images, undone), show, False)


@login_required
@require_POST
def redo(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    form = UndoForm(request.POST)
    if not form.is_valid():
        return refused(request, ["There is no such batch to redo."])
    page = form.cleaned_data["page"]
    batch = form.cleaned_data["batch"] or review.next_redo(label_set, request.user)
    redone = review.redo(label_set, request.user, label_set.role, batch) if batch else Undone([], [])
    images = _decided(label_set, redone.images)
    # The image that the undoing led back to is decided about again: on to the next one.
    return _answer(request, label_set, page, images, _reversed("Redone", images, redone), None, bool(images))


@login_required
@require_POST
def clear(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    form = ClearForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    page, image = form.cleaned_data["page"], form.cleaned_data["image"]
    seen = form.cleaned_data["seen"] if "seen" in request.POST else None
    try:
        cleared = review.clear(label_set, request.user, label_set.role, image, seen)
    except Stale as stale:
        return _stale(request, stale)
    images = _decided(label_set, cleared.images)
    return _answer(request, label_set, page, images, _reversed("Cleared", images, cleared), image, False)


def _stale(request: HttpRequest, stale: Stale) -> HttpResponse:
    response = refused(request, stale.sentences, status=409)
    response["HX-Trigger"] = "images-changed"
    return response


def _undone_later(request: HttpRequest, label_set: LabelSet, page: str, batch: uuid.UUID) -> HttpResponse:
    """A worker takes back a large batch: the gallery has a line for that, and the batch a page."""
    undoing = batches.undo(label_set, request.user, label_set.role, batch)
    words = f"Undoing {undoing.total:,} images" if undoing else "Stopped, before anything was changed."
    if request.htmx and page == "gallery":
        response = _answer(request, label_set, page, [], words, None, False)
        return trigger_client_event(response, "batches-changed")
    messages.success(request, words)
    address = reverse("batch", args=[undoing.pk if undoing else batch])
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)


def _decided(label_set: LabelSet, ids: list[int]) -> list[Image]:
    return with_labels(label_set.images().filter(pk__in=ids), label_set)


def _named(images: list[Image]) -> str:
    return images[0].name if len(images) == 1 else f"{len(images):,} images"


def _said(images: list[Image], verdict: str) -> str:
    """What was decided, of all these images; the label where it is the same one."""
    if verdict == Verdict.SKIPPED:
        return "skipped"
    statuses, labels = {image.status for image in images}, {image.label for image in images}
    if statuses == {"none"}:
        return "none of these"
    words = {"accepted": "accepted as", "corrected": "corrected to"}
    if len(labels) == 1:
        return f"{words[statuses.pop()] if len(statuses) == 1 else 'labelled'} {labels.pop()}"
    return statuses.pop() if len(statuses) == 1 else "decided"


def _reversed(done: str, images: list[Image], undone: Undone) -> str:
    """What became of an undoing; `done` is what it is called: Undone, Redone, Cleared."""
    kept = f"{len(undone.kept):,} {'stays' if len(undone.kept) == 1 else 'stay'}: somebody decided later."
    if images and undone.kept:
        return f"{done} for {_named(images)}; {kept}"
    if images:
        return f"{done}: {_named(images)}"
    if undone.kept:
        return f"Nothing was {done.lower()}; {kept}"
    return {"Undone": "There is nothing to undo.", "Redone": "There is nothing to redo."}.get(
        done, "This image has no answer to clear."
    )


def _answer(
    request: HttpRequest,
    label_set: LabelSet,
    page: str,
    images: list[Image],
    words: str,
    show: int | None,
    undoable: bool,
) -> HttpResponse:
    """Draw again what changed on the page that asked, or go back to it. `show`: the image to review next;
    `undoable`: whether the next undo takes this back."""
    go_on = next_address(request, label_set.get_absolute_url())
    if not request.htmx or page == "image":
        messages.success(request, words)
        whose = _goes_on(request, label_set)
        return redirect(_following_address(whose, show) if page == "review" else go_on)
    context = {"label_set": label_set, "may": allowed(label_set.role), "words": words, "undoable": undoable}
    if page == "review":
        whose = _goes_on(request, label_set)
        place = queue.show(whose, show, goes_on=True) or queue.show(whose, goes_on=True)
        response = render(request, "labeling/_reviewed.html", _review(request, whose, place) | context)
        response["HX-Replace-Url"] = _following_address(whose, place.image.pk if place else None)
        return response
    selection = Selection(label_set, _shown(request), request.user)
    selection.liken(images)
    more = {"images": images, "selection": selection, "next": go_on}
    return render(request, "labeling/_decided.html", context | more)


def _shown(request: HttpRequest) -> QueryDict:
    """The parameters of the page that a script asks from."""
    try:
        return QueryDict(urlsplit(request.htmx.current_url or "").query)
    except ValueError:  # no address at all
        return QueryDict()


def _kept(whose: Queue) -> str:
    """The parameters of an address in this queue, but for those that are as usual."""
    order = whose.order if whose.order != queue.TEACHES else ""
    params = {"q": whose.query, "order": order, "since": f"{whose.since:f}" if whose.since else ""}
    return urlencode({name: value for name, value in params.items() if value})


def _following_address(whose: Queue, image_id: int | None) -> str:
    image = f"image={image_id}" if image_id else ""
    params = "&".join(part for part in (image, _kept(whose)) if part)
    address = reverse("review", args=[whose.label_set.pk])
    return f"{address}?{params}" if params else address


@login_required
@require_POST
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    """The page is left: what its person held is free for others."""
    label_set = fetch(LabelSet.objects, request.user, "review", pk=pk)
    form = LeaveForm(request.POST)
    if not form.is_valid():
        return refused(request, ["Say which queue is left, and until when its images were held."])
    leases.leave(label_set, request.user, form.cleaned_data["queue"], form.cleaned_data["until"])
    return HttpResponse(status=204)
