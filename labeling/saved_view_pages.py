"""The page of saved views: save one, rename it, share it, delete it. They are opened from the gallery."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from gallery.access import User, allowed, fetch
from gallery.answers import asked_back, refused
from gallery.forms import sentences
from labeling import saved_views
from labeling.models import LabelSet, SavedView
from labeling.selection import FIND_ORDERINGS

SHOWN = 300


class ViewForm(forms.Form):
    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    q = forms.CharField(
        required=False,
        strip=False,
        label="Search line",
        widget=forms.TextInput(attrs={"autocapitalize": "off", "spellcheck": "false"}),
    )
    ordering = forms.ChoiceField(choices=FIND_ORDERINGS, required=False, label="Order")
    is_shared = forms.BooleanField(required=False, label="Share it with everybody in the project")

    def add_refusal(self, error: ValidationError) -> None:
        """Show what the door said, each at its field."""
        for field, found in error.message_dict.items():
            field = "q" if field == "query" else field
            self.add_error(field if field in self.fields else None, found)


class ChangeForm(forms.Form):
    """What a button of the list says: another name, whether it is shared, or that it goes."""

    name = forms.CharField(max_length=80, required=False)
    share = forms.ChoiceField(choices=[("yes", ""), ("no", "")], required=False)
    delete = forms.CharField(required=False)


def menu(label_set: LabelSet, user: User, shown: str = "") -> list[dict[str, Any]]:
    """The views of a label set and where each leads; `shown`: the address of the page itself."""
    found = saved_views.visible(user).filter(label_set=label_set)[:SHOWN]
    addresses = ((view, saved_views.address(view)) for view in found)
    return [
        {"view": view, "address": address, "is_own": view.user_id == user.pk, "is_shown": address == shown}
        for view, address in addresses
    ]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def views(request: HttpRequest, pk: int) -> HttpResponse:
    label_set = fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
    form = ViewForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            view = saved_views.save(
                label_set,
                request.user,
                label_set.role,
                asked["name"],
                asked["q"],
                asked["ordering"],
                asked["is_shared"],
            )
        except ValidationError as error:
            form.add_refusal(error)
        else:
            messages.success(request, f"Saved as “{view.name}”.")
            return redirect(f"{label_set.project.get_absolute_url()}?{saved_views.address(view)}")
    context = {
        "project": label_set.project,
        "label_set": label_set,
        "may": allowed(label_set.role),
        "form": form,
        "views": menu(label_set, request.user),
    }
    return render(request, "labeling/views.html", context)


@login_required
@require_POST
def view(request: HttpRequest, pk: int) -> HttpResponse:
    rows = saved_views.visible(request.user).select_related("user", "label_set__project")
    found = fetch(rows, request.user, "view", pk=pk)
    form = ChangeForm(request.POST)
    if not form.is_valid():
        return refused(request, sentences(form))
    asked = form.cleaned_data
    if asked["delete"]:
        return _delete(request, found)
    try:
        saved_views.change(
            found,
            request.user,
            found.role,
            name=asked["name"] if "name" in request.POST else None,
            is_shared={"yes": True, "no": False}.get(asked["share"]),
        )
    except ValidationError as error:
        return refused(request, error.messages)
    messages.success(request, _said(found, asked["share"]))
    return redirect("views", found.label_set_id)


def _said(view: SavedView, share: str) -> str:
    shared = {"yes": "is shared with the project", "no": "is yours alone"}
    return f"“{view.name}” {shared.get(share, 'is its name now')}."


def _delete(request: HttpRequest, view: SavedView) -> HttpResponse:
    question = asked_back(
        request, f"Delete the view “{view.name}”?", "The images stay as they are.", "Delete"
    )
    if question:
        return question
    saved_views.delete(view, request.user, view.role)
    messages.success(request, f"The view “{view.name}” is deleted.")
    return redirect("views", view.label_set_id)
