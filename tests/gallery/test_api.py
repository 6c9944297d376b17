"""API v1 of projects, members and images."""

import base64
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import PIL.Image
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from gallery import decoder, projects, tasks, uploads
from gallery.access import Role
from gallery.models import ApiToken, Image, Membership, Project, Upload
from gallery.uploads import StorageFull
from tests.conftest import picture, pointers

JSON, PROBLEM = "application/json", "application/problem+json"
Login = Callable[[User | None], Client]
Member = Callable[[str], User]
Add = Callable[..., list[Image]]


@pytest.fixture(autouse=True)
def _no_login_counted() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def file(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def shades(number: int) -> dict[str, bytes]:
    """So many pictures, no two the same."""
    return {f"{n}.png": picture(f"#{n:06x}", side=8) for n in range(number)}


def many_images(project: Project, number: int) -> list[Image]:
    """Rows with no files, for lists."""
    return Image.objects.bulk_create(
        Image(
            project=project,
            name=f"{n}.png",
            file=f"images/{n}.png",
            thumbnail=f"images/{n}.webp",
            sha256=f"{n:064x}",
            width=1,
            height=1,
            format="PNG",
            size=1,
        )
        for n in range(number)
    )


# Tokens


def token_for(user: User) -> str:
    body = {"username": user.username, "password": f"{user.username}-secret-1"}
    answer = Client().post("/api/v1/token/", body, content_type=JSON)
    assert answer.status_code == 200
    assert answer.json()["expiry"] > timezone.now().isoformat()
    return answer.json()["token"]


def bearing(token: str) -> Client:
    return Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {token}"})


def test_a_token_opens_the_api_until_it_is_revoked(owner: User, project: Project) -> None:
    client = bearing(token_for(owner))
    assert client.get("/api/v1/projects/animals/").status_code == 200
    assert client.patch("/api/v1/projects/animals/", {"name": "Zoo"}, content_type=JSON).status_code == 200
    assert client.delete("/api/v1/token/").status_code == 204
    assert client.get("/api/v1/projects/animals/").status_code == 401


@pytest.mark.parametrize(("sent", "name"), [({}, "Made by the API"), ({"name": "Import"}, "Import")])
def test_a_token_has_a_name(sent: dict[str, str], name: str, owner: User) -> None:
    body = {"username": "olga", "password": "olga-secret-1"} | sent
    assert Client().post("/api/v1/token/", body, content_type=JSON).json()["name"] == name
    assert ApiToken.objects.get().name == name


def test_a_token_is_stored_as_a_hash_alone(owner: User) -> None:
    token = token_for(owner)
    row = ApiToken.objects.get()
    assert token not in str(vars(row))


def test_a_token_ends_with_its_time_or_its_user(owner: User) -> None:
    client = bearing(token_for(owner))
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert client.get("/api/v1/projects/").status_code == 401
    User.objects.filter(pk=owner.pk).update(is_active=True)
    assert client.get("/api/v1/projects/").status_code == 200
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/projects/").status_code == 401


def test_a_session_has_no_token_to_revoke(owner: User, login: Login) -> None:
    assert login(owner).delete("/api/v1/token/").status_code == 400


@pytest.mark.parametrize("name", ["olga", "nobody"])
def test_a_wrong_password_and_an_unknown_name_sound_the_same(owner: User, name: str) -> None:
    answer = Client().post("/api/v1/token/", {"username": name, "password": "wrong"}, content_type=JSON)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The username or the password is wrong."


@pytest.mark.parametrize("body", [{}, {"username": "olga"}, [], {"username": {}, "password": []}])
def test_a_token_needs_a_name_and_a_password(body: object, db: None) -> None:
    assert Client().post("/api/v1/token/", body, content_type=JSON).status_code == 400


def test_ten_failed_logins_and_there_is_a_wait(owner: User) -> None:
    for attempt in range(10):
        body = {"username": f"user{attempt}", "password": "wrong"}
        answer = Client(headers={"X-Forwarded-For": f"10.0.0.{attempt}"}).post(
            "/api/v1/token/", body, content_type=JSON
        )
        assert answer.status_code == 401
    right = {"username": "olga", "password": "olga-secret-1"}
    answer = Client(headers={"X-Forwarded-For": "10.9.9.9"}).post("/api/v1/token/", right, content_type=JSON)
    assert answer.status_code == 429
    assert "Too many failed login attempts" in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "300"


def test_behind_a_proxy_failures_are_counted_by_client(owner: User, settings: object) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    wrong, right = {"username": "x", "password": "y"}, {"username": "olga", "password": "olga-secret-1"}
    bad, good = (Client(headers={"X-Forwarded-For": f"1.1.1.1, 10.0.0.{client}"}) for client in (1, 2))
    for _ in range(10):
        bad.post("/api/v1/token/", wrong, content_type=JSON)
    assert bad.post("/api/v1/token/", right, content_type=JSON).status_code == 429
    assert good.post("/api/v1/token/", right, content_type=JSON).status_code == 200


def test_a_token_that_is_no_text_opens_nothing(db: None) -> None:
    answer = Client(headers={"Authorization": b"Token \xff\xfe".decode("latin-1")}).get("/api/v1/projects/")
    assert answer.status_code in (400, 401)


def test_logins_that_succeed_are_not_counted(owner: User) -> None:
    for _ in range(12):
        token_for(owner)


# Limits


def test_each_user_may_make_so_many_calls(
    owner: User, stranger: User, project: Project, login: Login, settings: object
) -> None:
    settings.API_RATE = "3/m"
    client = login(owner)
    assert [client.get("/api/v1/projects/").status_code for _ in "123"] == [200] * 3
    answer = client.post("/api/v1/projects/", {"name": "More"}, content_type=JSON)
    assert (answer.status_code, answer.headers["Content-Type"]) == (429, PROBLEM)
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert Project.objects.count() == 1
    assert bearing(ApiToken.objects.create(owner)[1]).get("/api/v1/projects/").status_code == 429
    assert login(stranger).get("/api/v1/projects/").status_code == 200
    assert client.get("/projects/animals/").status_code == 200, "pages are not counted"


def test_a_call_that_was_one_too_many_may_be_made_again(owner: User, login: Login, settings: object) -> None:
    client, key = login(owner), {"Idempotency-Key": "one"}
    settings.API_RATE = "1/d"
    client.get("/api/v1/projects/")
    assert client.post("/api/v1/projects/", {"name": "New"}, JSON, headers=key).status_code == 429
    settings.API_RATE = ""
    assert client.post("/api/v1/projects/", {"name": "New"}, JSON, headers=key).status_code == 201


# Projects


def test_projects_are_listed_to_their_members(
    owner: User, stranger: User, project: Project, login: Login
) -> None:
    [row] = login(owner).get("/api/v1/projects/").json()["results"]
    assert row == {
        "slug": "animals",
        "name": "Animals",
        "description": "",
        "created_at": row["created_at"],
        "role": "owner",
    }
    assert login(stranger).get("/api/v1/projects/").json()["results"] == []


def test_who_makes_a_project_owns_it(stranger: User, login: Login) -> None:
    client = login(stranger)
    body = {"name": "New", "description": "Birds", "slug": "mine", "role": "viewer"}
    answer = client.post("/api/v1/projects/", body, content_type=JSON)
    assert answer.status_code == 201
    made = answer.json()
    assert made["slug"].startswith("new-")  # /projects/new/ is a page
    assert (made["name"], made["description"], made["role"]) == ("New", "Birds", "owner")
    assert client.get(f"/api/v1/projects/{made['slug']}/").json() == made


@pytest.mark.parametrize("body", [{}, {"name": "  "}, {"name": "x" * 121}, {"name": None}, "text"])
def test_a_project_needs_a_name(body: object, owner: User, login: Login) -> None:
    assert login(owner).post("/api/v1/projects/", body, content_type=JSON).status_code == 400
    assert not Project.objects.exists()


def test_an_owner_changes_and_deletes_a_project(
    owner: User,
    project: Project,
    add: Add,
    login: Login,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    [image] = add(("red.png", picture()))
    client = login(owner)
    body = {"name": "Zoo", "slug": "zoo", "created_at": "2000-01-01T00:00:00Z"}
    answer = client.patch("/api/v1/projects/animals/", body, content_type=JSON)
    assert (answer.json()["name"], answer.json()["slug"], answer.json()["role"]) == (
        "Zoo",
        "animals",
        "owner",
    )
    assert answer.json()["created_at"] > "2001"
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete("/api/v1/projects/animals/").status_code == 204
    assert not Project.objects.exists()
    assert not image.file.storage.exists(image.file.name)


def test_a_member_who_is_no_owner_changes_no_project(project: Project, member: Member, login: Login) -> None:
    client = login(member("reviewer"))
    answer = client.patch("/api/v1/projects/animals/", {"name": "Zoo"}, content_type=JSON)
    assert answer.status_code == 403
    assert "edit project" in answer.json()["detail"]
    assert client.delete("/api/v1/projects/animals/").status_code == 403


# Members


def test_an_owner_adds_changes_and_removes_members(
    owner: User, stranger: User, project: Project, login: Login
) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/members/"
    answer = client.post(url, {"username": "sven", "role": "viewer"}, content_type=JSON)
    assert answer.status_code == 201
    made = answer.json()
    assert made == {"id": made["id"], "username": "sven", "role": "viewer"}
    assert client.get(url).json()["results"][0] == made
    answer = client.patch(f"{url}{made['id']}/", {"role": "owner"}, content_type=JSON)
    assert answer.json() == made | {"role": "owner"}
    assert client.delete(f"{url}{made['id']}/").status_code == 204
    assert login(stranger).get(url).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "nobody", "role": "viewer"}, "username"),
        ({"username": "olga", "role": "viewer"}, "username"),
        ({"username": "sven", "role": "king"}, "role"),
        ({"role": "viewer"}, "username"),
    ],
)
def test_a_member_that_can_not_be_added_is_said(
    body: dict[str, str], field: str, owner: User, stranger: User, project: Project, login: Login
) -> None:
    answer = login(owner).post("/api/v1/projects/animals/members/", body, content_type=JSON)
    assert answer.status_code == 400
    assert pointers(answer) == [f"/{field}"]
    assert project.memberships.count() == 1


