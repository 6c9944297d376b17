"""A backup back into an empty DATA_DIR. Nothing in it is trusted before it is checked."""

import errno
import json
import os
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from tqdm import tqdm

from gallery import backups, fsck
from gallery.backups import CHUNK, DATABASE, FILES, FORMAT, MANIFEST, OWN_NAME, Entry, Refused, Summary
from gallery.models import Project

MANIFEST_BYTES = 4 * 1024**2
LISTED_BYTES = 2000
CHANGED = "{} is no backup of clipsite, or it was damaged or changed: {}. Nothing was restored."
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def restore(source: Path) -> Summary:
    """Make the site of `source`, a backup's file, that of this DATA_DIR, up to date with this version.

    Raises Refused, OSError or sqlite3.Error, and then leaves DATA_DIR as it was.
    """
    database = backups.site_database()
    running = "The site is running on this DATA_DIR. Stop it (Ctrl-C, or its service) and try again."
    # What a worker holds for as long as it runs.
    with backups.locked("worker.lock", running), backups.workroom() as room:
        _refuse_a_used_one(database)
        try:
            _unpack(source, room)
        except ValueError as error:
            raise Refused(CHANGED.format(source, error)) from error
        _bring_up_to_date(room / DATABASE)
        summary = _summary(room)
        _into_place(room, database)
        os.sync()
    return summary


def _refuse_a_used_one(database: Path) -> None:
    elsewhere = "Restore into an empty folder: set DATA_DIR to another one."
    if database.exists() and _is_used(database):
        raise Refused(
            f"There is a site in {settings.DATA_DIR} already, and it is not overwritten. {elsewhere}"
        )
    if next(backups.files_below(settings.MEDIA_ROOT), None):
        raise Refused(f"There are files in {settings.MEDIA_ROOT}. Move that folder away, or: {elsewhere}")


def _is_used(database: Path) -> bool:
    """Whether there are users or projects, or it can't be told."""
    with closing(sqlite3.connect(database)) as rows:
        try:
            tables = {name for (name,) in rows.execute("SELECT name FROM sqlite_master")}
            telling = {model._meta.db_table for model in (get_user_model(), Project)} & tables
            return any(rows.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone() for table in telling)
        except sqlite3.DatabaseError:
            return True


def _unpack(source: Path, room: Path) -> None:
    """Every file of a backup into `room`, each as its hash says. Raises ValueError, Refused or OSError."""
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = _manifest(archive)
            _refuse_a_newer_one(manifest)
            listing, database = _entry(manifest["files"]), _entry(manifest["database"])
            if (listing.path, database.path) != (FILES, DATABASE):
                raise ValueError("its manifest names other parts than a backup has")
            _refuse_where_too_large(manifest, room)
            for entry in (listing, database):
                _extract(archive, entry, room)
            _unpack_media(archive, manifest["files"], room)
    except FileNotFoundError as error:
        raise Refused(f"There is no file {source}.") from error
    except Refused:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        if Path(source).is_dir():
            raise Refused(f"{source} is a folder. Name the file that “manage.py backup” wrote.") from error
        raise ValueError("two of its files have one name") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # it names a place before its begin
            raise ValueError("it was cut") from error
        raise
    except UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its manifest can't be read") from error
    _refuse_a_lying_one(room / DATABASE, manifest)


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(MANIFEST).file_size > MANIFEST_BYTES:
        raise ValueError("its manifest is too large")
    return json.loads(archive.read(MANIFEST))


def _refuse_a_newer_one(manifest: dict[str, Any]) -> None:
    disk = MigrationLoader(None).disk_migrations
    known = set(disk).union(*(migration.replaces for migration in disk.values()))
    newer = sorted({(app, name) for app, name in manifest["migrations"]} - known)
    if manifest["format"] > FORMAT or newer:
        what = f" It has {'.'.join(newer[0])!r:.80}, which this version doesn't know." if newer else ""
        raise Refused(
            f"This backup is from a newer version, clipsite {manifest['clipsite']!r:.20}.{what} "
            "Update clipsite, then restore it."
        )


def _entry(said: dict[str, Any]) -> Entry:
    """Raises ValueError, KeyError or TypeError where it is none."""
    entry = Entry(said["path"], said["size"], said["sha256"])
    if not isinstance(entry.size, int) or not isinstance(entry.sha256, str) or entry.size < 0:
        raise ValueError("its manifest can't be read")
    if not OWN_NAME.fullmatch(entry.path):
        raise ValueError(f"it names a file {entry.path!r:.80}, which is none of ours")
    return entry


