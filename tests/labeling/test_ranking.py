"""Exact ranking, held against the plainest way to do it."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from labeling import ranking
from labeling.scoring import unit

RNG = np.random.default_rng(7)


def plain(similarities: np.ndarray, count: int, allowed: set[int]) -> list[int]:
    """Sorted in Python: the greatest first, of equal ones the first."""
    return sorted(allowed, key=lambda at: (-float(similarities[at]), at))[:count]


@pytest.mark.parametrize("queries", [1, 2, 5])
def test_cosines_are_those_of_each_row_with_each_query(queries: int) -> None:
    rows, asked = unit(RNG.normal(size=(300, 16))), unit(RNG.normal(size=(queries, 16)))
    found = ranking.cosines(rows, asked)
    expected = [[float(np.dot(row.astype(float), query)) for query in asked] for row in rows]
    assert found.shape == (300, queries) and found.dtype == np.float32
    assert found == pytest.approx(np.array(expected), abs=1e-6)


def test_of_nothing_there_are_no_cosines() -> None:
    assert ranking.cosines(np.empty((0, 0), np.float32), np.ones((3, 16), np.float32)).shape == (0, 3)


def test_rows_of_a_file_are_not_read_into_memory(tmp_path: Path) -> None:
    rows = np.memmap(tmp_path / "rows", "<f4", "w+", shape=(50_000, 64))
    rows[:] = RNG.normal(size=rows.shape)
    tracemalloc.start()
    ranking.cosines(rows.view(np.ndarray), np.ones((1, 64), np.float32))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.1 * 50_000 * 4


@pytest.mark.parametrize("count", [0, 1, 7, 60, 999, 1000, 5000])
def test_the_top_is_exact_and_of_equal_ones_the_first_come_first(count: int) -> None:
    similarities = RNG.integers(0, 40, size=1000).astype(np.float32) / 40  # many ties, at the cut as well
    assert ranking.top(similarities, count).tolist() == plain(similarities, count, set(range(1000)))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.9])
def test_what_is_not_allowed_is_left_out_before_the_cut(share: float) -> None:
    similarities = RNG.integers(0, 200, size=20_000).astype(np.float32)
    mask = RNG.random(20_000) < share
    expected = plain(similarities, 60, set(np.flatnonzero(mask).tolist()))
    shuffled = RNG.permutation(np.flatnonzero(mask))
    assert ranking.top(similarities, 60, mask).tolist() == expected
    assert ranking.top(similarities, 60, shuffled).tolist() == expected
    assert len(expected) == min(60, mask.sum())


def test_of_several_queries_one_column_is_ranked() -> None:
    similarities = RNG.random((500, 3)).astype(np.float32)
    found = ranking.top(similarities[:, 1], 5)
    assert found.tolist() == plain(similarities[:, 1], 5, set(range(500)))


def test_positions_of_ids_are_found_in_any_order() -> None:
    ids = RNG.permutation(np.arange(10, 2000, 3))
    wanted = [int(ids[5]), 11, int(ids[0]), 5000, int(ids[-1]), 0]
    expected = [5, 0, len(ids) - 1]
    assert ranking.positions(ids, wanted).tolist() == expected
    assert ranking.positions(ids, wanted, np.argsort(ids)).tolist() == expected
    assert not len(ranking.positions(ids, []))
    assert not len(ranking.positions(np.empty(0, np.int64), wanted))
