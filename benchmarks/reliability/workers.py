"""A live site whose worker is killed, hung and stopped: what the benchmarks of the worker's side share."""

import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import PIL.Image
import psutil
from faults import POISON
from visitors import PASSWORD, Site, free_port, pictures, wait_for

MAKE_RUN = """
import pathlib
from django.contrib.auth.models import User
from django.core.files.base import File
from gallery import projects, uploads
from labeling import label_sets
from labeling.label_sets import LabelSpec

user = User.objects.create_user("ida", password={password!r})
project = projects.create(user, "Many")
files = sorted(pathlib.Path({folder!r}).iterdir())
uploads.add_images(project, user, (File(path.open("rb"), path.name) for path in files))
label_sets.create(project, user, "Colours", [LabelSpec(name) for name in ("red", "green", "blue")])
"""
STATE = "SELECT state FROM labeling_scoringrun ORDER BY id DESC LIMIT 1"
MATCHES = "SELECT count(*) FROM labeling_match"
FAILED = "SELECT count(*) FROM labeling_imageattempt WHERE failed"
OPEN_CHUNKS = "SELECT count(*) FROM labeling_scoringchunk WHERE state IN ('pending', 'running')"
HOLDER = "SELECT coalesce(max(token), '') FROM labeling_scoringchunk WHERE state = 'running'"
ROLES = ("supervisor", "main", "sentinel", "pusher", "monitor", "first worker", "second worker")


class FaultySite(Site):
    """A site whose worker processes have a scorer that goes wrong as these variables say."""

    def __init__(self, data_dir: Path, **faults: object) -> None:
        super().__init__(data_dir)
        self.faults = {name: str(value) for name, value in faults.items()}

    def environment(self) -> dict[str, str]:
        settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.reliability.faulty_settings"}
        return super().environment() | settings | self.faults

    def is_done(self) -> bool:
        return self.value(STATE) not in ("queued", "running")

    def serve(self) -> None:
        """`manage.py start`, at a port of its own."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("start", "--port", str(port))

    def holder(self) -> int:
        """The id of the process that is at a chunk now, or 0."""
        token = str(self.value(HOLDER))
        return int(token.split(":")[1]) if token else 0


def draw_pictures(folder: Path, count: int, seed: int, poison: set[int] = frozenset()) -> None:
    """`count` small pictures; those whose numbers are in `poison` have its colour in the corner."""
    for number, (_, content) in enumerate(pictures(seed, count, side=64)):
        picture = PIL.Image.open(io.BytesIO(content))
        if number in poison:
            picture.paste(POISON, (0, 0, 16, 16))
        # No two alike, whatever was drawn; and what is poison stays it, pixel by pixel.
        picture.putpixel((63, 63), (number % 256, number // 256, seed % 256))
        picture.save(folder / f"{number:04}.png")


@contextmanager
def site_with_run(
    count: int, seed: int, poison: set[int] = frozenset(), **faults: object
) -> Iterator[FaultySite]:
    """A site with a run of `count` pictures that waits for a worker. All of it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="clipsite-reliability-") as folder:
        site, drawn = FaultySite(Path(folder, "data"), **faults), Path(folder, "drawn")
        site.data_dir.mkdir()
        drawn.mkdir()
        draw_pictures(drawn, count, seed, poison)
        site.manage("migrate", "-v0")
        make = MAKE_RUN.format(password=PASSWORD, folder=str(drawn))
        site.manage("shell", "-v0", "-c", make, timeout=600)
        try:
            yield site
        finally:
            site.kill_everything()


@contextmanager
def copy_of(site: FaultySite) -> Iterator[FaultySite]:
    """The same site once more, as it lies there, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="clipsite-reliability-") as folder:
        copy = FaultySite(Path(folder, "data"))
        copy.faults = site.faults
        shutil.copytree(site.data_dir, copy.data_dir)
        try:
            yield copy
        finally:
            copy.kill_everything()


def by_role(site: Site) -> dict[str, psutil.Process]:
    """The worker's processes that live now, by what they are for."""
    found: dict[str, psutil.Process] = {}
    cluster = {process.pid for process in site.cluster()}
    for process in site.processes():
        with suppress(psutil.Error, IndexError):
            words = process.cmdline()
            if "worker" not in words:
                continue
            if process.pid not in cluster:
                found["supervisor"] = process
            elif os.getsid(process.pid) == process.pid:
                found["main"] = process
                [sentinel] = process.children()
                found["sentinel"] = sentinel
                # As django-q starts them: its workers first, then the monitor and the pusher.
                others = sorted(queues(sentinel), key=psutil.Process.create_time)
                found |= dict(
                    zip(("first worker", "second worker", "monitor", "pusher"), others, strict=True)
                )
    return found


def queues(sentinel: psutil.Process) -> list[psutil.Process]:
    return [child for child in sentinel.children() if "worker" in child.cmdline()]


def await_all_roles(site: Site, seconds: float = 60) -> dict[str, psutil.Process]:
    """The worker's processes, once there is one for each role."""
    found: dict[str, psutil.Process] = {}

    def complete() -> bool:
        found.clear()
        with suppress(ValueError, psutil.Error, ProcessLookupError):
            found.update(by_role(site))
        return set(found) == set(ROLES)

    wait_for(complete, seconds, "the worker is not complete")
    return found


def end(process: object) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        process.send_signal(signal.SIGKILL)


def gone(site: Site, seconds: float) -> bool:
    """Whether every process of the site is gone in time."""
    until = time.monotonic() + seconds
    while site.processes():
        if time.monotonic() > until:
            return False
        for process in site.started:
            process.poll()
        time.sleep(0.1)
    return True
