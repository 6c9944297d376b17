"""People, projects and pictures that the tests share. The model is the real small one of the repository."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.http import HttpResponse
from django.test import Client

from gallery import uploads
from gallery.access import Role
from gallery.models import Image, Membership, Project
from labeling import label_sets, work
from labeling.label_sets import LabelSpec
from labeling.models import LabelSet
from labeling.starter import drawing

# They begin processes of their own and wait for them, or measure time: the whole machine is theirs.
ALONE = {
    "test_api_rules",
    "test_commands",
    "test_delivery",
    "test_queue_races",
    "test_races",
    "test_reliability",
    "test_scale",
    "test_secrets",
    "test_upgrade",
    "test_webhook_queue",
    "test_worker",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in ALONE or item.path.parent.name == "browser":
            item.add_marker(pytest.mark.alone)


@pytest.fixture(autouse=True)
def _own_media(settings: object, tmp_path: Path) -> None:
    settings.MEDIA_ROOT, settings.VECTORS_DIR = tmp_path / "media", tmp_path / "vectors"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True  # else each client scans all static files
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


def picture(colour: str = "red", side: int = 64, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (side, side), colour).save(out, format, **options)
    return out.getvalue()


def pointers(answer: HttpResponse) -> list[str]:
    """Which fields a problem of the API names."""
    return [each["pointer"] for each in answer.json()["errors"]]


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("olga", password="olga-secret-1")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("sven", password="sven-secret-1")


@pytest.fixture
def project(owner: User) -> Project:
    project = Project.objects.create(name="Animals", slug="animals")
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    return project


@pytest.fixture
def member(project: Project) -> Callable[[str], User]:
    """`member("viewer")` is a user with that role in the project."""

    def make(role: str) -> User:
        user = User.objects.create_user(role, password=f"{role}-secret-1")
        Membership.objects.create(project=project, user=user, role=role)
        return user

    return make


@pytest.fixture
def login() -> Callable[[User | None], Client]:
    """`login(user)` is a client that is logged in as the user; `login(None)` is nobody's."""

    def make(user: User | None) -> Client:
        client = Client()
        if user:
            client.force_login(user)
        return client

    return make


@pytest.fixture
def add(project: Project, owner: User) -> Callable[..., list[Image]]:
    """`add(("a.png", content), …)` uploads files through the real door."""

    def make(*files: tuple[str, bytes]) -> list[Image]:
        upload = uploads.add_images(project, owner, [ContentFile(content, name) for name, content in files])
        return [entry.image for entry in upload.entries.all() if entry.image]

    return make


SHAPES = [("red", "circle"), ("blue", "square"), ("green", "triangle"), ("yellow", "star")]


@pytest.fixture
def drawn(add: Callable[..., list[Image]]) -> list[Image]:
    """Four drawn pictures: a red circle, a blue square, a green triangle and a yellow star."""
    files = []
    for colour, shape in SHAPES:
        out = io.BytesIO()
        drawing.draw(
            drawing.Drawing(colour, shape, "solid", 1, "white", "large"), random.Random(1), 128
        ).save(out, "PNG")
        files.append((f"{colour} {shape}.png", out.getvalue()))
    return add(*files)


@pytest.fixture
def label_set(project: Project, owner: User, drawn: list[Image]) -> LabelSet:
    """Labels that fit the drawn pictures. Nothing is scored yet."""
    names = [f"{colour} {shape}" for colour, shape in SHAPES]
    return label_sets.create(project, owner, "Shapes", [LabelSpec(name) for name in names])


@pytest.fixture
def scored(label_set: LabelSet) -> LabelSet:
    """The label set with a match for each picture, by the real model."""
    work.until_none_is_left()
    return label_set
