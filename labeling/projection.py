"""From embeddings to places on a plane: plain NumPy and openTSNE, a step at a time."""

import os
from typing import TYPE_CHECKING

import numpy as np

from labeling.scoring import Rows

if TYPE_CHECKING:
    from openTSNE import TSNEEmbedding

# Measured on Caltech-101 and CIFAR-10: of an image's ten neighbours on the map, 16 and 22 % have its label
# with t-SNE, 14 and 19 % with UMAP, 7 and 15 % with PCA, 21 and 26 % in the embeddings themselves. UMAP also
# compiles for 40 s, cannot be put down half-way, and brings 200 MB; this comes with wheels of 13 MB.
METHOD = "t-SNE"
# Neighbours that pull at an image: 90 of them, as is usual, take three times as long for a point more.
NEIGHBOURS = 15
# First drawn together, then let go.
GATHERING, ITERATIONS = 250, 500
# What the neighbours are looked for in: beyond it the principal components are noise.
COMPONENTS = 64
# Fewer are laid out by their two principal components alone.
FEWEST = 10
# From so many on, forces are interpolated on a grid.
MANY = 10_000
SLICE = 10_000


def principal(rows: Rows, width: int) -> Rows:
    """(n, width) float32: the rows in their strongest directions; zeros where there are fewer."""
    mean = rows.mean(axis=0, dtype=np.float64)
    spread = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE] - mean
        spread += part.T @ part
    directions = np.linalg.eigh(spread)[1][:, ::-1][:, :width]
    found = np.zeros((len(rows), width), np.float32)
    for start in range(0, len(rows), SLICE):
        part = (rows[start : start + SLICE] - mean) @ directions
        found[start : start + SLICE, : part.shape[1]] = part
    return found


def begin(rows: Rows, points: Rows | None) -> "tuple[Rows, TSNEEmbedding | None]":
    """Where n unit rows are to start, or to go on from `points` (n, 2); and what moves them.

    None: they are too few, and stay.
    """
    components = principal(rows, COMPONENTS)
    start = components[:, :2] if points is None else points
    if len(rows) < FEWEST:
        return np.ascontiguousarray(start), None
    from openTSNE import TSNEEmbedding, affinity  # a second, which only a worker has to spare

    # Half of the cores: people's pages need the others.
    jobs = max(1, len(os.sched_getaffinity(0)) // 2)
    few = min(NEIGHBOURS, len(rows) // 3)
    near = affinity.Uniform(components, k_neighbors=few, n_jobs=jobs, random_state=1)
    if points is None:
        # Equal pictures may not start at one place: nothing would tell them apart.
        noise = np.random.default_rng(1).normal(0, 1e-6, start.shape)
        start = start / (start[:, 0].std() or 1) * 1e-4 + noise
    method = "fft" if len(rows) >= MANY else "bh"
    moving = TSNEEmbedding(
        np.array(start, np.float64),
        near,
        negative_gradient_method=method,
        n_jobs=jobs,
        random_state=1,
    )
    return places(moving), moving


def move(moving: "TSNEEmbedding", iteration: int, count: int) -> int:
    """Move the points `count` times at most; which iteration comes next."""
    gathering = iteration < GATHERING
    count = min(count, (GATHERING if gathering else ITERATIONS) - iteration)
    phase = {"exaggeration": 12, "momentum": 0.5} if gathering else {"exaggeration": None, "momentum": 0.8}
    moving.optimize(n_iter=count, inplace=True, **phase)
    return iteration + count


def places(moving: "TSNEEmbedding") -> Rows:
    """(n, 2) float32."""
    return np.asarray(moving, np.float32)
