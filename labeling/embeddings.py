"""The vector store: which images lack an embedding, save, load."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import PIL.Image
from django.db.models import QuerySet

from gallery import decoder, intake
from labeling import clip
from labeling.models import Embedding
from labeling.scoring import Rows

# SQLite takes 250,000 parameters at most; others less.
IDS_AT_ONCE = 1000


def of_picture(chunks: Iterable[bytes]) -> np.ndarray:
    """(d,): what the current model sees in a picture that is not kept; the one work of a request.

    Raises decoding.BadPicture, intake.StorageFull and clip.ModelUnusable.
    """
    engine = clip.engine()
    with intake.received(chunks) as file:
        preview = decoder.decode(file.path).preview
    [row] = engine.embed_images([PIL.Image.open(io.BytesIO(preview)).convert("RGB")])
    return row


def embedded(image_ids: Sequence[int], model: str) -> set[int]:
    """Those of `image_ids` whose embedding by `model` (name@revision) is stored."""
    found: set[int] = set()
    for ids in _slices(image_ids):
        found.update(_of(ids, model).values_list("image_id", flat=True))
    return found & set(image_ids)


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
        found.update(_of(ids, model).values_list("image_id", "vector"))
    ids = [image_id for image_id in image_ids if image_id in found]
    if not ids:
        return [], np.empty((0, 0), np.float32)
    return ids, from_bytes(b"".join(found[image_id] for image_id in ids), rows=len(ids))


def to_bytes(rows: Rows) -> bytes:
    return np.ascontiguousarray(rows, "<f4").tobytes()


def from_bytes(stored: bytes, rows: int = 0) -> np.ndarray:
    """A stored vector (d,), or a stored matrix of `rows` (rows, d)."""
    flat = np.frombuffer(stored, "<f4")
    return flat.reshape(rows, -1) if rows else flat


def _of(image_ids: Sequence[int], model: str) -> QuerySet[Embedding]:
    """Those of these images, and of a few between them."""
    first, last = min(image_ids), max(image_ids)
    # A thousand ids take Django longer to say than the rows take to be read.
    if last - first < 2 * len(image_ids):
        return Embedding.objects.filter(image__gte=first, image__lte=last, model=model)
    return Embedding.objects.filter(image__in=image_ids, model=model)


def _slices(image_ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (image_ids[start : start + IDS_AT_ONCE] for start in range(0, len(image_ids), IDS_AT_ONCE))
