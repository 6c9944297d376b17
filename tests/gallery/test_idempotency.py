"""A call with an Idempotency-Key is done once, however often it is sent, also at the same moment."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from gallery import idempotency, invitations, projects, uploads
from gallery.models import ApiToken, Comment, Image, Invitation, KeyedCall, Project, Upload
from gallery.uploads import StorageFull
from labeling import beat
from tests.conftest import picture
from tests.live import Site

JSON = "application/json"
PROJECTS, IMAGES = "/api/v1/projects/", "/api/v1/projects/animals/images/"
Login = Callable[[User | None], Client]


def keyed(key: str) -> dict:
    return {"headers": {"Idempotency-Key": key}}


def red(name: str = "red.png", colour: str = "red") -> dict:
    return {"files": SimpleUploadedFile(name, picture(colour))}


def is_replay(answer: HttpResponse) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_a_repeated_call_is_done_once_and_answered_the_same(owner: User, login: Login) -> None:
    client = login(owner)
    first, again = (client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("one")) for _ in "12")
    assert (first.status_code, is_replay(first)) == (201, False)
    assert (again.status_code, is_replay(again), again.content) == (201, True, first.content)
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert Project.objects.count() == 1
    assert client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("two")).status_code == 201
    assert client.post(PROJECTS, {"name": "Birds"}, JSON).status_code == 201
    assert Project.objects.count() == 3


def test_the_key_is_the_same_with_and_without_quotation_marks(owner: User, login: Login) -> None:
    client = login(owner)
    client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed('"8e03978e"'))
    assert is_replay(client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("8e03978e")))


def test_patch_and_delete_take_a_key_as_well(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/"
    patched = [client.patch(url, {"name": "Zoo"}, JSON, **keyed("a")) for _ in "12"]
    assert [answer.json()["name"] for answer in patched] == ["Zoo", "Zoo"] and is_replay(patched[1])
    deleted = [client.delete(url, **keyed("b")) for _ in "12"]
    assert [(answer.status_code, answer.content) for answer in deleted] == [(204, b"")] * 2
    assert "Content-Type" not in deleted[1].headers
    assert client.delete(url, **keyed("c")).status_code == 404


def test_a_repeated_upload_is_one(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    first, again = (client.post(IMAGES, red(), **keyed("one")) for _ in "12")
    assert (first.status_code, again.content) == (201, first.content) and is_replay(again)
    assert (Upload.objects.count(), Image.objects.count()) == (1, 1)
    assert Image.objects.get().size == len(picture()), "the file came whole, after it was hashed"


@pytest.mark.parametrize(
    "other", [red(colour="blue"), red(name="other.png"), red() | {"upload": "1"}, {"file": red()["files"]}]
)
def test_another_upload_is_not_the_same(other: dict, owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    assert client.post(IMAGES, red(), **keyed("one")).status_code == 201
    answer = client.post(IMAGES, other, **keyed("one"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert "A new request wants a new key" in answer.json()["detail"]
    assert Image.objects.count() == 1


def test_another_body_method_or_address_is_not_the_same(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url, body = "/api/v1/projects/animals/", {"name": "Zoo"}
    assert client.patch(url, body, JSON, **keyed("one")).status_code == 200
    for answer in (
        client.patch(url, {"name": "Other"}, JSON, **keyed("one")),
        client.patch(f"{url}?x=1", body, JSON, **keyed("one")),
        client.post(PROJECTS, body, JSON, **keyed("one")),
        client.delete(url, body, JSON, **keyed("one")),
    ):
        assert answer.status_code == 422
    assert Project.objects.get().name == "Zoo"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\tb", "\xfc"])
def test_a_key_that_is_none_is_refused(key: str, owner: User, login: Login) -> None:
    answer = login(owner).post(PROJECTS, {"name": "Birds"}, JSON, HTTP_IDEMPOTENCY_KEY=key)
    assert answer.status_code == 400 and "1 to 255" in answer.json()["detail"]
    assert not Project.objects.exists()


def test_nobody_gets_the_answer_of_another(
    owner: User, stranger: User, project: Project, login: Login
) -> None:
    assert login(owner).post(IMAGES, red(), **keyed("one")).status_code == 201
    assert login(stranger).post(IMAGES, red(), **keyed("one")).status_code == 404
    nobody = Client().post(IMAGES, red(), **keyed("one"))
    assert (nobody.status_code, is_replay(nobody)) == (401, False)
    assert list(KeyedCall.objects.values_list("user", flat=True).order_by("pk")) == [owner.pk, stranger.pk]


def test_a_token_and_a_session_of_one_person_are_the_same(owner: User, login: Login) -> None:
    _, token = ApiToken.objects.create(owner)
    bearing = {"Idempotency-Key": "one", "Authorization": f"Token {token}"}
    assert Client().post(PROJECTS, {"name": "Birds"}, JSON, headers=bearing).status_code == 201
    assert is_replay(login(owner).post(PROJECTS, {"name": "Birds"}, JSON, **keyed("one")))
    ApiToken.objects.all().delete()
    assert Client().post(PROJECTS, {"name": "Birds"}, JSON, headers=bearing).status_code == 401


def test_a_session_still_needs_its_csrf_token_and_may_then_go_on(owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("one")).status_code == 403
    client.cookies["csrftoken"] = "a" * 32
    headers = {"Idempotency-Key": "one", "X-CSRFToken": "a" * 32}
    assert client.post(PROJECTS, {"name": "Birds"}, JSON, headers=headers).status_code == 201


def test_a_log_in_takes_no_key(owner: User, login: Login) -> None:
    body = {"username": "olga", "password": "olga-secret-1"}
    answers = [login(owner).post("/api/v1/token/", body, JSON, **keyed("one")) for _ in "12"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert not KeyedCall.objects.exists()


def test_a_secret_is_told_once_and_kept_nowhere(owner: User, project: Project, login: Login) -> None:
    client, url = login(owner), "/api/v1/projects/animals/invitations/"
    first, again = (client.post(url, {"role": "viewer"}, JSON, **keyed("one")) for _ in "12")
    assert (first.status_code, first.headers["Cache-Control"]) == (201, "no-store")
    assert again.status_code == 409 and "told once" in again.json()["detail"]
    assert Invitation.objects.count() == 1
    secret = invitations.token_of(Invitation.objects.get()).encode()
    assert secret in first.content and KeyedCall.objects.get().body is None


def test_while_it_is_at_work_it_is_not_begun_again(owner: User, project: Project, login: Login) -> None:
    client, url, heard = login(owner), "/api/v1/projects/animals/", []

    def change(stored: Project, **asked: str) -> Project:
        heard.append(client.patch(url, {"name": "Zoo"}, JSON, **keyed("one")))
        return stored

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projects, "change", change)
        assert client.patch(url, {"name": "Zoo"}, JSON, **keyed("one")).status_code == 200
    assert [answer.status_code for answer in heard] == [409]
    assert "still at work" in heard[0].json()["detail"]


def test_a_killed_process_blocks_its_key_for_minutes_alone(owner: User, login: Login) -> None:
    client, body = login(owner), json.dumps({"name": "Birds"})
    request = RequestFactory().post(PROJECTS, body, content_type=JSON)
    idempotency.claim(owner, "one", request, idempotency.fingerprint(request, False))
    assert client.post(PROJECTS, body, JSON, **keyed("one")).status_code == 409
    KeyedCall.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert client.post(PROJECTS, body, JSON, **keyed("one")).status_code == 201
    assert is_replay(client.post(PROJECTS, body, JSON, **keyed("one")))


def test_who_lost_the_call_answers_it_no_more(owner: User) -> None:
    request = RequestFactory().post(PROJECTS, b"{}", content_type=JSON)
    lost = idempotency.claim(owner, "one", request, "x")
    KeyedCall.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    taken = idempotency.claim(owner, "one", request, "x")
    idempotency.keep(lost, 500, "", b"late")
    idempotency.forget(lost)
    assert KeyedCall.objects.get().status is None
    idempotency.keep(taken, 201, "", b"right")
    assert bytes(idempotency.claim(owner, "one", request, "x").body) == b"right"


def test_a_failure_of_the_server_is_not_kept(
    owner: User, project: Project, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StorageFull("The disk is full: free some space.")

    client = login(owner)
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "add_images", full)
        assert client.post(IMAGES, red(), **keyed("one")).status_code == 507
    assert not KeyedCall.objects.exists()
    assert client.post(IMAGES, red(), **keyed("one")).status_code == 201


def test_a_refusal_of_what_was_asked_is_kept(owner: User, login: Login) -> None:
    first, again = (login(owner).post(PROJECTS, {"name": ""}, JSON, **keyed("one")) for _ in "12")
    assert (first.status_code, again.content) == (400, first.content) and is_replay(again)
    assert again.headers["Content-Type"] == "application/problem+json"


def test_after_a_day_the_key_is_new(owner: User, login: Login) -> None:
    client, late = login(owner), timezone.now() - idempotency.KEPT - timedelta(minutes=1)
    client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("one"))
    client.post(PROJECTS, {"name": "Birds"}, JSON, **keyed("two"))
    KeyedCall.objects.update(at=late)
    again = client.post(PROJECTS, {"name": "Bees"}, JSON, **keyed("one"))
    assert (again.status_code, again.json()["name"]) == (201, "Bees")
    beat.beat("host:1")
    assert list(KeyedCall.objects.values_list("key", flat=True)) == ["one"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", JSON, 400),
        (" " * 3_000_000, JSON, 413),
        ("--b\r\nno form", "multipart/form-data", 400),
        ("x", "multipart/form-data; boundary=b", 415),
        ("x", "text/plain", 415),
    ],
)
def test_a_body_that_can_not_be_read_is_refused_as_without_a_key(
    body: str, content_type: str, status: int, owner: User, project: Project, login: Login
) -> None:
    url = IMAGES if content_type == "multipart/form-data" else PROJECTS
    without = login(owner).post(url, body, content_type)
    answer = login(owner).post(url, body, content_type, **keyed("one"))
    assert (answer.status_code, without.status_code) == (status, status)
    assert answer.json()["detail"]


def test_too_many_files_are_refused_with_a_key_too(owner: User, project: Project, login: Login) -> None:
    files = [SimpleUploadedFile(f"{number}.png", b"x") for number in range(101)]
    answer = login(owner).post(IMAGES, {"files": files}, **keyed("one"))
    assert answer.status_code == 413 and "at most 100 a request" in answer.json()["detail"]


def test_a_large_file_is_hashed_in_pieces(monkeypatch: pytest.MonkeyPatch, owner: User) -> None:
    file = TemporaryUploadedFile("big.zip", "application/zip", 3 * 2**20, None)
    file.write(b"x" * (3 * 2**20))
    sizes: list[int] = []
    real = file.chunks
    monkeypatch.setattr(file, "chunks", lambda: (sizes.append(len(piece)) or piece for piece in real()))
    request = RequestFactory().post(IMAGES)
    request.FILES.setlist("files", [file])
    idempotency.fingerprint(request, True)
    assert len(sizes) > 1 and max(sizes) <= 2**20 and file.tell() == 0


def test_without_a_key_nothing_is_kept(owner: User, project: Project, add: Callable, login: Login) -> None:
    [image] = add(("red.png", picture()))
    login(owner).post(f"/api/v1/images/{image.pk}/comments/", {"text": "A fox."}, JSON)
    login(owner).get(PROJECTS, **keyed("one"))
    login(owner).post("/account/tokens/", {"name": "x", "days": 7}, **keyed("one"))
    assert Comment.objects.count() == 1 and not KeyedCall.objects.exists()


# A live site, with several threads of its own


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.manage("migrate", "-v0")
    try:
        site.serve()
        yield site
    finally:
        site.kill_everything()


MAKE = """
from django.contrib.auth.models import User
from gallery import projects
from gallery.models import ApiToken
user = User.objects.create_user("olga")
projects.create(user, "Animals")
print(ApiToken.objects.create(user)[1])
"""


def test_of_many_that_come_at_once_one_is_done(site: Site) -> None:
    token = site.manage("shell", "-v0", "-c", MAKE).split()[-1]
    headers = {"Authorization": f"Token {token}", "Idempotency-Key": "one"}
    pictures = {f"{number}.png": picture(f"#{number:06x}", side=300) for number in range(20)}

    def upload(_: int) -> requests.Response:
        files = [("files", each) for each in pictures.items()]
        return requests.post(f"{site.url}{IMAGES}", files=files, headers=headers, timeout=60)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(upload, range(6)))
    done = [each for each in answers if each.status_code == 201 and "Idempotent-Replayed" not in each.headers]
    assert len(done) == 1 and Counter(each.status_code for each in answers).keys() <= {201, 409}
    again = upload(0)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.content == done[0].content
    assert site.value("SELECT count(*) FROM gallery_upload") == 1
    assert site.value("SELECT count(*) FROM gallery_image") == 20
