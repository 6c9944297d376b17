"""A page of one class, as it is sent: which images were shown, which of them are wrong, and what they are."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from gallery.forms import Ids, is_id
from labeling.models import Label
from labeling.review import AT_ONCE, Decision, Verdict

FEWEST, MOST, USUAL = 4, 12, 8


def in_a_row(value: str | None) -> int:
    """How many pictures stand in a row, as an address or a form asks for it."""
    return min(MOST, max(FEWEST, int(value))) if value and is_id(value) else USUAL


class ClassForm(forms.Form):
    label = forms.IntegerField(error_messages={"required": "Say which label these images are proposed as."})
    image = Ids(required="There is no image to decide about.", invalid="“%(value)s” is no id of an image.")
    wrong = Ids(required="", invalid="“%(value)s” is no id of an image.")
    across = forms.CharField(required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.fields["wrong"].required = False

    def clean_image(self) -> list[int]:
        if len(self.cleaned_data["image"]) > AT_ONCE:
            raise ValidationError(f"At most {AT_ONCE} images can be settled at once.")
        return self.cleaned_data["image"]

    def clean(self) -> None:
        for image_id in self.cleaned_data.get("wrong", []):
            value = self._correction(image_id)
            if image_id not in self.cleaned_data.get("image", [image_id]):
                raise ValidationError(f"Image {image_id} is marked wrong, and yet was not shown.")
            if not value:
                raise ValidationError(f"Image {image_id} is marked wrong: say what it is instead.")
            if value not in ("none", "skip") and not is_id(value):
                raise ValidationError(f"“{value}” is no label: there are labels by id, none and skip.")

    def _correction(self, image_id: int) -> str:
        return self.data.get(f"correction-{image_id}", "")

    def decisions(self, label: Label) -> list[Decision]:
        """The unmarked ones accepted as `label`, the marked ones corrected; all seen undecided."""
        wrong = set(self.cleaned_data["wrong"])
        return [
            self._otherwise(image_id)
            if image_id in wrong
            # The label that was seen: CLIP may suggest another one by now.
            else Decision(image_id, Verdict.ACCEPTED, label.pk, seen="")
            for image_id in self.cleaned_data["image"]
        ]

    def _otherwise(self, image_id: int) -> Decision:
        value = self._correction(image_id)
        if value in ("none", "skip"):
            verdict = Verdict.NONE if value == "none" else Verdict.SKIPPED
            return Decision(image_id, verdict, seen="")
        return Decision(image_id, Verdict.CORRECTED, int(value), seen="")
