"""Which rows are nearest to a query: exact, by NumPy alone.

n rows of d dimensions, m queries. A row's place in the matrix is its position.
"""

import threading

import numpy as np

# One product takes all cores; several at once stand in each other's way, and take four times as long.
_turn = threading.Lock()

# Values of which the greatest stands for all in the first look for the top.
BLOCK = 256


def cosines(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(n, m) float32: each unit row (n, d) with each unit query (m, d). Takes no memory beside the answer.

    One product over a memory map reads it once, front to back, on all cores of the BLAS; in blocks of any
    size it is no faster.
    """
    if not len(rows):
        return np.empty((0, len(queries)), np.float32)
    queries = np.ascontiguousarray(queries, np.float32)
    with _turn:
        # The product with one vector has its own, faster way through the BLAS.
        return (rows @ queries[0])[:, None] if len(queries) == 1 else rows @ queries.T


def top(similarities: np.ndarray, count: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """The positions of the `count` greatest of (n,) similarities, best first; of equal ones the first.

    allowed: positions (any number of int) or a mask (n,) of bool; the others are left out before the cut.
    """
    if allowed is None:
        return _best(np.ascontiguousarray(similarities), count)
    places = np.flatnonzero(allowed) if allowed.dtype == bool else np.unique(allowed)
    return places[_best(similarities[places], count)]


def _best(similarities: np.ndarray, count: int) -> np.ndarray:
    if count <= 0:
        return np.empty(0, np.intp)
    found = _at_least_as_many(similarities, count)
    # Stable, so of equal ones the first comes first.
    return found[np.argsort(-similarities[found], kind="stable")[:count]]


def _at_least_as_many(similarities: np.ndarray, count: int) -> np.ndarray:
    """Positions, in order, of `count` or somewhat more values, with all that belong to the top among them."""
    blocks = similarities[: len(similarities) // BLOCK * BLOCK].reshape(-1, BLOCK).max(axis=1)
    for values in (blocks, similarities):
        if count <= len(values):
            # In as many blocks there is a value as great as this one, so the top ones are no smaller.
            return np.flatnonzero(similarities >= np.partition(values, -count)[-count])
    return np.arange(len(similarities))


def positions(ids: np.ndarray, wanted: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Where in ids (n,) the `wanted` ones (k,) stand, in their order; those that are not there are left out.

    order: np.argsort(ids), where it is known, so that n numbers need no sorting.
    """
    wanted = np.asarray(wanted, np.int64)
    if not len(ids):
        return np.empty(0, np.intp)
    order = np.argsort(ids, kind="stable") if order is None else order
    places = np.searchsorted(ids, wanted, sorter=order)
    found = order[np.minimum(places, len(ids) - 1)]
    return found[ids[found] == wanted]
