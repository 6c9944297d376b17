"""Disk full: database and media on a tmpfs of 160 MB, filled to the last byte while the site runs.

    .venv/bin/python benchmarks/reliability/disk_full.py [--short]

Pictures are uploaded by REST until nothing more goes in. Then whatever wants to be written must be refused
with 507: as JSON to programs, with a sentence on a page to people; everything that only reads must work; no
half file may lie at a final place. Once space is free, all must work as before and the worker must get on by
itself. Then the same with the space that DISK_RESERVE_BYTES keeps: uploads get 507, decisions find room.
The tmpfs is mounted in a namespace of this command's own, by `unshare`; where that isn't allowed it can't be
measured, and the command exits with 2. The short form is the same.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import requests
from stored import faults, images_in, orphans
from visitors import Program, Site, Visitor, live_site, log_of, open_site, pictures, verdict, wait_for

SEED = 40
MEGABYTES, RESERVE = 160, 20
AT_ONCE, TRIES = 10, 100
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
LABELS = [{"name": "red circle"}, {"name": "blue star"}]


class Bench:
    """A site on a small disk, and what was wrong with it."""

    def __init__(self, site: Site) -> None:
        self.site, self.wrong = site, []
        self.program, self.visitor = Program(site, "ida"), Visitor(site, "ida")
        self.statuses: Counter[str] = Counter()
        self.fresh = pictures(SEED, 100_000, side=160)
        self.visitor.log_in().raise_for_status()
        self.slug = self.program.post("projects/", json={"name": "Full"}).json()["slug"]
        self.upload().raise_for_status()
        body = {"name": "Things", "labels": LABELS}
        self.label_set = self.program.post(f"projects/{self.slug}/label-sets/", json=body).json()["id"]
        self.wait_for_worker()

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def wait_for_worker(self) -> None:
        """Until every image is scored."""
        scored = "SELECT COUNT(DISTINCT image_id) FROM labeling_match"
        left = f"SELECT COUNT(*) - ({scored}) FROM gallery_image"
        wait_for(lambda: self.site.value(left) == 0, 120, "the worker does not come to the new pictures")

    def upload(self, files: list[tuple[str, bytes]] | None = None) -> requests.Response:
        files = files or [next(self.fresh) for _ in range(AT_ONCE)]
        parts = [("files", file) for file in files]
        return self.program.post(f"projects/{self.slug}/images/", files=parts)

    def upload_on_page(self) -> requests.Response:
        address = f"/projects/{self.slug}/upload/"
        headers = {"X-CSRFToken": self.visitor.cookies["csrftoken"]}
        return self.visitor.post(address, files=[("files", next(self.fresh))], headers=headers)

    def review(self) -> requests.Response:
        body = {"reviews": [{"image": self.first, "verdict": "none"}]}
        return self.program.post(f"label-sets/{self.label_set}/reviews/", json=body)

    def decide(self) -> requests.Response:
        body = {"image": self.first, "verdict": "none", "page": "image"}
        return self.visitor.submit(f"/label-sets/{self.label_set}/reviews/", body)

    @property
    def first(self) -> int:
        return images_in(self.site, self.slug)[0]["id"]

    def until_refused(self, what: str, ask: Callable[[], requests.Response]) -> None:
        """Ask until it is 507; whatever is not that must have worked."""
        for _ in range(TRIES):
            answer = ask()
            self.statuses[f"{what} {answer.status_code}"] += 1
            if answer.status_code == 507:
                break
            self.check(answer.ok, f"{what}: {answer.status_code} {answer.text[-300:]}")
        kind = answer.headers["Content-Type"]
        if what.startswith("API"):
            said = kind == "application/problem+json" and answer.json()["detail"]
        else:
            said = kind.startswith("text/") and "disk" in answer.text
        self.check(
            answer.status_code == 507 and bool(said), f"{what} was not refused with 507 and a sentence"
        )

    def reads(self) -> None:
        here = f"label-sets/{self.label_set}"
        for ask, path in [
            *((self.visitor.get, path) for path in self.pages()),
            (self.program.get, f"projects/{self.slug}/images/"),
            (self.program.get, f"{here}/matches/"),
            (self.program.get, f"{here}/export/?format=csv&include=suggested"),
        ]:
            answer = ask(path)
            self.statuses[f"reads {answer.status_code}"] += 1
            self.check(answer.ok, f"{path}: {answer.status_code} {answer.text[-300:]}")

    def pages(self) -> Iterator[str]:
        yield from ("/", f"/projects/{self.slug}/", f"/label-sets/{self.label_set}/review/")
        yield from (f"/images/{self.first}/", f"/images/{self.first}/file/", f"/images/{self.first}/preview/")

    def files_are_whole(self, when: str) -> None:
        images = images_in(self.site, self.slug)
        for found in faults(self.site, images):
            self.check(False, f"{when}: {found}")
        left = orphans(self.site)
        self.check(not left, f"{when}: {len(left)} files of no row, {sorted(left)[:3]}")


class Ballast:
    """A file that takes all the space but what is to be left."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ballast"

    def leave(self, megabytes: float) -> None:
        self.path.unlink(missing_ok=True)
        size = shutil.disk_usage(self.path.parent).free - int(megabytes * 1024**2)
        with self.path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def fill(self) -> None:
        """Take also the last byte."""
        with self.path.open("ab") as file:
            while free := shutil.disk_usage(self.path.parent).free:
                os.posix_fallocate(file.fileno(), file.tell(), free)
                file.seek(0, os.SEEK_END)

    def free(self) -> None:
        self.path.unlink()


