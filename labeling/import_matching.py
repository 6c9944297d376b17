"""Which image of a project a row of a file is about: by its hash, the file it came in, or its name."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import PurePath

import numpy as np

from gallery.models import Image, Project, Upload
from labeling.export_names import UNSAFE
from labeling.import_found import Found

AT_ONCE = 500
# What Label Studio puts before the name of a file that it is given; what an export puts behind one.
PREFIX, SUFFIX = re.compile(r"^[0-9a-f]{8}-"), re.compile(r"^(?P<stem>.+)_(?P<pk>\d{1,18})$")


def plain(name: str) -> str:
    """A file's name without its folders, as it is written in an archive."""
    return PurePath(UNSAFE.sub("_", unicodedata.normalize("NFC", name).replace("\\", "/"))).name


def stem(name: str) -> str:
    return PurePath(plain(name)).stem


class NameIndex:
    """The images of a project by what `key` makes of their names: 16 bytes an image."""

    def __init__(self, project: Project, key: Callable[[str], str]) -> None:
        self.key = key
        rows = project.images.order_by().values_list("pk", "name").iterator(chunk_size=2000)
        pairs = np.fromiter(((_hash(key(name)), pk) for pk, name in rows), "u8,i8")
        self.hashes, self.ids = pairs["f0"], pairs["f1"]
        order = np.argsort(self.hashes, kind="stable")
        self.hashes, self.ids = self.hashes[order], self.ids[order]

    def find(self, name: str) -> list[int]:
        """The ids of all images of this name."""
        wanted = np.uint64(_hash(self.key(name)))
        first, last = (np.searchsorted(self.hashes, wanted, side) for side in ("left", "right"))
        return self.ids[first:last].tolist()


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


class Matcher:
    """`upload`: what came in beside the labels, whose pictures are known by their paths."""

    def __init__(self, project: Project, upload: Upload | None) -> None:
        self.project, self.upload = project, upload

    @cached_property
    def paths(self) -> NameIndex:
        return NameIndex(self.project, lambda name: unicodedata.normalize("NFC", name))

    @cached_property
    def names(self) -> NameIndex:
        return NameIndex(self.project, plain)

    @cached_property
    def stems(self) -> NameIndex:
        return NameIndex(self.project, stem)

    def match(self, rows: Sequence[Found]) -> Iterator[tuple[Found, int | str]]:
        """Each row with the id of its image, or with why there is none."""
        by_hash = self._hashed({row.sha256 for row in rows if row.sha256})
        by_path = self._uploaded([row.name for row in rows if row.name])
        suffixed = self._suffixed(rows)
        for row in rows:
            yield row, by_hash.get(row.sha256) or by_path.get(row.name) or self._by_name(row, suffixed)

    def _hashed(self, hashes: Collection[str]) -> dict[str, int]:
        # Asked for those that are shown, SQLite would read the whole project, for every few rows.
        found = Image.everything.filter(project=self.project, sha256__in=hashes).order_by()
        return {
            sha256: pk
            for sha256, pk, set_aside_at in found.values_list("sha256", "pk", "set_aside_at")
            if set_aside_at is None
        }

    def _uploaded(self, names: Sequence[str]) -> dict[str, int]:
        if self.upload is None:
            return {}
        entries = self.upload.entries.filter(name__in=names, image__set_aside_at=None)
        return dict(entries.exclude(image=None).values_list("name", "image_id"))

    def _by_name(self, row: Found, suffixed: dict[int, str]) -> int | str:
        if not row.name:
            return "No image here has this hash." if row.sha256 else "It names no image."
        name = PREFIX.sub("", plain(row.name))
        for index, wanted in ((self.paths, row.name), (self.names, row.name), (self.names, name)):
            if found := index.find(wanted):
                return self._only(found, row.name)
        pk, before = _parted(row.name)
        if pk in suffixed and stem(suffixed[pk]) == before:
            return pk
        # FiftyOne and Datumaro know files without their suffix, and a dot may be part of that.
        for wanted in (f"{row.name}.x", row.name):
            if found := self.stems.find(wanted):
                return self._only(found, row.name)
        return f"There is no image “{row.name[:80]}” here."

    def _only(self, found: Sequence[int], name: str) -> int | str:
        if len(found) == 1:
            return found[0]
        return (
            f"{len(found)} images here are called “{name[:80]}”, and the file has no hash to tell them apart."
        )

    def _suffixed(self, rows: Sequence[Found]) -> dict[int, str]:
        """Names of the images whose ids stand behind names of these rows, if there are any."""
        ids = {_parted(row.name)[0] for row in rows} - {0}
        return dict(self.project.images.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def _parted(name: str) -> tuple[int, str]:
    """The id and what stands before it where an export called a file so, since another one had its name."""
    parts = SUFFIX.match(stem(name))
    return (int(parts["pk"]), parts["stem"]) if parts else (0, "")
