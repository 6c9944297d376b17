"""What a picture looks like, in figures that survive scaling, recompression and a small crop; and which
pictures are nearly the same by them. Plain NumPy and Pillow.

The perceptual hash is the usual one, the signs of the lowest frequencies of a cosine transform against their
median; the package ImageHash, which has it too, would bring PyWavelets along for ten lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image

from labeling.scoring import Rows

# Measured on photographs, with `benchmarks/duplicates.py`: altered copies were at 40 bits of 256 or less, and
# at a cosine of 0.82 or more by the starter model, whose cosines alone tell little; other photographs at 46
# bits or more. The 64-bit hash sorts most pairs out before the crops are compared.
LEAST_COSINE, MOST_HASH_BITS, MOST_BITS = 0.8, 24, 43
# Pairs that are kept of each picture with those before it: a thousand equal ones would make half a million.
NEAREST = 30
# Pictures that are compared at once: 16 MB of cosines.
ACROSS = 8192

MIDDLE, GREY, HASH, FINE = 96, 32, 8, 16
SHARPNESS_SIDE = 256
# The whole, and what is left of it where 5 or 10 % were cut off, in any corner, at any edge, or all around.
CUTS = (0.05, 0.1)
WINDOWS = [(0.0, 0.0, 1.0)] + [
    (x, y, 1 - cut) for cut in CUTS for x in (0, cut / 2, cut) for y in (0, cut / 2, cut)
]
BYTES = FINE * FINE // 8
# (16, 32): the lowest rows of a discrete cosine transform, DCT-II.
COSINES = np.cos(np.pi / GREY * (np.arange(GREY) + 0.5) * np.arange(FINE)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Figures:
    hash: int  # 64 bits, as a signed number
    windows: bytes  # 256 bits of each of WINDOWS
    sharpness: float


@dataclass(frozen=True)
class Looks:
    """n pictures, as they are compared."""

    ids: np.ndarray  # (n,) int64, of images
    rows: Rows  # (n, d) unit float32
    hashes: np.ndarray  # (n,) uint64
    windows: np.ndarray  # (n, 19, 4) uint64

    def __getitem__(self, some: slice | np.ndarray) -> Looks:
        return Looks(self.ids[some], self.rows[some], self.hashes[some], self.windows[some])


@dataclass(frozen=True)
class Pair:
    first: int
    second: int  # the larger id
    cosine: float
    distance: int  # bits of 256


def figures(picture: PIL.Image.Image) -> Figures:
    grey = picture.convert("L")
    # Shrunk once first: 19 times from the full size would take ten times as long.
    middle = grey.resize((MIDDLE, MIDDLE), PIL.Image.Resampling.BILINEAR)
    small = np.stack([_window(middle, *window) for window in WINDOWS])
    lowest = COSINES @ small @ COSINES.T
    whole = _bits(lowest[:1, :HASH, :HASH])
    return Figures(
        int(np.packbits(whole).view(">i8")[0]),
        np.packbits(_bits(lowest), axis=1).tobytes(),
        _sharpness(grey),
    )


def _window(grey: PIL.Image.Image, x: float, y: float, part: float) -> np.ndarray:
    """(32, 32) float32: a part of the square picture, shrunk."""
    box = tuple(edge * MIDDLE for edge in (x, y, x + part, y + part))
    size = (GREY, GREY)
    return np.asarray(grey.resize(size, PIL.Image.Resampling.BILINEAR, box=box), np.float32)


def _bits(frequencies: np.ndarray) -> np.ndarray:
    """(n, k × k) bool of (n, k, k): which are above the median. The mean brightness is not looked at."""
    flat = frequencies.reshape(len(frequencies), -1).copy()
    flat[:, 0] = 0
    return flat > np.median(flat[:, 1:], axis=1, keepdims=True)


def _sharpness(grey: PIL.Image.Image) -> float:
    """Variance of the Laplacian at a fixed size (Pech-Pacheco et al. 2000): a blurred or enlarged picture
    has less of it than the same one that is sharp."""
    scale = SHARPNESS_SIDE / max(grey.size)
    size = tuple(max(3, round(side * scale)) for side in grey.size)
    flat = np.asarray(grey.resize(size, PIL.Image.Resampling.BICUBIC), np.float32)
    around = flat[:-2, 1:-1] + flat[2:, 1:-1] + flat[1:-1, :-2] + flat[1:-1, 2:]
    return float(np.var(around - 4 * flat[1:-1, 1:-1]))


def hashes_of(numbers: list[int]) -> np.ndarray:
    """(n,) uint64 of stored hashes."""
    return np.array(numbers, np.int64).view(np.uint64)


def windows_of(stored: list[bytes]) -> np.ndarray:
    """(n, 19, 4) uint64 of stored windows."""
    return np.frombuffer(b"".join(stored), np.uint64).reshape(-1, len(WINDOWS), BYTES // 8)


def distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) of n and n windows (n, 19, 4): the fewest bits by which the whole of one of the two differs from
    the other, whole or cropped."""
    there = np.bitwise_count(some ^ others[:, :1]).sum(axis=2, dtype=np.uint16).min(axis=1)
    back = np.bitwise_count(others ^ some[:, :1]).sum(axis=2, dtype=np.uint16).min(axis=1)
    return np.minimum(there, back)


def pairs(fresh: Looks, others: Looks) -> list[Pair]:
    """Which of `fresh` are nearly the same as which of `others`, or as each other.

    Of each of `fresh` the nearest alone.
    """
    found = [_near(fresh, fresh, among=True)]
    for start in range(0, len(others.ids), ACROSS):
        found.append(_near(fresh, others[start : start + ACROSS]))
    one, other, cosines, bits = map(np.concatenate, zip(*found, strict=True))
    order = np.lexsort((other, -cosines, bits, one))
    one, other, cosines, bits = one[order], other[order], cosines[order], bits[order]
    # The place of each among those of the same picture.
    place = np.arange(len(one)) - np.searchsorted(one, one)
    return [
        Pair(min(a, b), max(a, b), cosine, distance)
        for a, b, cosine, distance in zip(
            *(each[place < NEAREST].tolist() for each in (one, other, cosines, bits)), strict=True
        )
    ]


def _near(fresh: Looks, others: Looks, among: bool = False) -> tuple[np.ndarray, ...]:
    """Ids, cosines and distances of what is near. `among`: the others are the same ones, each pair once."""
    cosines = fresh.rows @ others.rows.T
    one, other = np.nonzero(cosines >= LEAST_COSINE)
    near = np.bitwise_count(fresh.hashes[one] ^ others.hashes[other]) <= MOST_HASH_BITS
    if among:
        near &= one > other
    one, other = one[near], other[near]
    bits = [
        distances(fresh.windows[one[some]], others.windows[other[some]])
        for some in (slice(start, start + ACROSS) for start in range(0, len(one), ACROSS))
    ]
    distance = np.concatenate([np.empty(0, np.uint16), *bits])
    kept = distance <= MOST_BITS
    one, other = one[kept], other[kept]
    return fresh.ids[one], others.ids[other], cosines[one, other], distance[kept]