def _refuse_where_too_large(manifest: dict[str, Any], room: Path) -> None:
    needed = manifest["files"]["bytes"] + manifest["files"]["size"] + manifest["database"]["size"]
    if manifest["files"]["size"] > LISTED_BYTES * manifest["files"]["count"]:
        raise ValueError("its list of files is too large")
    if needed > (free := shutil.disk_usage(room).free):
        raise Refused(f"This backup needs {needed:,} bytes, and the disk has {free:,} free. Free some space.")


def _unpack_media(archive: zipfile.ZipFile, said: dict[str, Any], room: Path) -> None:
    (room / "media").mkdir()
    count = size = 0
    with (room / FILES).open(encoding="ascii") as listing:
        lines = iter(lambda: listing.readline(LISTED_BYTES), "")
        for line in tqdm(lines, "Unpacking", said["count"], disable=None, unit=" files", dynamic_ncols=True):
            entry = _entry(json.loads(line))
            if not entry.path.startswith("media/"):
                raise ValueError(f"it names a file {entry.path!r:.80} that is no picture's")
            count, size = count + 1, size + entry.size
            if size > said["bytes"]:
                raise ValueError("its files are larger than its manifest says")
            _extract(archive, entry, room)
    if (count, size) != (said["count"], said["bytes"]):
        raise ValueError("its manifest says another number of files or bytes")
    if len(archive.infolist()) != count + 3:
        raise ValueError("there are files in it that its manifest doesn't name")


def _extract(archive: zipfile.ZipFile, entry: Entry, room: Path) -> None:
    """Raises ValueError where the file isn't what its entry says, KeyError where there is none."""
    try:
        info = archive.getinfo(entry.path)
    except KeyError as error:
        raise ValueError(f"{entry.path} is not in it") from error
    kind = info.external_attr >> 16
    if info.file_size != entry.size or (stat.S_IFMT(kind) and not stat.S_ISREG(kind)):
        raise ValueError(f"{entry.path} is not what its manifest says")
    target, digest = room / entry.path, sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as packed, _new(target) as file:
        while chunk := packed.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise ValueError(f"{entry.path} is not what its manifest says")


def _new(target: Path) -> IO[bytes]:
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _refuse_a_lying_one(database: Path, manifest: dict[str, Any]) -> None:
    """Raises ValueError where the database is not sound, or not of the version that the manifest says."""
    try:
        with closing(sqlite3.connect(database)) as rows:
            if fault := next(fsck.database_faults(rows.cursor()), None):
                raise ValueError(f"its database is not sound: {fault}")
            if backups.applied_migrations(rows) != {(app, name) for app, name in manifest["migrations"]}:
                raise ValueError("its database is of another version than its manifest says")
    except sqlite3.DatabaseError as error:
        raise ValueError(f"its database can't be read: {error}") from error


def _bring_up_to_date(database: Path) -> None:
    """Migrate it where it lies, so that a failure leaves nothing in the site's place."""
    with _django_on(database):
        call_command("migrate", interactive=False, verbosity=0)
    with closing(sqlite3.connect(database)) as rows:
        backups.one_file(rows)


@contextmanager
def _django_on(database: Path) -> Iterator[None]:
    connection.close()
    before, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], str(database)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _summary(room: Path) -> Summary:
    sizes = [entry.stat().st_size for entry in backups.files_below(room / "media")]
    with closing(sqlite3.connect(room / DATABASE)) as rows:
        missing = sum(not (room / "media" / name).exists() for name in backups.named_files(rows))
    return Summary(len(sizes), sum(sizes), missing)


def _into_place(room: Path, database: Path) -> None:
    """Media first, the database last: what names the files comes when they are there."""
    os.sync()
    media = Path(settings.MEDIA_ROOT)
    shutil.rmtree(media, ignore_errors=True)  # folders without a file
    shutil.rmtree(settings.VECTORS_DIR, ignore_errors=True)  # made of another database
    media.mkdir(parents=True, exist_ok=True)
    placed = []
    try:
        for folder in (room / "media").iterdir():
            placed.append(media / folder.name)
            shutil.move(folder, placed[-1])
        _replace(room / DATABASE, database)
    except BaseException:
        for folder in placed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _replace(new: Path, database: Path) -> None:
    """Take the place of a database without users and projects."""
    part = database.with_name(f"{database.name}.part")
    try:
        shutil.move(new, part)
        # A log that belongs to the old one would be played into the new one.
        for end in ("-wal", "-shm", "-journal"):
            database.with_name(database.name + end).unlink(missing_ok=True)
        part.replace(database)
    finally:
        part.unlink(missing_ok=True)
