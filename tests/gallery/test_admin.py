"""Django's admin: it lists everything, corrects through the doors, and leaves history alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from gallery import invitations, uploads
from gallery.access import Role
from gallery.models import ApiToken, Image, Invitation, Membership, Project
from labeling import review
from labeling.models import Annotation, Label, LabelSet, Match, Review
from labeling.review import Decision, Verdict
from tests.conftest import picture

OURS = [*apps.get_app_config("gallery").get_models(), *apps.get_app_config("labeling").get_models()]
UNTOUCHED = {
    *("UploadEntry", "Upload", "Review", "Match", "Embedding", "ScoringRun", "ScoringChunk", "ImageAttempt"),
    *(
        "WorkerBeat",
        "Invitation",
        "Batch",
        "BatchPart",
        "Lease",
        "Assignment",
        "SavedView",
        "Keymap",
        "Pick",
        "Probe",
        "UnknownsRun",
        "UnknownGroup",
        "MapLayout",
        "Comment",
        "KeyedCall",
        "Fingerprint",
        "DuplicateSearch",
        "DuplicateDecision",
        "NearDuplicate",
        "LabelImport",
        "GroundTruth",
        "WebhookEndpoint",
        "WebhookDelivery",
    ),
}


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root-secret-1"))
    return client


@pytest.fixture
def decided(scored: LabelSet, owner: User) -> LabelSet:
    """Every image accepted as CLIP suggested."""
    ids = scored.images().values_list("pk", flat=True)
    review.decide(scored, owner, [Decision(image_id, Verdict.ACCEPTED) for image_id in ids])
    return scored


def page(model: type[Model] | Model, name: str) -> str:
    meta = model._meta
    args = [] if isinstance(model, type) else [model.pk]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=args)


def test_every_row_of_ours_is_listed() -> None:
    assert {model for model in OURS if not admin.site.is_registered(model)} == set()


@pytest.mark.parametrize("model", OURS)
def test_every_list_and_every_page_opens(model: type[Model], root: Client, decided: LabelSet) -> None:
    assert root.get(page(model, "changelist")).status_code == 200
    assert root.get(page(model, "changelist"), {"q": "red"}).status_code == 200
    if row := model.objects.first():
        assert root.get(page(row, "change")).status_code == 200


@pytest.mark.parametrize("model", [model for model in OURS if model.__name__ in UNTOUCHED])
def test_what_is_counted_or_remembered_can_only_be_looked_at(
    model: type[Model], root: Client, decided: LabelSet
) -> None:
    assert root.get(page(model, "add")).status_code == 403
    if row := model.objects.first():
        assert root.post(page(row, "change"), {}).status_code == 403
        assert root.post(page(row, "delete"), {"post": "yes"}).status_code == 403


def test_the_queue_stays_out_of_it(root: Client) -> None:
    assert "django_q" not in {model._meta.app_label for model in admin.site._registry}
    assert "Django Q" not in root.get(reverse("admin:index")).text


def test_only_staff_gets_in_and_by_the_log_in_page_of_the_site(
    owner: User, login: Callable[[User | None], Client]
) -> None:
    assert (
        login(None)
        .get(reverse("admin:index"), follow=True)
        .redirect_chain[-1][0]
        .startswith("/accounts/login/")
    )
    assert login(owner).get(reverse("admin:index"), follow=True).status_code == 403


# Decisions


def test_a_correction_is_one_more_decision(root: Client, decided: LabelSet) -> None:
    annotation = Annotation.objects.select_related("label").first()
    other = decided.labels.exclude(pk=annotation.label_id).first()
    root.post(page(annotation, "change"), {"label": other.pk})
    annotation.refresh_from_db()
    assert (annotation.label, annotation.status) == (other, "corrected")
    assert annotation.decided_by.username == "root"
    history = Review.objects.filter(image=annotation.image_id)
    assert [(row.user.username, row.verdict) for row in history] == [
        ("olga", "accepted"),
        ("root", "corrected"),
    ]
    shown = root.get(page(annotation, "change")).text
    assert f"corrected {other.name}" in shown and "accepted " in shown


def test_an_answer_that_is_saved_as_it_was_stays_whose_it_was(root: Client, decided: LabelSet) -> None:
    annotation = Annotation.objects.first()
    root.post(page(annotation, "change"), {"label": annotation.label_id})
    annotation.refresh_from_db()
    assert annotation.decided_by.username == "olga"
    assert Review.objects.filter(image=annotation.image_id).count() == 1


def test_an_answer_can_become_none_of_these(root: Client, decided: LabelSet) -> None:
    annotation = Annotation.objects.first()
    root.post(page(annotation, "change"), {"label": ""})
    annotation.refresh_from_db()
    assert (annotation.label, annotation.status) == (None, "none")


def test_an_answer_takes_only_labels_of_its_own_set(
    root: Client, decided: LabelSet, project: Project
) -> None:
    foreign = Label.objects.create(label_set=LabelSet.objects.create(project=project), name="foreign")
    annotation = Annotation.objects.first()
    answer = root.post(page(annotation, "change"), {"label": foreign.pk})
    assert "Select a valid choice" in answer.text
    assert Review.objects.filter(image=annotation.image_id).count() == 1


def test_an_answer_is_not_deleted(root: Client, decided: LabelSet) -> None:
    assert root.post(page(Annotation.objects.first(), "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [Annotation.objects.first().pk], "post": "yes"}
    root.post(page(Annotation, "changelist"), chosen)
    assert Annotation.objects.count() == 4


def test_an_image_shows_its_history(root: Client, decided: LabelSet) -> None:
    shown = root.get(page(Image.objects.first(), "change")).text
    history = shown[shown.index("reviews-group") :]
    assert "accepted" in history and "olga" in history
    assert "data:image/webp;base64," in shown


# Labels


def test_a_label_is_renamed_by_the_door_which_scores_again(root: Client, decided: LabelSet) -> None:
    label = decided.labels.first()
    root.post(page(label, "change"), {"name": "crimson circle", "prompts": "[]"})
    label.refresh_from_db()
    assert label.name == "crimson circle"
    assert decided.runs.count() == 2
    assert decided.labels.count() == 4


def test_what_the_door_refuses_is_said(root: Client, decided: LabelSet) -> None:
    first, second = decided.labels.all()[:2]
    answer = root.post(page(first, "change"), {"name": second.name, "prompts": "[]"}, follow=True)
    assert "Given twice" in answer.text or "already exists" in answer.text
    first.refresh_from_db()
    assert first.name != second.name
    unlabelled = {"name": "Labels", "votes": 1, "templates": '["no place for it"]', **inline("labels")}
    answer = root.post(page(decided, "change"), unlabelled, follow=True)
    assert "has no {label} in it" in answer.text


def inline(prefix: str, **rows: str) -> dict[str, str]:
    return {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0", **rows}


# Deleting


def stored(settings: object) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_a_deleted_image_takes_its_files_and_opinions_along(
    root: Client, decided: LabelSet, settings: object, django_capture_on_commit_callbacks: Callable
) -> None:
    image, others = Image.objects.first(), Image.objects.count() - 1
    assert "Are you sure" in root.get(page(image, "delete")).text
    with django_capture_on_commit_callbacks(execute=True):
        root.post(page(image, "delete"), {"post": "yes"})
    assert Image.objects.count() == Match.objects.count() == others
    assert len(stored(settings)) == 3 * others


@pytest.mark.parametrize("model", [Image, Project])
def test_what_is_selected_and_deleted_leaves_no_file(
    model: type[Model],
    root: Client,
    decided: LabelSet,
    settings: object,
    django_capture_on_commit_callbacks: Callable,
) -> None:
    pks = list(model.objects.values_list("pk", flat=True))
    chosen = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    with django_capture_on_commit_callbacks(execute=True):
        root.post(page(model, "changelist"), chosen)
    assert not model.objects.exists() and not Image.objects.exists()
    assert stored(settings) == []


def test_a_label_set_is_deleted_with_its_decisions(root: Client, decided: LabelSet) -> None:
    root.post(page(decided, "delete"), {"post": "yes"})
    assert not LabelSet.objects.exists() and not Annotation.objects.exists()
    assert Image.objects.count() == 4


# Projects and members


def memberships(*rows: dict[str, object], initial: int = 0) -> dict[str, object]:
    form = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{key}": value for key, value in row.items()}
    return form


def test_a_project_can_be_made_with_an_owner_and_not_without(root: Client, owner: User) -> None:
    asked = {"name": "New", "description": ""}
    viewer = memberships({"user": owner.pk, "role": Role.VIEWER})
    assert "A project needs an owner" in root.post(page(Project, "add"), asked | viewer).text
    root.post(page(Project, "add"), asked | memberships({"user": owner.pk, "role": Role.OWNER}))
    project = Project.objects.get()
    assert project.slug.startswith("new") and project.memberships.get().user == owner


def test_a_project_keeps_its_last_owner(root: Client, project: Project) -> None:
    membership = Membership.objects.get()
    row = {"id": membership.pk, "project": project.pk, "user": membership.user_id, "role": Role.OWNER}
    asked = {"name": "Animals", "description": "", **memberships({**row, "DELETE": "on"}, initial=1)}
    assert "A project needs an owner" in root.post(page(project, "change"), asked).text
    answer = root.post(page(membership, "change"), {"role": Role.VIEWER}, follow=True)
    assert "A project needs an owner" in answer.text
    assert root.post(page(membership, "delete"), {"post": "yes"}).status_code == 403
    assert Membership.objects.get().role == Role.OWNER


def delete_users(root: Client, *users: User) -> tuple[str, str]:
    """What the two ways to delete users in the admin answer: one by one, and selected in the list."""
    chosen = {"action": "delete_selected", "_selected_action": [user.pk for user in users], "post": "yes"}
    one_by_one = [root.post(page(user, "delete"), {"post": "yes"}, follow=True).text for user in users]
    return "".join(one_by_one), root.post(page(User, "changelist"), chosen, follow=True).text


def test_a_user_whom_a_project_needs_as_owner_is_not_deleted(
    root: Client, owner: User, project: Project
) -> None:
    ApiToken.objects.create(owner)
    for answer in delete_users(root, owner):
        assert "Project: Animals. It needs an owner: make somebody else an owner first" in answer
    assert Membership.objects.get().user == owner


def test_two_owners_are_not_deleted_at_once(
    root: Client, owner: User, stranger: User, project: Project
) -> None:
    Membership.objects.create(project=project, user=stranger, role=Role.OWNER)
    pks = [owner.pk, stranger.pk]
    chosen = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    assert "It needs an owner" in root.post(page(User, "changelist"), chosen).text
    assert project.memberships.count() == 2


def test_a_user_goes_with_tokens_and_memberships_where_another_owner_stays(
    root: Client, owner: User, stranger: User, project: Project
) -> None:
    Membership.objects.create(project=project, user=stranger, role=Role.OWNER)
    ApiToken.objects.create(owner)
    delete_users(root, owner)
    assert not User.objects.filter(pk=owner.pk).exists() and not ApiToken.objects.exists()
    assert project.memberships.get().user == stranger


def test_a_member_is_changed_and_removed(
    root: Client, project: Project, member: Callable[[str], User]
) -> None:
    membership = project.memberships.get(user=member("viewer"))
    root.post(page(membership, "change"), {"role": Role.REVIEWER})
    membership.refresh_from_db()
    assert membership.role == Role.REVIEWER
    root.post(page(membership, "delete"), {"post": "yes"})
    assert project.memberships.count() == 1


def test_the_projects_cost_as_many_queries_as_one(
    root: Client, project: Project, owner: User, django_assert_max_num_queries: Callable
) -> None:
    for number in range(10):
        other = Project.objects.create(name=f"P{number}", slug=f"p{number}")
        uploads.add_images(other, owner, [ContentFile(picture(side=10 + number), "a.png")])
    with django_assert_max_num_queries(12):
        root.get(page(Project, "changelist"))


# Tokens


def test_a_token_is_revoked_and_never_shown(root: Client, owner: User) -> None:
    token, _ = ApiToken.objects.create(owner, name="Nightly import")
    shown = root.get(page(ApiToken, "changelist")).text
    assert token.token_key[:8] in shown and token.token_key not in shown
    assert "Nightly import" in shown and "Delete selected" not in shown
    assert root.get(page(ApiToken, "add")).status_code == 403
    root.post(page(ApiToken, "changelist"), {"action": "revoke", "_selected_action": [token.digest]})
    assert not ApiToken.objects.exists()


def test_who_is_deleted_loses_tokens_and_invitations_at_once(
    root: Client, owner: User, project: Project, member: Callable[[str], User]
) -> None:
    user = member(Role.OWNER)
    _, token = ApiToken.objects.create(user, name="Import")
    invitations.invite(project, user, Role.VIEWER)
    session, program = Client(), Client(headers={"Authorization": f"Token {token}"})
    session.force_login(user)
    assert program.get("/api/v1/projects/").status_code == session.get("/").status_code == 200
    asked = root.get(page(user, "delete")).text
    assert "Import" in asked and token not in asked
    assert root.post(page(user, "delete"), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert (program.get("/api/v1/projects/").status_code, session.get("/").status_code) == (401, 302)
    assert not ApiToken.objects.exists() and not Invitation.objects.exists()


def test_who_is_deactivated_gets_in_no_more(root: Client, owner: User, project: Project) -> None:
    _, token = ApiToken.objects.create(owner, name="Import")
    session, program = Client(), Client(headers={"Authorization": f"Token {token}"})
    session.force_login(owner)
    form = root.get(page(owner, "change")).context["adminform"].form
    sent = {name: value for name, value in form.initial.items() if value}
    del sent["is_active"]
    sent |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "groups": [], "user_permissions": []}
    assert root.post(page(owner, "change"), sent).status_code == 302
    assert not User.objects.get(pk=owner.pk).is_active
    assert (program.get("/api/v1/projects/").status_code, session.get("/").status_code) == (401, 302)
