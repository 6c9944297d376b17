"""Rows and files that don't fit together, made by hand, and what `manage.py fsck` says and does about it."""

import os
import re
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection

from gallery import backups, decoding, fsck
from gallery.models import Image, Project, Upload, UploadEntry

HOURS_AGO = 2 * 60 * 60


@pytest.fixture(autouse=True)
def data(settings: object, tmp_path: Path) -> Path:
    settings.DATA_DIR, settings.FILE_UPLOAD_TEMP_DIR = tmp_path, tmp_path / "tmp"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    return tmp_path


def said(**options: object) -> tuple[int, str]:
    """The exit code and the words of the command."""
    out = StringIO()
    try:
        call_command("fsck", stdout=out, **options)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def old(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    when = time.time() - HOURS_AGO
    os.utime(path, (when, when))
    return path


def path_of(image: Image, field: str) -> Path:
    return Path(getattr(image, field).path)


def test_a_sound_site_is_said_to_be_well(drawn: list[Image]) -> None:
    assert said(hashes=True, repair=True) == (
        0,
        "All is well: every row has its files, every file its row.\n",
    )


@pytest.mark.parametrize("field", ["file", "preview", "thumbnail"])
def test_a_row_without_its_file_is_named(field: str, drawn: list[Image]) -> None:
    path_of(drawn[1], field).unlink()
    code, words = said()
    assert code == 1 and words.count("\n") == 1
    kind = "original" if field == "file" else field
    assert f"image {drawn[1].pk} ('blue square.png'): its {kind} is missing" in words
    assert getattr(drawn[1], field).name in words


def test_previews_and_thumbnails_are_made_again(drawn: list[Image]) -> None:
    before = {field: path_of(drawn[0], field).read_bytes() for field in ("preview", "thumbnail")}
    for field in before:
        path_of(drawn[0], field).unlink()
    code, words = said(repair=True)
    assert code == 0 and words.count("Mended") == 2
    assert {field: path_of(drawn[0], field).read_bytes() for field in before} == before
    assert said() == (0, "All is well: every row has its files, every file its row.\n")


def test_an_image_whose_original_is_gone_is_only_reported(drawn: list[Image]) -> None:
    path_of(drawn[0], "file").unlink()
    path_of(drawn[0], "thumbnail").unlink()
    for _ in range(2):
        code, words = said(repair=True, older_than=0)
        assert code == 1 and "2 wrong" in words and "Mended" not in words
    assert Image.objects.filter(pk=drawn[0].pk).exists()
    assert path_of(drawn[0], "preview").exists()


def test_an_original_that_cannot_be_read_is_not_made_small(drawn: list[Image]) -> None:
    path_of(drawn[0], "file").write_bytes(b"no picture any more")
    path_of(drawn[0], "thumbnail").unlink()
    assert said(repair=True)[0] == 1
    assert not path_of(drawn[0], "thumbnail").exists()


def test_hashes_find_an_original_that_changed(drawn: list[Image]) -> None:
    path = path_of(drawn[2], "file")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert said()[0] == 0
    code, words = said(hashes=True, repair=True)
    assert code == 1 and f"image {drawn[2].pk} ('green triangle.png'): its original is not what" in words
    assert "1 wrong" in words


def test_a_waiting_zip_that_is_missing_is_named(project: Project) -> None:
    upload = Upload.objects.create(project=project, state=Upload.State.OPEN)
    upload.archive.save("archive.zip", ContentFile(b"PK"))
    assert said()[0] == 0, "one that is there is well"
    Path(upload.archive.path).unlink()
    code, words = said(repair=True)
    assert code == 1 and f"upload {upload.pk}: its waiting file is missing" in words


def test_files_without_a_row_are_named_and_removed(data: Path, drawn: list[Image]) -> None:
    orphans = [old(data / "media" / name) for name in ("images/9/a.png", "uploads/b.zip", "c")]
    kept = {path for path in (data / "media").rglob("*.*") if path not in orphans}
    code, words = said()
    assert code == 1 and "3 wrong" in words and "images/9/a.png belongs to no row" in words
    assert all(path.exists() for path in orphans)
    assert said(repair=True)[0] == 0
    assert not any(path.exists() for path in orphans)
    assert kept == set((data / "media").rglob("*.*"))


def test_the_file_of_an_upload_in_progress_is_left_alone(data: Path, db: None) -> None:
    fresh = data / "media" / "images" / "1" / "fresh.png"
    fresh.parent.mkdir(parents=True)
    fresh.write_bytes(b"x")
    assert said(repair=True)[0] == 0 and fresh.exists()
    assert "fresh.png" in said(repair=True, older_than=0)[1] and not fresh.exists()


def test_temporary_files_are_swept_when_old(data: Path, db: None) -> None:
    stale, fresh = old(data / "tmp" / "a.upload"), data / "tmp" / "b.upload"
    fresh.write_bytes(b"x")
    assert "tmp/a.upload was left behind" in said()[1] and stale.exists()
    assert said(repair=True)[0] == 0
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_the_folder_of_a_killed_backup_is_swept_and_that_of_a_live_one_is_not(data: Path, db: None) -> None:
    with backups.workroom() as room:
        held = old(room / "media" / "a.png")
        assert said(repair=True, older_than=0)[0] == 0 and held.exists()
    old(data / "tmp" / "backup-killed" / "media" / "a.png")
    part = old(data / "site.zip.part")
    (data / "tmp" / "backup-killed" / backups.PART).write_text(str(part))
    code, words = said()
    assert code == 1 and "backup-killed was left behind" in words and part.exists()
    assert said(repair=True)[0] == 0
    assert not part.exists() and list((data / "tmp").iterdir()) == []


def test_names_of_any_kind_are_shown_and_removed(data: Path, db: None) -> None:
    odd = [old(data / "media" / os.fsdecode(name)) for name in (b"caf\xc3\xa9.png", b"\xff\xfe.png")]
    code, words = said(repair=True)
    assert code == 0 and "café.png" in words and r"\xff\xfe.png" in words
    assert not any(path.exists() for path in odd)


@pytest.mark.django_db(transaction=True)
def test_a_row_of_nobody_is_named(drawn: list[Image]) -> None:
    with connection.constraint_checks_disabled():
        UploadEntry.objects.filter(image=drawn[0]).update(upload_id=999)
    try:
        code, words = said()
        assert code == 1
        assert re.search(r"row \d+ of gallery_uploadentry belongs to a row of gallery_upload that is", words)
    finally:
        UploadEntry.objects.all().delete()


def test_what_is_deleted_while_it_looks_is_not_wrong(
    drawn: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = fsck._named

    def deleted_meanwhile(scratch: object, file: object) -> bool:
        Image.objects.filter(pk=drawn[0].pk).delete()
        for field in fsck.WORDS:
            path_of(drawn[0], field).unlink(missing_ok=True)
        return named(scratch, file)

    monkeypatch.setattr(fsck, "_named", deleted_meanwhile)
    monkeypatch.setattr(fsck, "_list_files", lambda scratch: None)
    assert said()[0] == 0


def test_more_images_than_one_step(drawn: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsck, "AT_ONCE", 3)
    for image in drawn:
        path_of(image, "thumbnail").unlink()
    assert "4 wrong" in said()[1]
    assert said(repair=True)[0] == 0
    assert {decoding.open_checked(path_of(image, "thumbnail")).size for image in drawn} == {(128, 128)}


def test_what_a_deleted_project_left_is_removed_and_what_others_need_stays(
    data: Path, project: Project, settings: object
) -> None:
    theirs = old(settings.VECTORS_DIR / f"{project.pk}-0123456789abcdef" / "head.json")
    left = old(settings.VECTORS_DIR / f"{project.pk + 1}-0123456789abcdef" / "head.json")
    foreign = old(settings.VECTORS_DIR / "notes" / "mine.txt")
    code, words = said()
    assert code == 1 and f"vectors/{project.pk + 1}-0123456789abcdef was left behind" in words
    assert left.exists()
    assert said(repair=True)[0] == 0
    assert theirs.exists() and foreign.exists() and not left.parent.exists()
    assert said()[0] == 0
