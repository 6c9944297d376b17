import numpy as np
import pytest

from labeling import scoring


def test_a_label_without_prompts_goes_into_every_template() -> None:
    templates = ["a photo of a {label}.", "art of a {label}."]
    assert scoring.label_prompts("cat", [], templates) == ["a photo of a cat.", "art of a cat."]


def test_a_label_with_its_own_prompts_leaves_the_templates_alone() -> None:
    assert scoring.label_prompts("cat", ["a tabby"], ["a photo of a {label}."]) == ["a tabby"]


def test_braces_in_a_label_are_kept() -> None:
    assert scoring.label_prompts("{0} & {x}", [], ["a {label}."]) == ["a {0} & {x}."]


def test_prompts_are_ensembled_as_the_unit_mean_of_unit_rows() -> None:
    rows = np.array([[1, 0], [0, 1]], np.float32)
    assert scoring.ensemble(rows) == pytest.approx([0.5**0.5, 0.5**0.5])


def test_clip_probabilities_are_a_softmax_of_scaled_cosines() -> None:
    cosines = np.array([[0.30, 0.25, 0.20]])
    odds = np.exp(100 * cosines)
    assert scoring.probabilities(cosines, 100, None) == pytest.approx(odds / odds.sum())


def test_a_large_logit_scale_does_not_overflow() -> None:
    assert scoring.probabilities(np.array([[1.0, -1.0]]), 1e4, None).tolist() == [[1.0, 0.0]]


def test_siglip_probabilities_are_a_sigmoid_for_each_label() -> None:
    found = scoring.probabilities(np.array([[0.1, 0.05]]), 10, -0.5)
    assert found[0] == pytest.approx([1 / (1 + np.exp(-0.5)), 0.5])


def test_best_runner_up_and_margin() -> None:
    labels = np.eye(3, dtype=np.float32)
    image = scoring.unit(np.array([[1, 3, 2]], np.float32))
    scores = scoring.score(image, labels, logit_scale=10)
    chances = scores.probabilities[0]
    assert (scores.best[0], scores.runner_up[0]) == (1, 2)
    assert scores.margin[0] == pytest.approx(chances[1] - chances[2])
    assert chances.sum() == pytest.approx(1)


def test_one_label_alone_has_no_runner_up() -> None:
    scores = scoring.score(np.array([[1, 0]], np.float32), np.array([[1, 0]], np.float32), 100)
    assert scores.best[0] == scores.runner_up[0] == 0
    assert scores.margin[0] == 1


def test_equal_labels_are_ranked_by_their_order() -> None:
    scores = scoring.score(np.array([[1, 0]], np.float32), np.array([[1, 0], [1, 0]], np.float32), 100)
    assert (scores.best[0], scores.runner_up[0], scores.margin[0]) == (0, 1, 0)


def test_a_zero_row_stays_zero() -> None:
    assert scoring.unit(np.zeros((1, 4))).tolist() == [[0, 0, 0, 0]]