def test_a_project_keeps_an_owner(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = f"/api/v1/projects/animals/members/{project.memberships.get().pk}/"
    for answer in (client.patch(url, {"role": "viewer"}, content_type=JSON), client.delete(url)):
        assert answer.status_code == 400
        assert answer.json()["detail"] == "A project needs an owner: make somebody else an owner first."
        assert pointers(answer) == ["/role"]
    assert client.patch(url, {"role": "owner"}, content_type=JSON).status_code == 200
    assert project.memberships.get().role == Role.OWNER


@pytest.mark.parametrize("role", [None, "", "king", "\ud800", 5, ["owner"]])
def test_a_member_needs_a_role_that_there_is(
    role: object, owner: User, stranger: User, project: Project, login: Login
) -> None:
    body = {"username": stranger.username} | ({} if role is None else {"role": role})
    answer = login(owner).post("/api/v1/projects/animals/members/", body, content_type=JSON)
    assert (answer.status_code, pointers(answer)) == (400, ["/role"])
    assert project.memberships.count() == 1


def test_a_member_can_not_promote_themselves(project: Project, member: Member, login: Login) -> None:
    reviewer = member("reviewer")
    mine = Membership.objects.get(user=reviewer)
    client = login(reviewer)
    url = f"/api/v1/projects/animals/members/{mine.pk}/"
    assert client.patch(url, {"role": "owner"}, content_type=JSON).status_code == 403
    assert Membership.objects.get(user=reviewer).role == Role.REVIEWER


def test_everybody_may_leave_and_no_one_else_be_removed_by_them(
    owner: User, project: Project, member: Member, login: Login
) -> None:
    viewer, labeler = member("viewer"), member("labeler")
    mine, theirs, owners = (Membership.objects.get(user=user).pk for user in (viewer, labeler, owner))
    url = "/api/v1/projects/animals/members/{}/".format
    client = login(viewer)
    assert client.delete(url(theirs)).status_code == 403
    assert client.delete(url(mine)).status_code == 204
    assert client.get("/api/v1/projects/animals/").status_code == 404
    assert client.delete(url(theirs)).status_code == 404
    assert login(owner).delete(url(owners)).status_code == 400, "a project keeps an owner"


def test_a_member_of_another_project_is_not_found(owner: User, project: Project, login: Login) -> None:
    other = Project.objects.create(name="Other", slug="other")
    foreign = Membership.objects.create(project=other, user=owner, role=Role.VIEWER)
    url = f"/api/v1/projects/animals/members/{foreign.pk}/"
    assert login(owner).patch(url, {"role": "owner"}, content_type=JSON).status_code == 404
    foreign.refresh_from_db()
    assert foreign.role == Role.VIEWER


# Images in


def test_pictures_are_added_and_what_became_of_each_is_said(
    owner: User, project: Project, login: Login
) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    files = [file("red.png", picture()), file("blue.png", picture("blue"))]
    answer = client.post(url, {"files": files})
    assert answer.status_code == 201
    first = answer.json()
    assert first["state"] == "done"
    assert [image["name"] for image in first["added"]] == ["red.png", "blue.png"]
    assert (first["duplicates"], first["refused"]) == ([], [])
    files = [
        file("again.png", picture()),
        file("text.png", b"no picture"),
        file("green.png", picture("green")),
    ]
    second = client.post(url, {"files": files}).json()
    assert [image["name"] for image in second["added"]] == ["green.png"]
    assert second["duplicates"] == [{"name": "again.png", "image": first["added"][0]["id"], "reason": ""}]
    [refused] = second["refused"]
    assert refused["name"] == "text.png"
    assert "Not an image" in refused["reason"]


def test_an_added_image_is_listed_as_it_was_answered(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    [added] = client.post(url, {"files": [file("red.png", picture(side=400))]}).json()["added"]
    assert added == {
        "id": added["id"],
        "project": "animals",
        "name": "red.png",
        "sha256": Image.objects.get().sha256,
        "width": 400,
        "height": 400,
        "format": "PNG",
        "size": len(picture(side=400)),
        "uploaded_by": "olga",
        "uploaded_at": added["uploaded_at"],
        "file": f"http://testserver/api/v1/images/{added['id']}/file/",
        "thumbnail": f"http://testserver/api/v1/images/{added['id']}/thumbnail/",
    }
    assert client.get(url).json()["results"] == [added]
    assert client.get(f"/api/v1/images/{added['id']}/").json() == added


def test_several_requests_may_be_one_act_of_adding(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    first = client.post(url, {"files": file("red.png", picture())}).json()
    second = client.post(url, {"files": file("blue.png", picture("blue")), "upload": first["upload"]}).json()
    assert second["upload"] == first["upload"]
    assert [image["name"] for image in second["added"]] == ["blue.png"]  # this request's alone
    report = client.get(f"/api/v1/uploads/{first['upload']}/").json()
    assert (report["state"], report["total"], report["done"], report["added"]) == ("done", 2, 2, 2)


def test_an_upload_of_somebody_else_takes_nothing(
    owner: User, project: Project, member: Member, login: Login
) -> None:
    url = "/api/v1/projects/animals/images/"
    theirs = login(owner).post(url, {"files": file("red.png", picture())}).json()["upload"]
    other = Project.objects.create(name="Other", slug="other")
    elsewhere = Upload.objects.create(project=other, uploaded_by=owner)
    for user, upload, status in [
        (member("labeler"), theirs, 404),
        (owner, elsewhere.pk, 404),
        (owner, "x", 400),
    ]:
        body = {"files": file("blue.png", picture("blue")), "upload": upload}
        assert login(user).post(url, body).status_code == status
    assert Image.objects.count() == 1


def test_a_small_zip_is_unpacked_at_once(owner: User, project: Project, login: Login) -> None:
    entries = {"a/red.png": picture(), "notes.txt": b"text", "b/red.png": picture(), ".DS_Store": b"x"}
    files = [
        file("first.png", picture("blue")),
        file("all.zip", zipped(entries)),
        file("two.zip", zipped(shades(2))),
    ]
    answer = login(owner).post("/api/v1/projects/animals/images/", {"files": files})
    assert answer.status_code == 201
    report = answer.json()
    assert [image["name"] for image in report["added"]] == ["first.png", "a/red.png", "0.png", "1.png"]
    assert [entry["name"] for entry in report["duplicates"]] == ["b/red.png"]
    assert [entry["name"] for entry in report["refused"]] == ["notes.txt"]


def test_a_large_zip_is_unpacked_by_and_by(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    entries = shades(uploads.ZIP_AT_ONCE) | {"notes.txt": b"text"}
    files = [file("red.png", picture("red")), file("all.zip", zipped(entries))]
    answer = client.post(url, {"files": files})
    assert answer.status_code == 202
    begun = answer.json()
    assert begun["state"] == "open"
    assert [image["name"] for image in begun["added"]] == ["red.png"]
    report_url = f"/api/v1/uploads/{begun['upload']}/"
    assert client.get(report_url).json() | {"done": 1, "total": 34} == client.get(report_url).json()
    # While it is open: more pictures go behind it, another ZIP must wait.
    more = {
        "files": [file("blue.png", picture("blue")), file("b.zip", zipped(shades(1)))],
        "upload": begun["upload"],
    }
    beside = client.post(url, more)
    assert beside.status_code == 202
    assert [image["name"] for image in beside.json()["added"]] == ["blue.png"]
    assert "Another ZIP" in beside.json()["refused"][0]["reason"]
    tasks.expand_zip(begun["upload"])
    report = client.get(report_url).json()
    assert (report["state"], report["total"], report["done"]) == ("done", 36, 36)
    assert (report["added"], report["duplicates"]) == (34, 0)
    assert [entry["name"] for entry in report["refused"]] == ["notes.txt", "b.zip"]
    assert Image.objects.count() == 34


def test_where_every_file_is_refused_the_answer_says_so(owner: User, project: Project, login: Login) -> None:
    files = [file("a.txt", b"text"), file("empty.png", b""), file("empty.zip", zipped({"__MACOSX/x": b""}))]
    answer = login(owner).post("/api/v1/projects/animals/images/", {"files": files})
    assert answer.status_code == 400
    assert [entry["name"] for entry in answer.json()["refused"]] == ["a.txt", "empty.png", "empty.zip"]


def test_an_upload_needs_files(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    for answer in (client.post(url), client.post(url, {"file": file("red.png", picture())})):
        assert answer.status_code == 400
        assert pointers(answer) == ["/files"]
    assert client.post(url, {"files": "text"}, content_type=JSON).status_code == 415
    assert not Upload.objects.exists()


@pytest.mark.parametrize("by", ["session", "token"])
def test_too_many_files_are_refused_in_json(by: str, owner: User, project: Project, login: Login) -> None:
    client = login(owner) if by == "session" else bearing(token_for(owner))
    files = [file(name, content) for name, content in shades(101).items()]
    answer = client.post("/api/v1/projects/animals/images/", {"files": files})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "Too many files: at most 100 a request."


def test_a_full_disk_is_said(
    owner: User, project: Project, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StorageFull("The disk is full: free some space.")

    monkeypatch.setattr(uploads, "add_images", full)
    answer = login(owner).post("/api/v1/projects/animals/images/", {"files": file("red.png", picture())})
    assert (answer.status_code, answer.json()["detail"]) == (507, "The disk is full: free some space.")


def test_a_session_needs_its_csrf_token(owner: User, project: Project) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    url = "/api/v1/projects/animals/images/"
    answer = client.post(url, {"files": file("red.png", picture())})
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]
    client.cookies["csrftoken"] = "a" * 32
    answer = client.post(url, {"files": file("red.png", picture())}, headers={"X-CSRFToken": "a" * 32})
    assert answer.status_code == 201


# Images out


def test_files_are_private_and_never_run(
    owner: User, stranger: User, project: Project, add: Add, login: Login
) -> None:
    [image] = add(("a/photo of <b>.html", picture("red", side=400, format="JPEG")))
    answer = login(owner).get(f"/api/v1/images/{image.pk}/file/", headers={"Accept": "text/html"})
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="photo of <b>.jpg"'
    assert answer.getvalue() == picture("red", side=400, format="JPEG")
    small = login(owner).get(f"/api/v1/images/{image.pk}/thumbnail/")
    assert small.headers["Content-Type"] == "image/webp"
    assert small.headers["Content-Disposition"].startswith("inline")
    assert PIL.Image.open(io.BytesIO(small.getvalue())).size == (320, 320)
    for part in ("", "file/", "thumbnail/"):
        assert login(stranger).get(f"/api/v1/images/{image.pk}/{part}").status_code == 404


def test_a_file_that_is_gone_is_not_found(owner: User, project: Project, login: Login) -> None:
    [image] = many_images(project, 1)
    answer = login(owner).get(f"/api/v1/images/{image.pk}/file/")
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_a_reviewer_deletes_an_image_with_its_files(
    project: Project,
    add: Add,
    member: Member,
    login: Login,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    [image] = add(("red.png", picture()))
    assert login(member("labeler")).delete(f"/api/v1/images/{image.pk}/").status_code == 403
    with django_capture_on_commit_callbacks(execute=True):
        assert login(member("reviewer")).delete(f"/api/v1/images/{image.pk}/").status_code == 204
    assert not Image.objects.exists()
    assert not image.file.storage.exists(image.file.name)


# Lists


def test_pages_hold_each_row_once_in_both_directions(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    expected = [image.pk for image in reversed(many_images(project, 250))]
    url, seen, pages = "/api/v1/projects/animals/images/", [], []
    while url:
        page = client.get(url).json()
        seen += [image["id"] for image in page["results"]]
        pages.append(page)
        url = page["next"]
    assert seen == expected
    assert [len(page["results"]) for page in pages] == [100, 100, 50]
    assert pages[0]["previous"] is None
    back = client.get(pages[2]["previous"]).json()
    assert back["results"] == pages[1]["results"]
    first = client.get(back["previous"]).json()
    assert first["results"] == pages[0]["results"]
    assert (first["previous"], client.get(first["next"]).json()["results"]) == (None, back["results"])


def test_a_row_that_goes_leaves_no_gap(owner: User, project: Project, login: Login) -> None:
    client = login(owner)
    ids = [image.pk for image in reversed(many_images(project, 30))]
    page = client.get("/api/v1/projects/animals/images/?page_size=10").json()
    Image.objects.filter(pk__in=ids[5:12]).delete()
    rest = client.get(page["next"]).json()
    assert [image["id"] for image in rest["results"]] == ids[12:22]


@pytest.mark.parametrize(
    ("asked", "given"), [("10", 10), ("500", 500), ("9999", 500), ("0", 100), ("x", 100)]
)
def test_the_size_of_a_page_has_limits(
    asked: str, given: int, owner: User, project: Project, login: Login
) -> None:
    many_images(project, 510)
    page = login(owner).get(f"/api/v1/projects/animals/images/?page_size={asked}").json()
    assert len(page["results"]) == given


@pytest.mark.parametrize("pk", [2**63, 2**70])
def test_an_id_that_no_database_holds_is_not_found(pk: int, owner: User, login: Login) -> None:
    assert login(owner).post(f"/members/{pk}/", {"role": "owner"}).status_code == 404
    assert login(owner).get(f"/api/v1/images/{pk}/").status_code == 404


def test_what_is_deleted_under_way_is_not_found(
    owner: User, project: Project, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = decoder.decode

    def deleted(path: Path) -> object:
        uploads.delete_project(Project.objects.get(pk=project.pk))
        return decode(path)

    monkeypatch.setattr(decoder, "decode", deleted)
    url = "/api/v1/projects/animals/images/"
    assert login(owner).post(url, {"files": file("red.png", picture())}).status_code == 404
    assert not Project.objects.exists()


def test_a_project_that_is_deleted_does_not_come_back(owner: User, project: Project) -> None:
    stale = Project.objects.get()
    uploads.delete_project(project)
    with pytest.raises(Project.DoesNotExist):
        projects.change(stale, "Back again", "", "")
    assert not Project.objects.exists()


@pytest.mark.parametrize(
    "cursor",
    [
        base64.b64encode(b"[" * 2000).decode(),
        "x",
        "cD1hYmM=",
        "WzAsIDFlNDAwXQ==",
        "WzAsICJhIl0=",
        "WzBd",
        "W10=",
        "MQ==",
        "%00",
        "é",
        "WzAsbnVsbF0=",
    ],
)
def test_a_cursor_that_is_none_is_refused(cursor: str, owner: User, project: Project, login: Login) -> None:
    answer = login(owner).get(f"/api/v1/projects/animals/images/?cursor={cursor}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Invalid cursor")


@pytest.mark.parametrize("path", ["projects/", "projects/animals/members/", "projects/animals/images/"])
def test_a_list_asks_no_question_for_each_row(
    path: str, owner: User, project: Project, login: Login, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = login(owner)
    client.get(f"/api/v1/{path}")
    few = 3 if path == "projects/" else 4  # session, user, (project,) rows
    with django_assert_num_queries(few):
        client.get(f"/api/v1/{path}")
    many_images(project, 20)
    Image.objects.update(uploaded_by=owner)
    users = User.objects.bulk_create(User(username=f"user{n}") for n in range(20))
    Membership.objects.bulk_create(Membership(project=project, user=user) for user in users)
    more = Project.objects.bulk_create(Project(name=f"{n}", slug=f"p{n}") for n in range(20))
    Membership.objects.bulk_create(Membership(project=each, user=owner) for each in more)
    with django_assert_num_queries(few):
        assert len(client.get(f"/api/v1/{path}").json()["results"]) >= 20


def test_an_upload_of_many_is_answered_without_a_question_for_each(
    owner: User, project: Project, login: Login, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = login(owner)
    entries = [
        uploads.UploadEntry(position=n, name=str(n), outcome="refused", reason="No.") for n in range(50)
    ]
    upload = Upload.objects.create(project=project, uploaded_by=owner)
    for entry in entries:
        entry.upload = upload
    uploads.UploadEntry.objects.bulk_create(entries)
    with django_assert_max_num_queries(5):
        report = client.get(f"/api/v1/uploads/{upload.pk}/").json()
    assert len(report["refused"]) == 50


@pytest.mark.parametrize(
    "query",
    ["uploaded_by__password__startswith=p", "project__memberships__role=owner", "id=0", "ordering=sha256"],
)
def test_relations_can_not_be_asked_about(query: str, owner: User, project: Project, login: Login) -> None:
    many_images(project, 3)
    client = login(owner)
    url = "/api/v1/projects/animals/images/"
    assert client.get(f"{url}?{query}").json()["results"] == client.get(url).json()["results"]


# Errors


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/nothing/", "/api/v1/projects/nothing/", f"/api/v1/images/{10**30}/"]
)
def test_what_is_not_there_is_said_in_json(path: str, owner: User, login: Login) -> None:
    answer = login(owner).get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json()["detail"]


def test_a_page_that_is_not_there_is_a_page(owner: User, login: Login) -> None:
    answer = login(owner).get("/nothing/")
    assert answer.status_code == 404
    assert "text/html" in answer.headers["Content-Type"]


def test_a_crash_is_said_in_json(
    owner: User, project: Project, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(uploads, "add_images", crash)
    client = login(owner)
    client.raise_request_exception = False
    answer = client.post("/api/v1/projects/animals/images/", {"files": file("red.png", picture())})
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'"\xff"', 400),
        (b" " * 3_000_000, 413),
        (b'{"name": "\\ud800"}', 400),
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes, status: int, owner: User, login: Login) -> None:
    answer = login(owner).generic("POST", "/api/v1/projects/", body, content_type=JSON)
    assert answer.status_code == status
    assert answer.json()


def test_files_keep_the_folders_that_are_named_beside_them(
    owner: User, project: Project, login: Callable[[User | None], Client]
) -> None:
    address = f"/api/v1/projects/{project.slug}/images/"
    files = [SimpleUploadedFile(f"{name}.png", picture(name)) for name in ("red", "blue")]
    said = login(owner).post(address, {"files": files, "paths": ["cats/red.png", "dogs/blue.png"]})
    assert [image["name"] for image in said.json()["added"]] == ["cats/red.png", "dogs/blue.png"]
    files = [SimpleUploadedFile("green.png", picture("green"))]
    refused = login(owner).post(address, {"files": files, "paths": ["a.png", "b.png"]})
    assert refused.status_code == 400 and "path for each file" in refused.text
