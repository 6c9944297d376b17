"""Finding the nearest of 100,000 and of 1,000,000 pictures, and what else would do it, in one run.

    .venv/bin/python benchmarks/search.py [--rows 100000 1000000] [--folder /a/disk/with/10/GB]

Real rows in a real SQLite file: clustered unit vectors of 512 numbers, and another project's between them.
"ours" is a result page from the vector of its words to 60 Image rows: what is new is looked up, all rows
are compared, the cut-off is learned, the images are fetched. Beside it the bare ranking by a plain product
of NumPy in memory, by FAISS (IndexFlatIP), and from rows that are read from SQLite each time. Memory is
what a process takes beside its imports, mapped pages included, for each byte of the matrix; a start is from
the start of Python to the first answer. A bar that is missed makes the command exit with 1; other work on
the machine makes it slower.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# What holds an older OpenBLAS back from this processor's own kernels.
for held in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(held, None)
STEP = sys.argv[1] if len(sys.argv) == 3 and sys.argv[1] in ("build", "start", "measure") else ""
FOLDER = sys.argv[2] if STEP else tempfile.gettempdir()
os.environ |= {"DATA_DIR": FOLDER, "DJANGO_SETTINGS_MODULE": "clipsite.settings"} if STEP else {}

DIMENSIONS, EACH, MODEL = 512, 50, "benchmark@1"
SHOWN, ROUNDS, THREADS = 60, 15, 8
# Milliseconds of a page and seconds of a start, at most; bytes of memory for one of the matrix.
BARS = {100_000: (30, 2), 1_000_000: (150, 10)}
MEMORY = 1.2
IMAGE = """INSERT INTO gallery_image (id, project_id, name, file, thumbnail, preview, sha256, width, height,
    format, size, uploaded_at) VALUES (?, ?, ?, ?, ?, ?, ?, 640, 480, 'JPEG', 100000, '2026-01-01')"""
EMBEDDING = f"INSERT INTO labeling_embedding (image_id, model, vector) VALUES (?, '{MODEL}', ?)"


def make(count: int, folder: str) -> None:
    """A site with `count` embedded images in project 1, and a hundredth more in project 2."""
    import numpy as np

    rng = np.random.default_rng(count)
    centres = rng.standard_normal((count // EACH, DIMENSIONS), dtype=np.float32)
    with closing(sqlite3.connect(f"{folder}/db.sqlite3", isolation_level=None)) as rows:
        rows.execute("PRAGMA synchronous=OFF")
        rows.executemany(
            "INSERT INTO gallery_project (id, name, slug, description, guidelines, created_at) "
            "VALUES (?, ?, ?, '', '', '2026-01-01')",
            [(1, "Many", "many"), (2, "Few", "few")],
        )
        for start in range(0, count * 101 // 100, 10_000):
            size = min(10_000, count * 101 // 100 - start)
            noise = rng.standard_normal((size, DIMENSIONS), dtype=np.float32)
            made = centres[rng.integers(len(centres), size=size)] + 0.8 * noise
            made /= np.linalg.norm(made, axis=1, keepdims=True)
            numbers = range(start + 1, start + size + 1)
            rows.execute("BEGIN")
            rows.executemany(IMAGE, map(image_row, numbers))
            rows.executemany(EMBEDDING, ((n, made[n - start - 1].tobytes()) for n in numbers))
            rows.execute("COMMIT")


def image_row(number: int) -> tuple:
    project = 2 if number % 101 == 0 else 1
    files = (f"images/{project}/{number:032x}{end}" for end in (".jpg", "-t.webp", "-p.webp"))
    return (number, project, f"IMG_{number:07}.jpg", *files, f"{number:064x}")


def child(step: str, folder: str) -> str:
    """What a process of its own prints of this step."""
    command = [sys.executable, __file__, step, folder]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def resident() -> dict[str, int]:
    """Bytes of this process by the kernel's count: Rss, and Pss, which shares what is shared."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {name.rstrip(":"): 1024 * int(size) for name, size, *_ in map(str.split, lines)}


def found_by_us(query: object) -> list[int]:
    """A result page above the cut-off that is learned for it: the ids of its images, best first."""
    import numpy as np

    from gallery.models import Image
    from labeling import search

    nothing = np.empty((0, DIMENSIONS), np.float32)
    sought = search.Sought(MODEL, wanted=query, weights=nothing[:, 0], unwanted=nothing)
    ids = search.Find(1, sought).ids[:SHOWN]
    images = {image.pk: image for image in Image.objects.filter(pk__in=ids, project=1)}
    return [images[image_id].pk for image_id in ids]


def found_in_rows(query: object) -> list[int]:
    """Read from the database each time, in blocks of which the best are kept."""
    import numpy as np

    from labeling.models import Embedding

    rows = Embedding.objects.filter(model=MODEL, image__project=1).values_list("image_id", "vector")
    blocks, best = rows.iterator(chunk_size=1000), []
    while block := list(islice(blocks, 1000)):
        ids, stored = zip(*block, strict=True)
        cosines = np.frombuffer(b"".join(stored), "<f4").reshape(len(ids), -1) @ query
        best = sorted([*best, *zip(-cosines, ids, strict=True)])[:SHOWN]
    return [image_id for _, image_id in best]


