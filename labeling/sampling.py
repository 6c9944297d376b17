"""Which images teach most: uncertain ones that differ from each other. Plain NumPy."""

import numpy as np

from labeling.scoring import Rows

# Two pictures of so large a cosine show nearly the same.
NEAR = 0.95


def diverse(rows: Rows, weights: np.ndarray, count: int, seen: Rows, near: float = NEAR) -> list[int]:
    """The indices of up to `count` of n images, in the order of their choice.

    rows: (n, d) unit vectors; weights: (n,) ≥ 0, how uncertain each is; seen: (m, d), m ≥ 0, chosen before.
    Each time the one that is farthest from all that is chosen, by weight times (1 − cosine): the greedy
    k-centre of Sener & Savarese 2018 (core-set selection), weighted. No two of the result, nor one of it and
    one of `seen`, have a cosine of `near` or more, so that near-duplicates are shown once.
    """
    # As far as can be from nothing: the first is then the one of the largest weight.
    closest = (rows @ seen.T).max(axis=1) if len(seen) else np.full(len(rows), -1, np.float32)
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        gains = np.where(closest < near, (1 - closest) * weights, -1)
        best = int(gains.argmax())
        if gains[best] < 0:
            break
        chosen.append(best)
        closest = np.maximum(closest, rows @ rows[best])
        closest[best] = 1
    return chosen
