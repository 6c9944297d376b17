"""What people type and choose on the pages: a label set as text or a file, a decision, a batch to undo."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.template.defaultfilters import filesizeformat

from gallery.forms import Ids, TextField
from labeling import definitions, scoring
from labeling.definitions import Definition, to_line
from labeling.label_sets import LabelSpec
from labeling.models import Label, LabelSet, default_templates
from labeling.review import Decision, Verdict


class Lines(TextField):
    """One thing a line; empty lines are none."""

    def clean(self, value: Any) -> list[str]:
        lines = [line.strip() for line in super().clean(value).splitlines()]
        return [line for line in lines if line]


class LabelsForm(forms.Form):
    """Where labels are asked for: typed one a line, or a label set that was exported, pasted or as a file."""

    labels = TextField(required=False)
    file = forms.FileField(
        label="Or a file",
        required=False,
        help_text="A label set that was exported (JSON), or a list with one label a line.",
        widget=forms.FileInput(attrs={"accept": ".json,.txt,application/json,text/plain"}),
    )

    def clean(self) -> None:
        if self.errors.keys() & {"labels", "file"}:
            return
        file, typed = self.cleaned_data["file"], self.cleaned_data["labels"]
        if file and typed:
            self.add_error("file", "Labels are typed as well. Empty that field, or choose no file.")
        elif not (file or typed):
            self.add_error("labels", self.fields["labels"].error_messages["required"])
        else:
            try:
                self.cleaned_data["definition"] = self._read()
            except ValidationError as error:
                self.add_error("file" if file else "labels", error)

    def _read(self) -> Definition:
        """What the file says, or else what is typed. Raises ValidationError."""
        file = self.files.get("file")
        if file is None:
            return definitions.read(self["labels"].value() or "")
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if file.size > most:
            raise ValidationError(f"The file is too large: at most {filesizeformat(most)}.")
        file.seek(0)
        return definitions.read_bytes(file.read())

    def add_refusal(self, error: ValidationError) -> None:
        """Show what a door said, each at its field."""
        labels = "file" if self.files.get("file") else "labels"
        for field, messages in error.message_dict.items():
            place = labels if field == "labels" else field
            self.add_error(place if place in self.fields else None, messages)


class LabelSetForm(LabelsForm):
    name = forms.CharField(max_length=120, initial="Labels")
    labels = TextField(
        required=False,
        help_text="One a line, two or more, without an article. A label can have texts of its own: "
        "<code>red car: a red car on a road | a red automobile</code>",
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false", "placeholder": "cat\ndog\nnothing"}),
    )
    templates = Lines(
        label="Prompt templates",
        required=False,
        help_text="One a line, each with <code>{label}</code> in it: what CLIP is asked about a label "
        "that has no texts of its own. Several are averaged.",
        widget=forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "placeholder": default_templates()[0]}
        ),
    )
    votes = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=9,
        initial=1,
        help_text="How many people's answers settle an image. Two or more are blind: nobody sees another's "
        "until the image is settled. Where they differ, a reviewer settles it. A change takes effect at "
        "once: what was answered so far is settled anew.",
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    # Shown only where a label that images were given would get another name.
    rename = forms.BooleanField(required=False, label="Yes, rename", widget=forms.HiddenInput)

    def __init__(self, *args: Any, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        self.label_set = label_set
        self.renamed: list[tuple[str, str, int]] = []
        if label_set:
            kwargs["initial"] = shown(definitions.content(label_set))
        super().__init__(*args, **kwargs)

    def clean(self) -> None:
        super().clean()
        if given := self.cleaned_data.get("definition"):
            self._take(given)
        self.renamed = self._given_and_renamed()
        if self.renamed and not self.cleaned_data.get("rename"):
            self.fields["rename"].widget = forms.CheckboxInput()
            words = "; ".join(
                f"“{old}” becomes “{new}” on {count:,} image{'' if count == 1 else 's'} that it was given to"
                for old, new, count in self.renamed
            )
            self.add_error("labels", f"{words}. If that is what you want, tick “Yes, rename” and save again.")

    def _take(self, given: Definition) -> None:
        """What the definition says, except where somebody wrote something else in the form."""
        labels = list(self.label_set.labels.all()) if self.label_set else []
        self.cleaned_data["labels"] = _with_ids(given.labels, labels) if self.label_set else given.labels
        for name in ("name", "templates", "votes"):
            said = getattr(given, name)
            if said is not None and name not in self.changed_data:
                self.cleaned_data[name] = said

    def _given_and_renamed(self) -> list[tuple[str, str, int]]:
        if self.label_set is None:
            return []
        names = {label.pk: label for label in self.label_set.labels.all()}
        renamed = [
            (names[spec.id], spec.name)
            for spec in self.cleaned_data.get("labels", [])
            if spec.id and names[spec.id].name != spec.name
        ]
        counted = (
            (label.name, name, label.annotations(manager="everything").count()) for label, name in renamed
        )
        return [entry for entry in counted if entry[2]]

    def prompts(self) -> tuple[str, list[str]] | None:
        """The first label and what CLIP will be asked about it, however unfinished the form is."""
        try:
            given = self._read()
        except ValidationError:
            return None
        spec = next((spec for spec in given.labels if spec.name), None)
        if spec is None:
            return None
        templates = (self["templates"].value() or "").splitlines() or given.templates or []
        fitting = [template.strip() for template in templates if "{label}" in template]
        return spec.name, scoring.label_prompts(spec.name, spec.prompts, fitting or default_templates())


def shown(definition: dict[str, Any]) -> dict[str, Any]:
    """A label set's JSON document as the form shows it."""
    specs = [LabelSpec(label["name"], label["prompts"]) for label in definition["labels"]]
    texts = {"labels": map(to_line, specs), "templates": definition["templates"]}
    return {
        "name": definition["name"],
        "votes": definition["votes"],
        **{field: "\n".join(lines) for field, lines in texts.items()},
    }


