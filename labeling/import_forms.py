"""A file of labels, and what a person chooses of what it would do."""

from typing import Any

from django import forms
from django.http import QueryDict

from labeling.import_formats import FORMATS
from labeling.import_plan import Choices
from labeling.models import LabelImport

FORMAT_CHOICES = [("", "Told by the file"), *((key, each.title) for key, each in FORMATS.items())]
MAKE, LEAVE = "make", "leave"


class ImportForm(forms.Form):
    file = forms.FileField(
        label="A file of labels, or a ZIP of pictures and labels",
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
    )
    format = forms.ChoiceField(choices=FORMAT_CHOICES, required=False)


class ConfirmForm(forms.Form):
    """What is chosen, with a field for each label that isn't here: made, left out, or another one's id."""

    truth = forms.BooleanField(required=False)
    replace = forms.BooleanField(required=False)
    none = forms.BooleanField(required=False)
    predictions = forms.BooleanField(required=False)

    def __init__(self, row: LabelImport, data: QueryDict | None = None) -> None:
        super().__init__(data)
        self.unknown = row.report.get("unknown", [])
        names = [label.name for label in row.label_set.labels.all()] if row.label_set else []
        choices = [(MAKE, "a new label"), (LEAVE, "left out"), *((f"={name}", name) for name in names)]
        for number, each in enumerate(self.unknown):
            near = f"={each['near']}" if each["near"] else MAKE
            self.fields[f"label_{number}"] = forms.ChoiceField(
                choices=choices, initial=near, label=each["label"], required=False
            )

    def mapped(self) -> list[tuple[dict[str, Any], forms.BoundField]]:
        """Each label that isn't here, with its field."""
        return [(each, self[f"label_{number}"]) for number, each in enumerate(self.unknown)]

    def choices(self) -> Choices:
        said = self.cleaned_data
        mapped = {}
        for number, each in enumerate(self.unknown):
            chosen = said[f"label_{number}"] or MAKE
            if chosen != MAKE:
                mapped[each["label"]] = "" if chosen == LEAVE else chosen.removeprefix("=")
        named = {name: said[name] for name in ("truth", "replace", "none", "predictions")}
        return Choices(make=True, map=mapped, **named)
