"""A name, pictures, labels, Go: the page that makes a project and its first label set at once."""

import json
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from gallery import projects, reports, uploads
from gallery.forms import FilesField, upload_limits
from gallery.models import Project
from labeling import clip, label_sets
from labeling.forms import Lines, from_line


class NewProjectForm(forms.Form):
    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    labels = Lines(
        help_text="One a line, two or more, without an article. CLIP says which fits each image best. "
        "You can change them later.",
        widget=forms.Textarea(
            attrs={"rows": 6, "spellcheck": "false", "placeholder": "cat\ndog\nneither a cat nor a dog"}
        ),
    )
    files = FilesField(required=False)

    def add_refusal(self, error: ValidationError) -> None:
        """Show what a door said, each at its field."""
        for field, messages in error.message_dict.items():
            self.add_error(field if field in self.fields else None, messages)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    form = NewProjectForm(request.POST, request.FILES) if request.method == "POST" else NewProjectForm()
    if request.method == "POST" and form.is_valid() and (project := _create(request, form)):
        if request.htmx:
            return _go_on_to(project)
        _add_files(request, form, project)
        return redirect(project)
    return render(request, "labeling/project_new.html", {"form": form, "limits": upload_limits()})


def _create(request: HttpRequest, form: NewProjectForm) -> Project | None:
    """The project with its labels; or none of both, and the form says why."""
    asked: dict[str, Any] = form.cleaned_data
    specs = [from_line(line) for line in asked["labels"]]
    try:
        with transaction.atomic():
            project = projects.create(request.user, asked["name"])
            label_sets.create(project, request.user, "Labels", specs)
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