def _with_ids(specs: Sequence[LabelSpec], labels: list[Label]) -> list[LabelSpec]:
    """The labels that the lines stand for: by name, or else, where there are as many as before, by place."""
    by_name = {label.name: label.pk for label in labels}
    ids = [by_name.get(spec.name) for spec in specs]
    if len(specs) == len(labels):
        ids = [
            label.pk if known is None and label.pk not in ids else known
            for known, label in zip(ids, labels, strict=True)
        ]
    return [LabelSpec(spec.name, spec.prompts, known) for spec, known in zip(specs, ids, strict=True)]


VERDICTS = [choice for choice in Verdict.choices if choice[0] != Verdict.UNDONE]


class DecisionForm(forms.Form):
    image = Ids(required="Say which image it is about.", invalid="“%(value)s” is no id of an image.")
    label = forms.IntegerField(required=False, error_messages={"invalid": "That is no id of a label."})
    verdict = forms.ChoiceField(
        choices=VERDICTS,
        required=False,
        error_messages={
            "invalid_choice": "“%(value)s” is no verdict: there are accepted, corrected, none and skipped."
        },
    )
    # Of one image: the version of its answer that was shown.
    seen = forms.CharField(required=False, max_length=40)
    # A reviewer's word, which stands over people's votes.
    settles = forms.BooleanField(required=False)
    # The page that sent it, which says what is drawn again.
    page = forms.ChoiceField(choices=[("gallery", ""), ("review", ""), ("image", "")], required=False)

    def clean(self) -> None:
        chosen = self.cleaned_data
        if not self.errors and chosen["label"] is None and not chosen["verdict"]:
            raise ValidationError("Say which label the image has, or give a verdict.")

    def decisions(self) -> list[Decision]:
        verdict = self.cleaned_data["verdict"] or Verdict.ACCEPTED
        label = self.cleaned_data["label"]
        ids = self.cleaned_data["image"]
        seen = self.cleaned_data["seen"] if "seen" in self.data and len(ids) == 1 else None
        return [Decision(image_id, verdict, label, seen) for image_id in ids]


class UndoForm(forms.Form):
    batch = forms.UUIDField(required=False)
    page = DecisionForm.base_fields["page"]


class LeaveForm(forms.Form):
    """A page that is left: its queue, and until when its images were held when it was drawn."""

    queue = forms.CharField(max_length=64)
    until = forms.DateTimeField()


class ClearForm(forms.Form):
    image = forms.IntegerField(
        max_value=2**63 - 1,
        error_messages={
            "required": "Say which image it is about.",
            "invalid": "That is no id of an image.",
            "max_value": "That is no id of an image.",
        },
    )
    seen = DecisionForm.base_fields["seen"]
    page = DecisionForm.base_fields["page"]
