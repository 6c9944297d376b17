"""What an owner chooses on the page that gives images to members."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from gallery.models import Image, Membership
from labeling import assignments
from labeling.assignments import Order, Plan, Split
from labeling.filters import ImageFilter
from labeling.models import LabelSet


class AssignForm(forms.Form):
    """Beside its own fields it takes the gallery's filters, and one amount a member."""

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

    def __init__(self, label_set: LabelSet, data: Any = None) -> None:
        super().__init__(data, auto_id="id_assign_%s")
        self.label_set = label_set
        self.members = list(assignments.reviewers(label_set.project))
        self.fields["member"].queryset = assignments.reviewers(label_set.project)
        for member in self.members:
            amount = forms.FloatField(required=False, min_value=0.01, max_value=10_000_000)
            self.fields[f"amount_{member.pk}"] = amount
        self.filterset = ImageFilter(data, label_set.images())

    def rows(self) -> list[tuple[Membership, bool, forms.BoundField]]:
        """Each member, whether it is chosen, and the field of its amount."""
        chosen = set(self["member"].value() or [])
        return [(member, str(member.pk) in chosen, self[f"amount_{member.pk}"]) for member in self.members]

    def clean(self) -> None:
        if not self.filterset.is_valid():
            problems = (word for words in self.filterset.errors.values() for word in words)
            raise ValidationError([f"The filter: {problem}" for problem in problems])
        if self.cleaned_data.get("split") in (Split.PERCENT, Split.NUMBER):
            for member in self.cleaned_data.get("member", []):
                if not self.cleaned_data.get(f"amount_{member.pk}"):
                    self.add_error(None, f"Say how much {member.user.username} gets.")

    @property
    def images(self) -> QuerySet[Image]:
        return self.filterset.qs

    def plan(self) -> Plan:
        """Raises ValidationError."""
        chosen = self.cleaned_data
        members = list(chosen["member"])
        amounts = (
            [chosen[f"amount_{member.pk}"] for member in members] if chosen["split"] != Split.EQUAL else []
        )
        return assignments.plan(
            self.label_set, self.images, members, chosen["split"], amounts, chosen["count"], chosen["order"]
        )
