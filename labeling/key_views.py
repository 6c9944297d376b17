"""The page where a person chooses the keys of reviewing."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from gallery.access import User
from labeling import keys


class KeysForm(forms.Form):
    """A field for each action, with its keys side by side."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        attributes = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false", "data-key": ""}
        for name, own in keys.of(user).items():
            action = keys.ACTIONS[name]
            usual = " ".join(action.keys)
            self.fields[name] = forms.CharField(
                label=action.words,
                max_length=60,
                required=False,
                initial=" ".join(own),
                widget=forms.TextInput(attributes | {"data-usual": usual}),
            )

    def save(self) -> bool:
        """Whether they could be stored; else each field has a sentence that says why not."""
        chosen = {name: typed.split() for name, typed in self.cleaned_data.items()}
        try:
            keys.change(self.user, chosen)
        except ValidationError as error:
            for name, sentences in error.message_dict.items():
                self.add_error(name, sentences)
        return not self.errors


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account_keys(request: HttpRequest) -> HttpResponse:
    if request.method == "POST" and request.POST.get("usual"):
        keys.change(request.user, {})
        messages.success(request, "These are the usual keys again.")
        return redirect("keys")
    form = KeysForm(request.user, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid() and form.save():
        messages.success(request, "Your keys are saved.")
        return redirect("keys")
    return render(request, "labeling/keys.html", {"form": form})
