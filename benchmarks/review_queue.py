"""The review page at 1,000 and at 100,000 pictures, in each order, also with half of them settled.

    .venv/bin/python benchmarks/review_queue.py

Prints the middle of fifteen answers and how many queries each takes: for who opens the page and is given a
list, for who looks again at what is theirs, and for who decides. One that takes 200 ms or more at 100,000
pictures, or more queries than at 1,000, makes the command exit with 1. In brackets: the time of the
processor, which tells a slow page from a machine that is busy with something else.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="clipsite-benchmark-")
os.environ |= {"DATA_DIR": FOLDER.name, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}

import django

django.setup()

import numpy as np
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from clipsite.prepare import prepare
from gallery import projects
from labeling import embeddings, leases, scoring
from labeling.models import Annotation, Batch, LabelSet, Lease, Review
from labeling.queue import ORDERS
from tests.labeling import rows

SMALL, LARGE = 1_000, 100_000
ROUNDS, MOST = 15, 200
DIMENSIONS, LABELS, EACH = 512, 10, 20
SCRIPT = {"HX-Request": "true"}


def made(user: User, count: int) -> LabelSet:
    """Images in clusters of twenty, of any certainty."""
    rng = np.random.default_rng(count)
    project = projects.create(user, f"{count} pictures")
    label_set = rows.label_set(project, *(f"label {number}" for number in range(LABELS)))
    images = rows.images(project, count)
    for start in range(0, count, 1000):
        centres = np.repeat(rng.normal(size=(1000 // EACH, DIMENSIONS)), EACH, axis=0)
        vectors = scoring.unit(centres + rng.normal(size=centres.shape) * 0.3)
        embeddings.save([image.pk for image in images[start : start + 1000]], vectors, rows.MODEL)
    run = rows.match(label_set, images, list(rng.random(count)))
    label_set.runs.filter(pk=run.pk).update(
        label_vectors=embeddings.to_bytes(scoring.unit(rng.normal(size=(LABELS, DIMENSIONS))))
    )
    return label_set


def settle_half(label_set: LabelSet, user: User) -> None:
    """The least certain half, decided by the person who goes on: all that an index finds first."""
    waiting = label_set.matches.exclude(image__in=label_set.annotations.values("image")).order_by("margin")
    matches = list(waiting.values_list("image", "label")[: label_set.matches.count() // 2])
    batches = [Batch(label_set=label_set, user=user, total=1) for _ in matches]
    Batch.objects.bulk_create(batches, batch_size=500)
    said = {"label_set": label_set, "user": user, "verdict": "accepted"}
    settled = {"label_set": label_set, "decided_by": user, "status": "accepted"}
    Review.objects.bulk_create(
        [
            Review(image_id=image, label_id=label, batch=batch, **said)
            for (image, label), batch in zip(matches, batches, strict=True)
        ],
        batch_size=500,
    )
    Annotation.objects.bulk_create(
        [Annotation(image_id=image, label_id=label, **settled) for image, label in matches], batch_size=500
    )


def asked(client: Client, label_set: LabelSet, user: User, order: str) -> dict[str, Callable[[], object]]:
    here = f"/label-sets/{label_set.pk}"

    def opened() -> object:
        return client.get(f"{here}/review/?order={order}")

    def decided() -> object:
        image = Lease.objects.filter(label_set=label_set, user=user).first().image_id
        decision = {"image": image, "verdict": "none", "page": "review", "order": order}
        return client.post(f"{here}/reviews/", decision, headers=SCRIPT)

    return {"opened": opened, "looked at again": opened, "decided": decided}


def measured(
    label_set: LabelSet, user: User, name: str, ask: Callable[[], object]
) -> tuple[float, float, int]:
    """The middle in milliseconds, of the clock and of the processor, and the number of queries."""
    taken, worked, queries = [], [], []
    for _ in range(ROUNDS):
        if name == "opened":
            leases.leave(label_set, user)
        began, work = time.perf_counter(), time.process_time()
        assert ask().status_code == 200
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - work))
    for _ in range(3):
        if name == "opened":
            leases.leave(label_set, user)
        with CaptureQueriesContext(connection) as captured:
            ask()
        queries.append(len(captured))
    return statistics.median(taken), statistics.median(worked), min(queries)


def main() -> int:
    prepare()
    user = User.objects.create_user("benchmark")
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    sets = {count: made(user, count) for count in (SMALL, LARGE)}
    missed = False
    for state in ("nothing settled", "half of it settled"):
        for order in ORDERS:
            pages = {count: asked(client, sets[count], user, order) for count in sets}
            for name in pages[SMALL]:
                few, _, few_queries = measured(sets[SMALL], user, name, pages[SMALL][name])
                many, work, queries = measured(sets[LARGE], user, name, pages[LARGE][name])
                good = many < MOST and queries == few_queries
                missed |= not good
                print(
                    f"{state:>18}, {order:>9}, {name:>15}: {few:4.0f} ms, {many:4.0f} ms "
                    f"({work:3.0f}; under {MOST}), "
                    f"{few_queries} and {queries} queries {'ok' if good else 'MISSED'}",
                    flush=True,
                )
            for label_set in sets.values():
                leases.leave(label_set, user)
        if state == "nothing settled":
            for label_set in sets.values():
                settle_half(label_set, user)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
