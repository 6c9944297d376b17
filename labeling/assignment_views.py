"""Who is to review what: each member's own, and for owners everybody's, with giving and taking back."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db.models import Exists, F, OuterRef, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_POST

from gallery.access import allowed, fetch
from labeling import assignments, batches
from labeling.assignment_forms import AssignForm
from labeling.assignments import Plan
from labeling.forms import UndoForm
from labeling.models import Batch, LabelSet
from labeling.selection import line_of

BATCHES_A_PAGE = 20
CHANGED = "Something has changed since you looked. Nothing was given: look again, and give what is there now."


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def assignments_page(request: HttpRequest, pk: int) -> HttpResponse:
    """`?q=…` is the line to begin with; with `member` and the other fields it shows what would be given to
    whom, and a POST gives it."""
    action = "assign" if request.method == "POST" else "view"
    rows = LabelSet.objects.select_related("project").prefetch_related("labels")
    label_set = fetch(rows, request.user, action, pk=pk)
    if "assign" not in allowed(label_set.role):
        return _page(request, label_set)
    sent = request.POST if request.method == "POST" else request.GET
    is_asked = request.method == "POST" or "member" in sent or "split" in sent
    line = line_of(label_set, sent)
    form = AssignForm(label_set, request.user, sent if is_asked else None, line)
    plan, status = None, 200
    if form.is_bound and form.is_valid():
        try:
            plan = form.plan()
        except ValidationError as error:
            form.add_error(None, error)
    if request.method == "POST":
        status = 409 if plan else 400
        if plan and request.POST.get("expected") == expected(plan):
            batches.assign(label_set, request.user, plan.parts, str(form.cleaned_data["q"])[:1000])
            messages.success(request, f"{_given(plan)}.")
            return redirect("assignments", pk)
    return _page(request, label_set, form, plan, status)


def expected(plan: Plan) -> str:
    """Stands for what the person saw: how many images each member gets."""
    return "-".join(str(len(image_ids)) for _, image_ids in plan.parts)


def _given(plan: Plan) -> str:
    """`anna gets 367 images, ben 366`."""
    parts = [(member.user.username, len(image_ids)) for member, image_ids in plan.parts]
    (first, number), *others = parts
    words = f"{first} gets {number:,} image{'' if number == 1 else 's'}"
    return ", ".join([words, *(f"{name} {number:,}" for name, number in others)])


def _page(
    request: HttpRequest,
    label_set: LabelSet,
    form: AssignForm | None = None,
    plan: Plan | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "label_set": label_set,
        "label_sets": label_set.project.label_sets.all(),
        "project": label_set.project,
        "may": allowed(label_set.role),
        "tab": "progress",
        "work_page": "assignments",
        "form": form,
        "plan": plan,
    }
    if plan:
        context |= {"expected": expected(plan), "given": _given(plan)}
        context["fields"] = _fields(form)
    if status == 409:
        context["refusal"] = CHANGED
    template = "labeling/assignments.html"
    if request.htmx and not request.htmx.history_restore_request:
        template = "labeling/_plan.html" if request.htmx.target == "plan" else "labeling/_assigned.html"
    if template != "labeling/_plan.html":
        context |= _assigned(request, label_set)
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _fields(form: AssignForm) -> list[tuple[str, str]]:
    """What the form says, to be sent once more with a yes."""
    return [(name, value) for name, values in form.data.lists() if name in form.fields for value in values]


def _assigned(request: HttpRequest, label_set: LabelSet) -> dict[str, Any]:
    """The members with their counts, one's own first; everybody's, and what was given, for owners alone."""
    found = assignments.of_members(label_set)
    own = [row for row in found if row.member.user_id == request.user.pk]
    if "assign" not in allowed(label_set.role):
        return {"assigned": own, "own": own[0] if own else None}
    others = [row for row in found if row.member.user_id != request.user.pk]
    page = _batches(request, label_set)
    is_running = any(batch.state == Batch.State.RUNNING for batch in page)
    return {"assigned": own + others, "own": own[0], "page": page, "is_running": is_running}


def _batches(request: HttpRequest, label_set: LabelSet) -> Page:
    """What was given, newest first: each batch with the images that it has come to, and left as they were."""
    reversed_by = Batch.objects.filter(reverses=OuterRef("pk"))
    given = label_set.batches.filter(kind=Batch.Kind.ASSIGN).select_related("user", "assignee")
    given = given.annotate(
        written=Sum("parts__size", filter=Q(parts__done=True), default=0),
        left=Sum("parts__left", default=0),
        given=F("written") - F("left"),
        is_back=Exists(reversed_by),
    )
    return Paginator(given.order_by("-at", "-id"), BATCHES_A_PAGE).get_page(request.GET.get("page"))


@login_required
@require_POST
def assignment_undo(request: HttpRequest, pk: int) -> HttpResponse:
    rows = LabelSet.objects.select_related("project")
    label_set = fetch(rows, request.user, "assign", pk=pk)
    form = UndoForm(request.POST)
    given = (
        form.is_valid()
        and label_set.batches.filter(kind=Batch.Kind.ASSIGN, pk=form.cleaned_data["batch"]).first()
    )
    if given and batches.undo(label_set, request.user, label_set.role, given.pk):
        messages.success(request, "Taken back. What was decided about these images stays.")
    else:
        messages.info(request, "There was nothing to take back.")
    return redirect("assignments", pk)
