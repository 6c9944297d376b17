"""A batch over 10,000 images and its undoing, while somebody else reviews one by one.

    .venv/bin/python benchmarks/batches.py [--short]

At a site as `manage.py start` runs it, on SQLite. A program gives all 10,000 images a label, as one batch,
and takes it back, three times; all the while a person decides about one image after the other, ten a second,
as the review page does. Each must be done within 10 s of the request, of 100 decisions 99 be answered in
250 ms, nobody may meet a locked database, and afterwards nothing but the person's own decisions may stand. In
the short form it is 1,000 images, and the time is printed, but not asked.
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "reliability"))

from visitors import Notes, Program, Site, Visitor, live_site, log_of, open_site, percentile, verdict

IMAGES, IMAGES_SHORT = 10_000, 1_000
MOST_SECONDS, MOST_MS = 10, 250
EVERY, ALONE = 0.1, 5
# So that enough decisions fall into them for the slowest of a hundred to say something.
ROUNDS = 3
MAKE_ROWS = """
from django.contrib.auth.models import User
from gallery import projects
from gallery.models import Membership
from tests.labeling import rows

project = projects.create(User.objects.get(username="ida"), "Many")
Membership.objects.create(project=project, user=User.objects.get(username="rosa"), role="labeler")
label_set = rows.label_set(project, *(f"label {{number}}" for number in range(10)))
rows.match(label_set, rows.images(project, {count}))
"""
ANSWERED = """SELECT image_id, username FROM labeling_annotation
              JOIN auth_user ON auth_user.id = decided_by_id ORDER BY image_id"""
DECIDED = """SELECT DISTINCT image_id, username FROM labeling_review JOIN auth_user ON auth_user.id = user_id
             WHERE username = 'rosa' AND verdict = 'none' ORDER BY image_id"""


def review(
    visitor: Visitor, label_set: int, images: list[int], notes: Notes, what: list[str], over: threading.Event
) -> None:
    """Until it is over; `what` says last what goes on meanwhile."""
    rng, until = random.Random(4), time.monotonic()
    while not over.is_set():
        body = {"page": "review", "image": rng.choice(images), "verdict": "none"}
        notes.ask(what[-1], visitor.submit, f"/label-sets/{label_set}/reviews/", body)
        until = max(until + EVERY, time.monotonic())
        over.wait(until - time.monotonic())


def seconds(program: Program, address: str, body: dict[str, object]) -> tuple[float, str]:
    """From the request to the end of the batch that it begins, and the batch's id."""
    began = time.perf_counter()
    answer = program.post(address, json=body)
    answer.raise_for_status()
    batch = answer.json()
    while batch["state"] == "running":
        time.sleep(0.3)
        batch = program.get(f"batches/{batch['id']}/").json()
    taken = time.perf_counter() - began
    print(f"{batch['what']}: {taken:.1f} s, {batch['left']:,} left as they were")
    assert (batch["state"], batch["done"]) == ("done", batch["total"]), batch
    return taken, batch["id"]


def under_reviews(site: Site, notes: Notes, count: int) -> list[float]:
    """How long each batch and each undoing took."""
    taken: list[float] = []
    label_set, label = site.rows("SELECT label_set_id, id FROM labeling_label ORDER BY id")[0]
    images = [row[0] for row in site.rows("SELECT id FROM gallery_image")]
    program, visitor, over = Program(site, "ida"), Visitor(site, "rosa"), threading.Event()
    visitor.log_in().raise_for_status()
    # The first answers of each process are slow for other reasons.
    for image in images[:20]:
        body = {"page": "review", "image": image, "verdict": "skipped"}
        visitor.submit(f"/label-sets/{label_set}/reviews/", body).raise_for_status()
    what = ["decision alone"]
    reviewing = threading.Thread(target=review, args=(visitor, label_set, images, notes, what, over))
    reviewing.start()
    try:
        over.wait(ALONE)
        what.append("decision")
        body = {"q": "", "count": count, "verdict": "corrected", "label": label}
        for _ in range(ROUNDS):
            forth, batch = seconds(program, f"label-sets/{label_set}/batches/", body)
            back, _ = seconds(program, f"batches/{batch}/undo/", {})
            taken += [forth, back]
    finally:
        over.set()
        reviewing.join()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{IMAGES_SHORT:,} images, no time is asked.")
    is_short = parser.parse_args().short
    count, notes = IMAGES_SHORT if is_short else IMAGES, Notes()
    with live_site("ida", "rosa") as site:
        site.manage("shell", "-v0", "-c", MAKE_ROWS.format(count=count))
        open_site(site)
        taken = under_reviews(site, notes, count)
        locked = log_of(site).count("database is locked")
        stand, own = site.rows(ANSWERED), site.rows(DECIDED)
    notes.tell()
    alone, most = (percentile(notes.taken[what], 0.99) for what in ("decision alone", "decision"))
    print(f"{locked} times locked in the log; {len(stand):,} answers stand, of {len(own):,} that rosa gave")
    print(f"99 of 100 decisions in {most:.0f} ms (at most {MOST_MS}); without a batch in {alone:.0f} ms")
    quick = is_short or (max(taken) <= MOST_SECONDS and most <= MOST_MS)
    return verdict(not notes.troubles and not locked and stand == own and quick)


if __name__ == "__main__":
    sys.exit(main())
