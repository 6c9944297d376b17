"""Soak: 20 people and 2 uploaders at a live site for 30 minutes, with scoring all the while.

    .venv/bin/python benchmarks/reliability/soak.py [--minutes 30] [--short]

People log in, browse, filter, open an image, review, undo, export, ask the API and log out, each in a seeded
order of their own. The uploaders send pictures and delete the oldest, so that the site keeps its size; all is
scored again every few seconds. No answer may be an error of the server; 95 of 100 must come in 500 ms; from a
fifth of the time on, the memory of web and worker may grow by 5 % at most, by a fitted line; no file may be
left over, and the database may grow by 64 MB at most. `--short`: 30 seconds with 6 people; time and memory
are printed, but not asked, as so early caches still fill.
"""

import argparse
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import psutil
from stored import orphans
from visitors import (
    Notes,
    Program,
    Site,
    Visitor,
    live_site,
    log_of,
    open_site,
    percentile,
    pictures,
    together,
    verdict,
    wait_for,
)

SEED = 50
PEOPLE, PEOPLE_SHORT = 20, 6
UPLOADERS = ("ugo", "una")
# Pictures at first, of each uploader at most, and in one request.
FIRST, KEPT, AT_ONCE = 100, 200, 5
MOST_MS, MOST_GROWTH, MOST_BYTES = 500, 0.05, 64 * 1024**2
# Seconds: what a person looks at a page for, between two uploads, between two runs, between two samples.
LOOK, UPLOAD, RUN, SAMPLE = (1, 4), 4, 10, 5
# They come one by one, a machine may log in 30 times a minute at most.
ARRIVAL = 2
LABELS = [{"name": name} for name in ("red circle", "green square", "blue star", "yellow heart", "pink moon")]

IMAGES = re.compile(r'href="/images/(\d+)/')
IMAGE = re.compile(r'name="image" value="(\d+)"')
LABEL = re.compile(r'name="label" value="(\d+)"')


class Person:
    """Somebody who uses the pages, and the API now and then."""

    def __init__(self, site: Site, name: str, slug: str, label_set: int, notes: Notes) -> None:
        self.arrival = ARRIVAL * int(name.removeprefix("person"))
        self.visitor, self.program = Visitor(site, name), Program(site, name)
        self.gallery, self.label_set, self.notes = f"/projects/{slug}/", label_set, notes
        self.rng = random.Random(f"{SEED} {name}")

    def use_the_site(self, over: threading.Event) -> None:
        over.wait(self.arrival)
        self.log_in()
        deeds = [self.browse, self.filter, self.open_image, self.review, self.review, self.undo, self.export]
        deeds += [self.matches, self.projects]
        while not over.wait(self.rng.uniform(*LOOK)):
            deed = self.log_in_again if self.rng.random() < 0.01 else self.rng.choice(deeds)
            deed()

    def get(self, what: str, path: str) -> str:
        return self.notes.ask(what, self.visitor.get, path).text

    def log_in(self) -> None:
        self.notes.ask("log in", self.visitor.log_in)

    def log_in_again(self) -> None:
        self.notes.ask("log out", self.visitor.submit, "/accounts/logout/", {})
        self.log_in()

    def browse(self) -> str:
        page = self.get("gallery", self.gallery)
        for image in IMAGES.findall(page)[:8]:
            self.get("thumbnail", f"/images/{image}/thumbnail/")
        return page

    def filter(self) -> None:
        order = self.rng.choice(["probability", "-probability", "margin", "-id"])
        status = self.rng.choice(["", "unreviewed", "accepted", "corrected"])
        self.get("filtered", f"{self.gallery}?ordering={order}&status={status}&page={self.rng.randint(1, 3)}")

    def open_image(self) -> None:
        if found := IMAGES.findall(self.browse()):
            self.get("image", f"/images/{self.rng.choice(found)}/")

    def review(self) -> None:
        page = self.get("review page", f"/label-sets/{self.label_set}/review/")
        for _ in range(3):
            if not (image := IMAGE.search(page)):
                return
            body = {"page": "review", "image": image[1], "label": self.rng.choice(LABEL.findall(page))}
            address = f"/label-sets/{self.label_set}/reviews/"
            page = self.notes.ask("decision", self.visitor.submit, address, body).text
            time.sleep(self.rng.uniform(*LOOK) / 2)

    def undo(self) -> None:
        address = f"/label-sets/{self.label_set}/reviews/undo/"
        self.notes.ask("undo", self.visitor.submit, address, {"page": "review"})

    def export(self) -> None:
        form = self.rng.choice(["csv", "jsonl"])
        self.get("export", f"/label-sets/{self.label_set}/export/?format={form}&include=suggested")

    def matches(self) -> None:
        path = f"label-sets/{self.label_set}/matches/?ordering=probability"
        self.notes.ask("API, matches", self.program.get, path)

    def projects(self) -> None:
        self.notes.ask("API, projects", self.program.get, "projects/")


def upload(program: Program, slug: str, seed: int, notes: Notes, over: threading.Event) -> None:
    """Send a few pictures again and again, and delete as many of the oldest."""
    fresh = pictures(seed, 10_000_000)
    mine: list[int] = []
    while not over.wait(UPLOAD):
        files = [("files", next(fresh)) for _ in range(AT_ONCE)]
        answer = notes.ask("upload", program.post, f"projects/{slug}/images/", files=files)
        mine += [image["id"] for image in answer.json()["added"]]
        while len(mine) > KEPT:
            notes.ask("delete", program.delete, f"images/{mine.pop(0)}/")


