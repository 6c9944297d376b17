"""The web under bulk: people review while pictures come in by ZIP, are scored, and are exported.

    .venv/bin/python benchmarks/reliability/bulk.py [--short]

60 seconds (short: 20) at a site as `manage.py start` runs it. A program sends ZIPs of drawn pictures, each
as soon as the one before is unpacked; the worker scores them; another exports the labels again and again, now
and then with the pictures; four people decide about one image after the other on the review page. No answer
may be an error, nobody may meet a locked database, and of 100 decisions 99 must be answered in 250 ms. In the
short form the time is printed, but not asked: the first seconds and the machine decide it.
"""

import argparse
import io
import random
import re
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

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

SEED = 20
REVIEWERS = ("rosa", "ruth", "rafe", "remo")
MOST_MS = 250
FIRST, ZIPS, IN_ZIP = 1000, 6, 1000
SECONDS, SECONDS_SHORT = 60, 20
# How long a quick reviewer looks at a picture, and how often one takes a decision back.
LOOK, UNDO = (0.2, 0.6), 0.05
LABELS = [{"name": name} for name in ("red circle", "green square", "blue star", "yellow heart", "pink moon")]

IMAGE = re.compile(r'name="image" value="(\d+)"')
LABEL = re.compile(r'name="label" value="(\d+)"')


def zipped(seed: int, count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in pictures(seed, count):
            archive.writestr(name, content)
    return out.getvalue()


def import_zips(program: Program, slug: str, zips: list[bytes], notes: Notes, over: threading.Event) -> None:
    for number, content in enumerate(zips):
        files = [("files", (f"{number}.zip", content))]
        upload = notes.ask("ZIP", program.post, f"projects/{slug}/images/", files=files).json()["upload"]
        while notes.ask("report", program.get, f"uploads/{upload}/").json()["state"] == "open":
            if over.wait(0.5):
                return
    # Without bulk the figure would say nothing.
    notes.troubles.append("all ZIPs were unpacked before the time was over: send more")


def export(program: Program, label_set: int, notes: Notes, over: threading.Event) -> None:
    rounds = 0
    while not over.wait(0.2):
        rounds += 1
        wanted = "format=jsonl" if rounds % 2 else "format=csv&images=1" if rounds % 8 == 0 else "format=csv"
        notes.ask("export", program.get, f"label-sets/{label_set}/export/?include=suggested&{wanted}")


def review(visitor: Visitor, label_set: int, rng: random.Random, notes: Notes, over: threading.Event) -> None:
    address = f"/label-sets/{label_set}/review"
    page = notes.ask("review page", visitor.get, f"{address}/")
    while not over.wait(rng.uniform(*LOOK)):
        image, labels = IMAGE.search(page.text)[1], LABEL.findall(page.text)
        notes.ask("picture", visitor.get, f"/images/{image}/preview/")
        body = {"page": "review", "image": image, "label": rng.choice(labels)}
        if rng.random() < UNDO:
            page = notes.ask("decision", visitor.submit, f"{address}s/undo/", body)
        else:
            page = notes.ask("decision", visitor.submit, f"{address}s/", body)


def scored(site: Site) -> int:
    return site.value("SELECT COUNT(*) FROM labeling_match")


def prepared(site: Site) -> tuple[Program, str, int]:
    """A project with pictures that are scored already, and people to review them."""
    program = Program(site, "ida")
    slug = program.post("projects/", json={"name": "Bulk"}).json()["slug"]
    for name in REVIEWERS:
        program.post(
            f"projects/{slug}/members/", json={"username": name, "role": "labeler"}
        ).raise_for_status()
    program.post(
        f"projects/{slug}/images/", files=[("files", ("first.zip", zipped(SEED, FIRST)))]
    ).raise_for_status()
    body = {"name": "Things", "labels": LABELS}
    label_set = program.post(f"projects/{slug}/label-sets/", json=body).json()["id"]
    wait_for(lambda: scored(site) >= FIRST, 300, "the first pictures are not scored")
    return program, slug, label_set


def under_bulk(site: Site, zips: list[bytes], seconds: float) -> Notes:
    program, slug, label_set = prepared(site)
    visitors = [Visitor(site, name) for name in REVIEWERS]
    for visitor in visitors:
        visitor.log_in().raise_for_status()
    notes, before = Notes(), scored(site)
    jobs = [
        partial(import_zips, program, slug, zips, notes),
        partial(export, Program(site, "ida"), label_set, notes),
        *(partial(review, visitor, label_set, random.Random(visitor.name), notes) for visitor in visitors),
    ]
    together(seconds, jobs)
    came = site.value("SELECT COUNT(*) FROM gallery_image") - FIRST
    print(f"{came:,} pictures came in and {scored(site) - before:,} were scored in {seconds} s")
    return notes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{SECONDS_SHORT} seconds.")
    seconds = SECONDS_SHORT if parser.parse_args().short else SECONDS
    zips = [zipped(SEED + 1 + number, IN_ZIP) for number in range(ZIPS if seconds == SECONDS else 2)]
    with live_site("ida", *REVIEWERS) as site:
        open_site(site)
        notes = under_bulk(site, zips, seconds)
        locked = log_of(site).count("database is locked")
    notes.tell()
    half, most = (percentile(notes.taken["decision"], part) for part in (0.5, 0.99))
    print(f"{locked} times locked in the log")
    print(f"a decision: half in {half:.0f} ms, 99 of 100 in {most:.0f} ms (at most {MOST_MS})")
    quick = most <= MOST_MS or seconds == SECONDS_SHORT
    return verdict(not notes.troubles and not locked and quick)


if __name__ == "__main__":
    sys.exit(main())
