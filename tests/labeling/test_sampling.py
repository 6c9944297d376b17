"""Which images teach most, on made rows."""

import numpy as np

from labeling import sampling, scoring

RNG = np.random.default_rng(3)


def clustered(clusters: int, each: int, dimensions: int = 64) -> np.ndarray:
    """Unit rows, `each` of a cluster beside each other, of a cosine over 0.98 in it and near 0 without."""
    centres = RNG.normal(size=(clusters, dimensions)) / np.sqrt(dimensions)
    noise = RNG.normal(size=(clusters, each, dimensions)) * 0.08 / np.sqrt(dimensions)
    return scoring.unit((centres[:, None] + noise).reshape(-1, dimensions))


NOTHING = np.empty((0, 64), np.float32)


def test_no_two_near_neighbours_are_chosen() -> None:
    rows = clustered(40, 5)
    chosen = sampling.diverse(rows, np.ones(200), 20, NOTHING)
    among = rows[chosen] @ rows[chosen].T - np.eye(20)
    assert len(chosen) == 20 and among.max() < sampling.NEAR
    assert len({index // 5 for index in chosen}) == 20


def test_what_is_nearly_what_was_seen_is_left_out() -> None:
    rows = clustered(4, 5)
    chosen = sampling.diverse(rows, np.ones(20), 20, rows[[0, 5]])
    assert {index // 5 for index in chosen} == {2, 3} and len(chosen) == 2


def test_the_most_uncertain_comes_first_and_of_equal_ones_the_first() -> None:
    rows = clustered(6, 1)
    weights = np.array([0.1, 0.2, 0.9, 0.3, 0.9, 0.1])
    assert sampling.diverse(rows, weights, 1, NOTHING) == [2]


def test_of_what_is_equally_far_the_more_uncertain_comes_first() -> None:
    rows = np.eye(64, dtype=np.float32)[:5]
    assert sampling.diverse(rows, np.array([0.1, 0.5, 0.3, 0.9, 0.7]), 5, NOTHING) == [3, 4, 1, 2, 0]


def test_of_what_is_equally_uncertain_the_farthest_comes_first() -> None:
    angles = np.radians([0, 30, 100, 60])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert sampling.diverse(rows, np.ones(4), 2, np.empty((0, 2), np.float32)) == [0, 2]


def test_nothing_is_chosen_out_of_nothing_and_certain_ones_are_chosen_too() -> None:
    assert sampling.diverse(NOTHING, np.ones(0), 20, NOTHING) == []
    rows = clustered(3, 1)
    assert sorted(sampling.diverse(rows, np.zeros(3), 20, NOTHING)) == [0, 1, 2]
