"""docs/api.md, run as it stands against a live site; and what calls on many things at once answer with."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import MULTIPART_CONTENT

from gallery import set_aside
from labeling.models import Label, LabelSet, Pick
from tests.conftest import picture
from tests.live import ROOT, Site

JSON = "application/json"
PASSWORD = "demo-secret-1"
MAKE_USER = f"""
from django.contrib.auth.models import User
User.objects.create_user("demo", password="{PASSWORD}")
"""
RULES = (ROOT / "docs/api.md").read_text()
SECTIONS = re.split(r"^## ", RULES, flags=re.MULTILINE)[1:]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", MAKE_USER)
    try:
        site.serve()
        yield site
    finally:
        site.kill_everything()


def test_each_rule_has_a_line_that_shows_it() -> None:
    titles = [section.partition("\n")[0] for section in SECTIONS]
    assert {"Versions and deprecation", "Pages", "Problems", "Idempotency", "Conditional GETs"} <= set(titles)
    assert all(len(BLOCK.findall(section)) == 1 for section in SECTIONS)


def test_the_lines_print_what_stands_under_them(site: Site, tmp_path: Path) -> None:
    for name, colour in (("cat.jpg", "red"), ("dog.jpg", "blue")):
        (tmp_path / name).write_bytes(picture(colour, format="JPEG"))
    script, expected = "", []
    for section in SECTIONS:
        title, [block] = section.partition("\n")[0], BLOCK.findall(section)
        script += f"echo '## {title}'\n{block}"
        expected += [f"## {title}", *re.findall(r"^# (.*)$", block, re.MULTILINE)]
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env={"SITE": site.url, "PASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == expected, done.stderr


def test_what_acts_on_many_answers_with_the_ids_of_what_it_did(
    owner: User, label_set: LabelSet, login: Callable[[User], Client]
) -> None:
    client = login(owner)

    def post(path: str, body: dict, content_type: str = JSON) -> dict:
        answer = client.post(f"/api/v1/{path}", body, content_type)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    project, of_set = f"projects/{label_set.project.slug}/", f"label-sets/{label_set.pk}/"
    images = sorted(label_set.images().values_list("pk", flat=True))

    last = label_set.project.images.get(pk=images[-1])
    again = SimpleUploadedFile("again.png", last.file.read())
    files = [SimpleUploadedFile("new.png", picture("pink")), again]
    added = post(f"{project}images/", {"files": files}, MULTIPART_CONTENT)
    assert [image["id"] for image in added["added"]] == [label_set.project.images.latest("pk").pk]
    assert [each["image"] for each in added["duplicates"]] == [last.pk]
    assert label_set.project.uploads.filter(pk=added["upload"]).exists()

    made = post(f"{project}label-sets/", {"name": "More", "labels": [{"name": "a"}, {"name": "b"}]})
    labels = list(Label.objects.filter(label_set=made["id"]).values_list("pk", flat=True))
    assert [label["id"] for label in made["labels"]] == labels

    reviews = [{"image": pk, "verdict": "none"} for pk in images[:2]]
    said = post(f"{of_set}reviews/", {"reviews": reviews})
    assert [each["image"] for each in said["decided"]] == images[:2]
    assert label_set.batches.get(pk=said["batch"])
    undone = post(f"{of_set}reviews/undo/", {"batch": said["batch"]})
    assert undone == {"undone": images[:2], "kept": []}

    batch = post(f"{of_set}batches/", {"images": images, "verdict": "none"})
    assert label_set.batches.get(pk=batch["id"]).total == len(images) == batch["done"]
    given = post(f"{of_set}assignments/", {"members": [{"username": "olga"}]})
    assert all(label_set.batches.get(pk=each["batch"]) for each in given["batches"])

    pick = post(f"{project}picks/", {"images": images})
    assert (Pick.objects.get().pk, pick["images"]) == (pick["id"], images)
    set_aside.set_aside(label_set.project, images[:2], owner)
    assert post(f"{project}set-aside/", {"images": images})["images"] == images[:2]
