"""The commands as a new user types them, each in a process and a DATA_DIR of its own."""

import contextlib
import csv
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import PIL.Image
import psutil
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import CommandError, call_command

from clipsite.sqlite import has_wal_reset_bug
from gallery import uploads
from gallery.models import Project
from labeling.management.commands import demo
from labeling.worker import NICE
from tests.live import Site, free_port, wait_for
from tests.test_settings import SETTINGS

COLUMNS = (
    "id,file_name,sha256,width,height,label,status,source,decided_by,decided_at,suggested_label,"
    "similarity,probability,margin,runner_up,model,split"
)
PASSWORD = re.compile(r"^User: demo, password: (\S+) \(shown this once\)$", re.MULTILINE)
# More than a ZIP may hold to be unpacked at once: the worker does it.
GREYS = uploads.ZIP_AT_ONCE + 8


class NewSite(Site):
    """A site of someone who has configured nothing."""

    def environment(self) -> dict[str, str]:
        return os.environ | dict.fromkeys(SETTINGS, "") | {"DATA_DIR": str(self.data_dir)}

    def run(self, *args: str, timeout: int = 120, **environment: str) -> subprocess.CompletedProcess:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=django_settings.BASE_DIR,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def counts(self) -> dict[str, int]:
        tables = ["auth_user", "gallery_project", "gallery_image", "labeling_labelset", "labeling_match"]
        return {table: self.value(f"SELECT count(*) FROM {table}") for table in tables}

    def exported(self, name: str) -> list[dict[str, str]]:
        with (self.data_dir / name).open(newline="", encoding="utf-8") as file:
            assert file.readline().strip() == COLUMNS
            return list(csv.DictReader(file, COLUMNS.split(",")))

    def log(self) -> str:
        return (self.data_dir / "log.txt").read_text()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[NewSite]:
    site = NewSite(tmp_path)
    yield site
    site.kill_everything()


@pytest.fixture(scope="module")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewSite]:
    site = NewSite(tmp_path_factory.mktemp("demo"))
    yield site
    site.kill_everything()


@pytest.fixture(scope="module")
def first(demo_site: NewSite) -> subprocess.CompletedProcess:
    """`demo` on a new machine: a minute is what it may take."""
    return demo_site.run("demo", timeout=60)


