"""Matrices that grow in files, and are mapped into memory, not read. Knows nothing of the database.

A folder has a head, a lock, and three files of one generation, which grow together: vectors, ids of images,
ids of embeddings. What the head doesn't count is not there, so whoever is killed while he writes has written
nothing. Files are never cut shorter than they were, and never changed where the head counts: a map of them
stays valid when they grow, and when others take their place.
"""

import errno
import fcntl
import json
import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gallery import disk

FORMAT = 1
HEAD, LOCK = "head.json", "lock"
# Rows for which there is room when a file is made. Room costs no disk, and spares others a new map.
ROOM = 16_384
KINDS = {"vectors": np.dtype("<f4"), "images": np.dtype("<i8"), "embeddings": np.dtype("<i8")}


@dataclass(frozen=True)
class Head:
    """What counts of the files, and which embeddings it comes from. Of nothing, where there is no file."""

    generation: str = ""
    width: int = 0  # d
    rows: int = 0  # n
    capacity: int = 0  # rows for which the files have room
    last: int = 0  # id of the newest embedding that was looked at, of any project
    # Of all projects' embeddings up to `last`: how many, the sum of their ids, and of their images' ids.
    seen: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Maps:
    """The files of a generation, with room and all."""

    vectors: np.ndarray  # (capacity, d) float32
    images: np.ndarray  # (capacity,) int64
    embeddings: np.ndarray  # (capacity,) int64, ascending


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[bool]:
    """Whether this thread may write in `folder`, of all threads and processes; `wait` until it may."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def read(folder: Path) -> Head | None:
    """The head that stands now; None where there is none, or not of this version."""
    try:
        said = json.loads((folder / HEAD).read_bytes())
        return (
            Head(**said["head"] | {"seen": tuple(said["head"]["seen"])}) if said["format"] == FORMAT else None
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def mapped(folder: Path, head: Head) -> Maps | None:
    """None where the files are not what the head says, or were replaced by now."""
    if not head.rows:
        return Maps(np.empty((0, head.width), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    with suppress(FileNotFoundError, ValueError):
        vectors, images, ids = (_mapped(_path(folder, head, kind), kind) for kind in KINDS)
        # Longer ones were made so by who was killed before his head counted.
        length = head.capacity
        return Maps(vectors[: length * head.width].reshape(length, head.width), images[:length], ids[:length])
    return None


def _mapped(path: Path, kind: str) -> np.ndarray:
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), KINDS[kind])


def _path(folder: Path, head: Head, kind: str) -> Path:
    return folder / f"{head.generation}.{kind}"


def append(folder: Path, head: Head, vectors: np.ndarray, images: np.ndarray, ids: np.ndarray) -> Head:
    """Write (k, d) rows and their ids (k,) behind those that count; they do where the new head is committed.

    Raises OSError, ENOSPC also where the disk is so full that people need the rest.
    """
    if disk.is_low():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not head.generation:
        head = replace(head, generation=uuid.uuid4().hex, width=vectors.shape[1])
    grown = replace(head, rows=head.rows + len(images))
    if grown.rows > head.capacity:
        grown = replace(grown, capacity=grown.rows + max(ROOM, grown.rows // 8))
    for kind, numbers in zip(KINDS, (vectors, images, ids), strict=True):
        content = np.ascontiguousarray(numbers, KINDS[kind])
        each = content.nbytes // len(images)
        with _opened(_path(folder, head, kind)) as descriptor:
            if os.fstat(descriptor).st_size < grown.capacity * each:
                os.ftruncate(descriptor, grown.capacity * each)
            _write(descriptor, content.data.cast("B"), head.rows * each)
    return grown


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def commit(folder: Path, head: Head, changed: bool = True) -> None:
    """Have `head` count from now on, and what is of no other use gone. `changed`: rows came to its files."""
    if changed and head.generation:
        for kind in KINDS:
            with _opened(_path(folder, head, kind)) as descriptor:
                os.fdatasync(descriptor)
    part = folder / f"{HEAD}.part"
    with part.open("w") as file:
        json.dump({"format": FORMAT, "head": asdict(head)}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / HEAD)
    sweep(folder, head)


def sweep(folder: Path, head: Head | None) -> None:
    """Remove what is of another generation: replaced, or left by who was killed. Maps of it stay valid."""
    kept = {HEAD, LOCK} | {_path(folder, head, kind).name for kind in KINDS if head and head.generation}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def give_back(folder: Path, head: Head | None) -> None:
    """Free the disk of what was written in vain."""
    sweep(folder, head)
    if head and head.generation:
        for kind, dtype in KINDS.items():
            each = dtype.itemsize * (head.width if kind == "vectors" else 1)
            with _opened(_path(folder, head, kind)) as descriptor:
                # Shorter and as long as before: room again, of which nobody reads.
                os.ftruncate(descriptor, head.rows * each)
                os.ftruncate(descriptor, head.capacity * each)
