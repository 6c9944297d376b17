"""The pages of projects, members, uploads and tokens: for whom they open, and what they do."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery import projects, uploads
from gallery.access import Role
from gallery.models import ApiToken, Image, Membership, Project, Upload
from labeling.models import LabelSet
from tests.conftest import picture

VIEWER, LABELER, REVIEWER, OWNER = Role.values
Login = Callable[[User | None], Client]
Add = Callable[..., list[Image]]


@pytest.fixture
def image(add: Add) -> Image:
    return add(("red.png", picture("red")))[0]


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert client.get(url).status_code == 200
    return len(found)


# Projects


def test_a_newcomer_is_led_to_a_first_project(stranger: User, login: Login) -> None:
    page = login(stranger).get(reverse("projects"))
    assert "Label your first images" in page.text and reverse("project_new") in page.text


def test_the_projects_are_ones_own(
    project: Project, image: Image, owner: User, stranger: User, login: Login
) -> None:
    assert "Animals" in login(owner).get(reverse("projects")).text
    assert "Animals" not in login(stranger).get(reverse("projects")).text


def test_a_project_shows_its_newest_four_images_and_its_counts(
    project: Project, add: Add, owner: User, login: Login, member: Callable[[str], User]
) -> None:
    images = add(*((f"{side}.png", picture(side=side)) for side in range(10, 16)))
    member(VIEWER)
    page = login(owner).get(reverse("projects"))
    shown = [image for image in images if reverse("image_thumbnail", args=[image.pk]) in page.text]
    assert shown == images[-4:]
    assert "6 images · 2 members · your role: owner" in page.text


def test_twenty_projects_cost_as_many_queries_as_one(
    project: Project, image: Image, owner: User, login: Login
) -> None:
    url, client = reverse("projects"), login(owner)
    one = queries(client, url)
    for number in range(20):
        other = Project.objects.create(name=f"Project {number}", slug=f"project-{number}")
        Membership.objects.create(project=other, user=owner, role=OWNER)
        uploads.add_images(other, owner, [ContentFile(picture(side=20 + number), "a.png")])
    assert queries(client, url) == one
    assert client.get(url).text.count("project-card-body") == 21


def test_many_projects_come_in_pages(owner: User, login: Login) -> None:
    projects = Project.objects.bulk_create(Project(name=f"P{n}", slug=f"p{n}") for n in range(30))
    Membership.objects.bulk_create(Membership(project=one, user=owner, role=OWNER) for one in projects)
    first = login(owner).get(reverse("projects"))
    assert "Page 1 of 2" in first.text
    assert login(owner).get(reverse("projects"), {"page": 2}).text.count("project-card-body") == 6


def test_an_owner_renames_a_project_and_its_address_stays(
    project: Project, owner: User, login: Login
) -> None:
    login(owner).post(
        reverse("project_settings", args=["animals"]), {"name": "Zoo", "description": "All of it"}
    )
    project.refresh_from_db()
    assert (project.name, project.description, project.slug) == ("Zoo", "All of it", "animals")


def test_a_project_needs_a_name(project: Project, owner: User, login: Login) -> None:
    page = login(owner).post(reverse("project_settings", args=["animals"]), {"name": " "})
    assert "This field is required" in page.text
    assert "Settings · Animals" in page.text


def test_a_project_is_deleted_only_with_its_name_typed(
    project: Project, image: Image, owner: User, login: Login, django_capture_on_commit_callbacks: Callable
) -> None:
    url, client = reverse("project_delete", args=["animals"]), login(owner)
    assert "as it stands there" in client.post(url, {"confirm": "animals"}).text
    assert Project.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(url, {"confirm": "Animals"})
    assert not Project.objects.exists()
    assert not image.file.storage.exists(image.file.name)


# Members


def test_an_owner_adds_a_member(project: Project, owner: User, stranger: User, login: Login) -> None:
    page = login(owner).post(
        reverse("members", args=["animals"]), {"username": "sven", "role": REVIEWER}, follow=True
    )
    assert project.memberships.get(user=stranger).role == REVIEWER
    assert "sven is a member now, as reviewer" in page.text


@pytest.mark.parametrize(
    ("username", "words"), [("nobody", "There is no user"), ("olga", "is a member already")]
)
def test_who_can_not_be_added_is_said_at_the_field(
    username: str, words: str, project: Project, owner: User, login: Login
) -> None:
    page = login(owner).post(reverse("members", args=["animals"]), {"username": username, "role": VIEWER})
    assert words in page.text
    assert project.memberships.count() == 1


def test_an_owner_changes_a_role_and_removes_a_member(
    project: Project, owner: User, member: Callable[[str], User], login: Login
) -> None:
    membership = project.memberships.get(user=member(VIEWER))
    url, client = reverse("member", args=[membership.pk]), login(owner)
    assert "viewer is labeler now" in client.post(url, {"role": LABELER}, follow=True).text
    membership.refresh_from_db()
    assert membership.role == LABELER
    assert "viewer is no member any more" in client.post(url, {"remove": "1"}, follow=True).text
    assert project.memberships.count() == 1


@pytest.mark.parametrize("change", [{"role": VIEWER}, {"remove": "1"}])
def test_the_last_owner_stays(change: dict[str, str], project: Project, owner: User, login: Login) -> None:
    url = reverse("member", args=[project.memberships.get().pk])
    assert "A project needs an owner" in login(owner).post(url, change, follow=True).text
    assert project.memberships.get().role == OWNER


def test_everybody_may_leave_but_not_promote_themselves(
    project: Project, member: Callable[[str], User], login: Login
) -> None:
    viewer = member(VIEWER)
    url = reverse("member", args=[project.memberships.get(user=viewer).pk])
    assert login(viewer).post(url, {"role": OWNER}).status_code == 403
    assert login(viewer).post(url, {"remove": "1"}).url == reverse("projects")
    assert not project.memberships.filter(user=viewer).exists()


def test_an_owner_of_one_project_reaches_no_member_of_another(
    project: Project, stranger: User, login: Login
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stranger, role=OWNER)
    url = reverse("member", args=[project.memberships.get().pk])
    assert login(stranger).post(url, {"remove": "1"}).status_code == 404
    assert project.memberships.count() == 1


def test_twenty_members_cost_as_many_queries_as_one(project: Project, owner: User, login: Login) -> None:
    url, client = reverse("members", args=["animals"]), login(owner)
    one = queries(client, url)
    users = User.objects.bulk_create(User(username=f"user{number}") for number in range(20))
    Membership.objects.bulk_create(Membership(project=project, user=user) for user in users)
    assert queries(client, url) == one


# Uploads


def test_files_are_added_without_script(project: Project, owner: User, login: Login) -> None:
    files = [SimpleUploadedFile("red.png", picture("red")), SimpleUploadedFile("notes.txt", b"hello")]
    page = login(owner).post(reverse("project_upload", args=["animals"]), {"files": files}, follow=True)
    assert page.redirect_chain[0][0] == reverse("gallery", args=["animals"])
    assert "1 added, 1 refused." in page.text
    assert "notes.txt: Not an image that we can read" in page.text


def test_no_file_is_said_at_the_field(project: Project, owner: User, login: Login) -> None:
    assert "Choose an image" in login(owner).post(reverse("project_upload", args=["animals"])).text


def test_more_files_than_a_request_may_hold_are_refused_in_words(
    project: Project, owner: User, login: Login, settings: object
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    files = [SimpleUploadedFile(f"{n}.png", picture(side=n)) for n in (10, 11, 12)]
    page = login(owner).post(reverse("project_upload", args=["animals"]), {"files": files})
    assert page.status_code == 413
    assert "files came at once, and none was kept" in page.text
    assert not Image.objects.exists()


@pytest.mark.parametrize(
    ("content", "limit", "status", "words"),
    [
        (b"plain text", {}, 415, "Not an image that we can read"),
        (picture()[:100], {}, 400, "Broken: the file ends too early"),
        (picture(), {"UPLOAD_MAX_BYTES": 50}, 413, "Too large: more than"),
        (picture(), {"UPLOAD_MAX_PIXELS": 50}, 413, "Too large: 64 × 64 pixels"),
        (picture(), {"PROJECT_MAX_IMAGES": 0}, 507, "The project is full: it may have 0 images."),
        (picture(), {"DISK_RESERVE_BYTES": 10**18}, 507, "The disk is nearly full"),
        (picture(), {"UPLOAD_MAX_BYTES": -1_100_000, "UPLOAD_MAX_ZIP_BYTES": -1_100_000}, 413, "too large"),
    ],
)
def test_a_page_and_the_api_say_why_nothing_was_taken_in(
    content: bytes,
    limit: dict[str, int],
    status: int,
    words: str,
    project: Project,
    owner: User,
    login: Login,
    settings: object,
) -> None:
    for name, value in limit.items():
        setattr(settings, name, value)
    client = login(owner)
    client.raise_request_exception = False
    for url in (reverse("project_upload", args=["animals"]), reverse("api-images", args=["animals"])):
        answer = client.post(url, {"files": [SimpleUploadedFile("red.png", content)]})
        assert (answer.status_code, words in answer.text) == (status, True), url
    assert answer["Content-Type"] == "application/problem+json"
    assert not Image.objects.exists()


@pytest.mark.parametrize(
    "words", ["database or disk is full", "could not extend file: No space left on device"]
)
def test_a_database_that_can_not_grow_is_a_full_disk(
    words: str, project: Project, owner: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OperationalError(words)

    monkeypatch.setattr(projects, "change", full)
    client = login(owner)
    client.raise_request_exception = False
    page = client.post(reverse("project_settings", args=["animals"]), {"name": "Zoo"})
    assert (page.status_code, "The disk of this site is full" in page.text) == (507, True)
    answer = client.patch(reverse("api-project", args=["animals"]), {"name": "Zoo"}, "application/json")
    assert (answer.status_code, answer.json()["detail"][:25]) == (507, "The disk of this site is ")


def test_a_zip_that_does_not_move_says_so_and_is_stopped_by_its_sender_or_a_reviewer(
    project: Project, owner: User, login: Login, member: Callable[[str], User]
) -> None:
    labeler = member(LABELER)
    upload = Upload.objects.create(
        project=project, uploaded_by=owner, state=Upload.State.OPEN, total=40, beat_at=timezone.now()
    )
    page, stop = reverse("upload", args=[upload.pk]), reverse("upload_stop", args=[upload.pk])
    assert "Nothing has moved" not in login(owner).get(page).text
    Upload.objects.update(beat_at=timezone.now() - timedelta(minutes=2))
    assert "Nothing has moved for a while" in login(owner).get(page).text
    assert stop in login(owner).get(page).text and stop not in login(labeler).get(page).text
    assert login(labeler).post(stop).status_code == 403
    Upload.objects.update(uploaded_by=labeler)
    asked = login(labeler).post(stop)
    assert "Stop unpacking the ZIP?" in asked.text
    assert login(labeler).post(stop, {"confirmed": "yes"}).url == page
    assert "Stopped by labeler." in login(owner).get(page).text


def test_the_report_names_what_was_refused_first(
    project: Project, owner: User, login: Login, add: Add
) -> None:
    add(("a.png", picture("red")), ("b.png", picture("red")), ("c.png", b"nothing"))
    url = reverse("upload", args=[Upload.objects.get().pk])
    page = login(owner).get(url).text
    assert page.index("c.png") < page.index("a.png") < page.index("b.png")
    assert "Not an image" in page and "The same picture as a.png" in page
    only = login(owner).get(url, {"outcome": "duplicate"}).text
    assert "b.png" in only and "c.png" not in only


def test_the_report_of_an_open_upload_asks_for_itself_again(
    project: Project, owner: User, login: Login
) -> None:
    upload = Upload.objects.create(project=project, uploaded_by=owner, state=Upload.State.OPEN, total=40)
    page = login(owner).get(reverse("upload", args=[upload.pk])).text
    assert 'hx-trigger="every 2s"' in page and "0 of 40" in page
    Upload.objects.update(state=Upload.State.FAILED, error="The disk is full.")
    page = login(owner).get(reverse("upload", args=[upload.pk])).text
    assert "every 2s" not in page and "The disk is full." in page


def test_twenty_names_in_a_report_cost_as_many_queries_as_one(
    project: Project, owner: User, login: Login, add: Add
) -> None:
    client = login(owner)
    add(("one.png", picture("red")))
    one = queries(client, reverse("upload", args=[Upload.objects.first().pk]))
    add(*((f"{side}.png", picture(side=side)) for side in range(10, 30)))
    assert queries(client, reverse("upload", args=[Upload.objects.first().pk])) == one


def test_twenty_uploads_cost_as_many_queries_as_one(
    project: Project, image: Image, owner: User, login: Login
) -> None:
    url, client = reverse("project_upload", args=["animals"]), login(owner)
    one = queries(client, url)
    Upload.objects.bulk_create(Upload(project=project, uploaded_by=owner) for _ in range(20))
    assert queries(client, url) == one


# Media


def test_media_is_private_and_never_run(owner: User, image: Image, login: Login) -> None:
    original = login(owner).get(reverse("image_file", args=[image.pk]))
    assert b"".join(original.streaming_content) == picture("red")
    assert original["Content-Type"] == "image/png"
    assert original["Content-Disposition"] == 'attachment; filename="red.png"'
    assert "sandbox" in original["Content-Security-Policy"]
    for name in ("image_file", "image_thumbnail", "image_preview"):
        answer = login(owner).get(reverse(name, args=[image.pk]))
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Cache-Control"].startswith("private") and "immutable" in answer["Cache-Control"]
    assert answer["Content-Type"] == "image/webp"


def test_an_image_that_is_deleted_takes_its_files_along(
    image: Image, owner: User, login: Login, django_capture_on_commit_callbacks: Callable
) -> None:
    client, where = login(owner), reverse("image_delete", args=[image.pk])
    asked = client.post(where, {"next": "/projects/animals/?status=none"})
    assert f"Delete “{image.name}”?" in asked.text and Image.objects.exists()
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(where, form).url == "/projects/animals/?status=none"
    assert not Image.objects.exists()
    for field in (image.file, image.preview, image.thumbnail):
        assert not field.storage.exists(field.name)


# Tokens


def test_a_token_is_shown_once_and_works(owner: User, login: Login, project: Project) -> None:
    client = login(owner)
    page = client.post(reverse("tokens"), {"name": "Nightly import", "days": 30})
    token = page.context["token"]
    assert f"Authorization: Token {token}" in page.text
    assert "no-store" in page["Cache-Control"]
    listed = client.get(reverse("tokens")).text
    assert token not in listed and "Nightly import" in listed
    assert ApiToken.objects.get().expiry - timezone.now() > timedelta(days=29)
    answer = Client(headers={"Authorization": f"Token {token}"}).get(reverse("api-projects"))
    assert [row["slug"] for row in answer.json()["results"]] == ["animals"]


def test_a_token_needs_a_name(owner: User, login: Login) -> None:
    page = login(owner).post(reverse("tokens"), {"name": " ", "days": 30})
    assert page.context["form"].errors["name"] and not ApiToken.objects.exists()


def test_a_token_can_be_revoked_by_its_owner_alone(owner: User, stranger: User, login: Login) -> None:
    row, _ = ApiToken.objects.create(owner)
    key, url = {"token_key": row.token_key}, reverse("token_revoke")
    assert login(stranger).post(url, key).status_code == 404
    assert login(owner).get(url).status_code == 405
    assert login(None).post(url, key).status_code == 302
    assert ApiToken.objects.exists()
    assert "revoked" in login(owner).post(url, key, follow=True).text
    assert not ApiToken.objects.exists()


def test_tokens_of_others_are_not_listed(owner: User, stranger: User, login: Login) -> None:
    row, _ = ApiToken.objects.create(owner)
    assert row.token_key[:8] in login(owner).get(reverse("tokens")).text
    assert row.token_key[:8] not in login(stranger).get(reverse("tokens")).text


# A project on one page


def test_a_project_is_made_with_labels_and_pictures_without_script(owner: User, login: Login) -> None:
    asked = {
        "name": "Pets",
        "labels": "cat\n\n dog: a dog | a puppy\n",
        "files": [SimpleUploadedFile("a.png", picture("red")), SimpleUploadedFile("b.png", picture("blue"))],
    }
    page = login(owner).post(reverse("project_new"), asked, follow=True)
    project = Project.objects.get(slug="pets")
    assert project.memberships.get().role == OWNER
    assert [(label.name, label.prompts) for label in project.label_sets.get().labels.all()] == [
        ("cat", []),
        ("dog", ["a dog", "a puppy"]),
    ]
    assert project.images.count() == 2
    assert "2 added." in page.text
    assert LabelSet.objects.get().runs.count() == 1


def test_with_script_the_gallery_comes_without_a_page_load(owner: User, login: Login) -> None:
    asked = {"name": "Pets", "labels": "cat\ndog"}
    answer = login(owner).post(reverse("project_new"), asked, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert f'"path": "{Project.objects.get().get_absolute_url()}"' in answer["HX-Location"]
    assert '"url": "/api/v1/projects/pets/images/"' in answer["HX-Trigger"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": "Pets", "labels": "cat"}, "Give two labels or more"),
        ({"name": "Pets", "labels": "cat\ncat"}, "Given twice: cat"),
        ({"name": "Pets", "labels": ""}, "This field is required"),
        ({"name": "", "labels": "cat\ndog"}, "This field is required"),
        ({"name": "x" * 121, "labels": "cat\ndog"}, "at most 120 characters"),
    ],
)
def test_nothing_is_made_of_a_form_that_is_wrong(
    asked: dict[str, str], words: str, owner: User, login: Login
) -> None:
    files = SimpleUploadedFile("a.png", picture("red"))
    page = login(owner).post(reverse("project_new"), {**asked, "files": files})
    assert words in page.text
    assert not Project.objects.exists() and not Image.objects.exists()


def test_a_model_that_can_not_be_used_is_said_and_makes_nothing(
    owner: User, login: Login, settings: object
) -> None:
    settings.CLIP_MODEL = "/nowhere"
    page = login(owner).post(reverse("project_new"), {"name": "Pets", "labels": "cat\ndog"})
    assert "there is no model.safetensors in that folder" in page.text
    assert not Project.objects.exists()