@pytest.fixture(scope="module")
def second(demo_site: NewSite, first: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """`demo` once more."""
    return demo_site.run("demo")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures, one in a folder, more in a ZIP, a hidden file, and two files that are no pictures."""
    folder = tmp_path / "My photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(["red.png", "blue.jpg", "green.webp", "more/pink.png"]):
        PIL.Image.new("RGB", (64 + number, 48), Path(name).stem).save(folder / name)
    with zipfile.ZipFile(folder / "greys.zip", "w") as archive:
        for grey in range(GREYS):
            PIL.Image.new("L", (16, 16), grey).save(folder / "grey.png")
            archive.write(folder / "grey.png", f"grey {grey:02}.png")
    (folder / "grey.png").unlink()
    (folder / "broken.jpg").write_bytes((folder / "blue.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".DS_Store").write_text("hidden")
    return folder


# demo


def test_demo_does_the_main_job(demo_site: NewSite, first: subprocess.CompletedProcess) -> None:
    assert first.returncode == 0, first.stderr
    assert "Model: clipsite/starter" in first.stdout
    assert "Uploaded: 120 added" in first.stdout
    assert "Uploading: 100%" in first.stderr and "Labelling: 100%" in first.stderr
    assert not re.search("Traceback|Warning|ERROR|INFO", first.stdout + first.stderr)
    assert "manage.py start" in first.stdout
    assert f"http://127.0.0.1:8000/projects/drawn-shapes/?label_set={label_set_of(demo_site)}" in first.stdout
    assert demo_site.processes() == [], "its worker is gone"


def label_set_of(site: NewSite) -> int:
    return site.value("SELECT min(id) FROM labeling_labelset")


def test_the_password_is_told_once_and_is_right(
    demo_site: NewSite, first: subprocess.CompletedProcess, second: subprocess.CompletedProcess
) -> None:
    [password] = PASSWORD.findall(first.stdout)
    assert first.stdout.count(password) == 1
    stored = demo_site.value("SELECT password FROM auth_user WHERE username = 'demo'")
    assert PBKDF2PasswordHasher().verify(password, stored)
    assert not PASSWORD.findall(second.stdout)
    assert "User: demo, with the password that it has" in second.stdout


def test_the_table_is_true(demo_site: NewSite, first: subprocess.CompletedProcess) -> None:
    rows = demo_site.exported("drawn-shapes.csv")
    table = re.findall(r"^ +(\w+ \w+) +(\d+) +(\d+) +(\d+)$", first.stdout, re.MULTILINE)
    assert len(table) == 16
    for label, drawn, labelled_so, right in table:
        of_this = [row for row in rows if row["file_name"].startswith(f"{label} ")]
        suggested = [row for row in rows if row["suggested_label"] == label]
        assert int(drawn) == len(of_this) and int(labelled_so) == len(suggested)
        assert int(right) == sum(row in suggested for row in of_this)
    assert sum(int(drawn) for _, drawn, *_ in table) == 120
    assert f"{sum(int(right) for *_, right in table)} of 120 labelled as they were drawn." in first.stdout


def test_the_csv_holds_what_it_promises(demo_site: NewSite, first: subprocess.CompletedProcess) -> None:
    rows = demo_site.exported("drawn-shapes.csv")
    assert f"Wrote 120 rows to {demo_site.data_dir}/drawn-shapes.csv" in first.stdout
    assert len(rows) == 120 and len({row["sha256"] for row in rows}) == 120
    for row in rows:
        assert row["status"] == "unreviewed" and row["width"] == row["height"] == "320"
        assert row["suggested_label"] and row["runner_up"] not in ("", row["suggested_label"])
        assert 0 < float(row["margin"]) <= float(row["probability"]) <= 1
        assert row["model"].startswith("clipsite/starter@")


def test_the_starter_model_labels_what_was_drawn(
    demo_site: NewSite, first: subprocess.CompletedProcess
) -> None:
    rows = demo_site.exported("drawn-shapes.csv")
    right = [row for row in rows if row["file_name"].startswith(f"{row['suggested_label']} ")]
    assert len(right) >= 0.97 * len(rows)


def test_demo_again_adds_nothing(
    demo_site: NewSite, first: subprocess.CompletedProcess, second: subprocess.CompletedProcess
) -> None:
    assert second.returncode == 0, second.stderr
    assert "Uploaded: 120 already here" in second.stdout
    assert demo_site.counts() == {
        "auth_user": 1,
        "gallery_project": 1,
        "gallery_image": 120,
        "labeling_labelset": 1,
        "labeling_match": 120,
    }
    assert table_of(second) == table_of(first)


def table_of(done: subprocess.CompletedProcess) -> str:
    return done.stdout.partition(" label ")[2].partition("Wrote")[0]


def test_demo_with_ones_own_pictures_and_then_with_other_labels(
    demo_site: NewSite, second: subprocess.CompletedProcess, photos: Path
) -> None:
    """Right after another demo, whose worker is gone but was heard of a moment ago."""
    done = demo_site.run("demo", "--images", str(photos), "--labels", "red, blue ,")
    assert done.returncode == 0, done.stderr
    assert "This is the small starter model" in done.stdout, "it knows little of photographs"
    assert f"Uploaded: {4 + GREYS} added, 2 refused" in done.stdout
    assert "\n  broken.jpg: " in done.stdout and "\n  notes.txt: Not an image" in done.stdout
    assert ".DS_Store" not in done.stdout
    assert re.search(r"^ +label +labelled so\n +red +\d+\n +blue +\d+\n", done.stdout, re.MULTILINE)
    names = {row["file_name"] for row in demo_site.exported("my-photos.csv")}
    assert {"red.png", "blue.jpg", "green.webp", "pink.png", "grey 39.png"} < names
    assert len(names) == 4 + GREYS
    before = demo_site.counts()
    other = demo_site.run("demo", "--images", str(photos), "--labels", "red, blue, green")
    assert other.returncode == 0, other.stderr
    assert demo_site.counts() == before | {
        "labeling_labelset": before["labeling_labelset"] + 1,
        "labeling_match": before["labeling_match"] + 4 + GREYS,
    }, "the first labels stay as they were"


def test_demo_uses_the_worker_that_runs_already(site: NewSite, photos: Path) -> None:
    site.manage("migrate", "-v0")
    worker = site.start("worker")
    wait_for(lambda: site.value("SELECT count(*) FROM labeling_workerbeat"), 30, "no worker came up")
    assert site.log().count("has the WAL-reset bug") == has_wal_reset_bug(sqlite3.sqlite_version_info)
    done = site.run("demo", "--images", str(photos), "--labels", "red, blue")
    assert done.returncode == 0, done.stderr
    assert "running already" not in done.stderr
    assert worker.poll() is None, "and leaves it running"
    worker.send_signal(signal.SIGHUP)
    assert worker.wait(60) == 0
    assert site.processes() == [], "until its terminal is closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_takes_its_worker_along(site: NewSite, number: int) -> None:
    process = site.start("demo")
    wait_for(lambda: site.cluster(), 30, "no worker came up")
    os.kill(process.pid, number)
    assert process.wait(60) == 130
    assert site.processes() == []
    assert "Stopped. Run it again to go on." in site.log() and "Traceback" not in site.log()


def test_a_signal_in_the_middle_of_a_change_lets_it_end(
    db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    """An exception there could leave the transaction open, and its worker waiting for the database."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(demo, "prepare", lambda: None)
    monkeypatch.setattr(demo, "running_worker", lambda: pytest.fail("a worker is started after the signal"))
    make = demo.own_project

    def interrupted(*args: Any) -> Project:
        os.kill(os.getpid(), signal.SIGINT)
        return make(*args)

    monkeypatch.setattr(demo, "own_project", interrupted)
    try:
        with pytest.raises(CommandError, match="Stopped. Run it again to go on.") as stopped:
            call_command("demo")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stopped.value.returncode == 130
    assert Project.objects.get().label_sets.count() == 1, "the change it came into is whole"


def commands(site: NewSite) -> list[list[str]]:
    return [process.cmdline() for process in site.processes() if process.is_running()]


def test_a_demo_whose_worker_dies_ends_and_is_gone_on_from(site: NewSite) -> None:
    process = site.start("demo")
    wait_for(lambda: any("worker" in cmdline for cmdline in commands(site)), 30, "no worker came up")
    for other in site.processes():
        if "worker" in other.cmdline():
            other.kill()
    assert process.wait(60) == 1
    assert "The worker ended by itself." in site.log() and "Traceback" not in site.log()
    done = site.run("demo")
    assert done.returncode == 0, done.stderr
    assert "120 already here" in done.stdout and len(site.exported("drawn-shapes.csv")) == 120


@pytest.fixture
def in_this_process(
    db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> Callable[..., str]:
    """`in_this_process(*args)` is what the demo stops with."""
    monkeypatch.setattr(demo, "prepare", lambda: None)
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    monkeypatch.setattr(demo, "running_worker", nullcontext)
    settings.DATA_DIR = tmp_path

    def run(*args: str) -> str:
        with pytest.raises(CommandError) as stopped:
            call_command("demo", *args)
        assert stopped.value.returncode == 1
        return str(stopped.value)

    return run


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("cat", "Give two labels or more"),
        (",,", "Give two labels or more"),
        ("cat, cat", "Given twice: cat."),
    ],
)
def test_labels_that_do_not_do_are_refused_before_anything_is_made(
    in_this_process: Callable[..., str], photos: Path, labels: str, sentence: str
) -> None:
    assert sentence in in_this_process("--images", str(photos), "--labels", labels)
    assert not Project.objects.exists()


