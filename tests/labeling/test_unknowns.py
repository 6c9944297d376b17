"""The arithmetic of unknowns, on made rows and small exact cases."""

import numpy as np
import pytest

from labeling import scoring, unknowns
from labeling.unknowns import Best

RNG = np.random.default_rng(7)


def around(*centres: tuple[int, int], noise: float = 0.1, dimensions: int = 32) -> np.ndarray:
    """Unit rows: for each (axis, count) so many around that axis."""
    rows = [np.eye(dimensions)[axis] for axis, count in centres for _ in range(count)]
    return scoring.unit(np.array(rows) + RNG.normal(size=(len(rows), dimensions)) * noise / dimensions**0.5)


def test_the_usual_level_is_found_though_half_of_the_values_do_not_belong() -> None:
    right = RNG.normal(0.3, 0.02, 2000)
    level, spread = unknowns.usual(right)
    assert level == pytest.approx(0.3, abs=0.004) and spread == pytest.approx(0.02, rel=0.2)
    level, spread = unknowns.usual(np.concatenate([right, RNG.normal(0.1, 0.01, 2000)]))
    assert (level - 0.1) / spread > 3, "the others are far"
    assert (level - np.quantile(right, 0.01)) / spread < 3, "its own are not"


def test_the_typical_level_is_median_and_scaled_deviation() -> None:
    assert unknowns.typical(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx((3.0, 1.4826))
    assert unknowns.typical(np.ones(4)) == (1.0, unknowns.LEAST_SPREAD)


def test_the_best_label_of_each_image() -> None:
    found = unknowns.best(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), np.eye(2, dtype=np.float32))
    assert found.label.tolist() == [0, 1, 1] and found.similarity.tolist() == pytest.approx([1, 0.8, 1])


def test_settled_images_say_what_is_usual_for_their_label() -> None:
    """All that CLIP takes for label 1 is something else; what people settled as it tells."""
    labels = np.array([0] * 10 + [1] * 10)
    found = Best(labels, np.array([0.3] * 9 + [0.1] + [0.12] * 10))
    unsettled = unknowns.far_from_labels(found, {})
    assert unsettled[9] > 3 and (unsettled[:9] < 1).all() and (unsettled[10:] < 1).all()
    told = unknowns.far_from_labels(found, {1: np.array([0.3, 0.31, 0.29, 0.3, 0.3])})
    assert (told[10:] > 3).all() and told[0] == unsettled[0]
    few = unknowns.far_from_labels(found, {1: np.array([0.3, 0.31])})
    assert few.tolist() == unsettled.tolist(), "two are no evidence"


def test_a_label_of_few_images_is_held_against_all_labels() -> None:
    found = Best(np.array([0] * 20 + [1] * 2), np.array([0.3] * 20 + [0.3, 0.05]))
    far = unknowns.far_from_labels(found, {})
    assert far[20] < 1 and far[21] > 3


def test_neighbours_are_the_nearest_others_and_never_oneself() -> None:
    rows = scoring.unit(np.array([[1, 0], [1, 0], [1, 1], [0, 1]], np.float32))
    near = unknowns.neighbours(rows, [0, 3], count=2)
    assert near == pytest.approx(np.array([[1, 0.5**0.5], [0.5**0.5, 0]]), abs=1e-6)
    assert unknowns.neighbours(rows, [0]).shape == (1, 3), "no more than there are"
    assert unknowns.neighbours(rows[:1], [0]).shape == (1, 0)


def test_neighbours_are_the_same_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = around((0, 30), (1, 30), noise=1.0)
    whole = unknowns.neighbours(rows, range(60), count=5)
    monkeypatch.setattr(unknowns, "BLOCK", 7)
    assert unknowns.neighbours(rows, range(60), count=5) == pytest.approx(whole)
    expected = np.sort(rows @ rows.T - 2 * np.eye(60), axis=1)[:, ::-1][:, :5]
    assert whole == pytest.approx(expected, abs=1e-5)


def test_an_outlier_is_far_from_both() -> None:
    assert unknowns.outlying(np.array([5.0, 9.0, 0.0]), np.array([4.0, 0.5, 9.0])).tolist() == [4, 0.5, 0]


def test_groups_are_found_and_what_stands_alone_is_in_none() -> None:
    rows = around((0, 6), (1, 9), (2, 3), (3, 1))
    found = unknowns.clusters(rows, 0.6)
    assert [group.tolist() for group in found] == [list(range(6, 15)), list(range(6))]
    assert unknowns.clusters(rows[:3], 0.6) == []
    assert unknowns.clusters(rows[:0], 0.6) == []


def test_images_belong_together_from_halfway_between_neighbours_and_any_two() -> None:
    rows = scoring.unit(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    assert unknowns.halfway(np.array([[1.0], [1.0], [0.0]]), rows) == pytest.approx(0.5)


def test_a_word_that_is_near_to_everything_names_nothing() -> None:
    rows = around((0, 20), (1, 20))
    hub = scoring.unit(rows.mean(axis=0) + np.eye(32)[5] * 0.01)
    words = np.stack([hub, scoring.unit(np.eye(32)[0] * 0.6 + np.eye(32)[9] * 0.8)]).astype(np.float32)
    centre = unknowns.centre(rows[:20])
    assert (words @ centre).argmax() == 0, "the hub is the most similar word"
    assert unknowns.fitting(centre[None], words, rows)[0].argmax() == 1
