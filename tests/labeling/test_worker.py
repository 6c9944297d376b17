"""The real thing: a supervisor, a qcluster, CLIP, and SIGKILL."""

import multiprocessing
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labeling import worker
from tests.live import ROOT, Site, free_port, is_of_cluster, wait_for

MATCHES = "SELECT count(*) FROM labeling_match"
STATE = "SELECT state FROM labeling_scoringrun ORDER BY id DESC LIMIT 1"
COUNT = 400
RUN_CLUSTER = "import django; django.setup(); from labeling import cluster; cluster.run()"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.kill_everything()


def holder(site: Site) -> int:
    """The id of the process that is at a chunk now."""
    token = site.value("SELECT coalesce(max(token), '') FROM labeling_scoringchunk WHERE state = 'running'")
    return int(token.split(":")[1]) if token else 0


def is_done(site: Site) -> bool:
    return site.value(STATE) == "done"


def assert_whole(site: Site) -> None:
    assert site.value(MATCHES) == COUNT
    assert site.value("SELECT count(DISTINCT image_id) FROM labeling_match") == COUNT
    assert site.value("SELECT count(*) FROM labeling_imageattempt WHERE failed") == 0


def test_a_run_comes_through_the_death_of_its_worker_and_of_everything(site: Site) -> None:
    site.make_run(COUNT)
    site.start("worker")
    wait_for(lambda: site.value(MATCHES) >= 32 and holder(site), 60, "the run did not begin")
    os.kill(holder(site), signal.SIGKILL)
    reached = site.value(MATCHES)
    assert reached < COUNT
    wait_for(lambda: site.value(MATCHES) > reached, 60, "the run did not go on after its worker's death")
    site.kill_everything()
    assert not is_done(site)
    site.start("worker")
    wait_for(lambda: is_done(site), 90, "the run did not end after a restart")
    assert_whole(site)


def test_an_idle_cluster_that_loses_any_process_still_works(site: Site) -> None:
    site.manage("migrate", "-v0")
    site.start("worker")
    wait_for(lambda: len(site.cluster()) >= 5, 30, "the cluster did not come up")
    for role in range(len(site.cluster())):
        before = sorted(process.pid for process in site.cluster())
        os.kill(before[role], signal.SIGKILL)
        wait_for(
            lambda old=before: (
                len(site.cluster()) >= 5 and not {process.pid for process in site.cluster()} & set(old)
            ),
            30,
            f"no fresh cluster after the death of process {role}",
        )
    site.make_run(20)
    wait_for(lambda: is_done(site), 60, "the run did not end")


def test_a_stopped_worker_leaves_nothing_behind(site: Site) -> None:
    site.make_run(COUNT)
    worker = site.start("worker")
    wait_for(lambda: site.value(MATCHES) > 0, 60, "the run did not begin")
    worker.terminate()
    assert worker.wait(60) == 0
    assert site.processes() == []
    assert site.value("SELECT count(*) FROM labeling_scoringchunk WHERE state = 'running'") == 0
    assert site.value("SELECT max(attempts) FROM labeling_scoringchunk") <= 1, "nothing was cut off"


def test_a_worker_that_is_stopped_as_it_begins_ends_at_once(site: Site) -> None:
    site.manage("migrate", "-v0")
    worker = site.start("worker")
    wait_for(lambda: site.value("SELECT count(*) FROM labeling_workerbeat"), 30, "it did not begin")
    assert not site.cluster(), "the slow libraries come first"
    worker.terminate()
    assert worker.wait(10) == 0
    assert site.processes() == [] and "Traceback" not in (site.data_dir / "log.txt").read_text()


def test_a_fresh_cluster_imports_nothing_anew(site: Site) -> None:
    """All its processes share the libraries of the supervisor, which is most of their memory."""
    site.make_run(20)
    site.start("worker")
    wait_for(lambda: is_done(site), 60, "the run did not end")
    for process in site.cluster():
        memory = process.memory_full_info()
        assert memory.uss < memory.rss / 2, process


@pytest.mark.parametrize("main_too", [False, True])
def test_a_killed_supervisor_leaves_no_second_cluster(site: Site, main_too: bool) -> None:
    site.manage("migrate", "-v0")
    first = site.start("worker")
    wait_for(lambda: len(site.cluster()) >= 5, 30, "the cluster did not come up")
    orphans = {process.pid for process in site.cluster()}
    first.kill()
    if main_too:
        os.kill(min(orphans), signal.SIGKILL)
    first.wait()
    site.start("worker")
    wait_for(lambda: not orphans & set(psutil.pids()), 30, "the orphans live on")


def test_no_error_of_its_beat_ends_a_supervisor(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ConnectionError("the queue is away")

    monkeypatch.setattr(worker.beat, "beat", away)
    worker._beat(follow=True)


def test_one_supervisor_for_each_data_dir(site: Site) -> None:
    site.manage("migrate", "-v0")
    site.start("worker")
    wait_for(lambda: site.cluster(), 30, "the cluster did not come up")
    assert site.start("worker").wait(30) == 1
    assert "running already" in (site.data_dir / "log.txt").read_text()


def test_start_serves_the_site_and_one_ctrl_c_ends_web_and_worker(site: Site) -> None:
    port = free_port()
    start = site.start("start", "--port", str(port))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    wait_for(answers, 60, "the site does not answer")
    wait_for(lambda: len(site.cluster()) >= 5, 30, "the worker did not come up")
    os.killpg(start.pid, signal.SIGINT)
    assert start.wait(60) == 0
    assert site.processes() == []


def test_a_cluster_that_loses_a_process_ends_as_a_whole_and_at_once(site: Site) -> None:
    """It must not go on with a new process in the dead one's place: the queue's lock may be lost."""
    site.manage("migrate", "-v0")
    for role in range(2, 5):  # below the main process and the sentinel, which nobody replaces
        cluster = subprocess.Popen(
            [sys.executable, "-c", RUN_CLUSTER, "worker"],
            cwd=ROOT,
            env=site.environment() | {"DJANGO_SETTINGS_MODULE": "clipsite.settings"},
            start_new_session=True,
        )
        site.started.append(cluster)

        def its_processes(group: int = cluster.pid) -> list[int]:
            return [process.pid for process in site.processes() if is_of_cluster(process, group)]

        wait_for(lambda: len(its_processes()) >= 5, 30, "the cluster did not come up")
        os.kill(sorted(its_processes())[role], signal.SIGKILL)
        assert cluster.wait(20) == -signal.SIGKILL
        wait_for(lambda: not its_processes(), 10, "some of it lives on")


def test_a_cluster_that_does_not_answer_is_started_afresh(
    site: Site, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_beat", lambda follow: True)
    monkeypatch.setattr(worker, "UNANSWERED_SECONDS", 1)
    monkeypatch.setattr(worker, "BEAT_SECONDS", 1)
    reader, writer = os.pipe()
    silent = multiprocessing.get_context("fork").Process(target=os.read, args=(reader, 1))
    silent.start()
    try:
        worker._watch(silent, signals=[])
        assert silent.is_alive(), "it lives, and was given up all the same"
    finally:
        os.write(writer, b"\n")
        silent.join()
