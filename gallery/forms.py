from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from gallery import webhooks
from gallery.access import Role
from gallery.models import Project

# What each role may do, in the words of the page on which it is chosen.
ROLE_WORDS = {
    Role.VIEWER: "sees the images and exports labels",
    Role.LABELER: "also adds images and reviews them",
    Role.REVIEWER: "also edits labels, runs CLIP, deletes images",
    Role.OWNER: "also manages members and the project itself",
}
ROLES = [(role, f"{Role(role).label}: {words}") for role, words in ROLE_WORDS.items()]


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Any number of files. What each is worth is for `uploads.add_images` to say, file by file."""

    widget = FilesInput

    def clean(self, data: list[UploadedFile], initial: Any = None) -> list[UploadedFile]:
        if self.required and not data:
            raise forms.ValidationError("Choose an image, a folder or a ZIP first.")
        return data


class UploadForm(forms.Form):
    files = FilesField()


def upload_limits() -> dict[str, int]:
    """What the page says of the limits beside the field."""
    return {"bytes": settings.UPLOAD_MAX_BYTES, "files": settings.DATA_UPLOAD_MAX_NUMBER_FILES}


class TextField(forms.CharField):
    """Several lines, each end of which counts for one character, as the browser counts it."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return super().to_python(value).replace("\r\n", "\n")


class ProjectForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["name", "description", "guidelines"]
        field_classes = {"guidelines": TextField}
        widgets = {
            "description": forms.Textarea(attrs={"rows": 4}),
            "guidelines": forms.Textarea(attrs={"rows": 12, "class": "mono"}),
        }


class DeleteProjectForm(forms.Form):
    confirm = forms.CharField(label="Project's name", widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project

    def clean_confirm(self) -> str:
        if self.cleaned_data["confirm"] != self.project.name.strip():
            raise forms.ValidationError(
                f"Type the project's name, “{self.project.name}”, as it stands there."
            )
        return self.cleaned_data["confirm"]


class MemberForm(forms.Form):
    username = forms.CharField(
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    role = forms.ChoiceField(choices=ROLES, initial=Role.LABELER)


class InvitationForm(forms.Form):
    role = forms.ChoiceField(choices=ROLES, initial=Role.LABELER)
    days = forms.TypedChoiceField(
        label="Works for",
        choices=[(1, "1 day"), (7, "7 days"), (30, "30 days")],
        coerce=int,
        initial=7,
    )


class TokenForm(forms.Form):
    name = forms.CharField(
        label="What it is for",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "Nightly import"}),
    )
    days = forms.TypedChoiceField(
        label="Works for",
        choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "1 year")],
        coerce=int,
        initial=90,
    )


class WebhookForm(forms.Form):
    """An address and its events. What they are worth is for the door to say."""

    url = forms.CharField(
        label="Address",
        max_length=500,
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://example.org/hook"}),
    )
    events = forms.MultipleChoiceField(
        choices=[(event, f"{event}: {words}") for event, words in webhooks.EVENTS.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one event."},
    )


class Ids(forms.TypedMultipleChoiceField):
    """A parameter that is repeated, each time a row's id."""

    def __init__(self, required: str, invalid: str) -> None:
        super().__init__(
            coerce=int,
            error_messages={"required": required, "invalid_choice": invalid, "invalid_list": invalid},
        )

    def valid_value(self, value: str) -> bool:
        return is_id(value)


def is_id(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 19


def sentences(form: forms.Form) -> list[str]:
    """What is wrong with it."""
    return [sentence for errors in form.errors.values() for sentence in errors]
