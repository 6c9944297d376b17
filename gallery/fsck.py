"""Do rows and files fit together? What is wrong, in words, and what can be mended of it."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from tqdm import tqdm

from gallery import backups, decoder, derived, intake
from gallery.decoding import BadPicture
from gallery.models import Image

AT_ONCE = 1000
WORDS = {"file": "original", "preview": "preview", "thumbnail": "thumbnail"}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or was."""

    text: str
    mended: bool = False


def check(repair: bool = False, hashes: bool = False, minutes: float = 60) -> Iterator[Finding]:
    """Everything that is wrong. `repair`: mend what can be, of files only those older than `minutes`."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            yield from map(Finding, database_faults(cursor))
    # A private database on the disk, which SQLite removes itself: a million names in flat memory.
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        scratch.execute("CREATE TABLE files (name BLOB PRIMARY KEY) WITHOUT ROWID")
        # Files first: what an upload adds after that is no matter, and no row's file is missed.
        _list_files(scratch)
        yield from _rows_without_file(scratch, repair)
        yield from _files_without_row(scratch, repair, minutes)
    yield from _left_behind(repair, minutes)
    if hashes:
        yield from _changed_originals()


def database_faults(cursor: Any) -> Iterator[str]:
    """What SQLite itself finds wrong with its database."""
    cursor.execute("PRAGMA integrity_check")
    yield from (f"the database is damaged: {said}" for (said,) in cursor.fetchall() if said != "ok")
    cursor.execute("PRAGMA foreign_key_check")
    for table, row, parent, _ in cursor.fetchall():
        yield f"row {row} of {table} belongs to a row of {parent} that is not there"


def _list_files(scratch: sqlite3.Connection) -> None:
    names = (
        (os.fsencode(os.path.relpath(entry.path, settings.MEDIA_ROOT)),)
        for entry in _bar("Files", backups.files_below(settings.MEDIA_ROOT))
    )
    scratch.execute("BEGIN")
    scratch.executemany("INSERT OR IGNORE INTO files VALUES (?)", names)
    scratch.execute("COMMIT")


def _bar(title: str, items: Iterable[Any], total: int | None = None) -> tqdm:
    return tqdm(items, title, total, disable=None, dynamic_ncols=True)  # None: on a terminal only


def _each(title: str, rows: QuerySet) -> tqdm:
    return _bar(title, _in_steps(rows.order_by("pk")), rows.count())


def _in_steps(rows: QuerySet) -> Iterator[Any]:
    """Each row, in reads that end: an open one would keep SQLite's write-ahead log from being emptied."""
    last = 0
    while some := list(rows.filter(pk__gt=last)[:AT_ONCE]):
        yield from some
        last = some[-1].pk


def _rows_without_file(scratch: sqlite3.Connection, repair: bool) -> Iterator[Finding]:
    scratch.execute("BEGIN")
    for image in _each("Images", Image.everything.only("name", *WORDS)):
        missing = [field for field in WORDS if not _named(scratch, getattr(image, field))]
        # It may have been deleted since it was read.
        if missing and Image.everything.filter(pk=image.pk).exists():
            yield from _of_image(image, missing, repair)
    for field in backups.file_fields():
        if field.model is not Image:
            yield from _waiting(scratch, field.model, field.name)
    scratch.execute("COMMIT")


def _waiting(scratch: sqlite3.Connection, model: type[Model], field: str) -> Iterator[Finding]:
    """Files that wait for a worker, and are removed when they are used up."""
    called = model._meta.verbose_name
    for row in _each(called.capitalize(), model.objects.exclude(**{field: ""}).only(field)):
        file = getattr(row, field)
        if not _named(scratch, file) and model.objects.filter(pk=row.pk, **{field: file.name}).exists():
            yield Finding(f"{called} {row.pk}: its waiting file is missing ({file.name})")


def _named(scratch: sqlite3.Connection, file: FieldFile) -> bool:
    """Whether a row's file is there. It has a row, then, and comes off the list."""
    found = scratch.execute("DELETE FROM files WHERE name = ?", [os.fsencode(file.name)]).rowcount
    return bool(found) or bool(file.name and file.storage.exists(file.name))


def _of_image(image: Image, missing: list[str], repair: bool) -> Iterator[Finding]:
    """What is missing of an image; all but its original can be made again."""
    mended = repair and "file" not in missing and _make_again(image, missing)
    for field in missing:
        said = (
            f"image {image.pk} ({image.name!r}): its {WORDS[field]} is missing ({getattr(image, field).name})"
        )
        yield Finding(said, mended)


def _make_again(image: Image, fields: list[str]) -> bool:
    """Make previews and thumbnails from the original; False where it can't be read."""
    try:
        parts = _derivatives(image)
    except BadPicture:
        return False
    files = {getattr(image, field).name: parts[field] for field in fields}
    if not all(files):
        return False
    for name, content in files.items():
        intake.replace(content, Path(settings.MEDIA_ROOT, name))
    return True


def _derivatives(image: Image) -> dict[str, bytes]:
    picture = decoder.decode(Path(image.file.path))
    return {"preview": picture.preview, "thumbnail": picture.thumbnail}


def _files_without_row(scratch: sqlite3.Connection, repair: bool, minutes: float) -> Iterator[Finding]:
    """What is on the list still. A young file may belong to an upload whose row is not written yet."""
    for (name,) in scratch.execute("SELECT name FROM files"):
        path = Path(settings.MEDIA_ROOT, os.fsdecode(name))
        if _is_older(path, minutes):
            yield Finding(f"{_shown(name)} belongs to no row", repair and _remove(path))


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _is_older(path: Path, minutes: float) -> bool:
    """Whether a file is there, and nobody wrote to it for so long."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime >= 60 * minutes
    return False


def _remove(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


def _left_behind(repair: bool, minutes: float) -> Iterator[Finding]:
    """Temporary files and folders of what was killed, and folders of projects that are gone."""
    temporary = Path(settings.FILE_UPLOAD_TEMP_DIR)
    with suppress(backups.Refused), backups.locked("backup.lock", "a backup is at work"):
        for room in backups.rooms():
            if repair:
                backups.sweep(room)
            yield Finding(f"tmp/{room.name} was left behind by a killed backup or restore", repair)
    for folder in derived.of_deleted_projects():
        if repair:
            shutil.rmtree(folder, ignore_errors=True)
        yield Finding(f"{folder.parent.name}/{folder.name} was left behind by a deleted project", repair)
    for entry in backups.files_below(temporary):
        path = Path(entry.path)
        name = path.relative_to(temporary)
        if not name.parts[0].startswith(backups.ROOM) and _is_older(path, minutes):
            yield Finding(f"tmp/{_shown(bytes(name))} was left behind", repair and _remove(path))


def _changed_originals() -> Iterator[Finding]:
    for image in _each("Hashes", Image.everything.only("name", "file", "sha256")):
        with suppress(FileNotFoundError), image.file.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != image.sha256:
                yield Finding(f"image {image.pk} ({image.name!r}): its original is not what was uploaded")
