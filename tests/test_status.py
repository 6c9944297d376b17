"""`manage.py status`: how the site is, in words, with what to do, whatever is wrong."""

import io
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clipsite import health, status
from gallery.models import Image, Project, Upload
from labeling import beat
from labeling.models import LabelSet, ScoringChunk, ScoringRun, WorkerBeat
from labeling.runs import ChunkState, RunState
from tests.test_settings import LONG_SECRET, run


def said() -> str:
    """What the command prints; where it isn't ready, with that as the last line."""
    out = io.StringIO()
    try:
        call_command("status", stdout=out)
    except CommandError as error:
        assert error.returncode == 1
        out.write(str(error))
    return out.getvalue()


def line(title: str) -> str:
    """The line of the report that begins with this title."""
    [found] = [line for line in said().splitlines() if line.startswith(f"{title}:")]
    return found.partition(":")[2].strip()


def test_a_site_that_is_ready_says_so(db: None) -> None:
    beat.beat("here:1")
    report = said()
    assert report.splitlines()[-1] == "Ready."
    assert report.startswith("clipsite ") and " free of " in report
    assert line("Migrations") == "all applied"
    assert line("Worker").startswith("online, last seen ")
    assert line("Model").startswith("clipsite/starter: it knows drawn shapes, not photographs.")
    assert line("Holds") == "0 users, 0 projects, 0 images"
    assert line("Queue") == "runs: 0 waiting, 0 running; chunks: 0 waiting, 0 held by a worker"
    assert line("Failed runs") == "none in the last 7 days"
    assert line("Uploads") == "none open, or failed in the last 7 days"
    if connection.vendor == "sqlite":
        assert line("Database").startswith(f"SQLite {sqlite3.sqlite_version}, ")


def test_a_worker_that_is_away_is_said_with_what_to_do(db: None) -> None:
    assert said().splitlines()[-1] == "Not ready: worker."
    assert line("Worker").startswith("offline, never seen. Run “manage.py start”")
    WorkerBeat.objects.create(worker="here:1", at=timezone.now() - timedelta(hours=3))
    assert line("Worker").replace("\xa0", " ").startswith("offline, last seen 3 hours ago. Run ")


def test_a_disk_that_is_nearly_full_and_a_model_that_is_not_here(db: None, settings: Any) -> None:
    beat.beat("here:1")
    settings.DISK_RESERVE_BYTES, settings.CLIP_MODEL = 10**18, "/nowhere"
    assert said().splitlines()[-1] == "Not ready: model, disk."
    assert "Free some space" in line("Disk")
    assert line("Model") == health.CHECKS["model"].otherwise


