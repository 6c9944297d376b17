"""What an owner chooses on the page that gives images to members."""

from typing import Any

from django import forms

from gallery.access import User
from gallery.models import Membership
from labeling import assignments, query
from labeling.assignments import Order, Plan, Split
from labeling.models import LabelSet
from labeling.query import Query


class AssignForm(forms.Form):
    """Which images, by a search line, and who gets them; beside its own fields it has one amount a member."""

    q = forms.CharField(
        label="Which images",
        required=False,
        max_length=1000,
        help_text="A search line, as in the gallery. All images, where it is empty.",
        widget=forms.TextInput(
            attrs={
                "placeholder": "label:cat probability:<0.6",
                "autocapitalize": "off",
                "spellcheck": "false",
            }
        ),
    )
    member = forms.ModelMultipleChoiceField(
        Membership.objects.none(), error_messages={"required": "Choose who gets images."}
    )
    split = forms.ChoiceField(label="How it is divided", choices=Split.choices, initial=Split.EQUAL)
    order = forms.ChoiceField(label="Which first", choices=Order.choices, initial=Order.UNCERTAIN)
    count = forms.IntegerField(
        label="How many images",
        required=False,
        min_value=1,
        help_text="All that are free, where it is empty.",
    )

    def __init__(self, label_set: LabelSet, user: User, data: Any = None, line: str = "") -> None:
        super().__init__(data, auto_id="id_assign_%s", initial={"q": line})
        self.label_set, self.user = label_set, user
        self.members = list(assignments.reviewers(label_set.project))
        self.fields["member"].queryset = assignments.reviewers(label_set.project)
        for member in self.members:
            amount = forms.FloatField(required=False, min_value=0.01, max_value=10_000_000)
            self.fields[f"amount_{member.pk}"] = amount

    def rows(self) -> list[tuple[Membership, bool, forms.BoundField]]:
        """Each member, whether it is chosen, and the field of its amount."""
        chosen = set(self["member"].value() or [])
        return [(member, str(member.pk) in chosen, self[f"amount_{member.pk}"]) for member in self.members]

    def clean_q(self) -> Query:
        return query.parse(self.cleaned_data["q"], self.label_set, self.user)

    def clean(self) -> None:
        if self.cleaned_data.get("split") in (Split.PERCENT, Split.NUMBER):
            for member in self.cleaned_data.get("member", []):
                if not self.cleaned_data.get(f"amount_{member.pk}"):
                    self.add_error(None, f"Say how much {member.user.username} gets.")

    def plan(self) -> Plan:
        """Raises ValidationError."""
        chosen = self.cleaned_data
        members = list(chosen["member"])
        amounts = (
            [chosen[f"amount_{member.pk}"] for member in members] if chosen["split"] != Split.EQUAL else []
        )
        images = chosen["q"].filter(self.label_set.images())
        return assignments.plan(
            self.label_set, images, members, chosen["split"], amounts, chosen["count"], chosen["order"]
        )
