"""A whole site in one ZIP, made while it runs: a snapshot of the database, and every file that it names.

Uploads write their files before their row, deletions remove them after it. So a file that is linked before
the snapshot, or found after it, is there for every row that the site had when the backup began.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import django
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import FileField
from django.utils import timezone
from tqdm import tqdm

import clipsite
from gallery.intake import NO_SPACE

FORMAT = 1
DATABASE, FILES, MANIFEST = "db.sqlite3", "files.jsonl", "manifest.json"
# What our own files are named: no part begins with a dot, and there is nothing to escape.
OWN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
ROOM = "backup-"
PART = "part.txt"
CHUNK = 1024**2
SNAPSHOT_PAGES = 2048
SNAPSHOTS = 4
NO_LINKS_HERE = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
POSTGRES = (
    "This site's database is on Postgres. Back it up by pg_dump, and then copy the folder {media}: "
    "in this order, each row of the dump has its files, unless they were deleted in between."
)


class Refused(RuntimeError):
    """It can't be done; the message says why, and what to do."""


@dataclass(frozen=True)
class Entry:
    """A file of a backup, as its manifest names it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Summary:
    files: int
    bytes: int
    missing: int  # named by a row, and not there


def write(target: Path) -> Summary:
    """Write the site into `target`, a new file.

    Raises Refused, OSError or sqlite3.Error, and then leaves nothing.
    """
    database = site_database()
    if target.exists():
        raise Refused(f"{target} is there already, and is not overwritten. Name another file.")
    if not target.parent.is_dir():
        raise Refused(f"There is no folder {target.parent}. Make it, or name another file.")
    with workroom() as room:
        (room / PART).write_text(str(_part_of(target).absolute()))
        _link_all(room / "media")
        missing = _snapshot_with_files(database, room)
        with (
            closing(sqlite3.connect(room / DATABASE)) as copy,
            _growing(target) as file,
            zipfile.ZipFile(file, "w") as archive,
        ):
            return _pack(archive, copy, room, missing)


def site_database() -> Path:
    """The file of the site's database. Raises Refused where it has none."""
    if connection.vendor != "sqlite":
        raise Refused(POSTGRES.format(media=settings.MEDIA_ROOT))
    return Path(connection.settings_dict["NAME"])


@contextmanager
def workroom() -> Iterator[Path]:
    """A folder under DATA_DIR/tmp, for one backup or restore at a time. Raises Refused where one goes on."""
    with locked("backup.lock", "Another backup or restore is at work in this DATA_DIR. Wait for its end."):
        for room in rooms():
            sweep(room)
        with TemporaryDirectory(prefix=ROOM, dir=settings.FILE_UPLOAD_TEMP_DIR) as room:
            yield Path(room)


@contextmanager
def locked(name: str, busy: str) -> Iterator[None]:
    """Hold a lock file of DATA_DIR, which is free again however its holder ends. Raises Refused(busy)."""
    with Path(settings.DATA_DIR, name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(busy) from error
        yield


def rooms() -> list[Path]:
    """The folders of backups and restores; where no one holds backup.lock, of such as were killed."""
    return [path for path in Path(settings.FILE_UPLOAD_TEMP_DIR).glob(f"{ROOM}*") if path.is_dir()]


def sweep(room: Path) -> None:
    """Remove what a killed backup or restore has left."""
    with suppress(FileNotFoundError):
        Path((room / PART).read_text()).unlink()
    shutil.rmtree(room)


def _snapshot_with_files(database: Path, room: Path) -> int:
    """Returns how many files are lost.

    What came in and was deleted before its files could be held is gone from the next snapshot.
    """
    before = missing = 0
    for _ in range(SNAPSHOTS):
        (room / DATABASE).unlink(missing_ok=True)
        snapshot(database, room / DATABASE)
        with closing(sqlite3.connect(room / DATABASE)) as copy:
            before, missing = missing, _link_late(copy, room / "media")
        if missing in (0, before):
            break
    return missing


def snapshot(database: Path, target: Path) -> None:
    """Copy a database as it stands now, while others write. Raises Refused where there is none."""
    if not database.exists():
        raise Refused(f"There is no database at {database}. Start the site once, or set DATA_DIR.")
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    with closing(source), closing(sqlite3.connect(target)) as copy:
        # One read transaction through all steps: else each write of the site begins the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy.execute("PRAGMA synchronous=OFF")
        with _bar("Database", unit=" pages") as bar:
            source.backup(copy, pages=SNAPSHOT_PAGES, progress=lambda *step: _show(bar, *step))
        one_file(copy)


def one_file(connection: sqlite3.Connection) -> None:
    """Merge the write-ahead log, so that the database is whole in its own file."""
    connection.execute("PRAGMA journal_mode=DELETE")


def _show(bar: tqdm, status: int, remaining: int, total: int) -> None:
    bar.total = total
    bar.update(total - remaining - bar.n)


def _bar(title: str, **options: Any) -> tqdm:
    # None: on a terminal only.
    return tqdm(desc=title, disable=None, dynamic_ncols=True, **options)


def named_files(database: sqlite3.Connection) -> Iterator[str]:
    """What the rows of a database name as their files, each once, in order."""
    return (name for (name,) in database.execute(f"{_names_sql()} ORDER BY 1"))


def file_fields() -> list[FileField]:
    """Every field of every model that names a file."""
    return [
        field
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, FileField)
    ]


