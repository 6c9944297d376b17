"""Reviewing a class at a time: what is proposed as a label, the wrong ones marked, the rest accepted."""

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from gallery.access import allowed, fetch
from gallery.answers import refused
from gallery.forms import sentences
from labeling import batches, review
from labeling import classes as classes_door
from labeling.class_forms import FEWEST, MOST, ClassForm, in_a_row
from labeling.models import Batch, Label, LabelSet, Match
from labeling.review import Stale, Verdict

NAMED = 5
KEYED = 10


def _label_set(request: HttpRequest, pk: int) -> LabelSet:
    rows = LabelSet.objects.select_related("project").prefetch_related("labels")
    return fetch(rows, request.user, "review", pk=pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def classes(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk)
    if request.method == "POST":
        return _settle(request, label_set)
    context = {"label_set": label_set, "project": label_set.project, "may": allowed(label_set.role)}
    found = classes_door.classes(label_set, request.user)
    if request.GET.get("label"):
        label = _label(label_set, request.GET["label"])
        return render(request, "labeling/class.html", context | _class(request, label_set, label, found))
    classes_door.let_go(label_set, request.user)
    waiting = sum(each.waiting for each in found)
    return render(request, "labeling/classes.html", context | {"classes": found, "waiting": waiting})


def _label(label_set: LabelSet, wanted: object) -> Label:
    """Raises Http404."""
    label = next((label for label in label_set.labels.all() if str(label.pk) == str(wanted)), None)
    if label is None:
        raise Http404("There is no such label in this label set.")
    return label


def _class(
    request: HttpRequest, label_set: LabelSet, label: Label, found: Sequence[classes_door.Class]
) -> dict[str, Any]:
    """What the page of one class shows."""
    matches = classes_door.proposed(label_set, request.user, label)
    ids, again = [match.image_id for match in matches], _batch(request)
    marks = classes_door.marks(label_set, request.user, again, ids) if again else {}
    labels = {str(each.pk): each for each in label_set.labels.all()}
    for match in matches:
        match.said = marks.get(match.image_id, "")
        match.choices = _choices(match, labels.get(match.said))
    return {
        "label": label,
        "this": next(each for each in found if each.label == label),
        "following": next((each for each in found if each.waiting and each.label != label), None),
        "matches": matches,
        "marked": sum(bool(match.said) for match in matches),
        "keyed": list(label_set.labels.all()[:KEYED]),
        "across": in_a_row(request.GET.get("across")),
        "fewest": FEWEST,
        "most": MOST,
        "can_undo": review.next_undo(label_set, request.user) is not None,
        "can_redo": review.next_redo(label_set, request.user) is not None,
    }


def _batch(request: HttpRequest) -> uuid.UUID | None:
    """The batch that was just taken back, whose marks are shown again."""
    try:
        return uuid.UUID(request.GET.get("again", ""))
    except ValueError:
        return None


def _choices(match: Match, said: Label | None) -> list[Label]:
    """What an image can be corrected to without a script: what was said before, and CLIP's runner-up."""
    choices = [said, match.runner_up]
    return list(dict.fromkeys(label for label in choices if label is not None))


def _settle(request: HttpRequest, label_set: LabelSet) -> HttpResponse:
    form = ClassForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    label, ids = _label(label_set, form.cleaned_data["label"]), form.cleaned_data["image"]
    there = set(label_set.project.images.filter(pk__in=ids).values_list("pk", flat=True))
    decisions = [each for each in form.decisions(label) if each.image_id in there]
    try:
        batch = review.decide(label_set, request.user, decisions, leave_stale=True) if decisions else None
    except ValidationError as error:
        return refused(request, error.messages)
    except Stale as stale:
        messages.warning(request, _stale(stale.sentences))
    else:
        words, is_whole = _settled(label_set, batch, label, ids)
        (messages.success if is_whole else messages.warning)(request, words)
    classes_door.let_go(label_set, request.user)
    return redirect(_address(label_set, label.pk, form.cleaned_data["across"]))


def _settled(
    label_set: LabelSet, batch: uuid.UUID | None, label: Label, ids: Sequence[int]
) -> tuple[str, bool]:
    """What a batch did, in words, and whether it did so with all of these images."""
    if batch is None:
        return "None of these images is there any more.", False
    said = Counter(label_set.reviews.filter(batch=batch).values_list("verdict", "label_name"))
    accepted = sum(count for (_, name), count in said.items() if name == label.name)
    none, skipped = said[Verdict.NONE, ""], said[Verdict.SKIPPED, ""]
    corrected = said.total() - accepted - none - skipped
    parts = [
        accepted and f"accepted {accepted:,} as {label.name}",
        corrected and f"corrected {corrected:,}",
        none and f"{none:,} {'is' if none == 1 else 'are'} none of these",
        skipped and f"left out {skipped:,}",
    ]
    words = ", ".join(filter(None, parts))
    sentences = [f"{words[:1].upper()}{words[1:]}."]
    if left := classes_door.left(label_set, batch, ids):
        sentences.append(
            f"{len(left):,} {'was' if len(left) == 1 else 'were'} left, since somebody decided in the"
            f" meantime: {_names(left)}."
        )
    if gone := len(ids) - said.total() - len(left):
        sentences.append(f"{gone:,} {'was' if gone == 1 else 'were'} deleted in the meantime.")
    return " ".join(sentences), said.total() == len(ids)


def _stale(sentences: Sequence[str]) -> str:
    more = len(sentences) - NAMED
    return " ".join(sentences[:NAMED]) + (f" And so for {more:,} more." if more > 0 else "")


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED:,} more" if len(names) > NAMED else shown


@login_required
@require_POST
def class_undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back what the person did last, or with `redo` do again what they took back last."""
    label_set = _label_set(request, pk)
    is_redo = bool(request.POST.get("redo"))
    last = (review.next_redo if is_redo else review.next_undo)(label_set, request.user)
    batch = batches.undo(label_set, request.user, label_set.role, last) if last else None
    what = "redo" if is_redo else "undo"
    messages.info(request, _reversed(batch, what) if batch else f"There is nothing to {what}.")
    asked, across = request.POST.get("label", ""), request.POST.get("across", "")
    label = classes_door.of(label_set, batch.reviews.values_list("image_id", flat=True)) if batch else None
    again = {} if is_redo or batch is None else {"again": last}
    return redirect(_address(label_set, label or asked, across, **again))


def _reversed(batch: Batch, what: str) -> str:
    if batch.state == Batch.State.RUNNING:
        return f"{batch.total:,} images are being {'done again' if what == 'redo' else 'taken back'}."
    done = batch.reviews.count()
    words = f"{done:,} image{'' if done == 1 else 's'} {'done again' if what == 'redo' else 'taken back'}."
    # What an undoing takes back is a batch of reviews; what a redoing brings back, one of undoings.
    before = batch.reverses
    kept = before.reviews.count() - done if what == "redo" else review.standing(before).count()
    stay = "stays as it is" if kept == 1 else "stay as they are"
    return f"{words} {kept:,} {stay}: somebody decided later." if kept else words


def _address(label_set: LabelSet, label: object, across: str, **more: Any) -> str:
    params = {"label": label, "across": in_a_row(across) if across else ""} | more
    query = urlencode({name: value for name, value in params.items() if value})
    return f"{reverse('classes', args=[label_set.pk])}?{query}"
