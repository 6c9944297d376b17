"""Pages at 1,000 and at 10,000 pictures, side by side in one run.

    .venv/bin/python benchmarks/pages.py

Prints the middle of seven answers of each page for both sizes, and their ratio. A page that takes more than
five times as long for ten times the pictures makes the command exit with 1.
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

from django.contrib.auth.models import User
from django.test import Client

from clipsite.prepare import prepare
from gallery import projects
from labeling.models import LabelSet
from tests.labeling import rows

SMALL, LARGE = 1_000, 10_000
ROUNDS, MOST = 7, 5


def made(user: User, count: int) -> LabelSet:
    project = projects.create(user, f"{count} pictures")
    label_set = rows.label_set(project, *(f"label {number}" for number in range(10)))
    images = rows.images(project, count)
    rows.match(label_set, images, [(number * 7919 % count) / count for number in range(count)])
    return label_set


def pages(client: Client, label_set: LabelSet, count: int) -> dict[str, Callable[[], object]]:
    gallery, here = label_set.project.get_absolute_url(), f"/label-sets/{label_set.pk}"
    api = f"/api/v1/label-sets/{label_set.pk}/matches/?ordering=probability"
    image = label_set.project.images.order_by("pk")[count // 2].pk
    decision = {"image": image, "verdict": "none", "page": "review"}
    return {
        "gallery, newest": lambda: client.get(gallery),
        "gallery, last page, least certain": lambda: client.get(
            f"{gallery}?ordering=probability&page={count // 60}"
        ),
        "image": lambda: client.get(f"/images/{image}/?ordering=probability"),
        "review": lambda: client.get(f"{here}/review/"),
        "a decision": lambda: client.post(f"{here}/reviews/", decision, headers={"HX-Request": "true"}),
        "progress": lambda: client.get(f"{here}/progress/"),
        "API, a page of matches": lambda: client.get(api),
    }


def milliseconds(ask: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        assert ask().status_code == 200
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def main() -> int:
    prepare()
    user = User.objects.create_user("benchmark")
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    small, large = (pages(client, made(user, count), count) for count in (SMALL, LARGE))
    missed = False
    for name in small:
        few, many = milliseconds(small[name]), milliseconds(large[name])
        missed |= many > MOST * few
        verdict = "ok" if many <= MOST * few else "MISSED"
        print(f"{name:>34}: {few:5.0f} ms, {many:5.0f} ms, {many / few:.1f} times (at most {MOST}) {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
