"""Is the process alive, and can the site do its work? For whatever watches over it."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from clipsite.prepare import is_migrated
from gallery import disk
from labeling import beat, clip


@dataclass(frozen=True)
class Check:
    holds: Callable[[], bool]
    otherwise: str  # what is wrong, and what to do


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """503 where a part of the site is missing; each check says which. Nothing is loaded or written."""
    checks = results()
    ready = all(checks.values())
    return JsonResponse(
        {"status": "ok" if ready else "not ready", "checks": checks}, status=200 if ready else 503
    )


def results() -> dict[str, bool]:
    """What holds of CHECKS, by name."""
    return {name: _holds(check) for name, check in CHECKS.items()}


def _holds(check: Check) -> bool:
    try:
        return check.holds()
    except Exception:
        return False


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def _model() -> bool:
    return any(clip.current().path.glob("*.safetensors"))


CHECKS = {
    "database": Check(_database, "can't be opened. See to its file and disk, or to DATABASE_URL."),
    "migrations": Check(
        is_migrated, "not all applied. Run “manage.py migrate”; “manage.py start” does it as well."
    ),
    "worker": Check(
        beat.worker_is_online, "Run “manage.py start”, or “manage.py worker” for a worker alone."
    ),
    "model": Check(_model, "not on this disk. See to CLIP_MODEL, or run “manage.py fetch_model”."),
    "disk": Check(
        lambda: not disk.is_low(),
        "Nearly full, so no picture is taken in. Free some space, or lower DISK_RESERVE_BYTES.",
    ),
}