def filled_to_the_last_byte(bench: Bench, ballast: Ballast) -> None:
    ballast.leave(3)
    bench.until_refused("API upload", bench.upload)
    bench.until_refused("upload on the page", bench.upload_on_page)
    bench.files_are_whole("full")
    ballast.fill()
    bench.until_refused(
        "API project",
        lambda: bench.program.post("projects/", json={"name": "More", "description": "x" * 2000}),
    )
    bench.until_refused("API review", bench.review)
    bench.until_refused("decision on the page", bench.decide)
    bench.until_refused("API upload", bench.upload)
    bench.until_refused("upload on the page", bench.upload_on_page)
    bench.reads()
    bench.files_are_whole("full to the last byte")
    ballast.free()


def works_again(bench: Bench) -> None:
    for what, answer in {
        "upload": bench.upload(),
        "upload on the page": bench.upload_on_page(),
        "review": bench.review(),
        "decision": bench.decide(),
    }.items():
        bench.check(answer.ok, f"after freeing, {what}: {answer.status_code} {answer.text[-300:]}")
    bench.reads()
    bench.wait_for_worker()
    bench.files_are_whole("after freeing")


def within_the_reserve(bench: Bench, ballast: Ballast) -> None:
    ballast.leave(RESERVE - 1)
    bench.until_refused("API upload", bench.upload)
    bench.until_refused("upload on the page", bench.upload_on_page)
    for what, answer in {"review": bench.review(), "decision": bench.decide()}.items():
        bench.check(answer.ok, f"within the reserve, {what}: {answer.status_code} {answer.text[-300:]}")
    ballast.free()


def measured(folder: Path) -> Bench:
    ballast = Ballast(folder)
    os.environ["DISK_RESERVE_BYTES"] = "0"
    with live_site("ida", data_dir=folder) as site:
        open_site(site)
        bench = Bench(site)
        filled_to_the_last_byte(bench, ballast)
        works_again(bench)
        site.kill_everything()
        os.environ["DISK_RESERVE_BYTES"] = str(RESERVE * 1024**2)
        open_site(site)
        bench.program.api, bench.visitor.site = f"{site.url}/api/v1/", site.url
        within_the_reserve(bench, ballast)
        works_again(bench)
        print(f"{log_of(site).count('Traceback')} tracebacks in the log")
        return bench


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="The same.")
    parser.add_argument("--mounted", type=Path, help=argparse.SUPPRESS)
    if folder := parser.parse_args().mounted:
        bench = measured(folder)
        print(", ".join(f"{count} × {what}" for what, count in sorted(bench.statuses.items())))
        print("\n".join(bench.wrong[:20]) or "nothing was wrong")
        return verdict(not bench.wrong)
    with tempfile.TemporaryDirectory(prefix="clipsite-disk-full-") as folder:
        mount = f'mount -t tmpfs -o size={MEGABYTES}m tmpfs "{folder}"'
        if subprocess.run([*UNSHARE, "sh", "-c", mount], check=False).returncode:
            print("This machine lets us mount no disk of our own: a full one can't be tried.")
            return 2
        again = f'{mount} && exec "{sys.executable}" "{__file__}" --mounted "{folder}"'
        return subprocess.run([*UNSHARE, "sh", "-c", again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
