"""Who has an answer of the API already is told so, and gets no second copy."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from gallery.models import Image, Project
from labeling import layouts
from labeling.models import LabelSet
from tests.conftest import picture

Login = Callable[[User | None], Client]
PROJECT = "/api/v1/projects/animals/"


def known(answer: HttpResponse) -> dict:
    return {"headers": {"If-None-Match": answer.headers["ETag"]}}


@pytest.mark.parametrize(
    "path", ["projects/", "projects/animals/", "projects/animals/images/", "account/keys/"]
)
def test_what_has_not_changed_is_not_sent_again(
    path: str, owner: User, project: Project, login: Login
) -> None:
    client = login(owner)
    first = client.get(f"/api/v1/{path}")
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get(f"/api/v1/{path}", **known(first))
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Cache-Control"] == "private, no-cache"
    assert client.head(f"/api/v1/{path}", **known(first)).status_code == 304


def test_what_has_changed_is_sent(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    first = client.get(PROJECT)
    Project.objects.update(name="Zoo")
    second = client.get(PROJECT, **known(first))
    assert (second.status_code, second.json()["name"]) == (200, "Zoo")
    assert second.headers["ETag"] != first.headers["ETag"]


def test_an_etag_opens_nothing_to_a_stranger(
    owner: User, stranger: User, project: Project, add: Callable, login: Login
) -> None:
    [image] = add(("red.png", picture()))
    for path in (PROJECT, f"/api/v1/images/{image.pk}/file/"):
        first = login(owner).get(path)
        assert login(stranger).get(path, **known(first)).status_code == 404
        assert login(None).get(path, **known(first)).status_code == 401


@pytest.mark.parametrize("name", ["api-image-file", "api-image-thumbnail", "image_file", "image_preview"])
def test_a_picture_is_sent_once(name: str, owner: User, add: Callable, login: Login) -> None:
    red, blue = add(("red.png", picture()), ("blue.png", picture("blue")))
    client = login(owner)
    first = client.get(reverse(name, args=[red.pk]))
    assert red.sha256 in first.headers["ETag"] and "immutable" in first.headers["Cache-Control"]
    red.file.storage.delete(red.file.name)
    again = client.get(reverse(name, args=[red.pk]), **known(first))
    assert (again.status_code, again.headers["ETag"]) == (304, first.headers["ETag"])
    other = client.get(reverse(name, args=[blue.pk]), **known(first))
    assert other.status_code == 200 and other.getvalue()


def test_file_and_thumbnail_are_two(owner: User, add: Callable, login: Login) -> None:
    [image] = add(("red.png", picture()))
    small = login(owner).get(f"/api/v1/images/{image.pk}/thumbnail/")
    assert login(owner).get(f"/api/v1/images/{image.pk}/file/", **known(small)).status_code == 200


def test_a_packed_map_is_not_sent_again(owner: User, scored: LabelSet, login: Login) -> None:
    project, client = scored.project, login(owner)
    layouts.start(project, owner)
    asked = {"Accept-Encoding": "gzip"}
    first = client.get(f"{PROJECT}map/", headers=asked)
    assert first.headers["Content-Encoding"] == "gzip"
    again = client.get(f"{PROJECT}map/", headers=asked | known(first)["headers"])
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "private, no-cache")


def test_streams_refusals_and_changes_have_none(owner: User, scored: LabelSet, login: Login) -> None:
    client = login(owner)
    export = client.get(f"/api/v1/label-sets/{scored.pk}/export/")
    assert export.streaming and export.getvalue()
    for answer in (export, client.get("/api/v1/nothing/"), client.patch(PROJECT, {}, "application/json")):
        assert "ETag" not in answer.headers


def test_another_version_than_there_is_is_a_problem(
    owner: User, project: Project, add: Callable, login: Login
) -> None:
    add(("red.png", picture()))
    for path in (PROJECT, f"/api/v1/images/{Image.objects.get().pk}/file/"):
        answer = login(owner).get(path, headers={"If-Match": '"x"'})
        assert (answer.status_code, answer.headers["Content-Type"]) == (412, "application/problem+json")
