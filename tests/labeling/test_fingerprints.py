"""What pictures look like: altered copies are found, and others are not taken for them."""

import random

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

from benchmarks import duplicates as bench
from labeling import fingerprints
from labeling.fingerprints import LEAST_COSINE, MOST_BITS, NEAREST, WINDOWS, Looks
from labeling.starter import drawing

IMAGES, COPIES = 250, 50


def drawn(seed: int, side: int = 224) -> PIL.Image.Image:
    rng = random.Random(seed)
    return drawing.draw(drawing.random_drawing(rng), rng, side)


def test_copies_are_found_and_few_others_are_paired() -> None:
    rng = random.Random(4)
    result = bench.measured(bench.drawn(IMAGES - COPIES, rng), COPIES, rng)
    assert result["found"] >= 0.98 * COPIES, result["missed"]
    assert len(result["paired"]) <= 0.01 * result["others"], result["pairs"]


@pytest.mark.parametrize("kind", bench.ALTERED)
def test_each_alteration_stays_near(kind: str) -> None:
    picture = drawn(1)
    one = fingerprints.figures(picture)
    other = fingerprints.figures(bench.ALTERED[kind](picture, random.Random(2)))
    windows = fingerprints.windows_of([one.windows, other.windows])
    assert fingerprints.distances(windows[:1], windows[1:])[0] <= MOST_BITS


def test_the_distance_is_the_same_both_ways_and_nothing_from_itself() -> None:
    windows = fingerprints.windows_of([fingerprints.figures(drawn(seed)).windows for seed in range(4)])
    there = fingerprints.distances(windows[:2], windows[2:])
    assert (there == fingerprints.distances(windows[2:], windows[:2])).all() and (there > 0).all()
    assert not fingerprints.distances(windows, windows).any()


def test_a_blurred_or_enlarged_picture_is_less_sharp() -> None:
    picture = drawn(3, 320)
    sharp = fingerprints.figures(picture).sharpness
    blurred = picture.filter(PIL.ImageFilter.GaussianBlur(2))
    enlarged = picture.resize((80, 80)).resize((320, 320))
    assert fingerprints.figures(blurred).sharpness < sharp * 0.6
    assert fingerprints.figures(enlarged).sharpness < sharp * 0.6


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_no_picture_is_too_small(size: tuple[int, int]) -> None:
    its = fingerprints.figures(PIL.Image.new("RGB", size, "red"))
    assert len(its.windows) == len(WINDOWS) * fingerprints.BYTES and -(2**63) <= its.hash < 2**63


def looks(count: int, start: int = 0) -> Looks:
    """Pictures that all look the same."""
    its = fingerprints.figures(drawn(1))
    rows = np.tile(np.array([1, 0], np.float32), (count, 1))
    hashes = fingerprints.hashes_of([its.hash] * count)
    return Looks(
        np.arange(start, start + count), rows, hashes, fingerprints.windows_of([its.windows] * count)
    )


def test_of_equal_pictures_each_is_paired_with_so_many_only_and_all_hang_together() -> None:
    pairs = fingerprints.pairs(looks(200, 100), looks(100))
    by_later: dict[int, int] = {}
    for pair in pairs:
        assert pair.first < pair.second and pair.distance == 0
        by_later[pair.second] = by_later.get(pair.second, 0) + 1
    assert set(by_later) == set(range(100, 300)) and max(by_later.values()) == NEAREST


def test_a_look_alike_of_another_meaning_is_no_near_duplicate() -> None:
    """The same outlines in other colours: the hash can't tell, the embedding can."""
    one, other = looks(1), looks(1, 1)
    away = Looks(other.ids, np.array([[0.6, 0.8]], np.float32), other.hashes, other.windows)
    assert fingerprints.pairs(other, one) and LEAST_COSINE > 0.6
    assert not fingerprints.pairs(away, one)
