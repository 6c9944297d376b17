"""Labels from a file: choose it, see what it would do, have it done."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from gallery.access import allowed, fetch
from gallery.answers import refused
from gallery.models import Project, Upload
from labeling import beat, imports
from labeling.board import chosen_label_set
from labeling.import_formats import FORMATS
from labeling.import_forms import ConfirmForm, ImportForm
from labeling.models import ACTIVE, LabelImport

IMPORTS = LabelImport.objects.select_related("project", "label_set", "user", "upload")
SHOWN = 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def imports_page(request: HttpRequest, slug: str) -> HttpResponse:
    """The form, and what was imported before. `label_set`: into which; a new one where that is empty."""
    project = fetch(Project.objects, request.user, "import", slug=slug)
    posted = request.method == "POST"
    asked = (request.POST if posted else request.GET).get("label_set")
    label_set, label_sets = chosen_label_set(project, asked)
    if asked == "new":
        label_set = None
    form = ImportForm(request.POST, request.FILES) if posted else ImportForm()
    status = 200
    if posted and form.is_valid():
        try:
            row = imports.begin(project, label_set, request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error("file", error.messages)
        else:
            return redirect(row)
    if posted:
        status = 400
    context = {
        "project": project,
        "label_set": label_set,
        "label_sets": label_sets,
        "may": allowed(project.role),
        "tab": "images",
        "form": form,
        "rows": IMPORTS.filter(project=project)[:SHOWN],
    }
    return render(request, "labeling/imports.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_page(request: HttpRequest, pk: int) -> HttpResponse:
    """What a file would do, or did; a POST has it done."""
    row = fetch(IMPORTS, request.user, "import", pk=pk)
    form = ConfirmForm(row, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            imports.confirm(row, form.choices())
        except ValidationError as error:
            return refused(request, error.messages, 409)
        return redirect(row)
    status = 400 if request.method == "POST" else 200
    return render(request, "labeling/import.html", _context(row) | {"form": form}, status=status)


def _context(row: LabelImport) -> dict[str, Any]:
    is_active = row.state in ACTIVE
    counts = row.report.get("counts", {})
    return {
        "row": row,
        "format": FORMATS[row.format].title,
        "project": row.project,
        "label_set": row.label_set,
        "may": allowed(row.role),
        "tab": "images",
        "is_active": is_active,
        "is_read": row.step == "read" and row.state == "done",
        "worker_online": not is_active or beat.worker_is_online(),
        "counts": counts,
        "to_write": sum(counts.get(name, 0) for name in ("new", "unknown")),
        "truths": row.ground_truths(manager="everything").count() if row.choices.get("truth") else 0,
    }


@login_required
@require_POST
def import_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    row = fetch(IMPORTS, request.user, "import", pk=pk)
    if imports.cancel(row):
        messages.success(request, "The import is dropped: no label was changed.")
    elif forgotten := imports.take_back_truth(row):
        messages.success(request, f"The ground truth of {forgotten:,} images is taken back.")
    return redirect(row)


@login_required
@require_POST
def import_folders(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the folders of an upload for labels."""
    upload = fetch(Upload.objects.select_related("project"), request.user, "import", pk=pk)
    asked = request.POST.get("label_set", "")
    label_set = get_object_or_404(upload.project.label_sets, pk=asked) if asked.isdecimal() else None
    return redirect(imports.begin_folders(label_set, upload, request.user))
