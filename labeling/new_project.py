"""A name, pictures, labels, Go: the page that makes a project and its first label set at once."""

import json
from dataclasses import replace

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from gallery import projects, reports, uploads
from gallery.forms import FilesField, TextField, upload_limits
from gallery.models import Project
from labeling import clip, label_sets, ready_sets
from labeling.definitions import Definition
from labeling.forms import LabelsForm, shown
from labeling.label_set_views import chosen_ready_set


class NewProjectForm(LabelsForm):
    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    labels = TextField(
        required=False,
        help_text="One a line, two or more, without an article. CLIP says which fits each image best. "
        "You can change them later.",
        widget=forms.Textarea(
            attrs={"rows": 6, "spellcheck": "false", "placeholder": "cat\ndog\nneither a cat nor a dog"}
        ),
    )
    files = FilesField(required=False)
    # Which ready set filled the form: the page shows no more of it than its labels.
    ready = forms.CharField(required=False, widget=forms.HiddenInput)

    def definition(self) -> Definition:
        """What the form says; of what it doesn't say, what the ready set says that filled it."""
        given = self.cleaned_data["definition"]
        ready = ready_sets.every().get(self.cleaned_data["ready"])
        if ready is None or self.files.get("file"):
            return given
        name, templates = given.name or ready["name"], given.templates or ready["templates"]
        return replace(given, name=name, templates=templates, votes=given.votes or ready["votes"])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    ready = chosen_ready_set(request)
    initial = {"labels": shown(ready)["labels"], "ready": request.GET["ready"]} if ready else None
    sent = [request.POST, request.FILES] if request.method == "POST" else []
    form = NewProjectForm(*sent, initial=initial)
    if request.method == "POST" and form.is_valid() and (project := _create(request, form)):
        if request.htmx:
            return _go_on_to(project)
        _add_files(request, form, project)
        return redirect(project)
    context = {"form": form, "limits": upload_limits(), "ready_sets": ready_sets.every(), "ready": ready}
    return render(request, "labeling/project_new.html", context)


def _create(request: HttpRequest, form: NewProjectForm) -> Project | None:
    """The project with its labels; or none of both, and the form says why."""
    given = form.definition()
    try:
        with transaction.atomic():
            project = projects.create(request.user, form.cleaned_data["name"])
            chosen = (given.name or "Labels", given.labels, given.templates, given.votes)
            label_sets.create(project, request.user, *chosen)
    except ValidationError as error:
        form.add_refusal(error)
        return None
    except clip.ModelUnusable as error:
        form.add_error(None, str(error))
        return None
    return project


def _go_on_to(project: Project) -> HttpResponse:
    """Show the gallery without leaving the page, whose script goes on to upload the pictures."""
    to = {
        "path": project.get_absolute_url(),
        "target": "#main",
        "select": "#main",
        "swap": "outerHTML",
        # The whole page is wanted, as a visitor gets it, and no fragment of it.
        "headers": {"HX-Request": "false"},
    }
    made = {"url": reverse("api-images", args=[project.slug])}
    return HttpResponse(
        headers={"HX-Location": json.dumps(to), "HX-Trigger": json.dumps({"projectMade": made})}
    )


def _add_files(request: HttpRequest, form: NewProjectForm, project: Project) -> None:
    if not form.cleaned_data["files"]:
        return
    try:
        upload = uploads.add_images(project, request.user, form.cleaned_data["files"])
    except uploads.StorageFull as error:
        reports.tell_failure(request, str(error))
    else:
        reports.tell(request, upload)
