"""The map of 10,000 pictures, or of as many as the arguments say: how long to draw, and to answer.

    .venv/bin/python benchmarks/map.py 10000 100000

The embeddings are made up: 512 wide, 200 groups, of which some are near each other. Prints for each size the
seconds until it is drawn, the memory at its peak, how many of an image's ten neighbours on the map are of its
group beside how many are among the embeddings, and the middle of five answers with all points.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="clipsite-benchmark-")
os.environ |= {"DATA_DIR": FOLDER.name, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}

import django

django.setup()

import numpy as np
from django.contrib.auth.models import User
from django.test import Client

from clipsite.prepare import prepare
from gallery import projects
from gallery.models import Project
from labeling import clip, layouts
from labeling.models import Embedding
from tests.labeling import rows

WIDTH, GROUPS, TREE = 512, 200, 20
LOOKED_AT, NEAR, ANSWERS = 500, 10, 5


def grouped(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 512) unit rows, and the group of each."""
    rng = np.random.default_rng(7)
    trunks = rng.normal(size=(TREE, WIDTH))
    groups = trunks[np.arange(GROUPS) % TREE] + 0.7 * rng.normal(size=(GROUPS, WIDTH))
    of = rng.integers(GROUPS, size=count)
    # Within a group, pictures differ in a few directions more than in the others.
    spread = rng.normal(size=(40, WIDTH))
    found = groups[of] + 0.1 * rng.normal(size=(count, 40)) @ spread + 0.3 * rng.normal(size=(count, WIDTH))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), of


def made(user: User, found: np.ndarray) -> Project:
    project = projects.create(user, f"{len(found)} pictures")
    label_set = rows.label_set(project, *(f"label {number}" for number in range(30)))
    images = rows.images(project, len(found))
    rows.match(label_set, images)
    Embedding.objects.filter(image__project=project).delete()
    model = clip.current().key
    Embedding.objects.bulk_create(
        (
            Embedding(image=image, model=model, vector=row.tobytes())
            for image, row in zip(images, found, strict=True)
        ),
        batch_size=2_000,
    )
    return project


def kin(points: np.ndarray, of: np.ndarray) -> float:
    """The share of the nearest others that are of the same group, for some of the points."""
    shares = []
    for at in np.linspace(0, len(points) - 1, LOOKED_AT).astype(int):
        far = ((points - points[at]) ** 2).sum(axis=1)
        near = np.argpartition(far, NEAR + 1)[: NEAR + 1]
        shares.append((of[near[near != at][:NEAR]] == of[at]).mean())
    return float(np.mean(shares))


def measure(user: User, count: int) -> None:
    found, of = grouped(count)
    project = made(user, found)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    start = time.monotonic()
    layouts.start(project, user)
    while layouts.active(project):
        layouts.draw_waiting()
    took = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _, points = layouts.read(layouts.shown(project))
    times = []
    for _ in range(ANSWERS):
        start = time.monotonic()
        answer = client.get(f"/api/v1/projects/{project.slug}/map/")
        times.append(time.monotonic() - start)
    print(
        f"{count:9,} pictures: drawn in {took:5.1f} s, peak {peak:5.0f} MB,"
        f" kin {kin(points, of):4.0%} of {kin(found, of):4.0%},"
        f" points in {statistics.median(times):.2f} s, {len(answer.content) / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    prepare()
    benchmarker = User.objects.create_user("benchmark")
    for size in map(int, sys.argv[1:] or ["10000"]):
        measure(benchmarker, size)
