"""A label that is made of a group of unknown images, as a page sends it."""

from django import forms


class MakeLabelForm(forms.Form):
    name = forms.CharField(
        max_length=200,
        error_messages={
            "required": "Give the label a name.",
            "max_length": "A label's name has 200 characters at most.",
        },
    )
    set = forms.BooleanField(required=False)
