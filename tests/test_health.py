"""What watches over the site asks these two."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labeling import beat, clip
from labeling.models import WorkerBeat


def test_a_process_that_answers_is_healthy() -> None:
    answer = Client().get("/healthz")  # no database is touched
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_site_with_all_its_parts_is_ready(db: None) -> None:
    beat.beat("here:1")
    answer = Client().get("/readyz")
    checks = {"database": True, "migrations": True, "worker": True, "model": True, "disk": True}
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})


def failed_checks() -> set[str]:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    return {name for name, holds in answer.json()["checks"].items() if not holds}


def test_without_a_worker_it_is_not_ready(db: None) -> None:
    assert failed_checks() == {"worker"}


def test_without_a_model_it_is_not_ready(db: None, settings: object) -> None:
    beat.beat("here:1")
    settings.CLIP_MODEL = "/nowhere"
    assert failed_checks() == {"model"}


def test_a_model_without_its_weights_is_none(db: None, settings: object, tmp_path: Path) -> None:
    beat.beat("here:1")
    (tmp_path / clip.REVISION_FILE).write_text('{"revision": "abc"}')
    (tmp_path / "abc").mkdir()
    settings.CLIP_MODEL, settings.MODELS_DIR = "some/model", tmp_path.parent
    tmp_path.rename(clip.model_dir("some/model"))
    assert failed_checks() == {"model"}
    (clip.model_dir("some/model") / "abc" / "model.safetensors").touch()
    assert Client().get("/readyz").status_code == 200


def test_a_worker_that_is_silent_for_half_a_minute_is_away(db: None) -> None:
    beat.beat("here:1")
    WorkerBeat.objects.update(at=timezone.now() - timedelta(seconds=31))
    assert failed_checks() == {"worker"}
    WorkerBeat.objects.update(at=timezone.now() - timedelta(seconds=25))
    assert Client().get("/readyz").status_code == 200


def test_with_a_disk_that_is_nearly_full_it_is_not_ready(db: None, settings: object) -> None:
    beat.beat("here:1")
    settings.DISK_RESERVE_BYTES = 10**18
    assert failed_checks() == {"disk"}
    settings.DISK_RESERVE_BYTES = 0
    assert Client().get("/readyz").status_code == 200


def test_nothing_is_written_to_answer(db: None) -> None:
    beat.beat("here:1")
    with CaptureQueriesContext(connection) as queries:
        assert Client().get("/readyz").status_code == 200
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}


def test_with_a_migration_to_come_it_is_not_ready(db: None) -> None:
    beat.beat("here:1")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'labeling'")
    assert failed_checks() == {"migrations"}


def test_without_a_database_it_is_not_ready(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise DatabaseError

    with monkeypatch.context() as patched:
        patched.setattr(connection, "cursor", gone)
        assert {"database", "worker"} <= failed_checks()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_are_read_only(path: str) -> None:
    assert Client().post(path).status_code == 405
