"""Backup and restore: real files, a real SQLite database, and archives that lie."""

import errno
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import pytest
from django.db import connection

from gallery import backups, restores
from gallery.backups import DATABASE, FILES, MANIFEST, Refused
from tests.live import ROOT, Site, wait_for

PICTURES = 6
LOCKS = ("backup.lock", "worker.lock")
EVERY_ROW = "SELECT group_concat(id || file) FROM (SELECT id, file FROM gallery_image ORDER BY id)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR with a project of drawn pictures, made once."""
    folder = tmp_path_factory.mktemp("made")
    Site(folder).make_run(PICTURES)
    return folder


@pytest.fixture(scope="module")
def archive(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of it."""
    path = tmp_path_factory.mktemp("archive") / "site.zip"
    assert "18 files" in Site(made).manage("backup", str(path))
    return path


@pytest.fixture
def use(settings: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """`use(folder)`: this very process has it as its DATA_DIR; only SQLite itself opens the database."""

    def make(folder: Path) -> Path:
        settings.DATA_DIR, settings.MEDIA_ROOT = folder, folder / "media"
        settings.VECTORS_DIR = folder / "vectors"
        settings.FILE_UPLOAD_TEMP_DIR = folder / "tmp"
        settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)
        monkeypatch.setitem(connection.settings_dict, "NAME", str(folder / DATABASE))
        return folder

    return make


@pytest.fixture
def site(made: Path, tmp_path: Path, use: Callable[[Path], Path]) -> Path:
    return use(shutil.copytree(made, tmp_path / "site"))


@pytest.fixture
def empty(tmp_path: Path, use: Callable[[Path], Path]) -> Path:
    return use(tmp_path / "empty")


def refused_command(folder: Path, *args: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=os.environ | {"DATA_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def tree(folder: Path) -> set[str]:
    """Every file; the locks lie there all the time."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in LOCKS)
    return {str(path.relative_to(folder)) for path in found}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in tree(folder)}


def table_rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as rows:
        return list(rows.iterdump())


def one(folder: Path, sql: str, *values: object) -> object:
    with closing(sqlite3.connect(folder / DATABASE, timeout=20)) as rows, rows:
        found = rows.execute(sql, values).fetchone()
        return found and found[0]


# What comes back


def test_a_restored_site_has_every_row_and_every_file(made: Path, archive: Path, tmp_path: Path) -> None:
    restored = Site(tmp_path / "restored")
    said = restored.manage("restore", str(archive))
    assert said.startswith("Restored the database and 18 files")
    assert table_rows(restored.data_dir / DATABASE) == table_rows(made / DATABASE)
    assert contents(restored.data_dir / "media") == contents(made / "media")
    assert tree(restored.data_dir / "tmp") == set()
    assert "All is well" in restored.manage("fsck", "--hashes")


def test_what_is_derived_is_in_no_backup_and_an_old_one_goes_when_one_is_restored(
    site: Path, tmp_path: Path
) -> None:
    head = site / "vectors" / "1-0123456789abcdef" / "head.json"
    head.parent.mkdir(parents=True)
    head.write_text("{}")
    backups.write(tmp_path / "site.zip")
    with zipfile.ZipFile(tmp_path / "site.zip") as archive:
        assert not [name for name in archive.namelist() if "head" in name or "vectors" in name]
    shutil.copytree(site / "vectors", tmp_path / "restored" / "vectors")
    Site(tmp_path / "restored").manage("restore", str(tmp_path / "site.zip"))
    assert not (tmp_path / "restored" / "vectors").exists()


