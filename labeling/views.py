"""The gallery, the page of one image, and exports."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from gallery import comments
from gallery.access import allowed, fetch
from gallery.answers import TYPING, address
from gallery.models import Image, Project
from labeling import ballots, board, duplicates, exports, figures, query, votes
from labeling.board import chosen_label_set, with_labels
from labeling.forms import LabelSetForm
from labeling.models import LabelSet, Review
from labeling.review import next_redo, next_undo
from labeling.saved_view_pages import menu
from labeling.selection import Selection

PAGE_SIZE = 60


@login_required
@require_safe
def gallery(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "view", slug=slug)
    label_set, label_sets = chosen_label_set(project, request.GET.get("label_set"))
    context = {"project": project, "label_sets": label_sets, "may": allowed(project.role), "tab": "images"}
    if label_set is None:
        return _unlabelled(request, context)
    selection = Selection(label_set, request.GET, request.user)
    if selection.mistakes and TYPING in request.GET:
        # It is not finished yet: what was found before stays.
        return HttpResponse(status=204)
    context |= results(request, label_set, selection)
    if request.htmx and not request.htmx.history_restore_request:
        response = render(request, "labeling/_results.html", context | {"is_fragment": True})
    else:
        work = board.work(label_set, selection.total)
        more = {"work": work, "starter_note": board.starter_note(work.run)}
        response = render(request, "labeling/gallery.html", context | more)
    patch_vary_headers(response, ["HX-Request"])
    if TYPING in request.GET:
        response["HX-Replace-Url"] = context["next"]
    return response


def results(request: HttpRequest, label_set: LabelSet, selection: Selection) -> dict[str, Any]:
    """What the toolbar, the grid and the pages below it show."""
    page = _page(request, selection.images, selection.number())
    start = (page.number - 1) * PAGE_SIZE
    return {
        "label_set": label_set,
        "selection": selection,
        "orderings": selection.orderings,
        "search_keys": query.KEYS,
        "search_words": query.words(label_set),
        "views": menu(label_set, request.user, selection.query()),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
        "images": with_labels(selection.rows(start, start + PAGE_SIZE), label_set),
        "next": address(request),
    }


def _page(request: HttpRequest, images: Any, number: int) -> Page:
    paginator = Paginator(images, PAGE_SIZE)
    paginator.count = number
    return paginator.get_page(request.GET.get("page"))


def _unlabelled(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """A project that nobody has typed labels for yet: its images as they are."""
    images = context["project"].images.all()
    page = _page(request, images, images.count())
    numbers = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    shown = comments.with_counts(page.object_list)
    more = {"page": page, "page_numbers": numbers, "images": shown, "form": LabelSetForm()}
    return render(request, "labeling/unlabelled.html", context | more)


@login_required
@require_safe
def image(request: HttpRequest, pk: int) -> HttpResponse:
    found = fetch(Image.objects.select_related("project", "uploaded_by"), request.user, "view", pk=pk)
    label_set, label_sets = chosen_label_set(found.project, request.GET.get("label_set"))
    context = {
        "image": found,
        "project": found.project,
        "label_sets": label_sets,
        "label_set": label_set,
        "may": allowed(found.role),
        "next": request.get_full_path(),
        "thread": comments.thread(found),
        "near": duplicates.near(found),
    }
    if label_set:
        context |= _opinions(request, label_set, found)
        context["offered"] = duplicates.without(context["near"], context["annotation"])
    return render(request, "labeling/image.html", context)


def _opinions(request: HttpRequest, label_set: LabelSet, found: Image) -> dict[str, Any]:
    """What CLIP and people say of one image, and its place in the gallery as it was filtered."""
    seen = label_set.images().select_related("project", "uploaded_by").get(pk=found.pk)
    reviews = votes.visible(label_set, request.user, found.role, label_set.reviews.filter(image=found))
    reviews = reviews.select_related("user", "undone_by__user")
    selection = Selection(label_set, request.GET, request.user)
    place = None if selection.mistakes else selection.place(seen)
    run = label_set.runs.defer("label_vectors").filter(matches__image=found).first()
    return {
        "image": with_labels([seen], label_set)[0],
        "selection": selection,
        "place": place,
        "number": selection.number(),
        "page_number": place.position // PAGE_SIZE + 1 if place else 1,
        "scores": figures.label_scores(label_set, seen),
        "run": run,
        "starter_note": board.starter_note(run),
        "annotation": label_set.annotations.select_related("decided_by").filter(image=found).first(),
        "can_undo": next_undo(label_set, request.user) is not None,
        "can_redo": next_redo(label_set, request.user) is not None,
        "history": reviews.exclude(verdict=Review.Verdict.UNDONE).order_by("-id"),
        "ballot": ballots.of_image(label_set, request.user, found.role, seen),
    }


@login_required
@require_safe
def export(request: HttpRequest, pk: int) -> HttpResponseBase:
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "export", pk=pk)
    try:
        reviews = votes.visible(label_set, request.user, label_set.role, label_set.reviews.all())
        return exports.download(label_set, request.user, request.GET, reviews)
    except ValidationError as error:
        return HttpResponseBadRequest(" ".join(error.messages), content_type="text/plain; charset=utf-8")
