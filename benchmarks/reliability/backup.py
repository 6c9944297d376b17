"""Backups of a site at work, each restored into an empty folder and compared with what there was before it.

    .venv/bin/python benchmarks/reliability/backup.py [--short] [--seed 1]

A whole site (`manage.py start`) with people who upload, delete and review at once, and a worker that scores.
Meanwhile `manage.py backup` runs, several times; each backup is restored. The command exits with 1 where a
row from before a backup's start is missing or another, where a file is missing or isn't what was uploaded,
where SQLite finds a fault, where the site answered with an error, or where a restored site serves no picture.
"""

import argparse
import io
import random
import re
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import requests

from labeling.starter import drawing
from tests.live import Site, free_port, wait_for

PASSWORD = "olga-secret-1"
# Rows that are never changed once they are there; a picture's go with it.
FOR_EVER = {
    "auth_user": "SELECT id, username, password FROM auth_user",
    "gallery_project": "SELECT * FROM gallery_project",
    "gallery_membership": "SELECT * FROM gallery_membership",
    "labeling_labelset": "SELECT * FROM labeling_labelset",
    "labeling_label": "SELECT * FROM labeling_label",
    "gallery_upload": "SELECT id, project_id, uploaded_by_id, created_at FROM gallery_upload",
    "gallery_uploadentry": "SELECT id, upload_id, position, name, outcome FROM gallery_uploadentry",
}
OF_PICTURES = {
    "gallery_image": "SELECT id, * FROM gallery_image",
    "labeling_embedding": "SELECT image_id, * FROM labeling_embedding",
    "labeling_review": "SELECT image_id, * FROM labeling_review",
}
Rows = dict[str, set[tuple]]


