"""The page that says how the work on a label set stands."""

from itertools import accumulate
from typing import NamedTuple

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from gallery.access import allowed, fetch
from labeling import truth
from labeling.models import LabelSet
from labeling.statistics import Statistics


class Part(NamedTuple):
    """A part of the bar that stands for all images."""

    name: str
    words: str
    number: int
    start: int


@login_required
@require_safe
def statistics(request: HttpRequest, pk: int) -> HttpResponse:
    rows = LabelSet.objects.select_related("project").prefetch_related("labels")
    label_set = fetch(rows, request.user, "view", pk=pk)
    counted = Statistics(label_set)
    weakest_first = request.GET.get("order") == "weakest"
    context = {
        "label_set": label_set,
        "label_sets": label_set.project.label_sets.all(),
        "project": label_set.project,
        "may": allowed(label_set.role),
        "tab": "progress",
        "work_page": "statistics",
        "statistics": counted,
        "truth": truth.Measured(label_set),
        "parts": _parts(counted),
        "labels": counted.weakest if weakest_first else counted.labels,
        "weakest_first": weakest_first,
    }
    return render(request, "labeling/statistics.html", context)


def _parts(counted: Statistics) -> list[Part]:
    named = [
        ("settled", "settled", counted.settled),
        ("disputed", "disputed", counted.disputed),
        ("waiting", "waiting", counted.waiting),
        ("unscored", "not scored yet", counted.unscored),
    ]
    starts = accumulate((number for *_, number in named), initial=0)
    return [Part(*part, start) for part, start in zip(named, starts, strict=False)]
