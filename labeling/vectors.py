"""A project's embeddings by one model, as one matrix to search in: mapped from files, kept up by who reads.

Each folder of VECTORS_DIR is derived: removed at any time, it is made again from the rows. All threads and
processes of a machine share its pages.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gallery.models import Image, set_aside_ids
from labeling import embeddings, ranking, vector_files, vector_sync
from labeling.models import Embedding
from labeling.scoring import Rows
from labeling.vector_files import Head, Maps
from labeling.vector_sync import Source

logger = logging.getLogger(__name__)

# Seconds between two looks for rows that went, and what share of the time looks take at most, with what they
# lead to.
LOOK_EVERY, SHARE = 60, 1 / 20
# Matrices that a process keeps open.
OPEN = 64


@dataclass(frozen=True)
class Matrix:
    """n images in the order in which they were embedded. Some may have been deleted since."""

    ids: np.ndarray  # (n,) int64, of images, each once
    rows: Rows  # (n, d) unit float32

    @cached_property
    def order(self) -> np.ndarray:
        """(n,) the positions by id: np.argsort(ids)."""
        return np.argsort(self.ids, kind="stable")

    def positions(self, image_ids: np.ndarray) -> np.ndarray:
        """Where those of `image_ids` (k,) that are here stand, in their order."""
        return ranking.positions(self.ids, image_ids, self.order)


@dataclass(frozen=True)
class _Open:
    """What this process has of a folder."""

    head: Head
    maps: Maps
    matrix: Matrix
    due: float = 0  # when to look for rows that went, by time.monotonic()


_open: dict[Path, _Open] = {}


def of(project_id: int, model: str, newest: int | None = None) -> Matrix:
    """All embeddings of the project by `model` (name@revision) that are committed by now.

    Where another thread or process is bringing the files up to date, those of a moment ago. Rows that went
    are gone from it within a minute or so. Call it where no transaction is open that wrote embeddings.
    `newest`: the model's newest embedding, where that was asked for already.
    Raises OSError where there is no file yet and no room for one.
    """
    newest = vector_sync.newest(model) if newest is None else newest
    source = Source(project_id, model)
    held = _open.get(source.folder)
    if held and held.due > time.monotonic() and held.head.last == newest:
        return held.matrix
    for _ in range(3):
        try:
            return _up_to_date(source).matrix
        except FileNotFoundError:  # the folder went with its project, or by hand
            _open.pop(source.folder, None)
    return Matrix(np.empty(0, np.int64), np.empty((0, 0), np.float32))


def forget(project_id: int, model: str) -> None:
    """A found image turned out to be gone: have the next call of `of` look for all that went."""
    folder = Source(project_id, model).folder
    if held := _open.get(folder):
        _open[folder] = replace(held, due=0)


def nearest(image: Image, count: int) -> list[tuple[int, float]]:
    """The images of the same project that are most similar to this one: (id, cosine), best first.

    Of equals the older one comes first. By the model that embedded this one last; empty where none did.
    """
    own = Embedding.objects.filter(image=image).order_by("-id").first()
    if own is None:
        return []
    query = embeddings.from_bytes(own.vector)[None]
    aside = set_aside_ids().filter(project=image.project_id).values_list("pk", flat=True)
    for _ in range(3):
        matrix = of(image.project_id, own.model)
        found = _nearest(matrix, query, [image.pk, *aside], count)
        ids = [image_id for image_id, _ in found]
        there = set(Image.objects.filter(pk__in=ids, project=image.project_id).values_list("pk", flat=True))
        if len(there) == len(ids):
            break
        forget(image.project_id, own.model)
    return [(image_id, cosine) for image_id, cosine in found if image_id in there]


# The BLAS may give equal rows cosines that differ by this much.
EQUAL = 1e-6


def _nearest(matrix: Matrix, query: Rows, but: Sequence[int], count: int) -> list[tuple[int, float]]:
    others = ~np.isin(matrix.ids, but)
    if not others.any():
        return []
    cosines = ranking.cosines(matrix.rows, query)[:, 0]
    worst = cosines[ranking.top(cosines, count, others)[-1]]
    found = np.flatnonzero((cosines >= worst - EQUAL) & others)
    best = np.lexsort((matrix.ids[found], -np.round(cosines[found] / EQUAL)))[:count]
    return [(int(matrix.ids[at]), float(cosines[at])) for at in found[best]]


def _up_to_date(source: Source) -> _Open:
    """Raises OSError where there is nothing yet, and no room for it."""
    held = _open.get(source.folder) or _opened(source)
    with vector_files.locked(source.folder, wait=held is None) as mine:
        if not mine:
            return held
        head = vector_files.read(source.folder)
        try:
            held = _hold(source, *_synced(source, head, held))
        except FileNotFoundError:
            raise
        except OSError:
            vector_files.give_back(source.folder, head)
            if held is None:
                raise
            logger.warning("%s can't be brought up to date", source.folder, exc_info=True)
            _open[source.folder] = held = replace(held, due=time.monotonic() + LOOK_EVERY)
    return held


def _opened(source: Source) -> _Open | None:
    """What others have left in the files, as it is."""
    for _ in range(3):
        head = vector_files.read(source.folder)
        maps = head and vector_files.mapped(source.folder, head)
        if head is None or maps:
            break
    return _Open(head, maps, _matrix(head, maps)) if head and maps else None


def _matrix(head: Head, maps: Maps) -> Matrix:
    return Matrix(maps.images[: head.rows], maps.vectors[: head.rows])


def _hold(source: Source, head: Head, due: float) -> _Open:
    """Have all threads of this process use what `head` says, through the maps that are there if they fit."""
    held = _open.get(source.folder)
    same_files = held and (held.head.generation, held.head.capacity) == (head.generation, head.capacity)
    maps = held.maps if same_files else vector_files.mapped(source.folder, head)
    if maps is None:
        raise FileNotFoundError(source.folder)
    # A matrix that is the same keeps what it has worked out.
    matrix = held.matrix if same_files and held.head.rows == head.rows else _matrix(head, maps)
    _open[source.folder] = new = _Open(head, maps, matrix, due)
    for folder in list(_open)[:-OPEN]:
        _open.pop(folder, None)
    return new


def _synced(source: Source, head: Head | None, held: _Open | None) -> tuple[Head, float]:
    """Bring the files up to date with the rows; the head that counts now, and when to look again."""
    begun, newest = time.monotonic(), vector_sync.newest(source.model)
    maps = head and vector_files.mapped(source.folder, head)
    if not maps:
        head = vector_sync.made_anew(source, Head(), None, newest)
    elif held is None or held.due <= begun or newest < head.last:
        if vector_sync.is_sound(source, head, maps):
            head = vector_sync.extended(source, head, maps, newest)
        else:
            head = vector_sync.made_anew(source, head, maps, newest)
    else:
        return vector_sync.extended(source, head, maps, newest), held.due
    vector_files.sweep(source.folder, head)  # what was left by who was killed before he came to it
    now = time.monotonic()
    return head, now + max(LOOK_EVERY, (now - begun) / SHARE)
