"""ZIPs that are written while they are read, beside those of Python's zipfile."""

import io
import random
import struct
import zipfile
from collections.abc import Iterator, Sequence

import pytest

from labeling import export_zip

Files = Sequence[tuple[str, bytes]]
# Names in ASCII and beyond, nothing, one part, and many that don't end where a block does.
FILES = [
    ("labels.csv", b"id,label\r\n"),
    ("images/zebra.jpg", random.Random(1).randbytes(700_000)),
    ("images/Käfer 🐞/بيت.png", random.Random(2).randbytes(12_345)),
    ("images/empty.png", b""),
]


class Unseekable(io.RawIOBase):
    """Where zipfile can't go back, as in a download."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)


def in_parts(content: bytes, size: int = 1000) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def streamed(files: Files) -> bytes:
    return b"".join(export_zip.stream((name, in_parts(content)) for name, content in files))


def by_zipfile(files: Files) -> bytes:
    out = Unseekable()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o600 << 16
            with archive.open(info, "w") as file:
                file.write(content)
    return bytes(out.content)


def length(files: Files) -> int:
    return export_zip.length((name, len(content)) for name, content in files)


def assert_is_whole(files: Files) -> None:
    whole = streamed(files)
    assert whole == by_zipfile(files)
    assert length(files) == len(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert [(name, archive.read(name)) for name in archive.namelist()] == list(files)


@pytest.mark.parametrize("files", [[], FILES[:1], FILES], ids=["none", "one", "some"])
def test_it_is_the_zip_that_zipfile_writes(files: Files) -> None:
    assert_is_whole(files)


def test_many_files_make_it_zip64() -> None:
    assert_is_whole([(f"{number}.txt", b"") for number in range(export_zip.MOST_FILES + 1)])


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_long_one_is_zip64(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all from a file on, the directory the last, were beyond two gigabytes."""
    files = [(name, content[:40]) for name, content in FILES]
    with zipfile.ZipFile(io.BytesIO(streamed(files))) as archive:
        places = [*(info.header_offset for info in archive.infolist()), archive.start_dir]
    monkeypatch.setattr(export_zip, "MOST_BYTES", places[first] - 1)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", places[first] - 1)
    assert_is_whole(files)
    assert streamed(files).count(export_zip.OFFSET.pack(1, 8, places[3])) == (first < 4)
    assert b"PK\6\6" in streamed(files)


def test_it_comes_in_blocks() -> None:
    parts = list(export_zip.stream((name, in_parts(content)) for name, content in FILES))
    assert max(map(len, parts)) < export_zip.BLOCK + 2000
    assert len(parts) == 5


class Large(bytes):
    """Says that it is larger than it is."""

    def __len__(self) -> int:
        return 2**32


def test_a_file_that_is_too_large_breaks_the_download_off() -> None:
    with pytest.raises(struct.error):
        list(export_zip.stream([("large.png", [Large(b"x")])]))