def test_a_backup_is_its_owners_alone_and_holds_no_secret(made: Path, archive: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with zipfile.ZipFile(archive) as zipped:
        names = set(zipped.namelist())
        assert names == {f"media/{name}" for name in tree(made / "media")} | {DATABASE, FILES, MANIFEST}
        assert not [name for name in names if (made / "secret_key").read_bytes() in zipped.read(name)]
        methods = {info.filename.partition("/")[0]: info.compress_type for info in zipped.infolist()}
    assert (methods["media"], methods[DATABASE]) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def test_the_manifest_says_what_is_in_it(archive: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        manifest = json.loads(zipped.read(MANIFEST))
        listed = [json.loads(line) for line in zipped.read(FILES).splitlines()]
        for entry in [*listed, manifest["files"], manifest["database"]]:
            content = zipped.read(entry["path"])
            assert (entry["size"], entry["sha256"]) == (len(content), sha256(content).hexdigest())
    assert manifest["format"] == 1 and ["gallery", "0001_initial"] in manifest["migrations"]
    assert (manifest["files"]["count"], manifest["files"]["missing"]) == (len(listed), 0) == (18, 0)


def test_what_people_do_meanwhile_harms_no_row_from_before(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], Path]
) -> None:
    """One image is deleted after the files were held, and one added; another goes after the snapshot."""
    before = one(site, EVERY_ROW)
    snapshot = backups.snapshot

    def busy_snapshot(database: Path, target: Path) -> None:
        delete_files_of(site, 1)  # as if its row went just after the snapshot
        (site / "media" / "images" / "late.png").write_bytes(b"late")
        late = "INSERT INTO gallery_upload (id, project_id, created_at, state, error, archive, total)"
        one(site, f"{late} VALUES (99, 1, '2026-01-01', 'open', '', 'images/late.png', 1)")
        snapshot(database, target)
        one(site, "DELETE FROM gallery_uploadentry")
        one(site, "UPDATE gallery_image SET name = 'after'")
        delete_files_of(site, 2)

    monkeypatch.setattr(backups, "snapshot", busy_snapshot)
    written = backups.write(tmp_path / "site.zip")
    assert (written.files, written.missing) == (19, 0)
    monkeypatch.undo()
    restored = Site(tmp_path / "restored")
    restored.manage("restore", str(tmp_path / "site.zip"))
    assert one(restored.data_dir, EVERY_ROW) == before
    assert one(restored.data_dir, "SELECT count(*) FROM gallery_image WHERE name = 'after'") == 0
    assert one(restored.data_dir, "SELECT count(*) FROM gallery_uploadentry") == PICTURES
    assert (restored.data_dir / "media" / "images" / "late.png").read_bytes() == b"late"
    assert "All is well" in restored.manage("fsck", "--hashes")