@pytest.mark.parametrize("broken", sorted(health.CHECKS))
def test_it_is_ready_exactly_where_readyz_is(db: None, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> bool:
        raise OSError("whatever it is")

    beat.beat("here:1")
    monkeypatch.setitem(health.CHECKS, broken, health.Check(fails, "Do what is to be done."))
    report = said()
    assert report.splitlines()[-1] == f"Not ready: {broken}."
    assert "Do what is to be done." in report


def test_work_that_waits_is_counted(label_set: LabelSet, project: Project) -> None:
    ScoringRun.objects.all().delete()
    now = timezone.now()
    ScoringRun.objects.create(project=project, state=RunState.QUEUED, created_at=now - timedelta(minutes=3))
    running = ScoringRun.objects.create(project=project, label_set=label_set, state=RunState.RUNNING)
    held = {"state": ChunkState.RUNNING, "leased_until": now + timedelta(seconds=60)}
    lost = {"state": ChunkState.RUNNING, "leased_until": now - timedelta(seconds=1)}
    for chunk in (held, lost, {}, {}):
        ScoringChunk.objects.create(run=running, image_ids=[], size=0, **chunk)
    figures = (
        "runs: 1 waiting, 1 running; chunks: 2 waiting, 1 held by a worker; the oldest came 3 minutes ago"
    )
    assert line("Queue") == figures


def test_runs_that_failed_lately_are_named_with_their_reason(project: Project) -> None:
    now = timezone.now()
    for days in (0, 1, 2, 3, 4, 5, 30):
        ScoringRun.objects.create(
            project=project,
            state=RunState.FAILED,
            error=f"Out of memory,\n{days} days ago",
            finished_at=now - timedelta(days=days),
        )
    report = said()
    assert line("Failed runs").startswith("6 in the last 7 days. See to the reason")
    assert "of “Animals”, now: Out of memory, 0 days ago\n" in report
    assert "4 days ago" in report and "5 days ago" not in report and "\n  and 1 more\n" in report


def test_uploads_that_are_open_or_failed_are_named(project: Project) -> None:
    hour_ago = timezone.now() - timedelta(hours=1)
    Upload.objects.create(project=project, state=Upload.State.OPEN, created_at=hour_ago)
    Upload.objects.create(project=project, state=Upload.State.OPEN)
    Upload.objects.create(project=project, state=Upload.State.FAILED, error="It is no ZIP.")
    Upload.objects.create(project=project)
    report = said()
    assert line("Uploads").startswith("3 open, or failed in the last 7 days.")
    for words in ("stands still", "in progress", "It is no ZIP."):
        assert words in report


def test_what_strangers_wrote_does_not_reach_the_terminal_as_orders(project: Project) -> None:
    Project.objects.update(name="\x1b]0;owned\x07\x9b2J")
    ScoringRun.objects.create(
        project=project, state=RunState.FAILED, error="\x1b[31mred", finished_at=timezone.now()
    )
    report = said()
    assert "owned" in report and not {"\x1b", "\x07", "\x9b"} & set(report)


def test_more_rows_cost_no_more_questions(add: Callable[..., list[Image]], project: Project) -> None:
    beat.beat("here:1")
    said()
    with CaptureQueriesContext(connection) as few:
        said()
    for number in range(20):
        Upload.objects.create(project=project, state=Upload.State.FAILED, error="no")
        User.objects.create_user(f"user{number}")
        ScoringRun.objects.create(project=project, state=RunState.FAILED, finished_at=timezone.now())
    with CaptureQueriesContext(connection) as many:
        said()
    assert len(many) == len(few)


def test_the_media_are_not_walked_through(db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    walked: list[Path] = []
    for name in ("scandir", "listdir", "walk"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path=".", *a, real=real: walked.append(Path(path)) or real(path, *a)
        )
    Path(settings.MEDIA_ROOT, "images").mkdir(parents=True)
    said()
    assert not [path for path in walked if path.is_relative_to(settings.MEDIA_ROOT)]


# Warnings


def test_a_site_that_is_open_without_https_is_warned_of(settings: Any) -> None:
    settings.PUBLIC, settings.HTTPS = True, False
    assert any("Passwords travel in the clear" in warning for warning in status.warnings())
    settings.HTTPS = True
    assert not any("Passwords" in warning for warning in status.warnings())


def test_a_folder_that_others_can_read_is_warned_of(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    for mode, warned in ((0o755, True), (0o750, True), (0o700, False)):
        tmp_path.chmod(mode)
        assert any("chmod 700" in warning for warning in status.warnings()) is warned


# In processes of their own


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "Not ready: migrations, worker."),
        ({"DATABASE_URL": "sqlite:////nowhere/db.sqlite3"}, "Not ready: database, migrations, worker."),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}, "Not ready: database, migrations, worker."),
    ],
    ids=["not migrated", "no such folder", "no server"],
)
def test_without_a_database_it_says_what_it_can(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    done = run(tmp_path, "manage.py", "status", **environment)
    assert done.returncode == 1 and sentence in done.stderr
    assert "What the database holds isn't known until that is mended." in done.stdout
    assert "Model:" in done.stdout and "Traceback" not in done.stdout + done.stderr


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes(b"no database" * 1000)
    done = run(tmp_path, "manage.py", "status")
    assert done.returncode == 1 and "can't be opened" in done.stdout
    assert "manage.py migrate" not in done.stdout, "that would not mend it"
    assert "Traceback" not in done.stdout + done.stderr


def test_it_tells_no_secret(tmp_path: Path) -> None:
    hidden = {"SECRET_KEY": LONG_SECRET, "DATABASE_URL": "postgres://nobody:tell-nobody@127.0.0.1:1/none"}
    done = run(tmp_path, "manage.py", "status", **hidden)
    assert LONG_SECRET not in done.stdout + done.stderr and "tell-nobody" not in done.stdout + done.stderr
