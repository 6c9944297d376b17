"""A million settled rows as CSV and JSON Lines, and ten thousand pictures as a ZIP beside `cp` of them.

    .venv/bin/python benchmarks/exports.py [--rows N] [--rounds N]

Each row has a match and a review. Every export is made in a process of its own, which tells its memory and
its helper's: what is their own, without the pages of the database's file that are mapped into them. Prints
rows a second, seconds to the first byte, memory, and the ratio to `cp -r`; the best of the rounds counts,
since another program may be at work. One that misses its bar makes the command exit with 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SECONDS_TO_FIRST, ROWS_A_SECOND, MEGABYTES, RATIO = 1.0, 100_000, 200, 0.8
PICTURES, PICTURE_BYTES = 10_000, 12_000
COLUMNS = "image_id, label_set_id"


def prepare(rows: int) -> None:
    """A project of so many settled rows, by SQL alone, and one of PICTURES real files."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from clipsite.prepare import prepare as migrate
    from gallery import projects
    from labeling.models import Batch
    from tests.labeling import rows as made

    migrate()
    user = User.objects.create_user("benchmark")
    for name, number in (("Rows", rows), ("Pictures", PICTURES)):
        project = projects.create(user, name)
        label_set = made.label_set(project, *(f"label {each}" for each in range(10)))
        made.match(label_set, made.images(project, 1))
        run, first = label_set.runs.get(), label_set.labels.first().pk
        batch = Batch.objects.create(label_set=label_set, user=user, total=number)
        values = {
            "p": project.pk,
            "u": user.pk,
            "s": label_set.pk,
            "l": first,
            "r": run.pk,
            "b": batch.pk.hex,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in _statements(number, values):
                cursor.execute(statement)
        if name == "Pictures":
            _write_files(project.pk)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _statements(number: int, of: dict[str, object]) -> list[str]:
    at = "'2026-05-04 03:02:01.123456'"
    images = (
        f"WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {number}) "
        "INSERT INTO gallery_image (project_id, name, file, thumbnail, preview, sha256, width, height, "
        f"format, size, uploaded_by_id, uploaded_at) SELECT {of['p']}, printf('image %07d.jpg', n), "
        f"printf('images/{of['p']}/%07d.jpg', n), 't', 'p', printf('%032d%032d', {of['p']}, n), 640, 480, "
        f"'JPEG', {PICTURE_BYTES}, {of['u']}, {at} FROM n"
    )
    here = f"FROM gallery_image WHERE project_id = {of['p']}"
    label = f"{of['l']} + id % 10"
    return [
        images,
        f"INSERT INTO labeling_match ({COLUMNS}, label_id, similarity, probability, margin, runner_up_id, "
        f"run_id) SELECT id, {of['s']}, {label}, 0.2 + id % 1000 / 10000.0, 0.5 + id % 997 / 2000.0, "
        "id % 991 / 2000.0, "
        f"{of['l']} + (id + 1) % 10, {of['r']} {here} AND name != 'image 00000.jpg'",
        f"INSERT INTO labeling_review ({COLUMNS}, user_id, label_id, label_name, verdict, suggested_name, "
        f"suggested_probability, batch_id, settles, imported, at) SELECT id, {of['s']}, {of['u']}, {label}, "
        f"'label ' || (id % 10), 'accepted', 'label ' || (id % 10), 0.5, '{of['b']}', 0, 0, {at} {here}",
        f"INSERT INTO labeling_annotation ({COLUMNS}, label_id, status, source, decided_by_id, decided_at) "
        f"SELECT id, {of['s']}, {label}, 'accepted', 'human', {of['u']}, {at} {here}",
    ]


def _write_files(project_id: int) -> None:
    from django.conf import settings

    folder = Path(settings.MEDIA_ROOT, "images", str(project_id))
    folder.mkdir(parents=True)
    for number in range(2, PICTURES + 1):
        (folder / f"{number:07}.jpg").write_bytes(os.urandom(PICTURE_BYTES))


def anonymous() -> int:
    """Bytes that are this process's own, and its helper's: pages of the database's file, which they map, are
    the kernel's."""
    me = psutil.Process()
    return sum(_anonymous(each.pid) for each in (me, *me.children()))


def _anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return 1024 * int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])


def export(name: str, query: str, out: str) -> None:
    """One export, in a process that begins as the web server does; what it took goes to standard output as
    JSON."""
    import_module("clipsite.wsgi")
    from django.contrib.auth.models import User
    from django.http import QueryDict

    from labeling import exports
    from labeling.models import LabelSet

    label_set = LabelSet.objects.select_related("project").get(project__name=name)
    user, most, parts = User.objects.get(), 0, 0
    began, first = time.perf_counter(), 0.0
    answer = exports.download(label_set, user, QueryDict(query), label_set.reviews.all())
    with open(out, "wb") as file:
        for part in answer.streaming_content:
            first = first or time.perf_counter() - began
            file.write(part)
            parts += 1
            # To look takes milliseconds, and of pictures no memory is told.
            if parts % 50 == 0 and name == "Rows":
                most = max(most, anonymous())
    seconds = time.perf_counter() - began
    most = max(most, anonymous())
    sys.stdout.write(json.dumps({"seconds": seconds, "first": first, "megabytes": most / 1e6}))


def measured(name: str, query: str, out: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--export", name, query, str(out)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def copied(folder: Path, target: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["cp", "-r", folder, target], check=True)
    return time.perf_counter() - began


def main(rows: int, rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="clipsite-benchmark-") as temporary:
        os.environ |= {"DATA_DIR": temporary, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}
        prepare(rows)
        missed = sum(_rows(kind, rows, rounds, Path(temporary)) for kind in ("csv", "jsonl"))
        return int(bool(missed + _pictures(rounds, Path(temporary))))


def _rows(kind: str, rows: int, rounds: int, folder: Path) -> bool:
    said = [measured("Rows", f"format={kind}", folder / "out") for _ in range(rounds)]
    pace = rows / min(each["seconds"] for each in said)
    first, megabytes = min(each["first"] for each in said), max(each["megabytes"] for each in said)
    good = pace >= ROWS_A_SECOND and first < SECONDS_TO_FIRST and megabytes < MEGABYTES
    sys.stdout.write(
        f"{kind}: {pace:,.0f} rows/s (at least {ROWS_A_SECOND:,}), first byte after {first:.2f} s (under "
        f"{SECONDS_TO_FIRST:g}), {megabytes:.0f} MB (under {MEGABYTES}) {'ok' if good else 'MISSED'}\n"
    )
    return not good


def _pictures(rounds: int, folder: Path) -> bool:
    [files] = (folder / "media" / "images").iterdir()
    copies, exports = [], []
    for number in range(rounds):
        copies.append(copied(files, folder / f"copy-{number}"))
        exports.append(measured("Pictures", "format=coco&images=1", folder / "out.zip"))
    seconds = min(each["seconds"] for each in exports)
    ratio = min(copies) / seconds
    first = min(each["first"] for each in exports)
    good = ratio >= RATIO and first < SECONDS_TO_FIRST
    sys.stdout.write(
        f"{PICTURES:,} pictures: ZIP {seconds:.2f} s, cp {min(copies):.2f} s, {ratio:.2f} of cp "
        f"(at least {RATIO}), first byte after {first:.2f} s {'ok' if good else 'MISSED'}\n"
    )
    return not good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--export", nargs=3, metavar=("NAME", "QUERY", "OUT"))
    options = parser.parse_args()
    if options.export:
        export(*options.export)
    else:
        sys.exit(main(options.rows, options.rounds))
