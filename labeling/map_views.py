"""The page of the map, drawing it, and what is chosen on it."""

from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from gallery.access import allowed, fetch
from gallery.answers import refused
from gallery.forms import sentences
from gallery.models import Project
from labeling import clip, layouts, maps, picks
from labeling.board import chosen_label_set
from labeling.selection import line_of


@login_required
@require_safe
def map_page(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "view", slug=slug)
    context = {"project": project, "may": allowed(project.role), "drawing": maps.drawing(project)}
    if request.htmx and not request.htmx.history_restore_request:
        response = render(request, "labeling/_map_state.html", context)
        if request.GET.get("seen") != context["drawing"].version:
            trigger_client_event(response, "map-changed")
    else:
        label_set, label_sets = chosen_label_set(project, request.GET.get("label_set"))
        line = line_of(label_set, request.GET) if label_set else ""
        asked = {"label_set": label_set.pk if label_set else "", "q": line}
        asked = urlencode({name: value for name, value in asked.items() if value}, errors="replace")
        more = {"label_set": label_set, "label_sets": label_sets, "tab": "map", "line": line}
        more["has_images"] = project.images.exists()
        points = f"{reverse('api-map', args=[slug])}?{asked}"
        response = render(request, "labeling/map.html", context | more | {"points": points})
    patch_vary_headers(response, ["HX-Request"])
    return response


@login_required
@require_POST
def map_draw(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "run", slug=slug)
    try:
        layouts.start(project, request.user)
    except ValidationError as error:
        return refused(request, error.messages)
    except clip.ModelUnusable as error:
        return refused(request, [str(error)], status=503)
    return redirect("map", slug)


@login_required
@require_POST
def map_cancel(request: HttpRequest, slug: str) -> HttpResponse:
    project = fetch(Project.objects.all(), request.user, "run", slug=slug)
    if layout := layouts.active(project):
        layouts.cancel(layout)
    return redirect("map", slug)


class PickForm(forms.Form):
    """`images`: their ids as one JSON list, since a form of 100,000 fields is refused."""

    images = forms.JSONField(error_messages={"required": "Choose at least one image."})
    label_set = forms.IntegerField(required=False)

    def clean_images(self) -> list[int]:
        ids = self.cleaned_data["images"]
        if not isinstance(ids, list) or not all(type(each) is int and 0 < each < 2**63 for each in ids):
            raise ValidationError("“images” must be a list of ids.")
        return ids


@login_required
@require_POST
def picks_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Remember the images that were chosen, and show them in the gallery."""
    project = fetch(Project.objects.all(), request.user, "view", slug=slug)
    form = PickForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    try:
        pick = picks.pick(project, request.user, form.cleaned_data["images"])
    except ValidationError as error:
        return refused(request, error.messages)
    chosen = {"label_set": form.cleaned_data["label_set"], "q": f"picked:{pick.pk}"}
    query = urlencode({name: value for name, value in chosen.items() if value})
    return redirect(f"{reverse('gallery', args=[slug])}?{query}")
