"""ZIPs from strangers: what is in them, read within bounds whatever they claim, and never extracted."""

import logging
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from django.conf import settings
from django.core.files.base import File

from gallery.decoding import BadPicture

logger = logging.getLogger(__name__)

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ENTRY_MAGIC = b"PK\x01\x02"
# What an entry of a ZIP takes in its directory, with a long name.
ENTRY_BYTES = 400
# Pictures hardly shrink: who unpacks to more than so many times what a ZIP may have means harm.
MOST_RATIO = 2
CHUNK = 1024**2
JUNK = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
BROKEN = "Broken: the ZIP can't be read to its end."


def is_zip(file: File) -> bool:
    magic = file.read(4)
    file.seek(0)
    return magic in MAGIC


def pictures_in(file: File) -> list[zipfile.ZipInfo]:
    """The entries of a ZIP that could be pictures, in order. Raises BadPicture for an unusable ZIP."""
    if file.size > settings.UPLOAD_MAX_ZIP_BYTES:
        most = settings.UPLOAD_MAX_ZIP_BYTES / 1024**3
        raise BadPicture(f"Too large: a ZIP may have {most:.3g} GB at most.", status=413)
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except BadPicture:
        raise
    except Exception as error:
        raise BadPicture(BROKEN) from error
    if sum(info.compress_size for info in infos) > file.size:
        raise BadPicture("Broken, or made to do harm: the ZIP's entries lie over each other.")
    if sum(_read_at_most(info) for info in infos) > MOST_RATIO * settings.UPLOAD_MAX_ZIP_BYTES:
        most = MOST_RATIO * settings.UPLOAD_MAX_ZIP_BYTES / 1024**3
        raise BadPicture(f"Too large: a ZIP may have {most:.3g} GB unpacked.", status=413)
    # Not `is_dir`, which fails at an empty name: that is all that is read of one that begins with a NUL.
    pictures = [info for info in infos if not info.filename.endswith("/") and not _is_junk(info.filename)]
    if not pictures:
        raise BadPicture("Empty: there is no file in this ZIP.")
    return pictures


def _check_directory(file: File) -> None:
    """Count the entries before each of them becomes an object; what the ZIP says of them can be a lie."""
    end = zipfile._EndRecData(file)
    if not end:
        raise BadPicture(BROKEN)
    most, size = settings.UPLOAD_MAX_ZIP_ENTRIES, end[zipfile._ECD_SIZE]
    too_many = BadPicture(f"Too many: a ZIP may have {most:,} entries at most.", status=413)
    if size > most * ENTRY_BYTES:
        raise too_many
    file.seek(max(0, end[zipfile._ECD_LOCATION] - size))
    entries, tail = 0, b""
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        size -= len(chunk)
        entries += (tail + chunk).count(ENTRY_MAGIC)
        tail = chunk[-len(ENTRY_MAGIC) + 1 :]
        if entries > most:
            raise too_many
    file.seek(0)


def _read_at_most(info: zipfile.ZipInfo) -> int:
    return min(info.file_size, settings.UPLOAD_MAX_BYTES + 1)


def _is_junk(name: str) -> bool:
    return name.startswith(JUNK[0]) or PurePosixPath(name).name in JUNK[1:]


def content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int | None = None) -> Iterator[bytes]:
    """One entry, a piece at a time, of `most` bytes, or read no further than a picture may be.

    Raises BadPicture.
    """
    if info.flag_bits & 0x1:
        raise BadPicture("Encrypted: unpack the ZIP and send the pictures themselves.", status=415)
    if info.filename.lower().endswith(".zip"):
        raise BadPicture("A ZIP inside a ZIP: unpack it and send its pictures.", status=415)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason = "Packed in a way that is not read here: make the ZIP anew, with “deflate” or without any."
        raise BadPicture(reason, status=415)
    left = _read_at_most(info) if most is None else most
    try:
        with archive.open(info) as entry:
            while left > 0 and (chunk := entry.read(min(left, CHUNK))):
                left -= len(chunk)
                yield chunk
    except Exception as error:
        logger.info("entry %s of a ZIP can't be read", info.filename, exc_info=True)
        raise BadPicture("Broken: this entry of the ZIP can't be read.") from error