def test_a_picture_that_came_and_went_meanwhile_is_not_in_it(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is in the first snapshot, its file was never held."""
    snapshot, taken = backups.snapshot, []

    def busy_snapshot(database: Path, target: Path) -> None:
        if not taken:
            delete_files_of(site, 1)
            shutil.rmtree(next((site / "tmp").glob("backup-*")) / "media")
        snapshot(database, target)
        if not taken:
            one(site, "DELETE FROM gallery_uploadentry WHERE image_id = 1")
            one(site, "DELETE FROM gallery_image WHERE id = 1")
        taken.append(target)

    monkeypatch.setattr(backups, "snapshot", busy_snapshot)
    written = backups.write(tmp_path / "site.zip")
    assert (written.files, written.missing, len(taken)) == (15, 0, 2)
    with zipfile.ZipFile(tmp_path / "site.zip") as zipped:
        assert json.loads(zipped.read(MANIFEST))["files"]["missing"] == 0
        assert len(zipped.namelist()) == 15 + 3


def delete_files_of(folder: Path, number: int) -> None:
    for field in ("file", "preview", "thumbnail"):
        path = folder / "media" / one(folder, f"SELECT {field} FROM gallery_image WHERE id = ?", number)
        path.unlink()


def test_writers_go_on_during_the_snapshot_and_are_not_in_it(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "SNAPSHOT_PAGES", 1)
    steps = []

    def write(bar: object, *step: int) -> None:
        steps.append(one(site, "UPDATE gallery_image SET name = name || 'x'"))
        assert len(steps) < 1000, "a write begins the copy anew"

    monkeypatch.setattr(backups, "_show", write)
    backups.snapshot(site / DATABASE, tmp_path / "copy.sqlite3")
    assert len(steps) > 50, "each step had a writer after it"
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        assert copy.execute("SELECT count(*) FROM gallery_image WHERE name LIKE '%x'").fetchone() == (0,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_row_whose_file_is_lost_is_told_and_stops_nothing(site: Path, tmp_path: Path) -> None:
    delete_files_of(site, 1)
    one(site, "UPDATE gallery_image SET file = '../secret_key' WHERE id = 2")
    said = Site(site).manage("backup", str(tmp_path / "site.zip"))
    assert "14 files" in said and "4 files that the database names are not there" in said
    assert "4 files" in Site(tmp_path / "restored").manage("restore", str(tmp_path / "site.zip"))


def test_files_are_copied_where_they_cannot_be_linked(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", no_link)
    assert backups.write(tmp_path / "site.zip").files == 18


# What is refused, and what is left behind: nothing


def test_a_file_that_is_there_is_not_overwritten(site: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.zip").write_bytes(b"mine")
    assert "not overwritten" in refused_command(site, "backup", str(tmp_path / "mine.zip"))
    assert (tmp_path / "mine.zip").read_bytes() == b"mine"
    with pytest.raises(Refused, match="no folder"):
        backups.write(tmp_path / "nowhere" / "site.zip")
    assert not (tmp_path / "nowhere").exists()


def test_a_site_on_postgres_is_told_how(site: Path, tmp_path: Path) -> None:
    postgres = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    for command in ("backup", "restore"):
        said = refused_command(site, command, str(tmp_path / "site.zip"), **postgres)
        assert "pg_dump" in said and str(site / "media") in said
    assert not (tmp_path / "site.zip").exists()


def test_a_folder_without_a_site_has_nothing_to_back_up(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no database"):
        backups.write(tmp_path / "site.zip")
    assert tree(tmp_path) == set()


def test_only_one_backup_goes_on_at_a_time(site: Path, tmp_path: Path) -> None:
    with backups.workroom() as room:
        with pytest.raises(Refused, match="Another backup"):
            backups.write(tmp_path / "site.zip")
        assert room.exists(), "the other one's folder stays"
    part = tmp_path / "site.zip.part"
    with part.open("w") as other:
        backups.fcntl.flock(other, backups.fcntl.LOCK_EX)
        with pytest.raises(Refused, match="being written by another"):
            backups.write(tmp_path / "site.zip")
        assert part.exists()


@pytest.fixture
def slow_site(site: Path) -> Path:
    """A picture of a size that takes a moment to pack."""
    name = one(site, "SELECT file FROM gallery_image WHERE id = 1")
    os.truncate(site / "media" / name, 400 * 1024**2)
    return site


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_backup_leaves_nothing(slow_site: Path, tmp_path: Path, number: int) -> None:
    before = tree(tmp_path)
    process = Site(slow_site).start("backup", str(tmp_path / "site.zip"))
    wait_for(lambda: (tmp_path / "site.zip.part").exists() or process.poll() is not None, 60, "no part")
    process.send_signal(number)
    assert process.wait(60) == 130, (slow_site / "log.txt").read_text()
    assert tree(tmp_path) - {"site/log.txt"} == before - {"site/log.txt"}


def test_what_a_killed_backup_left_is_swept_by_the_next(slow_site: Path, tmp_path: Path) -> None:
    process = Site(slow_site).start("backup", str(tmp_path / "first.zip"))
    wait_for(lambda: (tmp_path / "first.zip.part").exists() or process.poll() is not None, 60, "no part")
    process.kill()
    process.wait()
    assert tree(slow_site / "tmp") and (tmp_path / "first.zip.part").exists()
    os.truncate(slow_site / "media" / one(slow_site, "SELECT file FROM gallery_image WHERE id = 1"), 10)
    backups.write(tmp_path / "second.zip")
    assert tree(slow_site / "tmp") == set()
    assert [path.name for path in tmp_path.glob("*.zip*")] == ["second.zip"]


def can_mount() -> bool:
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no small disk can be mounted here")
@pytest.mark.parametrize("full", ["target", "site"])
def test_a_full_disk_is_said_and_nothing_is_left(site: Path, tmp_path: Path, full: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    target = (disk if full == "target" else tmp_path) / "site.zip"
    folder = {"target": site, "site": disk}[full]
    script = (
        f"mount -t tmpfs -o size={'40k' if full == 'target' else '900k'} tmpfs {disk}; "
        f"{'' if full == 'target' else f'cp -r {site}/. {disk}; '}"
        f"DATA_DIR={folder} {sys.executable} manage.py backup {target}; echo ended $?; "
        f"find {disk} {site} {tmp_path} -name '*.zip*' -o -name 'backup-*'"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "The disk is full: nothing was kept." in done.stderr
    assert done.stdout == "ended 1\n"


def test_a_failed_write_leaves_nothing(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        backups.write(tmp_path / "site.zip")
    assert not list(tmp_path.glob("*.zip*")) and tree(site / "tmp") == set()


def test_a_site_that_is_there_is_not_overwritten(made: Path, site: Path, archive: Path) -> None:
    before = contents(site)
    assert "Restore into an empty folder" in refused_command(site, "restore", str(archive))
    assert contents(site) == before
    (site / DATABASE).unlink()
    with pytest.raises(Refused, match="Move that folder away"):
        restores.restore(archive)
    (site / DATABASE).write_bytes(b"what is this?")
    with pytest.raises(Refused, match="Restore into an empty folder"):
        restores.restore(archive)


def test_a_running_site_is_not_restored_into(empty: Path, archive: Path) -> None:
    site = Site(empty)
    site.manage("migrate", "-v0")
    worker = site.start("worker")
    try:
        wait_for(lambda: (empty / "worker.lock").exists() or worker.poll() is not None, 60, "no worker")
        before = contents(empty)
        assert "Stop it" in refused_command(empty, "restore", str(archive))
        assert contents(empty).keys() - {"db.sqlite3-shm", "db.sqlite3-wal"} <= before.keys()
    finally:
        site.kill_everything()
    assert site.value("SELECT count(*) FROM gallery_image") == 0
    site.manage("restore", str(archive))
    assert site.value("SELECT count(*) FROM gallery_image") == PICTURES, "stopped, and without anybody in it"


def test_what_is_no_file_is_refused(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no file"):
        restores.restore(tmp_path / "nothing.zip")
    with pytest.raises(Refused, match="folder"):
        restores.restore(tmp_path)


# Archives that lie


Parts = dict[str, bytes]
Listed = list[dict[str, object]]


class Forged:
    """A backup whose parts can be changed, with a manifest that fits unless it is told otherwise."""

    def __init__(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as zipped:
            self.parts = {name: zipped.read(name) for name in zipped.namelist()}
        self.manifest = json.loads(self.parts.pop(MANIFEST))
        self.listed = [json.loads(line) for line in self.parts.pop(FILES).splitlines()]
        self.links: set[str] = set()
        self.picture = self.listed[0]["path"]

    def put(self, path: str, content: bytes) -> None:
        """A file that the manifest names."""
        self.parts[path] = content
        self.listed.append(asdict(backups.Entry(path, len(content), sha256(content).hexdigest())))
        self.manifest["files"]["count"] += 1
        self.manifest["files"]["bytes"] += len(content)

    def database(self, change: Callable[[Path], None], folder: Path) -> None:
        path = folder / "changed.sqlite3"
        path.write_bytes(self.parts[DATABASE])
        change(path)
        self.parts[DATABASE] = path.read_bytes()
        path.unlink()
        content = self.parts[DATABASE]
        self.manifest["database"] |= {"size": len(content), "sha256": sha256(content).hexdigest()}

    def write(self, target: Path) -> Path:
        listing = "".join(json.dumps(entry) + "\n" for entry in self.listed).encode()
        self.manifest["files"] |= {"size": len(listing), "sha256": sha256(listing).hexdigest()}
        parts = {FILES: listing, MANIFEST: json.dumps(self.manifest).encode()} | self.parts
        with zipfile.ZipFile(target, "w") as zipped:
            for name, content in parts.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK if name in self.links else stat.S_IFREG) << 16
                zipped.writestr(info, content)
        return target


def flip(forged: Forged) -> None:
    content = bytearray(forged.parts[forged.picture])
    content[len(content) // 2] ^= 1
    forged.parts[forged.picture] = bytes(content)


def link(forged: Forged) -> None:
    forged.put("media/link", b"/etc/passwd")
    forged.links.add("media/link")


def twice(forged: Forged) -> None:
    forged.listed.append(forged.listed[0])
    forged.manifest["files"]["count"] += 1
    forged.manifest["files"]["bytes"] += forged.listed[0]["size"]
    forged.parts["media/more"] = b""


LIES: dict[str, Callable[[Forged], object]] = {
    "a changed picture": flip,
    "a picture less": lambda forged: forged.parts.pop(forged.picture),
    "a file more": lambda forged: forged.parts.update({"media/more.png": b"x"}),
    "a way up": lambda forged: forged.put("media/../../outside", b"x"),
    "a way up at once": lambda forged: forged.put("../outside", b"x"),
    "an absolute name": lambda forged: forged.put("/tmp/clipsite-outside", b"x"),
    "a backslash": lambda forged: forged.put("media/..\\outside", b"x"),
    "a hidden file": lambda forged: forged.put("media/.hidden", b"x"),
    "no picture's place": lambda forged: forged.put("secret_key", b"x"),
    "a link": link,
    "a file twice": twice,
    "a file as a folder": lambda forged: forged.put(f"{forged.picture}/x", b"x"),
    "a size": lambda forged: forged.listed[0].update(size=forged.listed[0]["size"] + 1),
    "a hash": lambda forged: forged.listed[0].update(sha256="0" * 64),
    "a hash of no kind": lambda forged: forged.listed[0].update(sha256=None),
    "a name of no kind": lambda forged: forged.listed[0].update(path=["media"]),
    "a number of files": lambda forged: forged.manifest["files"].update(count=2),
    "a number of bytes": lambda forged: forged.manifest["files"].update(bytes=1),
    "bytes of no kind": lambda forged: forged.manifest["files"].update(bytes="many"),
    "a database elsewhere": lambda forged: forged.manifest["database"].update(path="../db.sqlite3"),
    "a list elsewhere": lambda forged: forged.manifest["files"].update(path="media/files.jsonl"),
    "a database's hash": lambda forged: forged.manifest["database"].update(sha256="0" * 64),
    "a migration less": lambda forged: forged.manifest["migrations"].pop(),
    "migrations of no kind": lambda forged: forged.manifest.update(migrations=3),
    "a format of no kind": lambda forged: forged.manifest.update(format=None),
    "no files": lambda forged: forged.manifest.update(files={"path": FILES, "count": 0, "bytes": 0}),
}


def refusal(folder: Path, path: Path) -> str:
    """Why a backup is refused; nothing may be left of it, within DATA_DIR or beside it."""
    before, beside = tree(folder), sorted(folder.parent.iterdir())
    with pytest.raises(Refused) as refused:
        restores.restore(path)
    assert tree(folder) == before == set()
    assert sorted(folder.parent.iterdir()) == beside
    assert not Path("/tmp/clipsite-outside").exists()
    return str(refused.value)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_backup_that_was_changed_is_refused(
    lie: Callable[[Forged], object], empty: Path, archive: Path, tmp_path: Path
) -> None:
    forged = Forged(archive)
    lie(forged)
    assert "damaged or changed" in refusal(empty, forged.write(tmp_path / "forged.zip"))


def test_an_unchanged_one_would_be_taken(archive: Path, tmp_path: Path) -> None:
    """So what is refused above is refused for its lie."""
    restored = Site(tmp_path / "restored")
    restored.manage("restore", str(Forged(archive).write(tmp_path / "same.zip")))
    assert restored.value("SELECT count(*) FROM gallery_image") == PICTURES


def foreign_key(path: Path) -> None:
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute("UPDATE gallery_image SET project_id = 99")


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\0" * 4096 * 40 + content[4096 * 41 :])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (foreign_key, "belongs to a row of"),
        (damage, "database"),
        (lambda path: path.write_bytes(b"no database at all"), "can't be read"),
        (lambda path: path.write_bytes(b""), "can't be read"),
    ],
)
def test_a_database_that_is_not_sound_is_refused(
    change: Callable[[Path], None], why: str, empty: Path, archive: Path, tmp_path: Path
) -> None:
    forged = Forged(archive)
    forged.database(change, tmp_path)
    assert why in refusal(empty, forged.write(tmp_path / "forged.zip"))


def test_a_backup_of_a_newer_version_is_refused_in_words(empty: Path, archive: Path, tmp_path: Path) -> None:
    forged = Forged(archive)
    forged.manifest["migrations"].append(["gallery", "0999_tomorrow"])
    forged.manifest["clipsite"] = "9.9.9"
    said = refusal(empty, forged.write(tmp_path / "newer.zip"))
    assert "9.9.9" in said and "gallery.0999_tomorrow" in said and "Update clipsite" in said
    forged = Forged(archive)
    forged.manifest["format"] = 2
    assert "Update clipsite" in refusal(empty, forged.write(tmp_path / "format.zip"))


def broken() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    yield "no ZIP", lambda content: b"no ZIP"
    yield "nothing", lambda content: b""
    yield "cut off", lambda content: content[: len(content) // 2]
    yield "cut at its begin", lambda content: content[1000:]
    yield "without a manifest", lambda content: content.replace(b"manifest.json", b"manifest.jsan")
    yield "filled with zeros", lambda content: content[:2000] + bytes(2000) + content[4000:]


@pytest.mark.parametrize("change", [change for _, change in broken()], ids=[name for name, _ in broken()])
def test_a_damaged_file_is_refused(
    change: Callable[[bytes], bytes], empty: Path, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "damaged.zip").write_bytes(change(archive.read_bytes()))
    assert "damaged or changed" in refusal(empty, tmp_path / "damaged.zip")


def test_a_backup_larger_than_the_disk_is_refused_at_once(empty: Path, archive: Path, tmp_path: Path) -> None:
    forged = Forged(archive)
    forged.manifest["files"]["bytes"] = 10**18
    assert "Free some space" in refusal(empty, forged.write(tmp_path / "large.zip"))


def test_a_restore_that_fails_at_its_end_leaves_nothing(
    empty: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restores, "_bring_up_to_date", lambda database: None)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(restores, "_replace", fail)
    with pytest.raises(OSError, match="full"):
        restores.restore(archive)
    assert tree(empty) == set()