def in_turn(ways: dict[str, Callable], queries: list) -> dict[str, tuple[float, float, list]]:
    """Of each way the middle and the quickest, in milliseconds, and what it found.

    Each query goes by all of them, one after the other, so that what else the machine does hits them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list] = {name: [] for name in ways}
    for query in [queries[0], *queries]:
        for name, way in ways.items():
            begun = time.perf_counter()
            found[name].append(way(query))
            taken[name].append(1000 * (time.perf_counter() - begun))
    return {
        name: (statistics.median(taken[name][1:]), min(taken[name][1:]), found[name][1:]) for name in ways
    }


def measure() -> Iterator[str]:
    """The lines of one size. Ours comes first, so that its memory is nobody else's."""
    import faiss
    import numpy as np
    from threadpoolctl import threadpool_info

    from labeling import ranking, vectors

    numpys = [each for each in threadpool_info() if "numpy" in each["filepath"]]
    blas = " ".join(f"{each['architecture']} x{each['num_threads']}" for each in numpys)
    base = resident()
    matrix = vectors.of(1, MODEL)
    queries = query_vectors(matrix.rows)
    in_turn({"ours": found_by_us}, queries)
    grown = max(resident()[kind] - base[kind] for kind in ("Rss", "Pss")) / matrix.rows.nbytes
    yield f"memory {grown:.3f} {blas}"
    yield "threads {:.1f} {:.1f}".format(*at_once(queries))
    copy = np.array(matrix.rows)
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(copy)
    ways = {
        "ours": found_by_us,
        "numpy": lambda query: matrix.ids[ranking.top(copy @ query, SHOWN)].tolist(),
        "faiss": lambda query: matrix.ids[index.search(query[None], SHOWN)[1][0]].tolist(),
    }
    figures = in_turn(ways, queries)
    few = queries[: 3 if len(matrix.ids) < 500_000 else 1]
    figures |= in_turn({"sqlite": found_in_rows}, few)
    for name, (middle, quickest, found) in figures.items():
        yield f"{name} {middle:.1f} {quickest:.1f} {recall(figures['ours'][2], found)}"


def at_once(queries: list) -> tuple[float, float]:
    """Milliseconds that a search takes while others search as well, and how many there are a second."""

    def search(query: object) -> float:
        begun = time.perf_counter()
        found_by_us(query)
        return 1000 * (time.perf_counter() - begun)

    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        taken = list(pool.map(search, 3 * queries))
    return statistics.median(taken), len(taken) / (time.perf_counter() - begun)


def query_vectors(rows: object) -> list:
    """Unit vectors beside a picture each: what a sentence that fits it would be."""
    import numpy as np

    rng = np.random.default_rng(3)
    near = rows[rng.integers(len(rows), size=ROUNDS)] + 0.05 * rng.standard_normal((ROUNDS, DIMENSIONS))
    return list((near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32))


def recall(found: list, others: list) -> float:
    """recall@10 of `found`, with what another way found for the truth."""
    return statistics.mean(len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(found, others, strict=False))


def run_step() -> None:
    import django

    django.setup()
    from labeling import vectors

    if STEP == "build":
        begun, before = time.perf_counter(), resident()["Rss"]
        vectors.of(1, MODEL)
        import resource

        most = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{time.perf_counter() - begun:.1f} {most / 2**20:.0f}")
    elif STEP == "start":
        import numpy as np

        query = np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float32)
        assert found_by_us(query)
        print("ready")
    else:
        for line in measure():
            print(line, flush=True)


def start_seconds(folder: str, from_disk: bool) -> float:
    """From the start of a process to its first answer; `from_disk`: with nothing of it in the page cache."""
    if from_disk:
        for path in [*Path(folder, "vectors").rglob("*.*"), Path(folder, "db.sqlite3")]:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.perf_counter()
    child("start", folder)
    return time.perf_counter() - begun


def report(count: int, where: str | None) -> bool:
    """Print the table of one size; whether all bars hold."""
    with tempfile.TemporaryDirectory(prefix="clipsite-search-", dir=where) as folder:
        prepare = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
        subprocess.run(prepare, check=True, env=os.environ | {"DATA_DIR": folder})
        make(count, folder)
        child_built = child("build", folder)
        starts = sorted(start_seconds(folder, from_disk=False) for _ in range(3))
        cold = start_seconds(folder, from_disk=True)
        lines = {line.split()[0]: line.split()[1:] for line in child("measure", folder).splitlines()}
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"\n{count:,} pictures; BLAS {' '.join(lines['memory'][1:])}; load {load} on {os.cpu_count()} cores"
    )
    print(f"{'':>22}  middle  quickest  recall@10 of ours against it")
    for name in ("ours", "numpy", "faiss", "sqlite"):
        middle, quickest, same = map(float, lines[name])
        print(f"{name + ', ms':>22}  {middle:6.1f}  {quickest:8.1f}  {same:9.3f}")
    each, per_second = lines["threads"]
    print(f"{f'{THREADS} threads at once, ms':>22}  {float(each):6.1f}  {per_second} searches a second")
    return judged(count, lines, starts[1], cold, child_built)


def judged(count: int, lines: dict[str, list[str]], start: float, cold: float, built: str) -> bool:
    """Print each bar, and whether it holds; whether all do."""
    page_bar, start_bar = BARS.get(count, BARS[1_000_000])
    page, memory = float(lines["ours"][0]), float(lines["memory"][0])
    seconds, extra = built.split()
    good = {
        f"page {page:.1f} ms (at most {page_bar})": page <= page_bar,
        f"memory {memory:.2f} times the matrix (at most {MEMORY})": memory <= MEMORY,
        f"start {start:.1f} s, {cold:.1f} s from the disk (at most {start_bar})": start <= start_bar,
        f"built in {seconds} s, once, with {extra} MB": True,
    }
    for said, holds in good.items():
        print(f"{'ok' if holds else 'MISSED':>22}  {said}", flush=True)
    return all(good.values())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=list(BARS), help="how many pictures")
    parser.add_argument("--folder", help="where the databases are made, instead of where temporary files are")
    options = parser.parse_args()
    held = [report(count, options.folder) for count in options.rows]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(run_step() if STEP else main())
