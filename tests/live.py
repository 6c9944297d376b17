"""A whole site of its own in other processes: its DATA_DIR, commands and database, seen from outside."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
MAKE_RUN = """
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from labeling import label_sets
from labeling.label_sets import LabelSpec
from labeling.starter import drawing

user = User.objects.create_user("olga", password="olga-secret-1")
project = projects.create(user, "Many")
rng = random.Random(7)
def files():
    for number in range({count}):
        out = io.BytesIO()
        drawing.draw(drawing.random_drawing(rng), rng, 64).save(out, "PNG")
        yield ContentFile(out.getvalue(), f"{{number:04}}.png")
uploads.add_images(project, user, files())
label_sets.create(project, user, "Colours", [LabelSpec(name) for name in drawing.COLOURS])
"""


class Site:
    """Processes that share one DATA_DIR; all of them are gone at the end."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.url = ""
        self.started: list[subprocess.Popen] = []

    def environment(self) -> dict[str, str]:
        # The database of its own folder, also where the tests around it run on another one.
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        return kept | {"DATA_DIR": str(self.data_dir), "OMP_NUM_THREADS": "1"}

    def manage(self, *args: str, timeout: float = 120) -> str:
        """Run a command to its end and return what it printed; it must end with 0."""
        done = self.run(*args, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def start(self, *args: str) -> subprocess.Popen:
        """Start a command that goes on running, in a process group of its own."""
        with (self.data_dir / "log.txt").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *args],
                cwd=ROOT,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def serve(self) -> None:
        """Start web and worker, and return once the site answers at `url`."""
        port = free_port()
        self.start("start", f"--port={port}")
        self.url = f"http://127.0.0.1:{port}"
        wait_for(self._answers, 90, "the site does not answer")

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def make_run(self, count: int) -> None:
        """A project with `count` drawn pictures and a run that waits for a worker."""
        self.manage("migrate", "-v0")
        self.manage("shell", "-v0", "-c", MAKE_RUN.format(count=count))

    def value(self, sql: str) -> object:
        """The first cell of a query."""
        return self.rows(sql)[0][0]

    def rows(self, sql: str) -> list[tuple]:
        """All that a query finds."""
        with sqlite3.connect(self.data_dir / "db.sqlite3", timeout=20) as connection:
            return connection.execute(sql).fetchall()

    def processes(self) -> list[psutil.Process]:
        """Every process of this site, whoever its parent is now."""
        mine = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DATA_DIR") == str(self.data_dir):
                    mine.append(process)
            except psutil.Error:
                continue
        return mine

    def cluster(self) -> list[psutil.Process]:
        """The queue's processes, below their supervisor: the main one leads their session."""
        with suppress(FileNotFoundError, ValueError):
            group = int((self.data_dir / "worker.lock").read_text().partition(" ")[0])
            return [process for process in self.processes() if is_of_cluster(process, group)]
        return []

    def kill_everything(self) -> None:
        # Again until there is none: one of them may just have begun another.
        while processes := self.processes():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=10)
        for process in self.started:
            process.wait(10)


def is_of_cluster(process: psutil.Process, group: int) -> bool:
    with suppress(psutil.Error, ProcessLookupError):  # it died in between
        return os.getsid(process.pid) == group and "worker" in process.cmdline()
    return False


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return once `condition` holds; fail with `what` when it doesn't in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"after {seconds} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
