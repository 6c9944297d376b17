"""A project's embeddings by one model, as one matrix to search in."""

from dataclasses import dataclass

import numpy as np

from labeling import embeddings
from labeling.models import Embedding
from labeling.scoring import Rows


@dataclass(frozen=True)
class Matrix:
    """n images in the order in which they were embedded. Some may have been deleted since."""

    ids: np.ndarray  # (n,) int64, of images
    rows: Rows  # (n, d) unit float32


def of(project_id: int, model: str) -> Matrix:
    """All embeddings of the project by `model` (name@revision) that are stored by now."""
    stored = Embedding.objects.filter(model=model, image__project=project_id).order_by("pk")
    found = list(stored.values_list("image_id", "vector"))
    if not found:
        return Matrix(np.empty(0, np.int64), np.empty((0, 0), np.float32))
    ids, vectors = zip(*found, strict=True)
    return Matrix(np.array(ids, np.int64), embeddings.from_bytes(b"".join(vectors), rows=len(ids)))
