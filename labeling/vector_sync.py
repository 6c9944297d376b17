"""How the files of a project's vectors follow its embeddings. Whoever calls holds the folder's lock."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from django.conf import settings
from django.db.models import Count, QuerySet, Sum

from gallery.models import Image
from labeling import vector_files
from labeling.models import Embedding
from labeling.scoring import Rows
from labeling.vector_files import Head, Maps

# Rows that are read and written at once: 8 MB of 512 numbers each.
BLOCK = 4096
# Ids alone that are read at once.
IDS = 20_000
# Rows that come with those that are wanted, at most, for each of these.
FEW_MORE = 2
# Stored vectors that are compared with those of the database.
SAMPLE = 16


@dataclass(frozen=True)
class Source:
    """The rows that a folder is made of."""

    project_id: int
    model: str  # name@revision

    @property
    def folder(self) -> Path:
        # The project's id stands first: what a deleted project leaves is found by it.
        return settings.VECTORS_DIR / f"{self.project_id}-{sha256(self.model.encode()).hexdigest()[:16]}"


def newest(model: str) -> int:
    """The id of the newest embedding, of any project; 0 where there is none."""
    found = Embedding.objects.filter(model=model).order_by("-pk")
    return found.values_list("pk", flat=True).first() or 0


def is_sound(source: Source, head: Head, maps: Maps) -> bool:
    """Whether all rows that the files come from are still there, and no other of their age."""
    earlier = Embedding.objects.filter(model=source.model, pk__lte=head.last)
    # All in one index; the project's own alone would take a look at each image.
    seen = earlier.aggregate(count=Count("pk"), ids=Sum("pk"), images=Sum("image_id"))
    return tuple(int(number or 0) for number in seen.values()) == head.seen and _is_alike(head, maps)


def _is_alike(head: Head, maps: Maps) -> bool:
    """Whether some of the vectors are those of the database: another one may have come, with the same ids."""
    chosen = np.random.default_rng().integers(head.rows, size=SAMPLE) if head.rows else np.empty(0, int)
    ids = maps.embeddings[chosen].tolist()
    stored = dict(Embedding.objects.filter(pk__in=ids).values_list("pk", "vector"))
    return all(
        bytes(stored[pk]) == maps.vectors[at].tobytes()
        for at, pk in zip(chosen, ids, strict=True)
        if pk in stored
    )


def extended(source: Source, head: Head, maps: Maps, upto: int) -> Head:
    """With the embeddings that came since, up to that of id `upto`; made anew where others went for them."""
    grown = head
    for step in _steps(source, head.last, upto):
        # An image that was embedded again, after its embedding was deleted, must not be here twice.
        if np.isin(maps.images[: head.rows], step.images).any():
            return made_anew(source, head, maps, upto)
        grown = _counted(_appended(source, grown, step), step)
    if grown != head:
        vector_files.commit(source.folder, grown, changed=grown.rows > head.rows)
    return grown


def made_anew(source: Source, head: Head, maps: Maps | None, upto: int) -> Head:
    """New files. The old ones (`head`, `maps`) give what they have, unless they are of another database.

    Where nothing of the project itself came or went, the old ones stay.
    """
    if maps and not _is_alike(head, maps):
        maps = None
    steps = list(_steps(source, 0, upto))
    fresh = Head()
    for step in steps:
        fresh = _counted(fresh, step)
    if maps and _has_all(head, maps, steps):
        fresh = replace(head, last=fresh.last, seen=fresh.seen)
    else:
        for step in steps:
            fresh = _appended(source, fresh, step, head, maps)
    vector_files.commit(source.folder, fresh)
    return fresh


@dataclass(frozen=True)
class _Step:
    """Some of the embeddings by a model, oldest first."""

    ids: np.ndarray  # (k,) of the project's own
    images: np.ndarray  # (k,)
    last: int
    seen: tuple[int, int, int]  # as in Head: of all projects' in this step


def _steps(source: Source, after: int, upto: int) -> Iterator[_Step]:
    """The embeddings of ids over `after`, up to `upto`: each row of any project is looked at once."""
    while after < upto:
        rows = Embedding.objects.filter(model=source.model, pk__gt=after, pk__lte=upto).order_by("pk")
        found = np.array(rows.values_list("pk", "image_id")[:IDS], np.int64).reshape(-1, 2)
        if not len(found):
            return
        ids, images = found[:, 0], found[:, 1]
        own = np.isin(images, _own(source.project_id, images))
        after = int(ids[-1])
        yield _Step(ids[own], images[own], after, (len(ids), int(ids.sum()), int(images.sum())))


def _own(project_id: int, image_ids: np.ndarray) -> np.ndarray:
    """Those that are images of the project, and maybe some more of it."""
    own = _among(Image.objects.filter(project=project_id), image_ids)
    return np.array(own.values_list("pk", flat=True), np.int64)


def _among(rows: QuerySet, ids: np.ndarray) -> QuerySet:
    """The rows of these ids; where these lie close, with those in between: that takes a third of the time."""
    first, last = int(ids.min()), int(ids.max())
    if last - first < FEW_MORE * len(ids):
        return rows.filter(pk__gte=first, pk__lte=last)
    return rows.filter(pk__in=ids.tolist())


def _counted(head: Head, step: _Step) -> Head:
    count, ids, images = (before + more for before, more in zip(head.seen, step.seen, strict=True))
    return replace(head, last=step.last, seen=(count, ids, images))


def _has_all(head: Head, maps: Maps, steps: list[_Step]) -> bool:
    """Whether the files have what the steps have, and nothing else."""
    if sum(len(step.ids) for step in steps) != head.rows:
        return False
    begin = 0
    for step in steps:
        place = slice(begin, begin := begin + len(step.ids))
        if (maps.embeddings[place] != step.ids).any() or (maps.images[place] != step.images).any():
            return False
    return True


def _appended(
    source: Source, head: Head, step: _Step, old: Head | None = None, maps: Maps | None = None
) -> Head:
    """Write the vectors of a step behind the others, from the `old` files where these have them."""
    for start in range(0, len(step.ids), BLOCK):
        ids, images = step.ids[start : start + BLOCK], step.images[start : start + BLOCK]
        if old and maps and (at := _places(old, maps, ids, images)) is not None:
            rows = maps.vectors[at]
        else:
            there, rows = _stored(ids, head.width)
            ids, images = ids[there], images[there]
        if len(ids):
            head = vector_files.append(source.folder, head, rows, images, ids)
    return head


def _places(old: Head, maps: Maps, ids: np.ndarray, images: np.ndarray) -> np.ndarray | None:
    """Where the old files have these embeddings; None where they lack any of them."""
    if not old.rows:
        return None
    at = np.minimum(np.searchsorted(maps.embeddings[: old.rows], ids), old.rows - 1)
    known = (maps.embeddings[at] == ids) & (maps.images[at] == images)
    return at if known.all() else None


def _stored(ids: np.ndarray, width: int) -> tuple[np.ndarray, Rows]:
    """Which of the embeddings (k,) are in the database, a mask, and their vectors.

    What has another length than `width`, or than the first where that is 0, is taken for not being there.
    """
    wanted = set(ids.tolist())
    found = _among(Embedding.objects.order_by("pk"), ids).values_list("pk", "vector")
    rows = [row for row in found if row[0] in wanted]
    size = 4 * width or (len(rows[0][1]) if rows else 4)
    rows = [row for row in rows if len(row[1]) == size]
    vectors = np.frombuffer(b"".join(vector for _, vector in rows), "<f4").reshape(-1, size // 4)
    return np.isin(ids, np.array([pk for pk, _ in rows], np.int64)), vectors
