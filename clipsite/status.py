"""How the site is, in words, for whoever looks after it. It costs the same at a million images."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.humanize.templatetags.humanize import intcomma, naturaltime
from django.db import connection
from django.db.models import Min
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

import clipsite
from clipsite import sqlite
from clipsite.health import CHECKS
from gallery.models import Image, Project, Upload
from labeling import beat, clip
from labeling.models import ScoringChunk, ScoringRun, WorkerBeat
from labeling.runs import ChunkState, RunState

LATELY, SHOWN = timedelta(days=7), 5
SIZE = {
    "sqlite": "SELECT page_count * page_size, sqlite_version() FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT pg_database_size(current_database()), current_setting('server_version')",
}


def lines(results: dict[str, bool]) -> Iterator[str]:
    """The report, line by line; `results` are health's."""
    yield f"clipsite {clipsite.__version__}"
    yield _line("Data", _data)
    yield _line("Disk", _disk, "" if results["disk"] else CHECKS["disk"].otherwise)
    for name, words in PARTS.items():
        if name == "migrations" and not results["database"]:
            continue  # to migrate would not mend it
        yield _line(name.capitalize(), words if results[name] else lambda name=name: CHECKS[name].otherwise)
    if results["database"] and results["migrations"]:
        yield _line("Worker", _worker, "" if results["worker"] else CHECKS["worker"].otherwise)
        for title, words in ROWS.items():
            yield _line(title, words)
    else:
        yield "What the database holds isn't known until that is mended."
    for warning in warnings():
        yield _line("Warning", lambda warning=warning: warning)


def _line(title: str, words: Callable[[], str], what_to_do: str = "") -> str:
    try:
        said = f"{words()}. {what_to_do}".strip() if what_to_do else words()
    except Exception as error:
        said = f"can't be told ({type(error).__name__}: {error})"
    # Names and reasons come from strangers: no escape sequence reaches the terminal.
    shown = "".join(mark if mark.isprintable() or mark == "\n" else " " for mark in said)
    return f"{title + ':':<13}{shown}"


def _size(count: int) -> str:
    return filesizeformat(count)


def _data() -> str:
    return str(settings.DATA_DIR)


def _disk() -> str:
    usage = shutil.disk_usage(settings.DATA_DIR)
    return f"{_size(usage.free)} free of {_size(usage.total)}, {_size(settings.DISK_RESERVE_BYTES)} kept free"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute(SIZE[connection.vendor])
        size, version = cursor.fetchone()
    return f"{connection.display_name} {version}, {_size(size)}"


def _model() -> str:
    name = clip.current().name
    if name != clip.STARTER_NAME:
        return name
    return f"{name}: it knows drawn shapes, not photographs. For those, run “manage.py fetch_model”."


def _worker() -> str:
    last = WorkerBeat.objects.order_by("-at").first()
    if last is None:
        return "offline, never seen"
    return f"{'online' if beat.worker_is_online() else 'offline'}, last seen {naturaltime(last.at)}"


def _queue() -> str:
    queued, running = (
        ScoringRun.objects.filter(state=state) for state in (RunState.QUEUED, RunState.RUNNING)
    )
    waiting = ScoringChunk.objects.filter(state=ChunkState.PENDING)
    held = ScoringChunk.objects.filter(state=ChunkState.RUNNING, leased_until__gt=timezone.now())
    said = (
        f"runs: {queued.count()} waiting, {running.count()} running; "
        f"chunks: {waiting.count()} waiting, {held.count()} held by a worker"
    )
    since = [queued.aggregate(at=Min("created_at"))["at"], waiting.aggregate(at=Min("queued_at"))["at"]]
    oldest = min(filter(None, since), default=None)
    return f"{said}; the oldest came {naturaltime(oldest)}" if oldest else said


def _failed_runs() -> str:
    failed = ScoringRun.objects.filter(
        state=RunState.FAILED, finished_at__gt=timezone.now() - LATELY
    ).order_by("-finished_at")
    newest = failed.select_related("project").defer("label_vectors")[:SHOWN]
    return _listed(
        failed.count(),
        "in the last 7 days",
        [f"run {run.pk} of “{run.project}”, {naturaltime(run.finished_at)}: {run.error}" for run in newest],
        "See to the reason, then press Score again in the project.",
    )


def _uploads() -> str:
    still_open = Upload.objects.filter(state=Upload.State.OPEN)
    failed = Upload.objects.filter(state=Upload.State.FAILED, created_at__gt=timezone.now() - LATELY)
    newest = [*still_open.select_related("project")[:SHOWN], *failed.select_related("project")[:SHOWN]]
    said = [f"upload {upload.pk} to “{upload.project}”: {_upload(upload)}" for upload in newest]
    return _listed(
        still_open.count() + failed.count(),
        "open, or failed in the last 7 days",
        said,
        "Send what failed again.",
    )


def _upload(upload: Upload) -> str:
    if upload.state == Upload.State.FAILED:
        return f"failed {naturaltime(upload.created_at)}: {upload.error}"
    return "stands still; a worker goes on with it" if upload.is_silent else "in progress"


def _listed(count: int, which: str, newest: list[str], what_to_do: str) -> str:
    if not count:
        return f"none {which}"
    more = [f"and {count - len(newest)} more"] if count > len(newest) else []
    return "\n  ".join(
        [f"{count} {which}. {what_to_do}", *(" ".join(line.split()) for line in newest), *more]
    )


def _counts() -> str:
    people = get_user_model().objects
    figures = {"users": people.count(), "projects": Project.objects.count(), "images": Image.objects.count()}
    return ", ".join(f"{intcomma(count)} {name}" for name, count in figures.items())


PARTS = {"model": _model, "database": _database, "migrations": lambda: "all applied"}
ROWS = {"Queue": _queue, "Failed runs": _failed_runs, "Uploads": _uploads, "Holds": _counts}


def warnings() -> list[str]:
    """What doesn't keep the site from its work, and should be seen to."""
    said = [sqlite.warning()]
    if settings.DATA_DIR.stat().st_mode & 0o077:
        said.append(f"Other users of this machine can look into {settings.DATA_DIR}. Run: chmod 700 on it.")
    if settings.PUBLIC and not settings.HTTPS:
        said.append("Passwords travel in the clear. Put a TLS proxy in front, and set CSRF_TRUSTED_ORIGINS.")
    if settings.DEBUG:
        said.append("DEBUG is on: it is for development alone.")
    return [warning for warning in said if warning]
