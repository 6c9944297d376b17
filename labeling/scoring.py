"""The arithmetic of zero-shot classification: prompts, ensembling, similarity, probability. Plain NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Rows are unit float32 vectors; n images, k labels, d dimensions.
Rows = np.ndarray


def label_prompts(name: str, prompts: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The texts that stand for a label: its own prompts, or else every template with its name in it."""
    return list(prompts) or [template.replace("{label}", name) for template in templates]


def ensemble(rows: Rows) -> np.ndarray:
    """One unit vector (d,) for several prompts (m, d): their mean, made unit again.

    Prompt ensembling of Radford et al. 2021, section 3.1.4.
    """
    return unit(rows.mean(axis=0))


def unit(rows: np.ndarray) -> np.ndarray:
    """The same directions, each of length 1, in float32. A zero row stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


def probabilities(similarities: np.ndarray, logit_scale: float, logit_bias: float | None) -> np.ndarray:
    """(n, k) cosines into (n, k) probabilities.

    CLIP: softmax over the labels of logit_scale × similarity. SigLIP, which has a logit_bias: a sigmoid each.
    """
    logits = logit_scale * similarities.astype(np.float64)
    if logit_bias is not None:
        return 1 / (1 + np.exp(-(logits + logit_bias)))
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Scores:
    """Figures of n images against k labels."""

    similarities: np.ndarray  # (n, k), cosine
    probabilities: np.ndarray  # (n, k)
    best: np.ndarray  # (n,), index of the best label
    runner_up: np.ndarray  # (n,), index of the second; the best itself where k = 1
    margin: np.ndarray  # (n,), probability of the best less the runner-up's


def score(images: Rows, labels: Rows, logit_scale: float, logit_bias: float | None = None) -> Scores:
    """Compare unit image rows (n, d) with unit label rows (k, d), k ≥ 1. Equal labels: the first is best."""
    similarities = images @ labels.T
    chances = probabilities(similarities, logit_scale, logit_bias)
    # Ranked by similarity: far-off probabilities round to the same 0 or 1.
    order = np.argsort(-similarities, axis=1, kind="stable")
    best, runner_up = order[:, 0], order[:, min(1, labels.shape[0] - 1)]
    rows = np.arange(len(images))
    margin = chances[rows, best] - (chances[rows, runner_up] if labels.shape[0] > 1 else 0)
    return Scores(similarities, chances, best, runner_up, margin)
