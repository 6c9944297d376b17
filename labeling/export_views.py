"""The page of an export: what it holds, how the file will begin, and the same thing for scripts."""

from dataclasses import replace
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from gallery.access import allowed, fetch
from labeling import exports, looking, votes
from labeling.export_formats import Format
from labeling.export_forms import ExportForm
from labeling.export_rows import Export
from labeling.models import LabelSet
from labeling.selection import Selection

ROWS, CHARACTERS = 5, 1200


@login_required
@require_safe
def export_page(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "export", pk=pk)
    selection = Selection(label_set, request.GET, request.user)
    form = ExportForm(request.GET)
    said = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    params = said | {name: value for name, value in selection.params.items() if name == "q"}
    context = {
        "project": label_set.project,
        "label_set": label_set,
        "may": allowed(label_set.role),
        "tab": "images",
        "selection": selection,
        "form": form,
        "query": urlencode(params),
        "curl": _curl(request, label_set, params),
    }
    reviews = votes.visible(label_set, request.user, label_set.role, label_set.reviews.all())
    asked = request.GET.copy()
    asked.pop("ordering", None)
    try:
        export, format, _ = exports.asked_for(label_set, request.user, asked, reviews)
        context |= _preview(export, format)
        if export.splits:
            looked = looking.progress(label_set.project)
            context["not_compared"] = looked.total - looked.compared
    except ValidationError as error:
        context["mistakes"] = error.messages
    # htmx shows nothing of another status.
    status = 400 if "mistakes" in context and not request.htmx else 200
    return render(request, "labeling/export.html", context, status=status)


def _curl(request: HttpRequest, label_set: LabelSet, params: dict[str, str]) -> str:
    address = request.build_absolute_uri(reverse("api-export", args=[label_set.pk]))
    query = f"?{urlencode(params)}" if params else ""
    return f"curl -OJ -H 'Authorization: Token …' '{address}{query}'"


def _preview(export: Export, format: Format) -> dict[str, Any]:
    """How many images it holds, the first rows, and how its first file will begin. Raises ValidationError."""
    first = list(export.images.values_list("pk", flat=True)[:ROWS])
    some = replace(export, images=export.images.filter(pk__in=first))
    rows = list(islice(some.all_rows(), ROWS))
    files = format.files(some)
    text = ""
    if files and not format.holds_pictures:
        name, write = files[0]
        for part in write():
            text += part
            if len(text) > CHARACTERS:
                text = f"{text[:CHARACTERS]}…"
                break
        text = f"{name}\n\n{text}" if len(files) > 1 else text
    places = [format.place(some, row) for row in rows] if some.pictures else []
    return {"number": export.images.count(), "rows": rows, "text": text, "places": places}


@login_required
@require_safe
def coming_from(request: HttpRequest) -> HttpResponse:
    """How to come here from another tool, and back again."""
    return render(request, "labeling/coming_from.html")
