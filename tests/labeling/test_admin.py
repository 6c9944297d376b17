"""Many rows at a time in the admin: found by filters, decided through the door, undone whole."""

from collections.abc import Callable
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery.access import Role
from gallery.models import Image, Membership, Project
from labeling import assignments, batches, history, review
from labeling.models import Annotation, Assignment, Batch, Label, LabelSet, Match, Review
from labeling.review import Decision, Verdict
from tests.labeling import rows

IMAGES = 12


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root-secret-1"))
    return client


@pytest.fixture
def label_set(project: Project) -> LabelSet:
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, IMAGES))
    return made


@pytest.fixture
def other(owner: User) -> LabelSet:
    """A label set of another project."""
    project = Project.objects.create(name="Birds", slug="birds")
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    made = rows.label_set(project, "robin", "crow")
    LabelSet.objects.filter(pk=made.pk).update(name="Species")
    rows.match(made, rows.images(project, 3))
    return made


def page(model: type[Model] | Model, name: str = "changelist") -> str:
    meta = model._meta
    args = [] if isinstance(model, type) else [model.pk]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=args)


def decide_all(label_set: LabelSet, user: User, verdict: Verdict = Verdict.ACCEPTED) -> None:
    ids = label_set.matches.values_list("image", flat=True)
    review.decide(label_set, user, [Decision(image_id, verdict) for image_id in ids])


def act(client: Client, action: str, chosen: list[Model], address: str = "", **more: object) -> object:
    sent = {"action": action, "_selected_action": [row.pk for row in chosen], **more}
    return client.post(address or page(type(chosen[0])), sent, follow=True)


def state(label_set: LabelSet) -> dict[int, tuple[str, int | None]]:
    """What the images of the label set are by now."""
    answers = label_set.annotations.values_list("image", "status", "label")
    return {image: (status, label) for image, status, label in answers}


# Many at a time


def test_suggestions_are_accepted_as_one_batch_after_a_question(
    root: Client, label_set: LabelSet, other: LabelSet
) -> None:
    chosen = [*label_set.matches.order_by("image")[:5], *other.matches.all()]
    asked = act(root, "accept_suggestion", chosen)
    assert "Accept the suggestion?" in asked.text and "Yes, for 8 images" in asked.text
    assert "5 in Rows of Animals" in asked.text and "3 in Species of Birds" in asked.text
    assert not Review.objects.exists()
    done = act(root, "accept_suggestion", chosen, expected="8")
    assert "Done for 8 images." in done.text
    made = {(batch.label_set, batch.total, batch.user.username) for batch in Batch.objects.all()}
    assert made == {(label_set, 5, "root"), (other, 3, "root")}
    suggested = dict(Match.objects.values_list("image", "label"))
    assert state(label_set) == {
        match.image_id: ("accepted", suggested[match.image_id]) for match in chosen[:5]
    }
    assert Review.objects.count() == 8


def test_answers_become_none_of_these_and_come_back_by_undo(
    root: Client, label_set: LabelSet, owner: User
) -> None:
    decide_all(label_set, owner)
    before = state(label_set)
    chosen = list(label_set.annotations.order_by("image")[:4])
    act(root, "none_of_these", chosen, expected="4")
    assert {state(label_set)[answer.image_id] for answer in chosen} == {("none", None)}
    batch = label_set.batches.get(verdict="none")
    assert "1 undone." in act(root, "undo", [batch]).text
    assert state(label_set) == before
    assert "In 1 there was nothing to take back" in act(root, "undo", [batch]).text
    said = Review.objects.filter(image=chosen[0].image_id).values_list("user__username", "verdict")
    assert list(said) == [("olga", "accepted"), ("root", "none"), ("root", "undone")]


def test_decisions_are_taken_back_as_one_batch_and_brought_back_by_undo(
    root: Client, label_set: LabelSet, owner: User, member: Callable[[str], User]
) -> None:
    decide_all(label_set, owner)
    first = label_set.matches.order_by("image").first().image_id
    review.decide(label_set, member(Role.LABELER), [Decision(first, Verdict.NONE)])
    before, chosen = state(label_set), list(label_set.annotations.order_by("image")[:5])
    assert before[first] == ("none", None)
    done = act(root, "take_back", chosen, expected="5")
    assert "Done for 5 images" in done.text
    batch = label_set.batches.get(kind="undo")
    assert (batch.total, batch.reviews.count(), batch.state) == (5, 5, "done")
    [entry] = history.told(label_set, owner, Role.OWNER, [batch])
    assert entry.what == "took 5 decisions back" and entry.may_undo
    # Of the first the last word is taken back, and what was said before it stands again.
    assert state(label_set)[first][0] == "accepted"
    assert len(state(label_set)) == IMAGES - 4
    act(root, "undo", [batch])
    assert state(label_set) == before