class Load:
    """People at work, each in a thread, until the end of the `with`."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.seed = site, seed
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.deleted: set[int] = set()
        self.review_seconds: list[float] = []
        self.over = threading.Event()
        asked = requests.post(
            f"{site.url}/api/v1/token/", json={"username": "olga", "password": PASSWORD}, timeout=60
        )
        self.token = asked.json()["token"]

    @contextmanager
    def going_on(self) -> Iterator[None]:
        jobs = [self.upload, self.upload, self.delete, self.review, self.review, self.score]
        threads = [
            threading.Thread(target=self.work, args=(job, random.Random(f"{self.seed} {number}")))
            for number, job in enumerate(jobs)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def work(self, job: Callable[[requests.Session, random.Random], None], rng: random.Random) -> None:
        api = requests.Session()
        api.headers["Authorization"] = f"Token {self.token}"
        try:
            while not self.over.is_set():
                job(api, rng)
        except Exception as error:
            self.errors.append(f"{job.__name__}: {error!r}")

    def ask(self, api: requests.Session, name: str, method: str, path: str, **options: object) -> None:
        answer = api.request(method, f"{self.site.url}/api/v1/{path}", timeout=60, **options)
        self.done[name] += answer.ok
        if answer.status_code >= 500:
            self.errors.append(f"{name}: {answer.status_code} {answer.text[:200]}")

    def upload(self, api: requests.Session, rng: random.Random) -> None:
        files = [("files", (f"{rng.random()}.png", picture(rng))) for _ in range(3)]
        self.ask(api, "uploads", "POST", "projects/many/images/", files=files)
        self.over.wait(0.1)

    def some_image(self, rng: random.Random) -> int:
        last = self.site.value("SELECT max(id) FROM gallery_image")
        # Every second one among the newest: what comes and goes while a backup runs.
        first = max(1, last - 20) if rng.random() < 0.5 else 1
        return rng.randint(first, last)

    def delete(self, api: requests.Session, rng: random.Random) -> None:
        image = self.some_image(rng)
        self.deleted.add(image)
        self.ask(api, "deletions", "DELETE", f"images/{image}/")
        self.over.wait(0.1)

    def review(self, api: requests.Session, rng: random.Random) -> None:
        reviews = [{"image": self.some_image(rng), "label": rng.randint(1, 8), "verdict": "corrected"}]
        began = time.perf_counter()
        self.ask(api, "reviews", "POST", "label-sets/1/reviews/", json={"reviews": reviews})
        self.review_seconds.append(time.perf_counter() - began)
        self.over.wait(0.05)

    def score(self, api: requests.Session, rng: random.Random) -> None:
        self.ask(api, "runs", "POST", "label-sets/1/runs/")
        self.over.wait(3)


def picture(rng: random.Random) -> bytes:
    out = io.BytesIO()
    drawing.draw(drawing.random_drawing(rng), rng, 64).save(out, "PNG")
    return out.getvalue()


def rows(folder: Path) -> tuple[Rows, Rows]:
    """What the database holds at one moment."""
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20, isolation_level=None)) as database:
        database.execute("BEGIN")
        return tuple(
            {name: set(database.execute(sql)) for name, sql in tables.items()}
            for tables in (FOR_EVER, OF_PICTURES)
        )


def faults(before: tuple[Rows, Rows], deleted: set[int], restored: Site) -> Iterator[str]:
    """What a restored site lacks of what there was, and what is wrong with it."""
    after = rows(restored.data_dir)
    for name, was in before[0].items():
        if lost := was - after[0][name]:
            yield f"{len(lost)} rows of {name} are missing or others, e.g. {str(min(lost))[:200]}"
    for name, was in before[1].items():
        if lost := {row for row in was - after[1][name] if row[0] not in deleted}:
            yield f"{len(lost)} rows of {name} are missing or others, e.g. {str(min(lost))[:200]}"
    said = restored.run("fsck", "--hashes")
    if said.returncode:
        yield f"fsck: {said.stdout[-500:]}{said.stderr[-500:]}"


def serves(site: Site) -> Iterator[str]:
    """Whether a restored site starts, and a picture comes back as it was uploaded."""
    start(site)
    load = Load(site, 0)
    image = site.value("SELECT max(id) FROM gallery_image")
    answer = requests.get(
        f"{site.url}/api/v1/images/{image}/file/",
        headers={"Authorization": f"Token {load.token}"},
        timeout=60,
    )
    if sha256(answer.content).hexdigest() != site.value(
        f"SELECT sha256 FROM gallery_image WHERE id = {image}"
    ):
        yield f"the restored site serves no picture: {answer.status_code}"


def start(site: Site) -> None:
    site.url = f"http://127.0.0.1:{(port := free_port())}"
    site.start("start", "--port", str(port))
    log = site.data_dir / "log.txt"
    wait_for(lambda: "is at http" in log.read_text(), 120, "the site did not start")


def one_round(site: Site, load: Load, folder: Path, number: int) -> Iterator[str]:
    """A backup of the busy site, restored and compared."""
    before, done, began = rows(site.data_dir), load.done.copy(), time.perf_counter()
    said = site.manage("backup", str(folder / "site.zip"), timeout=600)
    seconds = time.perf_counter() - began
    deleted, meanwhile = load.deleted.copy(), load.done - done
    restored = Site(folder / "restored")
    began = time.perf_counter()
    restored.manage("restore", str(folder / "site.zip"), timeout=600)
    restoring = time.perf_counter() - began
    yield from faults(before, deleted, restored)
    inside = re.search(r"in ([\d.]+) s", said)[1]
    print(
        f"backup {number}: {len(before[1]['gallery_image']):,} images before it; {inside} s of it at work, "
        f"{seconds:.1f} s in all; meanwhile {dict(meanwhile)}; restored in {restoring:.1f} s",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="300 pictures and 3 backups, not 3,000 and 20")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pictures, rounds = (300, 3) if options.short else (3_000, 20)
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="clipsite-backup-") as name:
        site, last = Site(Path(name) / "site"), Site(Path(name) / str(rounds) / "restored")
        site.data_dir.mkdir()
        try:
            site.make_run(pictures)
            start(site)
            load = Load(site, options.seed)
            with load.going_on():
                wait_for(lambda: len(load.done) == 4 or load.errors, 120, "nobody is at work")
                for number in range(1, rounds + 1):
                    (folder := Path(name) / str(number)).mkdir()
                    missed += one_round(site, load, folder, number)
            missed += [f"the site: {error}" for error in load.errors]
            site.kill_everything()
            missed += serves(last)
        finally:
            site.kill_everything()
            last.kill_everything()
    slow = 1000 * statistics.quantiles(load.review_seconds, n=20)[-1]
    print(f"In all {dict(load.done)}; 95 of 100 reviews within {slow:.0f} ms")
    for what in missed:
        print(f"MISSED: {what}")
    print(
        "Missed." if missed else f"Every row from before each of {rounds} backups is there, with its files."
    )
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
