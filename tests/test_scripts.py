"""The commands for scripts: what they do, say, and exit with."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from gallery import webhooks
from gallery.models import Image, Project
from labeling.models import LabelSet
from tests.conftest import picture


def run(name: str, *args: object, **options: object) -> dict:
    out = io.StringIO()
    call_command(name, *map(str, args), "--json", stdout=out, **options)
    return json.loads(out.getvalue())


def refused(name: str, *args: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as raised:
        call_command(name, *map(str, args), stdout=io.StringIO())
    return raised.value.returncode, str(raised.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    (made / "deep").mkdir(parents=True)
    (made / "a.png").write_bytes(picture("red"))
    (made / "deep" / "b.png").write_bytes(picture("blue"))
    (made / ".hidden").write_bytes(b"not looked at")
    return made


def test_a_folder_comes_in_and_again_adds_nothing(project: Project, folder: Path) -> None:
    said = run("import_images", folder, "--project", project.slug)
    assert (said["added"], said["duplicate"], said["refused"]) == (2, 0, 0)
    assert set(project.images.values_list("name", flat=True)) == {"a.png", "deep/b.png"}
    assert run("import_images", folder, "--project", project.slug)["duplicate"] == 2
    assert project.images.count() == 2


def test_what_is_refused_is_named_and_the_rest_comes_in(project: Project, folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"rubbish")
    code, words = refused("import_images", folder, "--project", project.slug)
    assert code == 1 and words.startswith("bad.jpg: Not an image") and "more" not in words
    assert project.images.count() == 2


def test_who_may_not_and_what_is_not_there(
    project: Project, folder: Path, stranger: User, member: Callable[[str], User], label_set: LabelSet
) -> None:
    member("viewer")
    assert refused("import_images", folder, "--project", "nope")[0] == 2
    assert refused("import_images", folder / "nope", "--project", project.slug)[0] == 2
    for user, words in (("sven", "no member"), ("viewer", "lacks “upload”")):
        code, said = refused("import_images", folder, "--project", project.slug, "--user", user)
        assert code == 2 and words in said
    assert project.images.count() == 4
    assert refused("score", 10**9)[0] == 2
    assert refused("export", 10**9, "x")[0] == 2
    assert refused("import_labels", folder / "nope.csv", "--label-set", label_set.pk)[0] == 2


def test_a_new_project_needs_an_owner(folder: Path, stranger: User) -> None:
    code, words = refused("import_images", folder, "--project", "new-one", "--create", "New one")
    assert code == 2 and "--user" in words and not Project.objects.exists()
    run("import_images", folder, "--project", "new-one", "--create", "New one", "--user", "sven")
    assert Project.objects.get(slug="new-one").memberships.get().user == stranger


def test_score_waits_and_does_it_where_no_worker_runs(label_set: LabelSet) -> None:
    assert run("score", label_set.pk)["state"] == "queued"
    said = run("score", label_set.pk, "--wait")
    assert (said["state"], said["done"], said["failed"]) == ("done", 4, 0)
    assert label_set.matches.count() == 4


def test_labels_go_out_and_come_in(scored: LabelSet, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    line = 'suggested:"red circle"'
    assert run("export", scored.pk, table, "--suggested", "--filter", line)["bytes"] == table.stat().st_size
    [row] = csv.DictReader(table.read_text().splitlines())
    assert row["label"] == "red circle"
    said = run("import_labels", table, "--label-set", scored.pk, "--predictions", "--dry-run")
    assert said["written"] == 0 and not scored.annotations.exists()
    said = run("import_labels", table, "--label-set", scored.pk, "--predictions")
    assert said["written"] == 1 and scored.annotations.get().source == "import"
    assert run("import_labels", table, "--label-set", scored.pk, "--predictions")["written"] == 0


def test_rows_that_are_left_are_named(scored: LabelSet, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file_name,label\nnope.png,red circle\nblue square.png,blue square\n")
    code, words = refused("import_labels", table, "--label-set", scored.pk)
    assert code == 1 and words == "line 2: There is no image “nope.png” here."
    assert scored.annotations.get().label.name == "blue square"


def test_a_file_that_cannot_be_read_changes_nothing(scored: LabelSet, tmp_path: Path) -> None:
    broken = tmp_path / "tasks.json"
    broken.write_text("[{")
    code, words = refused("import_labels", broken, "--label-set", scored.pk)
    assert code == 3 and "no whole JSON" in words and not scored.annotations.exists()


def test_a_mistake_leaves_the_file_that_was_there(scored: LabelSet, tmp_path: Path) -> None:
    there = tmp_path / "out" / "labels.csv"
    there.parent.mkdir()
    there.write_text("precious")
    assert refused("export", scored.pk, there, "--filter", "label:cow")[0] == 2
    assert there.read_text() == "precious" and list(there.parent.iterdir()) == [there]


def test_an_archive_of_pictures_makes_a_project_of_its_own(
    scored: LabelSet, owner: User, drawn: list[Image], tmp_path: Path
) -> None:
    archive = tmp_path / "set.zip"
    run("export", scored.pk, archive, "--format", "imagefolder", "--suggested")
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=owner, role="owner")
    said = run("import_labels", archive, "--project", "other")
    assert said["written"] == 4 and other.images.count() == 4
    assert other.label_sets.get().labels.count() == 4


def test_webhooks_are_told_of_an_import(scored: LabelSet, owner: User, tmp_path: Path) -> None:
    endpoint, _ = webhooks.create(scored.project, owner, "https://example.com/hook", ["import.done"])
    table = tmp_path / "labels.csv"
    table.write_text("file_name,label\nblue square.png,blue square\n")
    run("import_labels", table, "--label-set", scored.pk)
    [delivery] = endpoint.deliveries.all()
    told = json.loads(delivery.body)["data"]
    assert (told["state"], told["rows"], told["written"]) == ("done", 1, 1)
