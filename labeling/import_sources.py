"""Where an import reads from: one file, or a ZIP with files of labels and pictures beside them."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File

from gallery import archives
from gallery.decoding import BadPicture

TEXTS = (".csv", ".json", ".jsonl", ".ndjson", ".xml", ".txt")


class Source:
    """The files of labels in `file`, by their paths."""

    def __init__(self, file: File, name: str) -> None:
        self.file = file
        self.archive = zipfile.ZipFile(file) if archives.is_zip(file) else None
        if self.archive:
            self.names = sorted(name for name in self.archive.namelist() if is_text(name))
        else:
            self.names = [PurePosixPath(name.replace("\\", "/")).name]

    def find(self, *names: str) -> list[str]:
        """The files of one of these names, in whatever folder; `.json` finds all that end so."""
        return [
            path
            for path in self.names
            if any(
                path.lower().endswith(name) if name.startswith(".") else PurePosixPath(path).name == name
                for name in names
            )
        ]

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        if self.archive:
            with self.archive.open(path) as entry:
                yield entry
        else:
            self.file.seek(0)
            yield self.file

    @contextmanager
    def text(self, path: str) -> Iterator[IO[str]]:
        """As UTF-8, with or without a byte order mark."""
        with self.open(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            try:
                yield text
            finally:
                text.detach()

    def head(self, path: str) -> str:
        """The first characters of a file, without the space before them."""
        with self.open(path) as file:
            return file.read(65_536).decode("utf-8-sig", errors="replace").lstrip()


def is_text(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in TEXTS and not name.startswith("__MACOSX/") and not path.name.startswith(".")


def labels_alone(file: File) -> tuple[IO[bytes], bool]:
    """A ZIP of the files of labels in the ZIP `file`, and whether anything else is in there.

    Raises ValidationError where it can't be used, or has more labels than an import may have.
    """
    try:
        infos = archives.pictures_in(file)
    except BadPicture as refusal:
        raise ValidationError(str(refusal)) from refusal
    texts = [info for info in infos if is_text(info.filename)]
    check_size(sum(info.file_size for info in texts))
    # Closed by who stores it.
    out = SpooledTemporaryFile(max_size=2**22, dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as copy:
        for info in texts:
            try:
                with copy.open(info.filename, "w", force_zip64=True) as entry:
                    for part in archives.content(archive, info, settings.IMPORT_MAX_BYTES):
                        entry.write(part)
            except BadPicture as refusal:
                raise ValidationError(f"{info.filename}: {refusal}") from refusal
    out.seek(0)
    return out, len(infos) > len(texts)


def check_size(size: int) -> None:
    """Raises ValidationError where a file of labels is larger than is read here."""
    if size > settings.IMPORT_MAX_BYTES:
        most = settings.IMPORT_MAX_BYTES / 1024**2
        raise ValidationError(f"Too large: an import may have {most:,.0f} MB of labels. Send it in parts.")
