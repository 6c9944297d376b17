"""A closer look at one image while reviewing: what it is similar to, and why CLIP suggests what it does."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from gallery.access import allowed, fetch
from gallery.models import Image
from labeling import board, figures
from labeling.board import chosen_label_set, with_labels


@login_required
@require_safe
def similar(request: HttpRequest, pk: int) -> HttpResponse:
    image = fetch(Image.objects.select_related("project"), request.user, "view", pk=pk)
    label_set, _ = chosen_label_set(image.project, request.GET.get("label_set"))
    found = with_labels(figures.similar(label_set, image), label_set) if label_set else []
    return _look(request, "similar", image, {"label_set": label_set, "similar": found})


@login_required
@require_safe
def why(request: HttpRequest, pk: int) -> HttpResponse:
    image = fetch(Image.objects.select_related("project"), request.user, "view", pk=pk)
    label_set, _ = chosen_label_set(image.project, request.GET.get("label_set"))
    context: dict[str, Any] = {"label_set": label_set}
    if label_set:
        opinion = figures.why(label_set, image)
        [seen] = with_labels(label_set.images().filter(pk=pk), label_set)
        context |= {"seen": seen, "why": opinion, "starter_note": board.starter_note(opinion and opinion.run)}
    return _look(request, "why", image, context)


def _look(request: HttpRequest, name: str, image: Image, context: dict[str, Any]) -> HttpResponse:
    """A page of its own, or what a script shows in a dialog."""
    context |= {"image": image, "project": image.project, "may": allowed(image.role)}
    template = f"labeling/_{name}.html" if request.htmx else f"labeling/{name}.html"
    response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
