"""Every refusal of the API has the shape of RFC 9457."""

from collections.abc import Callable
from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from gallery import problems
from gallery.models import Image, Project
from tests.conftest import pointers

JSON = "application/json"
PROJECTS, ANIMALS = "/api/v1/projects/", "/api/v1/projects/animals/"
Login = Callable[[User | None], Client]


def check_shape(answer: HttpResponse, status: int) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    body = answer.json()
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    assert body | said == body
    assert isinstance(body["detail"], str) and len(body["detail"]) > 10
    for each in body.get("errors", []):
        assert each["pointer"].startswith("/") and each["detail"]


@pytest.mark.parametrize(
    ("method", "address", "body", "status"),
    [
        ("post", PROJECTS, {"name": ""}, 400),
        ("post", PROJECTS, "{", 400),
        ("get", "/api/v1/projects/nothing/", None, 404),
        ("get", "/api/v1/nothing/", None, 404),
        ("put", PROJECTS, {}, 405),
        ("post", "/api/v1/schema/", {}, 405),
        ("post", "/api/v1/docs/", {}, 405),
        ("post", PROJECTS, " " * 3_000_000, 413),
        ("post", f"{ANIMALS}images/", {}, 415),
    ],
)
def test_a_refusal_is_a_problem(
    method: str, address: str, body: object, status: int, owner: User, project: Project, login: Login
) -> None:
    check_shape(login(owner).generic(method.upper(), address, *encoded(body)), status)


def encoded(body: object) -> tuple[str, str]:
    return (body if isinstance(body, str) else HttpResponse(problems.JSON().render(body)).text, JSON)


def test_who_may_not_is_told_by_a_problem(
    project: Project, member: Callable[[str], User], stranger: User, login: Login
) -> None:
    check_shape(login(None).get(ANIMALS), 401)
    assert login(None).get(ANIMALS).headers["WWW-Authenticate"]
    check_shape(login(stranger).get(ANIMALS), 404)
    check_shape(login(member("viewer")).delete(ANIMALS), 403)
    unsafe = Client(enforce_csrf_checks=True)
    unsafe.force_login(stranger)
    check_shape(unsafe.post(PROJECTS, {"name": "x"}, JSON), 403)


def test_fields_are_named_by_pointers(owner: User, project: Project, login: Login) -> None:
    body = {
        "name": "x" * 121,
        "labels": [{"name": "a"}, {"name": "b"}, {"name": "c", "prompts": ["", 5, []]}],
    }
    answer = login(owner).post(f"{ANIMALS}label-sets/", body, JSON)
    check_shape(answer, 400)
    assert pointers(answer) == ["/name", "/labels/2/prompts/0", "/labels/2/prompts/2"]
    sentences = [each["detail"] for each in answer.json()["errors"]]
    assert all(sentence in answer.json()["detail"] for sentence in sentences)


def test_what_is_wrong_with_no_field_stands_in_the_detail_alone() -> None:
    wrong = {
        "non_field_errors": ["Give either."],
        "a/b~": ["No."],
        "rows": [{}, {"non_field_errors": ["Odd."]}],
    }
    assert problems.told(wrong) == (
        "Give either. No. Odd.",
        [{"pointer": "/a~1b~0", "detail": "No."}, {"pointer": "/rows/1", "detail": "Odd."}],
    )
    assert problems.told({"detail": ["One.", "Two.", "One."]}) == ("One. Two.", [])


def test_of_very_many_errors_the_first_are_told() -> None:
    sentence, errors = problems.told({"images": {n: ["A valid integer is required."] for n in range(5000)}})
    assert (sentence, len(errors)) == ("A valid integer is required.", problems.MOST_ERRORS)


def test_a_refused_upload_tells_of_each_file_beside_the_problem(
    owner: User, project: Project, login: Login
) -> None:
    files = [SimpleUploadedFile(name, b"text") for name in ("a.png", "b.png", "c.png", "d.png")]
    answer = login(owner).post(f"{ANIMALS}images/", {"files": files})
    check_shape(answer, 415)
    assert [entry["name"] for entry in answer.json()["refused"]] == ["a.png", "b.png", "c.png", "d.png"]
    assert answer.json()["detail"].startswith("Nothing was added. a.png: Not an image")
    assert "d.png" not in answer.json()["detail"]
    assert answer.json()["added"] == [] and not Image.objects.exists()
