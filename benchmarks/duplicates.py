"""Near-duplicates: how many altered copies of pictures are found, how many other pictures are taken for ones,
and how long the search takes.

    python benchmarks/duplicates.py FOLDER     photographs, below a folder
    python benchmarks/duplicates.py            drawn pictures
    python benchmarks/duplicates.py --speed 100000     that many rows of 512, with no picture
"""

import argparse
import io
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clipsite.settings")

import django
import numpy as np
import PIL.Image

django.setup()

from labeling import clip, fingerprints
from labeling.fingerprints import Looks
from labeling.starter import drawing

SEED = 5
THUMBNAIL = 320


def written(picture: PIL.Image.Image, format: str = "JPEG", quality: int = 85) -> PIL.Image.Image:
    out = io.BytesIO()
    picture.save(out, format, quality=quality)
    return PIL.Image.open(out).convert("RGB")


def scaled(picture: PIL.Image.Image, factor: float) -> PIL.Image.Image:
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))


def cropped(picture: PIL.Image.Image, rng: random.Random) -> PIL.Image.Image:
    """5 % of the width and of the height off, anywhere."""
    width, height = round(picture.width * 0.05), round(picture.height * 0.05)
    x, y = rng.randint(0, width), rng.randint(0, height)
    return picture.crop((x, y, x + picture.width - width, y + picture.height - height))


def cropped_around(picture: PIL.Image.Image) -> PIL.Image.Image:
    width, height = round(picture.width * 0.05), round(picture.height * 0.05)
    return picture.crop((width, height, picture.width - width, picture.height - height))


ALTERED = {
    "half as large": lambda picture, rng: written(scaled(picture, 0.5)),
    "a third": lambda picture, rng: written(scaled(picture, 1 / 3)),
    "twice as large": lambda picture, rng: written(scaled(picture, 2)),
    "JPEG, quality 30": lambda picture, rng: written(picture, quality=30),
    "JPEG, quality 15": lambda picture, rng: written(picture, quality=15),
    "WebP, quality 60": lambda picture, rng: written(picture, "WEBP", 60),
    "5 % cropped": lambda picture, rng: written(cropped(picture, rng)),
    "5 % cropped on each side": lambda picture, rng: written(cropped_around(picture)),
    "cropped, smaller and recompressed": lambda picture, rng: written(
        scaled(cropped(picture, rng), 2 / 3), quality=60
    ),
    "brighter": lambda picture, rng: written(picture.point(lambda value: min(255, round(value * 1.15)))),
}


def drawn(count: int, rng: random.Random) -> list[PIL.Image.Image]:
    """No two of the same thing: such would be near-duplicates by right."""
    kinds: dict[drawing.Drawing, None] = {}
    while len(kinds) < count:
        kinds[drawing.random_drawing(rng)] = None
    return [drawing.draw(kind, rng, 224) for kind in kinds]


def with_copies(
    pictures: list[PIL.Image.Image], copies: int, rng: random.Random
) -> tuple[list[PIL.Image.Image], list[int], list[str]]:
    """All pictures and then their copies; the place of each copy's original; how it was altered."""
    kinds = [list(ALTERED)[number % len(ALTERED)] for number in range(copies)]
    originals = rng.sample(range(len(pictures)), copies)
    made = [ALTERED[kind](pictures[at], rng) for kind, at in zip(kinds, originals, strict=True)]
    return pictures + made, originals, kinds


def looks_of(pictures: list[PIL.Image.Image]) -> Looks:
    rows = clip.engine().embed_images(pictures)
    found = []
    for picture in pictures:
        thumbnail = picture.copy()
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        found.append(fingerprints.figures(written(thumbnail, "WEBP", 80)))
    return Looks(
        np.arange(len(pictures)),
        rows,
        fingerprints.hashes_of([its.hash for its in found]),
        fingerprints.windows_of([its.windows for its in found]),
    )


def measured(pictures: list[PIL.Image.Image], copies: int, rng: random.Random) -> dict[str, object]:
    """Of so many copies how many are found, by kind those that are not, and which others are paired."""
    everything, originals, kinds = with_copies(pictures, copies, rng)
    began = time.perf_counter()
    looks = looks_of(everything)
    seen = time.perf_counter()
    pairs = fingerprints.pairs(looks, looks[:0])
    done = time.perf_counter()
    together = {(pair.first, pair.second) for pair in pairs}
    first_copy = len(pictures)
    missed = Counter(
        kinds[number] for number, at in enumerate(originals) if (at, first_copy + number) not in together
    )
    others = {at for pair in together for at in pair if max(pair) < first_copy}
    return {
        "copies": copies,
        "found": copies - missed.total(),
        "missed": dict(missed),
        "others": len(pictures),
        "paired": sorted(others),
        "pairs": sorted(pair for pair in together if max(pair) < first_copy),
        "seconds": (seen - began, done - seen),
    }


def speed(count: int) -> None:
    """How long it takes to compare so many images with each other, block by block, as a worker does."""
    from labeling.near import BLOCK

    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(count, 512)).astype(np.float32)
    rows += 0.5  # as CLIP's are: all lie in one direction
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    words = (count, len(fingerprints.WINDOWS), 4)
    windows = rng.integers(0, 2**63, words, dtype=np.int64).view(np.uint64)
    looks = Looks(np.arange(count), rows, windows[:, 0, 0], windows)
    starts = list(range(0, count, BLOCK))
    tried = starts if count <= 20_000 else starts[:: len(starts) // 20]
    began = time.perf_counter()
    for start in tried:
        fingerprints.pairs(looks[start : start + BLOCK], looks[:start])
    took = (time.perf_counter() - began) * len(starts) / len(tried)
    how = "" if tried == starts else f", from {len(tried)} of {len(starts)} blocks"
    print(f"{count:,} images with each other: {took:.0f} s{how}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=1000, help="with the copies")
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--speed", type=int, metavar="IMAGES")
    args = parser.parse_args()
    if args.speed:
        speed(args.speed)
        return
    rng = random.Random(args.seed)
    count = args.images - args.copies
    names: list[str] = []
    if args.folder:
        files = sorted(
            path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
        rng.shuffle(files)
        names = [str(path.relative_to(args.folder)) for path in files[:count]]
        pictures = [PIL.Image.open(path).convert("RGB") for path in files[:count]]
    else:
        pictures = drawn(count, rng)
    result = measured(pictures, args.copies, rng)
    found, copies, paired = result["found"], result["copies"], len(result["paired"])
    print(f"model {clip.current().key}")
    print(f"found {found} of {copies} copies: {found / copies:.1%}; not: {result['missed'] or 'none'}")
    print(f"others paired: {paired} of {result['others']}: {paired / result['others']:.1%}")
    for one, other in result["pairs"]:
        print("   ", *(names[at] if names else at for at in (one, other)))
    print("{:.1f} s to embed and to see, {:.2f} s to compare".format(*result["seconds"]))


if __name__ == "__main__":
    main()
