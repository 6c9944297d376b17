"""The first demo's request, answered as it was then."""

import base64
import io
import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from gallery.models import ApiToken
from labeling.best_match import best_match
from labeling.starter import drawing
from tests.conftest import picture

URL = "/image_text_similarity_best_match"
JSON = "application/json"
Login = Callable[[User | None], Client]
TEXTS = ["a red circle", "a blue square"]


def drawn(colour: str, shape: str) -> bytes:
    out = io.BytesIO()
    what = drawing.Drawing(colour, shape, "solid", 1, "white", "large")
    drawing.draw(what, random.Random(1), 128).save(out, "PNG")
    return out.getvalue()


def body(content: bytes, prefix: str = "") -> dict[str, str]:
    encoded = prefix + base64.b64encode(content).decode()
    return {"image_base64": encoded, "text_input1": TEXTS[0], "text_input2": TEXTS[1]}


def post(client: Client, asked: object) -> HttpResponse:
    return client.post(URL, asked, content_type=JSON)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize(("colour", "shape", "answer"), [("red", "circle", 0), ("blue", "square", 1)])
def test_the_better_text_is_the_whole_answer(
    prefix: str, colour: str, shape: str, answer: int, owner: User, login: Login
) -> None:
    got = post(login(owner), body(drawn(colour, shape), prefix))
    assert (got.status_code, got.json()) == (200, {"best_match": TEXTS[answer]})


def test_a_text_comes_back_as_it_was_sent(owner: User, login: Login) -> None:
    text = "  a red circle \n"
    asked = body(drawn("red", "circle")) | {"text_input1": text}
    assert post(login(owner), asked).json() == {"best_match": text}


def test_of_texts_alike_the_first_is_best() -> None:
    assert best_match(picture(), ["same", "same"]) == "same"


def test_it_is_closed_unless_configured(db: None, settings: object) -> None:
    assert post(Client(), body(picture())).status_code == 401
    settings.BEST_MATCH_PUBLIC = True
    assert post(Client(enforce_csrf_checks=True), body(picture())).status_code == 200


def test_a_token_opens_it_and_a_session_needs_csrf(owner: User) -> None:
    _, token = ApiToken.objects.create(owner)
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {token}"})
    assert post(client, body(picture())).status_code == 200
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert post(client, body(picture())).status_code == 403


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"image_base64": "no base64!"}, "image_base64 is no base64."),
        ({"image_base64": "eA"}, "image_base64 is no base64."),
        ({"image_base64": "é"}, "image_base64 is no base64."),
        ({"image_base64": "data:image/png;base64,"}, "Empty"),
        ({"image_base64": base64.b64encode(b"text").decode()}, "Not an image"),
        ({"image_base64": base64.b64encode(picture()[:90]).decode()}, "Broken"),
        ({"image_base64": ""}, "image_base64: "),
        ({"image_base64": None}, "image_base64: "),
        ({"text_input1": ""}, "text_input1: "),
        ({"text_input2": ["a"]}, "text_input2: "),
        ({"text_input2": "x" * 10_001}, "text_input2: "),
    ],
)
def test_what_is_wrong_is_said(change: dict, error: str, owner: User, login: Login) -> None:
    got = post(login(owner), body(picture()) | change)
    assert got.status_code == 400
    assert list(got.json()) == ["error"]
    assert error in got.json()["error"]


@pytest.mark.parametrize("asked", [[], {}, '"text"'])
def test_a_body_of_another_shape_is_refused(asked: object, owner: User, login: Login) -> None:
    got = post(login(owner), asked)
    assert (got.status_code, list(got.json())) == (400, ["error"])


def test_sizes_are_limited(owner: User, login: Login, settings: object) -> None:
    settings.UPLOAD_MAX_BYTES = 100_000
    assert post(login(owner), body(b"x" * 200_000)).status_code == 413
    settings.UPLOAD_MAX_PIXELS = 10
    got = post(login(owner), body(picture()))
    assert (got.status_code, got.json()["error"][:9]) == (400, "Too large")


def test_a_model_that_can_not_be_used_is_said(owner: User, login: Login, settings: object) -> None:
    settings.CLIP_MODEL = "/nowhere"
    assert post(login(owner), body(picture())).status_code == 503


def test_it_takes_a_post_alone(owner: User, login: Login) -> None:
    assert login(owner).get(URL).status_code == 405
