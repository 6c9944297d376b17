"""Files on their way in: written whole under a temporary name, then moved to their place, or not at all."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.base import File
from django.core.files.uploadhandler import FileUploadHandler
from django.db import OperationalError
from django.db.models.fields.files import FieldFile

from gallery import disk
from gallery.decoding import BadPicture

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# SQLite's words, and Postgres'.
DATABASE_FULL = ("database or disk is full", "No space left")
NEARLY_FULL = "The disk is nearly full, so nothing more is taken in. Free some space, then send it again."
# What a form has beside its files.
FORM_BYTES = 1024**2


class StorageFull(OSError):
    """The disk takes no more; nothing was half-written."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ENOSPC, reason)

    def __str__(self) -> str:
        return self.strerror


def is_full(error: BaseException | None) -> bool:
    """Whether this says that a file or the database found no space."""
    if isinstance(error, OSError):
        return error.errno in NO_SPACE
    return isinstance(error, OperationalError) and any(words in str(error) for words in DATABASE_FULL)


@contextmanager
def storage_full(reason: str) -> Iterator[None]:
    """Raises StorageFull with this reason where what is done here finds no space."""
    try:
        yield
    except (OSError, OperationalError) as error:
        if isinstance(error, StorageFull) or not is_full(error):
            raise
        raise StorageFull(reason) from error


def check_disk() -> None:
    """Raises StorageFull where the disk has no more than what is kept for the database."""
    if disk.is_low():
        raise StorageFull(NEARLY_FULL)


class CappedUploads(FileUploadHandler):
    """Refuses a request before its body is read: larger than any could be, or with no room for it."""

    def handle_raw_input(self, input_data: object, META: object, content_length: int, *_: object) -> None:
        most = max(
            settings.UPLOAD_MAX_ZIP_BYTES, settings.UPLOAD_MAX_BYTES * settings.DATA_UPLOAD_MAX_NUMBER_FILES
        )
        if content_length > most + FORM_BYTES:
            raise RequestDataTooBig(f"The request is too large: at most {most // 1024**2:,} MB.")
        check_disk()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data  # to the handlers that keep it

    def file_complete(self, file_size: int) -> None:
        return None


@dataclass(frozen=True)
class Received:
    path: Path
    size: int
    sha256: str


@contextmanager
def received(chunks: Iterable[bytes]) -> Iterator[Received]:
    """What came in, on disk until the block is left or it is moved. Raises BadPicture."""
    sha256, size = hashlib.sha256(), 0
    with _temporary() as out:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.UPLOAD_MAX_BYTES:
                most = settings.UPLOAD_MAX_BYTES // 1024**2
                raise BadPicture(f"Too large: more than {most} MB.", status=413)
            sha256.update(chunk)
            out.write(chunk)
        if not size:
            raise BadPicture("Empty: the file has no content.")
        _to_disk(out)
        yield Received(Path(out.name), size, sha256.hexdigest())


def move(path: Path, file: FieldFile, suffix: str) -> None:
    """Give a written file its final name, under one of our own making."""
    # Named before it is there, so that whatever is there can be discarded.
    file.name = file.field.generate_filename(file.instance, f"name{suffix}")
    with path.open("rb") as content:
        file.name = file.storage.save(file.name, _Written(content, path))


def keep(content: bytes, file: FieldFile, suffix: str) -> None:
    """Store bytes of our own making as `file`."""
    with _temporary() as out:
        out.write(content)
        _to_disk(out)
        move(Path(out.name), file, suffix)


def replace(content: bytes, path: Path) -> None:
    """Put bytes of our own making in the place of what is at `path`, or where nothing is any more."""
    with _temporary() as out:
        out.write(content)
        _to_disk(out)
        os.replace(out.name, path)


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    with NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, delete=False) as out:
        try:
            yield out
        finally:
            with suppress(FileNotFoundError):
                os.unlink(out.name)


def _to_disk(out: IO[bytes]) -> None:
    # Before the row: a power cut leaves no row whose file is half of one.
    out.flush()
    os.fsync(out.fileno())


class _Written(File):
    """For a storage on this file system it is moved, for any other read."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)