def test_what_has_nothing_to_accept_or_take_back_is_left_and_said(
    root: Client, label_set: LabelSet, owner: User
) -> None:
    decide_all(label_set, owner)
    matches = list(label_set.matches.all())
    label_set.annotations.filter(image=matches[0].image_id).delete()
    asked = act(root, "take_back", matches[:3])
    assert "Yes, for 2 images" in asked.text and "1 of the selected rows is left as it is" in asked.text
    gone = label_set.annotations.first()
    label_set.matches.filter(image=gone.image_id).delete()
    assert "Yes, for" not in act(root, "accept_suggestion", [gone]).text


def test_a_count_that_differs_by_then_asks_again(root: Client, label_set: LabelSet) -> None:
    chosen = list(label_set.matches.order_by("image")[:5])
    Image.objects.filter(pk=chosen[0].image_id).delete()
    answer = act(root, "accept_suggestion", chosen[:1] + chosen[1:], page(Match), expected="5")
    assert "Something has changed" in answer.text and "Yes, for 4 images" in answer.text
    assert not Review.objects.exists()


def test_all_that_the_filters_leave_are_decided_at_once(
    root: Client, label_set: LabelSet, other: LabelSet
) -> None:
    address = f"{page(Match)}?label=cat&project=anim"
    first = list(label_set.matches.order_by("image")[:1])
    asked = act(root, "accept_suggestion", first, address, select_across="1", index="0")
    assert f"Yes, for {IMAGES // 2} images" in asked.text
    assert 'name="select_across" value="1"' in asked.text
    act(root, "accept_suggestion", first, address, select_across="1", index="0", expected=str(IMAGES // 2))
    cat = label_set.labels.get(name="cat")
    assert state(label_set).values() and set(state(label_set).values()) == {("accepted", cat.pk)}
    assert not state(other)


def test_thousands_are_a_workers(root: Client, label_set: LabelSet, project: Project) -> None:
    rows.match(label_set, rows.images(project, 600, start=IMAGES))
    first = list(label_set.matches.order_by("image")[:1])
    everything = {"select_across": "1", "index": "0", "expected": str(600 + IMAGES)}
    act(root, "accept_suggestion", first, **everything)
    assert Batch.objects.get().state == "running"
    batches.carry_out_waiting(lambda: False)
    assert len(state(label_set)) == 600 + IMAGES
    act(root, "take_back", first, **everything)
    batches.carry_out_waiting(lambda: False)
    assert state(label_set) == {}
    act(root, "undo", [label_set.batches.get(kind="undo")])
    batches.carry_out_waiting(lambda: False)
    assert len(state(label_set)) == 600 + IMAGES


def test_batches_of_every_kind_are_undone(root: Client, label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    rows.images(label_set.project, 3, start=IMAGES)
    plan = assignments.plan(label_set, label_set.images(), [label_set.project.memberships.get()])
    batches.assign(label_set, owner, plan.parts)
    assert Assignment.objects.count() == 3
    act(root, "undo", list(Batch.objects.all()))
    assert not Assignment.objects.exists() and not Annotation.objects.exists()


def test_only_who_may_add_reviews_decides(label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(staff)
    chosen = list(label_set.matches.order_by("image")[:2])
    assert "Accept the suggestion" not in client.get(page(Match)).text
    act(client, "none_of_these", chosen, expected="2")
    act(client, "undo", list(Batch.objects.all()))
    assert {status for status, _ in state(label_set).values()} == {"accepted"}
    staff.user_permissions.add(Permission.objects.get(codename="add_review"))
    act(client, "none_of_these", chosen, expected="2")
    assert [status for status, _ in state(label_set).values()].count("none") == 2


def test_no_list_edits_rows_or_deletes_decisions(root: Client, label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    ours = [found for model, found in admin.site._registry.items() if model._meta.app_label == "labeling"]
    assert not [found for found in ours if found.list_editable]
    for model in (Match, Annotation, Review, Batch):
        chosen, before = list(model.objects.all()), model.objects.count()
        act(root, "delete_selected", chosen, post="yes")
        assert model.objects.count() == before, model


# The door


def test_taking_back_needs_a_role_and_an_image(label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    ids = list(state(label_set))
    with pytest.raises(PermissionDenied):
        batches.clear_all(label_set, owner, Role.LABELER, ids)
    with pytest.raises(ValidationError):
        batches.clear_all(label_set, owner, Role.REVIEWER, [])
    assert len(state(label_set)) == IMAGES


def test_of_several_votes_a_reviewers_word_is_taken_back_first(
    label_set: LabelSet, owner: User, member: Callable[[str], User]
) -> None:
    batches.ask_votes(label_set, owner, 2)
    image_id, cat = label_set.matches.order_by("image").first().image_id, label_set.labels.get(name="cat").pk
    review.decide(label_set, owner, [Decision(image_id, Verdict.CORRECTED, cat)])
    review.decide(label_set, member(Role.REVIEWER), [Decision(image_id, Verdict.NONE)], settles=True)
    review.decide(label_set, member(Role.LABELER), [Decision(image_id, Verdict.CORRECTED, cat)])
    assert state(label_set)[image_id] == ("none", None)
    batches.clear_all(label_set, owner, Role.OWNER, [image_id])
    assert state(label_set)[image_id][1] == cat
    batches.clear_all(label_set, owner, Role.OWNER, [image_id])
    assert image_id not in state(label_set)


# One at a time


def test_an_answer_that_somebody_changed_meanwhile_is_not_overwritten(
    root: Client, label_set: LabelSet, owner: User
) -> None:
    decide_all(label_set, owner)
    answer = label_set.annotations.first()
    form = root.get(page(answer, "change")).context["adminform"].form
    review.decide(label_set, owner, [Decision(answer.image_id, Verdict.NONE)])
    dog = label_set.labels.get(name="dog").pk
    told = root.post(page(answer, "change"), {"label": dog, "seen": form.initial["seen"]}, follow=True)
    assert "olga decided in the meantime" in told.text
    assert state(label_set)[answer.image_id] == ("none", None)
    seen = root.get(page(answer, "change")).context["adminform"].form.initial["seen"]
    root.post(page(answer, "change"), {"label": dog, "seen": seen})
    assert state(label_set)[answer.image_id][1] == dog


def test_a_correction_stands_over_votes(root: Client, label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    answer = label_set.annotations.first()
    batches.ask_votes(label_set, owner, 2)
    assert not label_set.annotations.exists()
    review.decide(label_set, owner, [Decision(answer.image_id, Verdict.NONE)], settles=True)
    answer = label_set.annotations.get()
    dog = label_set.labels.get(name="dog").pk
    root.post(page(answer, "change"), {"label": dog})
    assert state(label_set)[answer.image_id][1] == dog


def label_set_form(label_set: LabelSet, **more: object) -> dict[str, object]:
    inline = {"labels-TOTAL_FORMS": "0", "labels-INITIAL_FORMS": "0"}
    return {"name": label_set.name, "templates": '["a photo of a {label}."]', **inline, **more}


def test_votes_are_asked_for_through_the_door(root: Client, label_set: LabelSet, owner: User) -> None:
    decide_all(label_set, owner)
    root.post(page(label_set, "change"), label_set_form(label_set, votes=2))
    label_set.refresh_from_db()
    assert (label_set.votes, state(label_set), label_set.runs.count()) == (2, {}, 1)
    batch = label_set.batches.get(kind="votes")
    assert (batch.votes, batch.user.username) == (2, "root")
    told = root.post(page(label_set, "change"), label_set_form(label_set, votes=12), follow=True)
    assert "From 1 to 9 votes" in told.text
    label_set.refresh_from_db()
    assert label_set.votes == 2
    root.post(page(label_set, "change"), label_set_form(label_set, votes=2, name="Renamed"))
    assert label_set.batches.filter(kind="votes").count() == 1
    assert LabelSet.objects.get(pk=label_set.pk).name == "Renamed"


# Lists


FILTERS: list[tuple[type[Model], dict[str, str], Callable[[Model], bool]]] = [
    (Match, {"label": "CAT"}, lambda match: match.label.name == "cat"),
    (Match, {"label_set": "speci"}, lambda match: match.label_set.name == "Species"),
    (Match, {"project": "birds", "label": "crow"}, lambda match: match.label.name == "crow"),
    (Match, {"answered": "no"}, lambda match: not _answered(match, Annotation.Status.values)),
    (Match, {"answered": "none"}, lambda match: _answered(match, ["none"])),
    (Annotation, {"label": "dog"}, lambda answer: bool(answer.label and answer.label.name == "dog")),
    (Annotation, {"status__exact": "none"}, lambda answer: answer.status == "none"),
    (Annotation, {"project": "anim"}, lambda answer: answer.label_set.project.slug == "animals"),
    (Review, {"verdict__exact": "accepted", "label": "dog"}, lambda review: review.label_name == "dog"),
    (Review, {"label_set": "species"}, lambda review: review.label_set.name == "Species"),
    (Batch, {"project": "birds"}, lambda batch: batch.label_set.project.slug == "birds"),
    (Image, {"project": "birds"}, lambda image: image.project.slug == "birds"),
    (Image, {"answered": "none"}, lambda image: image.annotations.filter(status="none").exists()),
    (Image, {"answered": "no"}, lambda image: not image.annotations.exists()),
    (LabelSet, {"project": "birds"}, lambda label_set: label_set.name == "Species"),
    (Match, {"label": "a\0bc"}, lambda match: False),
]


def _answered(match: Match, statuses: list[str]) -> bool:
    answers = Annotation.objects.filter(image=match.image_id, label_set=match.label_set_id)
    return answers.filter(status__in=statuses).exists()


@pytest.mark.parametrize(("model", "asked", "fits"), FILTERS)
def test_a_list_is_filtered(
    model: type[Model],
    asked: dict[str, str],
    fits: Callable[[Model], bool],
    root: Client,
    label_set: LabelSet,
    other: LabelSet,
    owner: User,
) -> None:
    ids = list(label_set.matches.values_list("image", flat=True))
    review.decide(label_set, owner, [Decision(pk, Verdict.ACCEPTED) for pk in ids[:6]])
    review.decide(label_set, owner, [Decision(pk, Verdict.NONE) for pk in ids[6:8]])
    review.decide(
        other, owner, [Decision(other.matches.order_by("image").first().image_id, Verdict.ACCEPTED)]
    )
    answer = root.get(page(model), asked)
    found = {row.pk for row in answer.context["cl"].queryset}
    assert found == {row.pk for row in model.objects.all() if fits(row)}
    everything = model.objects.count()
    assert len(found) < everything
    for name, value in asked.items():
        if "\0" not in value:
            assert f'value="{value}"' in unescape(answer.text) or f"{name}={value}" in unescape(answer.text)


@pytest.mark.parametrize("model", [Match, Annotation, Review, Batch, Image, LabelSet])
def test_a_filter_lists_no_labels_to_choose_from(
    model: type[Model], root: Client, label_set: LabelSet, owner: User
) -> None:
    decide_all(label_set, owner)
    names = [Label(label_set=label_set, name=f"label-{n}", position=n + 2) for n in range(50)]
    before = len(root.get(page(model)).content)
    Label.objects.bulk_create(names)
    assert "label-4" not in root.get(page(model)).text
    assert abs(len(root.get(page(model)).content) - before) < 500


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (Match, {"answered": "no", "label": "c", "project": "a", "label_set": "r"}),
        (Annotation, {"label": "c", "project": "a", "q": "image"}),
        (Review, {"label": "c", "project": "a", "q": "image"}),
        (Image, {"answered": "accepted", "project": "a"}),
    ],
)
def test_a_filtered_list_costs_as_many_queries_for_many_rows(
    model: type[Model],
    asked: dict[str, str],
    root: Client,
    label_set: LabelSet,
    owner: User,
) -> None:
    decide_all(label_set, owner)
    with CaptureQueriesContext(connection) as few:
        root.get(page(model), asked)
    rows.match(label_set, rows.images(label_set.project, 80, start=IMAGES))
    decide_all(label_set, owner)
    with CaptureQueriesContext(connection) as many:
        root.get(page(model), asked)
    assert len(many) == len(few)
