"""What people choose when they act on many images, and in the history."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from gallery.access import User
from gallery.forms import Ids, is_id
from labeling import bulk
from labeling.bulk import Saying
from labeling.models import Batch, LabelSet
from labeling.review import Verdict

WHOLE = "all {count:,} matching"


class BulkForm(forms.Form):
    """`image` ids, or `all` that the gallery's parameters leave; `what`: accepted, none, or a label's id."""

    image = Ids(required="", invalid="“%(value)s” is no id of an image.")
    all = forms.BooleanField(required=False)
    what = forms.CharField(error_messages={"required": "Say which label they have."})
    # What the person saw: how many images, and how many of them other people had decided about.
    count = forms.IntegerField(required=False, min_value=0)
    overwrites = forms.IntegerField(required=False, min_value=0)

    def __init__(self, data: QueryDict, label_set: LabelSet, user: User) -> None:
        super().__init__(data)
        self.label_set, self.user = label_set, user
        self.fields["image"].required = False

    def clean_what(self) -> Saying:
        what = self.cleaned_data["what"]
        if what in (Verdict.ACCEPTED, Verdict.NONE):
            return Saying(Verdict(what))
        label = self.label_set.labels.filter(pk=int(what)).first() if is_id(what) else None
        if label is None:
            raise ValidationError("There is no such label in this label set.")
        return Saying(Verdict.CORRECTED, label)

    def clean(self) -> None:
        if not self.errors and not self.cleaned_data["all"] and not self.cleaned_data["image"]:
            raise ValidationError("No image is selected.")

    def images(self) -> tuple[list[int], str]:
        """The ids of the images, and the search line where one chose them. Raises ValidationError."""
        if self.cleaned_data["all"]:
            return bulk.matching(self.label_set, self.user, self.data)
        return list(dict.fromkeys(self.cleaned_data["image"])), ""

    def seen(self) -> dict[str, int | None]:
        """Who has not seen how many there are is asked first."""
        count = self.cleaned_data["count"]
        seen = -1 if count is None else count
        overwrites = self.cleaned_data["overwrites"] or 0
        return {"count": seen if self.cleaned_data["all"] else None, "overwrites": overwrites}

    def sentence(self, count: int) -> str:
        """What the button says that does it."""
        images = WHOLE.format(count=count) if self.cleaned_data["all"] else f"{count:,} selected"
        return self.cleaned_data["what"].sentence(images)

    def values(self) -> list[tuple[str, Any]]:
        """The form as it came, to be sent again; but for what the person is to see anew."""
        left_out = ("count", "overwrites", "csrfmiddlewaretoken")
        return [(name, value) for name, some in self.data.lists() if name not in left_out for value in some]


class HistoryForm(forms.Form):
    by = forms.CharField(required=False, max_length=150)
    kind = forms.ChoiceField(choices=Batch.Kind.choices, required=False)
