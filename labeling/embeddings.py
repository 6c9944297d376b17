"""The vector store: which images lack an embedding, save, load."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from gallery.models import Image
from labeling.models import Embedding
from labeling.scoring import Rows

# SQLite takes 250,000 parameters at most; others less.
IDS_AT_ONCE = 1000
# Rows that are compared at once: 2 MB of 512 numbers each.
BLOCK = 1000


def embedded(image_ids: Sequence[int], model: str) -> set[int]:
    """Those of `image_ids` whose embedding by `model` (name@revision) is stored."""
    found: set[int] = set()
    for ids in _slices(image_ids):
        found.update(Embedding.objects.filter(image__in=ids, model=model).values_list("image_id", flat=True))
    return found


def save(image_ids: Sequence[int], rows: Rows, model: str) -> None:
    """Store (n, d) unit float32 rows of n images. An embedding that is there stays as it is."""
    Embedding.objects.bulk_create(
        (
            Embedding(image_id=image_id, model=model, vector=to_bytes(row))
            for image_id, row in zip(image_ids, rows, strict=True)
        ),
        ignore_conflicts=True,
    )


def load(image_ids: Sequence[int], model: str) -> tuple[list[int], Rows]:
    """The stored embeddings of `image_ids` by `model`: the ids that have one, and their (n, d) rows."""
    found: dict[int, bytes] = {}
    for ids in _slices(image_ids):
        found.update(Embedding.objects.filter(image__in=ids, model=model).values_list("image_id", "vector"))
    ids = [image_id for image_id in image_ids if image_id in found]
    if not ids:
        return [], np.empty((0, 0), np.float32)
    return ids, np.stack([from_bytes(found[image_id]) for image_id in ids])


def nearest(image: Image, count: int) -> list[tuple[int, float]]:
    """The images of the same project that are most similar to this one: (id, cosine), best first.

    Only `count` of them are kept of one block after another, so that the memory stays the same for any
    number of images. Empty where this one is not embedded. By the model that embedded it last.
    """
    own = Embedding.objects.filter(image=image).order_by("-id").first()
    if own is None:
        return []
    query = from_bytes(own.vector)
    others = Embedding.objects.filter(model=own.model, image__project=image.project_id)
    rows = others.exclude(image=image).values_list("image_id", "vector").iterator(chunk_size=BLOCK)
    best_ids, best = np.empty(0, np.int64), np.empty(0, np.float32)
    while block := list(islice(rows, BLOCK)):
        ids, vectors = zip(*block, strict=True)
        cosines = from_bytes(b"".join(vectors), rows=len(ids)) @ query
        best_ids, best = np.append(best_ids, ids), np.append(best, cosines)
        # Of equals the older one, so that the answer is always the same.
        kept = np.lexsort((best_ids, -best))[:count]
        best_ids, best = best_ids[kept], best[kept]
    return [(int(image_id), float(cosine)) for image_id, cosine in zip(best_ids, best, strict=True)]


def to_bytes(rows: Rows) -> bytes:
    return np.ascontiguousarray(rows, "<f4").tobytes()


def from_bytes(stored: bytes, rows: int = 0) -> np.ndarray:
    """A stored vector (d,), or a stored matrix of `rows` (rows, d)."""
    flat = np.frombuffer(stored, "<f4")
    return flat.reshape(rows, -1) if rows else flat


def _slices(image_ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (image_ids[start : start + IDS_AT_ONCE] for start in range(0, len(image_ids), IDS_AT_ONCE))
