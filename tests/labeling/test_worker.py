"""The real thing: a supervisor, a qcluster, CLIP, and SIGKILL."""

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
from tests.live import ROOT, Site, free_port, wait_for

MATCHES = "SELECT count(*) FROM labeling_match"
STATE = "SELECT state FROM labeling_scoringrun ORDER BY id DESC LIMIT 1"
COUNT = 400


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.kill_everything()


def cluster_of(site: Site) -> list[psutil.Process]:
    """The queue's processes: its main one, then sentinel, pusher, monitor and workers."""
    return [process for process in site.processes() if is_of_cluster(process)]


def is_of_cluster(process: psutil.Process) -> bool:
    try:
        return "qcluster" in process.cmdline()
    except psutil.Error:  # it died in between
        return False


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
    wait_for(lambda: len(cluster_of(site)) >= 5, 30, "the cluster did not come up")
    for role in range(len(cluster_of(site))):
        before = sorted(process.pid for process in cluster_of(site))
        os.kill(before[role], signal.SIGKILL)
        wait_for(
            lambda old=before: (
                len(cluster_of(site)) >= 5 and not {p.pid for p in cluster_of(site)} & set(old)
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


@pytest.mark.parametrize("main_too", [False, True])
def test_a_killed_supervisor_leaves_no_second_cluster(site: Site, main_too: bool) -> None:
    site.manage("migrate", "-v0")
    first = site.start("worker")
    wait_for(lambda: len(cluster_of(site)) >= 5, 30, "the cluster did not come up")
    orphans = {process.pid for process in cluster_of(site)}
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
    wait_for(lambda: cluster_of(site), 30, "the cluster did not come up")
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
    wait_for(lambda: len(cluster_of(site)) >= 5, 30, "the worker did not come up")
    os.killpg(start.pid, signal.SIGINT)
    assert start.wait(60) == 0
    assert site.processes() == []


def test_a_cluster_that_loses_a_process_ends_as_a_whole_and_at_once(site: Site) -> None:
    """It must not go on with a new process in the dead one's place: the queue's lock may be lost."""
    site.manage("migrate", "-v0")
    for role in range(2, 5):  # below the main process and the sentinel, which nobody replaces
        cluster = subprocess.Popen(
            [sys.executable, "-m", "labeling.cluster", "qcluster"],
            cwd=ROOT,
            env=site.environment() | {"DJANGO_SETTINGS_MODULE": "clipsite.settings"},
            start_new_session=True,
        )
        site.started.append(cluster)
        wait_for(lambda: len(cluster_of(site)) >= 5, 30, "the cluster did not come up")
        os.kill(sorted(process.pid for process in cluster_of(site))[role], signal.SIGKILL)
        assert cluster.wait(20) == -signal.SIGKILL
        wait_for(lambda: not cluster_of(site), 10, "some of it lives on")


def test_a_cluster_that_does_not_answer_is_started_afresh(
    site: Site, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_beat", lambda follow: True)
    monkeypatch.setattr(worker, "UNANSWERED_SECONDS", 1)
    monkeypatch.setattr(worker, "BEAT_SECONDS", 1)
    silent = subprocess.Popen([sys.executable, "-c", "input()", "qcluster"], stdin=subprocess.PIPE)
    try:
        worker._watch(silent, signals=[])
        assert silent.poll() is None, "it lives, and was given up all the same"
    finally:
        silent.communicate(b"\n")