def score_again(program: Program, label_set: int, notes: Notes, over: threading.Event) -> None:
    while not over.wait(RUN):
        notes.ask("API, run", program.post, f"label-sets/{label_set}/runs/")


Samples = dict[str, list[tuple[float, int]]]


def watch(site: Site, samples: Samples, over: threading.Event) -> None:
    """Note the memory of web and worker, each with all its processes."""
    began = time.monotonic()
    while not over.wait(SAMPLE):
        now, sums = time.monotonic() - began, dict.fromkeys(samples, 0)
        for process in site.processes():
            try:
                part = part_of(process)
                if part:
                    sums[part] += own_memory(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue
        for part, size in sums.items():
            samples[part].append((now, size))


def own_memory(pid: int) -> int:
    """Bytes; what processes share since a fork is divided among them.

    Pages of the database file that each connection maps are the kernel's, and not counted.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(re.search(r"^Pss_Anon:\s+(\d+) kB", rollup, re.MULTILINE)[1])


def part_of(process: psutil.Process) -> str:
    """`web` or `worker`, by the process itself or one that it comes from."""
    for one in [process, *process.parents()]:
        line = one.cmdline()
        if "gunicorn" in line:
            return "web"
        if "worker" in line:
            return "worker"
    return ""


def growth(samples: list[tuple[float, int]]) -> float:
    """By what part of it the memory grew after the warm-up, by the line that fits the samples best."""
    times, sizes = np.array(samples).T
    late = times >= times[-1] / 5
    slope, start = np.polyfit(times[late], sizes[late], 1)
    first, last = (start + slope * when for when in (times[late][0], times[-1]))
    return float(last / first - 1)


def database_bytes(site: Site) -> int:
    return sum(path.stat().st_size for path in site.data_dir.glob("db.sqlite3*"))


def prepared(site: Site, people: list[str]) -> tuple[Program, str, int]:
    program = Program(site, "ida")
    slug = program.post("projects/", json={"name": "Soak"}).json()["slug"]
    for name in people:
        body = {"username": name, "role": "reviewer"}
        program.post(f"projects/{slug}/members/", json=body).raise_for_status()
    first = list(pictures(SEED, FIRST))
    for start in range(0, FIRST, 50):
        files = [("files", file) for file in first[start : start + 50]]
        program.post(f"projects/{slug}/images/", files=files).raise_for_status()
    body = {"name": "Things", "labels": LABELS}
    label_set = program.post(f"projects/{slug}/label-sets/", json=body).json()["id"]
    scored = "SELECT COUNT(*) FROM labeling_match"
    wait_for(lambda: site.value(scored) >= FIRST, 300, "the first pictures are not scored")
    return program, slug, label_set


def soaked(site: Site, people: list[str], seconds: float) -> tuple[Notes, Samples, int]:
    """Everybody at it for so long: what they met, the memory, and by how much the database grew."""
    program, slug, label_set = prepared(site, [*people, *UPLOADERS])
    notes, samples = Notes(), Samples(web=[], worker=[])
    persons = [Person(site, name, slug, label_set, notes) for name in people]
    before = database_bytes(site)
    jobs: list[Callable[[threading.Event], None]] = [person.use_the_site for person in persons]
    for number, name in enumerate(UPLOADERS):
        jobs.append(partial(upload, Program(site, name), slug, SEED + 1 + number, notes))
    jobs.append(partial(score_again, program, label_set, notes))
    jobs.append(partial(watch, site, samples))
    together(seconds, jobs)
    return notes, samples, database_bytes(site) - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--short", action="store_true", help="30 seconds and 6 people; memory is not asked.")
    options = parser.parse_args()
    seconds = 30 if options.short else 60 * options.minutes
    people = [f"person{number}" for number in range(PEOPLE_SHORT if options.short else PEOPLE)]
    with live_site("ida", *people, *UPLOADERS) as site:
        open_site(site)
        notes, samples, more_bytes = soaked(site, people, seconds)
        left, log = orphans(site), log_of(site)
    return told(notes, samples, more_bytes, len(left), log, options.short)


def told(notes: Notes, samples: Samples, more_bytes: int, left: int, log: str, short: bool) -> int:
    notes.tell()
    most = percentile([ms for taken in notes.taken.values() for ms in taken], 0.95)
    print(f"95 of 100 answers in {most:.0f} ms (at most {MOST_MS})")
    grown = {part: growth(some) for part, some in samples.items()}
    for part, some in samples.items():
        print(
            f"{part}: {some[0][1] / 1024**2:.0f} MB, then {some[-1][1] / 1024**2:.0f} MB; {grown[part]:+.1%}"
        )
    errors = log.count("Traceback") + log.count("a process of the worker died")
    print(f"the database grew by {more_bytes / 1024**2:.1f} MB; {left} files without a row; {errors} errors")
    if errors:
        print(log[max(log.rfind("Traceback"), log.rfind("a process of the worker died")) :][:3000])
    steady = short or max(grown.values()) <= MOST_GROWTH
    small = more_bytes <= MOST_BYTES and not left and not errors
    quick = short or most <= MOST_MS
    return verdict(not notes.troubles and quick and steady and small)


if __name__ == "__main__":
    sys.exit(main())