def test_pictures_need_labels_and_labels_pictures(in_this_process: Callable[..., str], photos: Path) -> None:
    sentence = '--images and --labels go together: --images DIR --labels "cat, dog"'
    assert in_this_process("--images", str(photos)) == sentence
    assert in_this_process("--labels", "cat, dog") == sentence


def test_folders_that_do_not_do(in_this_process: Callable[..., str], tmp_path: Path) -> None:
    labels = ("--labels", "cat, dog")
    assert in_this_process("--images", "/no/such", *labels) == "/no/such is no folder."
    empty = tmp_path / "empty"
    empty.mkdir()
    assert in_this_process("--images", str(empty), *labels) == f"There is no file in {empty}."
    (empty / "notes.txt").write_text("no picture")
    sentence = "None of these files is a picture that can be used."
    assert in_this_process("--images", str(empty), *labels) == sentence


# start, worker


def test_start_says_at_once_what_stands_in_its_way(site: NewSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.run("start", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port} can't be used" in done.stderr and f"--port {port + 1}" in done.stderr
    done = site.run("start", "--port", str(free_port()), CLIP_MODEL="/no/such")
    assert done.returncode == 1
    assert "CLIP_MODEL names /no/such, and there is no model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_start_ends_with_its_terminal(site: NewSite) -> None:
    port = free_port()
    process = site.start("start", "--port", str(port))
    wait_for(lambda: f"clipsite is at http://127.0.0.1:{port}/" in site.log(), 60, "it does not serve")
    assert site.log().count("has the WAL-reset bug") == has_wal_reset_bug(sqlite3.sqlite_version_info)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0
    assert site.processes() == []
    assert "Traceback" not in site.log()


def test_a_worker_without_a_database_says_so(site: NewSite) -> None:
    done = site.run("worker")
    assert done.returncode == 1
    assert "The database is not up to date. Run “manage.py migrate” first." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def serving(site: NewSite) -> tuple[subprocess.Popen, int]:
    """`manage.py start`, and its port."""
    port = free_port()
    process = site.start("start", "--port", str(port))
    wait_for(lambda: serves(port) and site.cluster(), 60, "it does not serve")
    return process, port


def serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def with_words(site: NewSite, *words: str) -> list[psutil.Process]:
    """The site's processes that have all these words in their command lines."""
    found = []
    for process in site.processes():
        with contextlib.suppress(psutil.Error):
            if set(words) <= set(process.cmdline()):
                found.append(process)
    return found


def test_a_part_of_the_site_that_dies_is_started_afresh(
    site: NewSite, serving: tuple[subprocess.Popen, int]
) -> None:
    process, port = serving
    for part, words in {"web server": ["gunicorn"], "worker": ["worker", "-v0"]}.items():
        old = with_words(site, *words)
        old[0].kill()
        # What the dead one leaves behind may serve for a moment more: the sentence alone says it was seen.
        wait_for(
            lambda part=part: f"The {part} ended by itself: it is started afresh." in site.log(), 30, part
        )
        wait_for(
            lambda words=words, old=old: serves(port) and set(with_words(site, *words)) - set(old),
            30,
            f"{words} did not come back",
        )
    wait_for(lambda: site.cluster(), 30, "no cluster came back")
    assert process.poll() is None


def test_a_killed_start_takes_its_parts_along_and_can_be_started_again(
    site: NewSite, serving: tuple[subprocess.Popen, int]
) -> None:
    process, port = serving
    process.kill()
    process.wait()
    wait_for(lambda: not site.processes(), 40, "its parts stay behind")
    site.start("start", "--port", str(port))
    wait_for(lambda: serves(port), 60, "it does not serve again")


def test_a_part_that_can_not_run_ends_the_site_in_words(site: NewSite, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "gunicorn.py").write_text("raise SystemExit('there is no gunicorn here')")
    done = site.run("start", "--port", str(free_port()), PYTHONPATH=str(broken))
    assert done.returncode == 1
    assert "The web server ends again and again; its reason stands above." in done.stderr
    assert "there is no gunicorn here" in done.stderr and "Traceback" not in done.stderr
    assert site.processes() == []


def test_the_worker_gives_way_to_people(site: NewSite, serving: tuple[subprocess.Popen, int]) -> None:
    assert {process.nice() for process in site.cluster()} == {NICE}
    assert {process.nice() for process in with_words(site, "gunicorn")} == {0}
