"""What a person chooses of an export, on its page."""

from django import forms
from django.http import QueryDict

from labeling.export_formats import FORMATS
from labeling.export_parquet import is_installed
from labeling.exports import LEAST_SIDE, MOST_SIDE

SPLITS = [("", "none"), ("80/10/10", "80 / 10 / 10"), ("70/15/15", "70 / 15 / 15"), ("80/20", "80 / 20")]


class ExportForm(forms.Form):
    """Of the same names as in the address of an export."""

    format = forms.ChoiceField(choices=[(key, each.title) for key, each in FORMATS.items()], required=False)
    include = forms.ChoiceField(
        label="Which",
        choices=[("", "settled ones"), ("suggested", "with CLIP's suggestions")],
        required=False,
    )
    images = forms.ChoiceField(
        label="Pictures", choices=[("", "without"), ("1", "with the pictures")], required=False
    )
    size = forms.IntegerField(
        label="At most so many pixels a side",
        min_value=LEAST_SIDE,
        max_value=MOST_SIDE,
        required=False,
        widget=forms.NumberInput(attrs={"placeholder": "as they are"}),
    )
    jpeg = forms.ChoiceField(
        label="Pictures as", choices=[("", "they are stored"), ("1", "JPEG")], required=False
    )
    split = forms.ChoiceField(label="Train, val and test", choices=SPLITS, required=False)
    seed = forms.IntegerField(label="Seed", min_value=0, max_value=2**31 - 1, required=False)
    columns = forms.CharField(
        label="Columns",
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "all", "autocomplete": "off"}),
        help_text="With commas between.",
    )
    prefix = forms.CharField(
        label="What addresses begin with",
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "/data/local-files/?d=", "autocomplete": "off"}),
    )

    def __init__(self, params: QueryDict) -> None:
        super().__init__(params, auto_id="export_%s")
        chosen = FORMATS.get(params.get("format", ""), FORMATS["csv"])
        with_pictures = chosen.needs_pictures or params.get("images") == "1"
        if not is_installed():
            self.fields["format"].choices = [
                (key, f"{title} (needs pyarrow)" if key == "parquet" else title)
                for key, title in self.fields["format"].choices
            ]
        # An address may say other shares than these.
        split = params.get("split", "")
        if split not in dict(SPLITS):
            self.fields["split"].choices = [*SPLITS, (split, split.replace("/", " / "))]
        # What makes no difference to this export isn't asked.
        unasked = {
            "images": chosen.needs_pictures,
            "size": not with_pictures,
            "jpeg": not with_pictures,
            "seed": not params.get("split"),
            "columns": not chosen.columns,
            "prefix": params.get("format") != "label-studio",
        }
        for name, is_unasked in unasked.items():
            if is_unasked:
                del self.fields[name]
        self.says = chosen.says
        if chosen.columns and "columns" in self.fields:
            self.fields["columns"].help_text = f"With commas between: {', '.join(chosen.columns)}"
