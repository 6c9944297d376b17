"""What people choose on the page of near-duplicates."""

from django import forms
from django.core.exceptions import ValidationError

from gallery.forms import Ids, is_id
from gallery.models import Project
from labeling.models import Label

NOT_AN_ID = "“%(value)s” is no id of an image."


class DecisionForm(forms.Form):
    """`image`: the group as it was shown; `keep`: those that stay, or `all` of them."""

    image = Ids(required="Say which images.", invalid=NOT_AN_ID)
    keep = Ids(required="", invalid=NOT_AN_ID)
    all = forms.BooleanField(required=False)

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.fields["keep"].required = False

    def kept(self) -> list[int]:
        return self.cleaned_data["image" if self.cleaned_data["all"] else "keep"]


class LabelForm(forms.Form):
    """`label` for each `image`."""

    image = Ids(required="Say which images.", invalid=NOT_AN_ID)
    label = forms.CharField(error_messages={"required": "Choose a label."})

    def __init__(self, project: Project, *args: object, **options: object) -> None:
        self.project = project
        super().__init__(*args, **options)

    def clean_label(self) -> Label:
        typed = self.cleaned_data["label"]
        rows = Label.objects.select_related("label_set__project").filter(label_set__project=self.project)
        if not is_id(typed) or not (label := rows.filter(pk=int(typed)).first()):
            raise ValidationError("There is no such label in this project.")
        return label
