"""What fits no label: how far from labels and neighbours it is, groups of it, their names. Plain NumPy.

Rows are unit float32 vectors; `far` is in robust standard deviations below what is usual, so that figures of
different labels, projects and models can be compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.scoring import Rows, unit

# Rows that are compared at once with all others: 25 MB for 3,000 images.
BLOCK = 2048
NEIGHBOURS = 10
# Where so many images were settled as a label, they say what is usual for it, and not CLIP's own choice.
ENOUGH = 5
# Figures from fewer images than that say little: then those of all labels together are taken.
FEW = 8
# Two pictures that differ by less similarity than this do so by chance, however alike all others are.
LEAST_SPREAD = 0.01
# The smallest number of images that is a group.
SMALLEST = 4


def usual(values: np.ndarray) -> tuple[float, float]:
    """Level and spread of n ≥ 1 values whose lower part, up to a half of them, may not belong there.

    Mean and standard deviation as two quantiles of the upper part give them (Mosteller 1946): for a normal
    distribution the quartile lies 0.6745, the ninth decile 1.2816 deviations above the mean.
    """
    quartile, decile = np.quantile(values, [0.75, 0.9])
    spread = max(float(decile - quartile) / (1.2816 - 0.6745), LEAST_SPREAD)
    return float(quartile) - 0.6745 * spread, spread


def typical(values: np.ndarray) -> tuple[float, float]:
    """Level and spread of n ≥ 1 values few of which are odd: median and scaled median deviation.

    Iglewicz & Hoaglin 1993, the modified z-score.
    """
    level = float(np.median(values))
    return level, max(1.4826 * float(np.median(np.abs(values - level))), LEAST_SPREAD)


@dataclass(frozen=True)
class Best:
    """The label that each of n images is most similar to: its index, and the cosine."""

    label: np.ndarray  # (n,)
    similarity: np.ndarray  # (n,)


def best(images: Rows, labels: Rows) -> Best:
    """Of k ≥ 1 labels the best one for each image, a block at a time."""
    parts = [images[block] @ labels.T for block in _blocks(len(images))]
    index = np.concatenate([part.argmax(axis=1) for part in parts] or [np.empty(0, np.int64)])
    cosine = np.concatenate([part.max(axis=1) for part in parts] or [np.empty(0, np.float32)])
    return Best(index, cosine)


def far_from_labels(found: Best, settled: dict[int, np.ndarray]) -> np.ndarray:
    """(n,): how far each image's best similarity lies below what is usual for that label in this project.

    `settled`: by the index of a label, the similarities to it of images that people settled as it. Of a label
    with too few of them, the images that it is best for stand for it, of which half may be wrong.
    """
    far = np.empty(len(found.label))
    overall = usual(found.similarity) if len(far) else (0.0, 1.0)
    for label in np.unique(found.label):
        here = found.label == label
        sure = settled.get(int(label), ())
        if len(sure) >= ENOUGH:
            level, spread = typical(np.asarray(sure))
        else:
            level, spread = usual(found.similarity[here]) if here.sum() >= FEW else overall
        far[here] = (level - found.similarity[here]) / spread
    return far


def neighbours(images: Rows, indices: Sequence[int], count: int = NEIGHBOURS) -> np.ndarray:
    """(m, c): the cosines of m images, given by their indices, to their c nearest others, nearest first.

    c is `count`, or n − 1 where there are fewer. Reads the (n, d) images once, block by block.
    """
    asked, at = images[indices], np.asarray(indices)
    nearest = np.full((len(at), min(count, max(len(images) - 1, 0))), -2, np.float32)
    if not nearest.size:
        return nearest
    for block in _blocks(len(images)):
        cosines = asked @ images[block].T
        own = np.flatnonzero((at >= block.start) & (at < block.stop))
        cosines[own, at[own] - block.start] = -2
        both = np.concatenate([nearest, cosines], axis=1)
        nearest = -np.partition(-both, nearest.shape[1] - 1, axis=1)[:, : nearest.shape[1]]
    return -np.sort(-nearest, axis=1)


def outlying(far_labels: np.ndarray, far_neighbours: np.ndarray) -> np.ndarray:
    """One figure of both: an image is as much of an outlier as the lesser of them says."""
    return np.minimum(far_labels, far_neighbours)


def halfway(near: np.ndarray, images: Rows) -> float:
    """The cosine from which on pictures belong together: halfway between neighbours and any two pictures.

    near: (m, c) cosines of some images to their neighbours; images: (m, d), m ≥ 2, these or others.
    """
    pairs = (images @ images.T)[np.triu_indices(len(images), k=1)]
    return float((np.median(near) + np.median(pairs)) / 2)


def clusters(rows: Rows, together: float, smallest: int = SMALLEST) -> list[np.ndarray]:
    """The indices of images whose average cosine is `together` or more, the largest group first.

    Agglomerative, average linkage (Sokal & Michener 1958): it needs no number of groups, and leaves alone
    what stands alone. The distances of 3,000 images take 36 MB.
    """
    if len(rows) < smallest:
        return []
    # Loaded when a worker needs it: pages have no use for it.
    from scipy.cluster.hierarchy import fcluster, linkage

    cosines = rows @ rows.T
    condensed = 1 - np.concatenate([cosines[at, at + 1 :] for at in range(len(rows))]).astype(np.float64)
    np.clip(condensed, 0, 2, out=condensed)
    group = fcluster(linkage(condensed, "average"), 1 - together, "distance")
    found = [np.flatnonzero(group == each) for each in np.unique(group)]
    return sorted((each for each in found if len(each) >= smallest), key=lambda each: (-len(each), each[0]))


def centre(rows: Rows) -> np.ndarray:
    """(d,): the unit vector in the middle of m ≥ 1 rows."""
    return unit(rows.mean(axis=0))


def fitting(centres: Rows, words: Rows, general: Rows) -> np.ndarray:
    """(g, w): how much better each word fits each centre than pictures in general, as a cosine difference.

    general: (m, d) pictures of the project. So a word that is near to every picture wins nowhere
    (hubness: Radovanović et al. 2010).
    """
    return centres @ words.T - (general @ words.T).mean(axis=0)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))
