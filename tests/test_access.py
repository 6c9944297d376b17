"""Who gets into which route of the API. Every route stands in the table, or a test fails."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from knox.models import AuthToken

from gallery import uploads
from gallery.access import Role
from gallery.models import Membership, Project
from labeling.models import LabelSet
from tests.conftest import picture

ANYONE, USER = "anyone", "user"
VIEWER, LABELER, REVIEWER, OWNER = Role.values
METHODS = ("get", "post", "put", "patch", "delete")

# The lowest role that each method of each route takes; a method that isn't here is not allowed.
TABLE = {
    "api-token": {"post": ANYONE, "delete": USER},
    "api-projects": {"get": USER, "post": USER},
    "api-project": {"get": VIEWER, "patch": OWNER, "delete": OWNER},
    "api-members": {"get": VIEWER, "post": OWNER},
    "api-member": {"patch": OWNER, "delete": OWNER},
    "api-images": {"get": VIEWER, "post": LABELER},
    "api-upload": {"get": VIEWER},
    "api-upload-stop": {"post": REVIEWER},
    "api-image": {"get": VIEWER, "delete": REVIEWER},
    "api-image-file": {"get": VIEWER},
    "api-image-thumbnail": {"get": VIEWER},
    "api-image-scores": {"get": VIEWER},
    "api-label-sets": {"get": VIEWER, "post": REVIEWER},
    "api-label-set": {"get": VIEWER, "patch": REVIEWER, "delete": REVIEWER},
    "api-runs": {"post": REVIEWER},
    "api-run": {"get": VIEWER},
    "api-run-cancel": {"post": REVIEWER},
    "api-run-retry": {"post": REVIEWER},
    "api-matches": {"get": VIEWER},
    "api-reviews": {"post": LABELER},
    "api-undo": {"post": LABELER},
    "api-export": {"get": VIEWER},
    "api-schema": {"get": ANYONE},
    "api-docs": {"get": ANYONE},
    "api-best-match": {"post": USER},
}
SLUGGED = {"api-project", "api-members", "api-member", "api-images", "api-label-sets"}
CELLS = [(name, method) for name, methods in TABLE.items() for method in methods]


class House(NamedTuple):
    """One of everything, and somebody of every role."""

    people: dict[str, User | None]
    ids: dict[str, object]
    bodies: dict[tuple[str, str], dict]
    query: dict[str, str]


@pytest.fixture
def house(
    owner: User, stranger: User, project: Project, scored: LabelSet, member: Callable[[str], User]
) -> House:
    image, run = scored.images().first(), scored.runs.get()
    members = {role: member(role) for role in (VIEWER, LABELER, REVIEWER)}
    labels = [{"name": "a"}, {"name": "b"}]
    guest = Membership.objects.create(
        project=project, user=User.objects.create_user("guest"), role=Role.VIEWER
    )
    return House(
        people={"nobody": None, "stranger": stranger, **members, OWNER: owner},
        ids={
            "api-member": guest.pk,
            "api-upload-stop": project.uploads.first().pk,
            "api-upload": project.uploads.first().pk,
            "image": image.pk,
            "label-set": scored.pk,
            "run": run.pk,
        },
        bodies={
            ("api-token", "post"): {"username": "olga", "password": "olga-secret-1"},
            ("api-projects", "post"): {"name": "More"},
            ("api-project", "patch"): {"name": "Zoo"},
            ("api-members", "post"): {"username": "sven", "role": VIEWER},
            ("api-member", "patch"): {"role": LABELER},
            ("api-label-sets", "post"): {"name": "More", "labels": labels},
            ("api-label-set", "patch"): {"name": "Other"},
            ("api-reviews", "post"): {"reviews": [{"image": image.pk, "verdict": "accepted"}]},
            ("api-undo", "post"): {"batch": str(uuid.uuid4())},
            ("api-best-match", "post"): {"image_base64": "eA==", "text_input1": "a", "text_input2": "b"},
        },
        query={"api-image-scores": f"?label_set={scored.pk}"},
    )


def address(house: House, name: str) -> str:
    parts = {"slug": "animals"} if name in SLUGGED else {}
    if name in house.ids:
        parts["pk"] = house.ids[name]
    elif name.startswith("api-image") and name != "api-images":
        parts["pk"] = house.ids["image"]
    elif name.startswith("api-run") and name != "api-runs":
        parts["pk"] = house.ids["run"]
    elif name in {"api-label-set", "api-runs", "api-matches", "api-reviews", "api-undo", "api-export"}:
        parts["pk"] = house.ids["label-set"]
    return reverse(name, kwargs=parts) + house.query.get(name, "")


def ask(client: Client, house: House, name: str, method: str) -> HttpResponse:
    """The answer to a request that is right but for who asks. What it changes is taken back."""
    url, send = address(house, name), getattr(client, method)
    with transaction.atomic():
        if (name, method) == ("api-images", "post"):
            answer = send(url, {"files": SimpleUploadedFile("pink.png", picture("pink"))})
        elif method == "get":
            answer = send(url)
        else:
            answer = send(url, house.bodies.get((name, method), {}), content_type="application/json")
        transaction.set_rollback(True)
    return answer


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path, pattern.name


def test_every_route_of_the_api_stands_in_the_table() -> None:
    here = {
        name
        for path, name in routes(get_resolver().url_patterns)
        if path.startswith("api/") or (name or "").startswith("api-")
    }
    assert here == set(TABLE)


def may(who: str, lowest: str) -> bool:
    ranks = ["nobody", "stranger", *Role.values]
    needed = {ANYONE: "nobody", USER: "stranger"}.get(lowest, lowest)
    return ranks.index(who) >= ranks.index(needed)


def refusal(who: str) -> int:
    return {"nobody": 401, "stranger": 404}.get(who, 403)


def test_who_gets_in(house: House, login: Callable[[User | None], Client]) -> None:
    wrong = []
    for name, method in CELLS:
        everybody = house.people.items() if TABLE[name][method] != ANYONE else [("nobody", None)]
        for who, user in everybody:
            status = ask(login(user), house, name, method).status_code
            allowed = may(who, TABLE[name][method])
            # A session has no token to revoke, and “x” is no picture.
            welcome = status < 400 or (status == 400 and name in ("api-token", "api-best-match"))
            if not (welcome if allowed else status == refusal(who)):
                wrong.append((name, method, who, status))
    assert not wrong


def test_no_other_method_is_taken(house: House, login: Callable[[User | None], Client]) -> None:
    client = login(house.people[OWNER])
    others = [(name, method) for name in TABLE for method in METHODS if method not in TABLE[name]]
    wrong = {cell: ask(client, house, *cell).status_code for cell in others}
    assert {cell: status for cell, status in wrong.items() if status != 405} == {}


def test_a_token_that_has_ended_opens_nothing(house: House) -> None:
    _, token = AuthToken.objects.create(house.people[OWNER])
    client = Client(headers={"Authorization": f"Token {token}"})
    closed = [cell for cell in CELLS if TABLE[cell[0]][cell[1]] != ANYONE]
    assert ask(client, house, "api-projects", "get").status_code == 200
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    for cell in closed:
        assert ask(client, house, *cell).status_code == 401, cell


def test_a_session_alone_changes_nothing(house: House) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.people[OWNER])
    for name, method in CELLS:
        if method != "get" and TABLE[name][method] != ANYONE:
            answer = ask(client, house, name, method)
            assert (answer.status_code, "CSRF" in answer.json()["detail"]) == (403, True), (name, method)


def test_what_is_deleted_is_gone_for_everybody(house: House, login: Callable[[User | None], Client]) -> None:
    uploads.delete_project(Project.objects.get())
    for name, methods in TABLE.items():
        if USER not in methods.values() and ANYONE not in methods.values():
            for method in methods:
                assert ask(login(house.people[OWNER]), house, name, method).status_code == 404, name