def _names_sql() -> str:
    columns = [(field.model._meta.db_table, field.column) for field in file_fields()]
    select = """SELECT "{1}" FROM "{0}" WHERE "{1}" != ''"""
    return " UNION ".join(select.format(*column) for column in columns)


def files_below(folder: Path) -> Iterator[os.DirEntry]:
    """Every file, however deep; what comes or goes meanwhile may be among them or not."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _link_all(kept: Path) -> None:
    """Hold on to every file of the site, so that it stays when the site deletes it."""
    for entry in _bar("Holding files", iterable=files_below(settings.MEDIA_ROOT), unit=" files"):
        with suppress(FileNotFoundError):
            _link(Path(entry.path), kept / os.path.relpath(entry.path, settings.MEDIA_ROOT))


def _link_late(copy: sqlite3.Connection, kept: Path) -> int:
    """Hold on to what came in between the links and the snapshot. Returns how many files aren't there."""
    missing = 0
    for name in named_files(copy):
        if (kept / name).exists():
            continue
        try:
            if not OWN_NAME.fullmatch(name):
                raise FileNotFoundError(name)
            _link(Path(settings.MEDIA_ROOT, name), kept / name)
        except FileNotFoundError:
            missing += 1
    return missing


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS_HERE:
            raise
        shutil.copyfile(source, target)


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


@contextmanager
def _growing(target: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name, which takes its own when all of it is on the disk, or is gone."""
    part = _part_of(target)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{part} is being written by another backup. Wait for its end.") from error
        try:
            os.fchmod(descriptor, 0o600)
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.rename(target)
            _fsync_folder(target.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pack(archive: zipfile.ZipFile, copy: sqlite3.Connection, room: Path, missing: int) -> Summary:
    """Media as they are, then what lists them, the database, and last the manifest."""
    count = size = 0
    total = copy.execute(f"SELECT count(*) FROM ({_names_sql()})").fetchone()[0] - missing
    with (room / FILES).open("w") as listing:
        for name in _bar("Packing", iterable=named_files(copy), total=total, unit=" files"):
            if not OWN_NAME.fullmatch(name) or not (room / "media" / name).exists():
                continue
            entry = _pack_file(archive, f"media/{name}", room / "media" / name, zipfile.ZIP_STORED)
            listing.write(json.dumps(asdict(entry)) + "\n")
            count, size = count + 1, size + entry.size
    lists = {name: _pack_file(archive, name, room / name, zipfile.ZIP_DEFLATED) for name in (FILES, DATABASE)}
    manifest = {
        "format": FORMAT,
        "clipsite": clipsite.__version__,
        "django": django.get_version(),
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "migrations": sorted(map(list, applied_migrations(copy))),
        "database": asdict(lists[DATABASE]),
        "files": asdict(lists[FILES]) | {"count": count, "bytes": size, "missing": missing},
    }
    archive.writestr(MANIFEST, json.dumps(manifest, indent=1), zipfile.ZIP_DEFLATED)
    return Summary(count, size, missing)


def applied_migrations(database: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(database.execute("SELECT app, name FROM django_migrations"))


def _pack_file(archive: zipfile.ZipFile, name: str, source: Path, method: int) -> Entry:
    info = zipfile.ZipInfo(name, date_time=timezone.now().timetuple()[:6])
    info.compress_type, info.external_attr = method, 0o600 << 16
    # So that the ZIP knows beforehand whether the entry needs 64 bits.
    info.file_size = source.stat().st_size
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as file, archive.open(info, "w") as packed:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            packed.write(chunk)
            size += len(chunk)
    return Entry(name, size, digest.hexdigest())


def in_words(error: OSError | sqlite3.Error) -> str:
    """What a backup or a restore that failed has to say to a person."""
    full = getattr(error, "errno", None) in NO_SPACE
    if full or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return "The disk is full: nothing was kept. Free some space, then try again."
    return f"It failed, and nothing was kept: {error}"
