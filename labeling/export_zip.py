"""ZIPs of any size while they are read: stored, not deflated, of a length that is known before."""

import io
import zipfile
from collections.abc import Iterable, Iterator

# A write to the network costs by the part.
BLOCK = 256 * 1024
# Of the ZIP format: a file's head and name, what follows its content, its line in the directory, the end.
HEAD, FOOT, LINE, END = 30, 16, 46, 22
ZIP64_OFFSET, ZIP64_END = 12, 56 + 20

Entry = tuple[str, Iterable[bytes]]


class Sink(io.RawIOBase):
    """Holds what is written until it is taken on; nothing that was written can be gone back to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = self.total = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        self.size += len(data)
        self.total += len(data)
        return len(data)

    def tell(self) -> int:
        return self.total

    def taken(self) -> bytes:
        block = b"".join(self.parts)
        self.parts.clear()
        self.size = 0
        return block


def stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The ZIP of these files, each a name and its content in parts, read as they come."""
    sink = Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in entries:
            # Always of the same date, so that two ZIPs of the same files are the same bytes.
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o600 << 16
            with archive.open(info, "w") as file:
                for part in content:
                    file.write(part)
                    if sink.size >= BLOCK:
                        yield sink.taken()
    yield sink.taken()


def length(sizes: Iterable[tuple[str, int]]) -> int:
    """How long `stream` will be for files of these names and sizes, none of which has 2 GiB."""
    at = directory = count = 0
    for name, size in sizes:
        named = len(name.encode())
        directory += LINE + named + (ZIP64_OFFSET if at > zipfile.ZIP64_LIMIT else 0)
        at += HEAD + named + size + FOOT
        count += 1
    large = max(at, directory) > zipfile.ZIP64_LIMIT or count > zipfile.ZIP_FILECOUNT_LIMIT
    return at + directory + END + (ZIP64_END if large else 0)
