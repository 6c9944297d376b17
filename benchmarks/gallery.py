"""The gallery and the API's lists at 1,000 and at 100,000 pictures: filters, orders, first to last page.

    .venv/bin/python benchmarks/gallery.py [FOLDER]

Prints the middle of five answers and how many queries each takes. One that takes 200 ms or more at 100,000
pictures, or more queries than both 24 and at 1,000, makes the command exit with 1. In brackets: time of the
processor, which tells a slow page from a machine that is busy with something else. The pictures are kept in
FOLDER for the next time, where it is given.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TEMPORARY = tempfile.TemporaryDirectory(prefix="clipsite-benchmark-")
FOLDER = sys.argv[1] if len(sys.argv) > 1 else TEMPORARY.name
os.environ |= {"DATA_DIR": FOLDER, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}

import django

django.setup()

import numpy as np
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from clipsite.prepare import prepare
from gallery import comments, projects
from gallery.models import Image
from labeling.models import Annotation, Assignment, Batch, LabelSet
from labeling.selection import ORDERINGS
from tests.labeling import rows

SMALL, LARGE = 1_000, 100_000
ROUNDS, MOST, A_PAGE = 5, 200, 60
LABELS = 10
SCRIPT = {"HX-Request": "true"}
# Some find nearly all images, some a handful.
LINES = [
    "",
    "status:unreviewed",
    "status:accepted",
    "status:unscored",
    "status:reviewed",
    "-status:accepted",
    'label:"label 3"',
    '-label:"label 3"',
    'label:"label 3" status:corrected',
    "probability:<0.01",
    "probability:>0.1",
    "margin:<0.2",
    "margin:>0.49",
    'suggested:"label 1"',
    'runner:"label 1"',
    "similarity:>0.2",
    "by:benchmark",
    "-by:benchmark",
    "decided:>2000-01-01",
    "name:picture",
    "name:image",
    "name:999",
    "-name:999",
    "uploaded:>2000-01-01",
    "uploaded:<2000-01-01",
    "uploader:me",
    "assigned:me",
    "assigned:nobody",
    "-assigned:me",
    "comments:any",
    "comments:open",
    "-comments:any",
    "mentions:me",
    "id:<100",
    "width:>=64",
    "size:>2MB",
    "name:9 probability:<0.5 status:unreviewed",
    '-label:"label 3" -status:accepted margin:>0.1 assigned:nobody -comments:any',
    'label:"label 1" label:"label 2" probability:>0.9 by:benchmark',
]


def made(user: User, count: int) -> LabelSet:
    """Images of any certainty: a tenth not scored, two in five decided, some assigned, some commented on."""
    rng = np.random.default_rng(count)
    project = projects.create(user, f"{count} pictures")
    label_set = rows.label_set(project, *(f"label {number}" for number in range(LABELS)))
    images = rows.images(project, count)
    rows.match(label_set, images[: count * 9 // 10], list(rng.random(count)))
    labels = list(label_set.labels.all())
    statuses = ["accepted", "accepted", "corrected", "none"]
    said = {"label_set": label_set, "decided_by": user}
    Annotation.objects.bulk_create(
        [
            Annotation(
                image=images[at],
                status=(status := statuses[number % 4]),
                label=None if status == "none" else labels[number % LABELS],
                **said,
            )
            for number, at in enumerate(rng.permutation(count)[: count * 2 // 5].tolist())
        ],
        batch_size=500,
    )
    batch = Batch.objects.create(label_set=label_set, user=user, kind="assign", total=count // 10)
    Assignment.objects.bulk_create(
        [
            Assignment(label_set=label_set, image=image, user=user, batch=batch)
            for image in images[:: count // (count // 10)]
        ],
        batch_size=500,
    )
    for image in images[:: count // 50]:
        comments.add(image, user, "Is this one right, @benchmark?")
    Image.objects.filter(project=project, pk__in=[image.pk for image in images[::100]]).update(
        uploaded_by=user
    )
    return label_set


def pages(label_set: LabelSet) -> Iterator[tuple[str, str, dict[str, str], dict[str, str]]]:
    """Name, path, parameters and headers of each page: of few of them at every order, of every line."""
    slug, number = label_set.project.slug, label_set.pk
    all_pages = label_set.project.images.count() // A_PAGE
    places = {"first": "1", "middle": str(all_pages // 2), "last": "99999999"}
    for line in LINES:
        full = line in ("", "status:unreviewed", "name:image", "probability:>0.1")
        for ordering, _ in ORDERINGS if full else [ORDERINGS[0], ORDERINGS[3]]:
            for place, page in places.items():
                if not full and place == "middle":
                    continue
                params = {"q": line, "ordering": ordering, "page": page}
                yield f"{line or '(all)'}, {ordering}, {place}", f"/projects/{slug}/", params, SCRIPT
        yield f"{line or '(all)'}, whole page", f"/projects/{slug}/", {"q": line}, {}
    for line in LINES:
        yield f"API images, {line}", f"/api/v1/label-sets/{number}/images/", {"q": line}, {}
    for ordering, _ in ORDERINGS:
        yield f"API matches, {ordering}", f"/api/v1/label-sets/{number}/matches/", {"ordering": ordering}, {}
    yield "API project's images", f"/api/v1/projects/{slug}/images/", {}, {}


def measured(client: Client, path: str, params: dict[str, str], headers: dict[str, str]) -> tuple:
    """The middle in milliseconds, of the clock and of the processor, and the number of queries."""
    taken, worked = [], []
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path, params, headers=headers)
    # Another request forgets them.
    queries = len(captured)
    assert answer.status_code == 200, (path, params, answer.content)
    for _ in range(ROUNDS):
        began, work = time.perf_counter(), time.process_time()
        client.get(path, params, headers=headers)
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - work))
    return statistics.median(taken), statistics.median(worked), queries


def main() -> int:
    prepare()
    user = User.objects.filter(username="benchmark").first()
    if user is None:
        user = User.objects.create_user("benchmark")
        for count in (SMALL, LARGE):
            made(user, count)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    small, large = LabelSet.objects.select_related("project").filter(name="Rows").order_by("pk")
    missed = []
    for (name, *few), (_, *many) in zip(pages(small), pages(large), strict=True):
        less, _, few_queries = measured(client, *few)
        more, work, queries = measured(client, *many)
        good = more < MOST and queries <= max(few_queries, BOUND)
        if not good:
            missed.append(name)
        print(
            f"{name:>70}: {less:4.0f} ms, {more:5.0f} ms ({work:4.0f}; under {MOST}), "
            f"{few_queries} and {queries} queries {'ok' if good else 'MISSED'}",
            flush=True,
        )
    print(f"{len(missed)} missed")
    return int(bool(missed))


# Any page may take so many: one that finds nothing at 1,000 asks for less about what it shows.
BOUND = 24

if __name__ == "__main__":
    sys.exit(main())
