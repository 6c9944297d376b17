"""Several opinions on pages: settling disputes one by one, and how far people agree."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from gallery.access import allowed, fetch
from gallery.answers import refused
from gallery.forms import is_id, sentences
from labeling import agreement, ballots, review
from labeling.agreement import Agreement
from labeling.board import with_labels
from labeling.forms import DecisionForm
from labeling.models import Annotation, LabelSet
from labeling.review import Stale, Undone


def _label_set(request: HttpRequest, pk: int, action: str) -> LabelSet:
    rows = LabelSet.objects.select_related("project").prefetch_related("labels")
    return fetch(rows, request.user, action, pk=pk)


@login_required
@require_safe
def disputes(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk, "settle disputes")
    wanted = request.GET.get("image", "")
    if wanted and not is_id(wanted):
        raise Http404("No such image.")
    template = "labeling/_disputes.html" if request.htmx else "labeling/disputes.html"
    return render(request, template, _dispute(request, label_set, int(wanted) if wanted else 0))


def _dispute(request: HttpRequest, label_set: LabelSet, wanted: int) -> dict[str, Any]:
    """What the page shows of this image, or, where it is not disputed, of the next one that is."""
    disputed = label_set.annotations.filter(status=Annotation.Status.DISPUTED).order_by("image_id")
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "left": disputed.count(),
        "can_undo": review.next_undo(label_set, request.user) is not None,
    }
    ids = disputed.values_list("image_id", flat=True)
    shown = ids.filter(image__gte=wanted).first() or ids.first()
    if shown is None:
        return context
    [image] = with_labels(label_set.images().filter(pk=shown), label_set)
    ballot = ballots.ballots(label_set, request.user, label_set.role, [shown])[shown]
    voted = {choice.label for choice in ballot.choices}
    return (
        context
        | _beside(ids, shown)
        | {
            "image": image,
            "ballot": ballot,
            "others": [label for label in label_set.labels.all() if label not in voted],
            "none_is_voted": None in voted,
            "comments": image.comments.count(),
        }
    )


def _beside(ids: QuerySet[int], shown: int) -> dict[str, int | None]:
    """The disputed images before and after one; after the last comes the first."""
    others = ids.exclude(image=shown)
    return {
        "previous": ids.filter(image__lt=shown).last() or others.last(),
        "following": ids.filter(image__gt=shown).first() or others.first(),
    }


@login_required
@require_POST
def settle(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk, "settle disputes")
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    ids = form.cleaned_data["image"]
    try:
        review.decide(label_set, request.user, form.decisions(), settles=True)
    except ValidationError as error:
        return refused(request, error.messages)
    except Stale as stale:
        response = refused(request, stale.sentences, status=409)
        response["HX-Trigger"] = "images-changed"
        return response
    [image, *_] = with_labels(label_set.images().filter(pk__in=ids), label_set)
    return _answer(request, label_set, f"{image.name}: settled as {ballots.named(image.label)}", ids[0], True)


@login_required
@require_POST
def settle_undo(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk, "settle disputes")
    batch = review.next_undo(label_set, request.user)
    undone = review.undo(label_set, request.user, label_set.role, batch) if batch else Undone([], [])
    if not undone.images:
        return _answer(request, label_set, "There is nothing to undo.", 0, False)
    names = list(label_set.project.images.filter(pk__in=undone.images[:1]).values_list("name", flat=True))
    words = names[0] if len(undone.images) == 1 else f"{len(undone.images):,} images"
    return _answer(request, label_set, f"Undone: {words}", undone.images[0], False)


def _answer(
    request: HttpRequest, label_set: LabelSet, words: str, image_id: int, undoable: bool
) -> HttpResponse:
    """Go on at this image, or at the next one that is disputed."""
    if not request.htmx:
        messages.success(request, words)
        return redirect(f"{reverse('disputes', args=[label_set.pk])}?image={image_id}")
    context = _dispute(request, label_set, image_id) | {"words": words, "undoable": undoable}
    response = render(request, "labeling/_settled.html", context)
    shown = f"?image={context['image'].pk}" if "image" in context else ""
    response["HX-Replace-Url"] = f"{reverse('disputes', args=[label_set.pk])}{shown}"
    return response


@login_required
@require_safe
def agreement_page(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = _label_set(request, pk, "view")
    found = agreement.agreement(label_set, request.user, label_set.role)
    context = {
        "label_set": label_set,
        "project": label_set.project,
        "may": allowed(label_set.role),
        "tab": "progress",
        "agreement": found,
        "pairs": [(*(_who(found, user) for user in pair.users), pair.kappa) for pair in found.pairs],
        "people": [(_who(found, person.user), person) for person in found.people],
    }
    return render(request, "labeling/agreement.html", context)


def _who(found: Agreement, user_id: int) -> str:
    return found.names.get(user_id, "another member")
