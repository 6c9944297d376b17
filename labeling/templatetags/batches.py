"""The lines of the batches that are under way, for any page of a label set."""

from typing import Any

from django import template

from labeling import batch_views
from labeling.models import LabelSet

register = template.Library()


@register.inclusion_tag("labeling/_running.html", takes_context=True)
def running_batches(context: template.Context, label_set: LabelSet, role: str) -> dict[str, Any]:
    return batch_views.lines(label_set, context["request"].user, role) | {"csrf_token": context["csrf_token"]}
