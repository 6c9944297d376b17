"""ZIPs of any size while they are read: stored, not deflated, of a length that is known before.

The same bytes as Python's zipfile writes, which for a picture takes longer than to read it from the disk.
Source: PKWARE's APPNOTE.TXT, 4.3 and 4.4.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from zlib import crc32

# A write to the network costs by the part.
BLOCK = 256 * 1024
# What stands before a file and what comes after it, its line in the directory, and what ends that.
HEAD, FOOT, LINE, END = Struct("<4s5H3L2H"), Struct("<4s3L"), Struct("<4s6H3L5H2L"), Struct("<4s4H2LH")
# In ZIP64: where a file begins, beside its line; what comes before the end, and where that is.
OFFSET, END_64, PLACE_64 = Struct("<2HQ"), Struct("<4sQ2H2L4Q"), Struct("<4sLQL")
# There are readers that take a number with a sign.
MOST_BYTES, MOST_FILES = 2**31 - 1, 2**16 - 1
# What stands for a number that is in ZIP64 alone.
ALL_16, ALL_32 = 2**16 - 1, 2**32 - 1
VERSION, VERSION_64, UNIX = 20, 45, 3 << 8
# Checksum and size come after the file; its name is UTF-8.
FOOT_FOLLOWS, IS_UTF8 = 1 << 3, 1 << 11
STORED = 0
# 1 January 1980, always, so that two ZIPs of the same files are the same bytes.
TIME, DATE = 0, 1 << 5 | 1
FOR_OWNER = 0o600 << 16

Entry = tuple[str, Iterable[bytes]]


def stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The ZIP of these files, each a name and its content in parts, read as they come.

    Raises struct.error for a file of 4 GiB.
    """
    parts: list[bytes] = []
    directory = bytearray()
    count = at = held = 0
    for name, content in entries:
        path = name.encode()
        flags = FOOT_FOLLOWS if name.isascii() else FOOT_FOLLOWS | IS_UTF8
        parts += HEAD.pack(b"PK\3\4", VERSION, flags, STORED, TIME, DATE, 0, 0, 0, len(path), 0), path
        held += HEAD.size + len(path)
        crc = size = 0
        for part in content:
            parts.append(part)
            crc = crc32(part, crc)
            size += len(part)
            held += len(part)
            if held >= BLOCK:
                yield b"".join(parts)
                parts, held = [], 0
        parts.append(FOOT.pack(b"PK\7\b", crc, size, size))
        held += FOOT.size
        directory += _line(path, flags, crc, size, at)
        count += 1
        at += HEAD.size + len(path) + size + FOOT.size
    yield b"".join(parts)
    yield bytes(directory)
    yield _end(count, len(directory), at)


def _line(path: bytes, flags: int, crc: int, size: int, at: int) -> bytes:
    """Of a file in the directory."""
    version, offset = VERSION, b""
    if at > MOST_BYTES:
        version, offset, at = VERSION_64, OFFSET.pack(1, 8, at), ALL_32
    about = (UNIX | version, version, flags, STORED, TIME, DATE, crc, size, size, len(path), len(offset))
    return LINE.pack(b"PK\1\2", *about, 0, 0, 0, FOR_OWNER, at) + path + offset


def _end(count: int, size: int, at: int) -> bytes:
    """Behind a directory of so many files and bytes that begins there."""
    end_64 = b""
    if _is_64(count, size, at):
        versions, disks = (VERSION_64, VERSION_64), (0, 0)
        end_64 = END_64.pack(b"PK\6\6", END_64.size - 12, *versions, *disks, count, count, size, at)
        end_64 += PLACE_64.pack(b"PK\6\7", 0, at + size, 1)
    count, size, at = min(count, ALL_16), min(size, ALL_32), min(at, ALL_32)
    return end_64 + END.pack(b"PK\5\6", 0, 0, count, count, size, at, 0)


def _is_64(count: int, size: int, at: int) -> bool:
    return max(size, at) > MOST_BYTES or count > MOST_FILES


def length(sizes: Iterable[tuple[str, int]]) -> int:
    """How long `stream` will be for files of these names and sizes."""
    at = directory = count = 0
    for name, size in sizes:
        named = len(name.encode())
        directory += LINE.size + named + (OFFSET.size if at > MOST_BYTES else 0)
        at += HEAD.size + named + size + FOOT.size
        count += 1
    large = END_64.size + PLACE_64.size if _is_64(count, directory, at) else 0
    return at + directory + large + END.size
