"""What images and labels are called inside an archive, on every file system."""

import hashlib
import os
import re
from collections.abc import Iterable

from django.core.exceptions import ValidationError

# What a file system may not take as part of a name; a slash parts folders.
UNSAFE = re.compile(r'[\x00-\x1f\x7f:*?"<>|]')
UNSAFE_IN_FOLDERS = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
# Readers tell pictures by these.
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
# Where FiftyOne reads images without a label.
UNLABELLED = "_unlabeled"
OTHERWISE = "Rename the label, or choose a format without folders."


class FileNames:
    """Names that are unique in one folder, with and without their suffix, capitals or not.

    Ask for all of them in the same order, and they are the same each time.
    """

    def __init__(self) -> None:
        # Of a million names their hashes alone.
        self.taken: set[int] = set()

    def of(self, pk: int, file_name: str, stored: str = "") -> str:
        """`stored`: the file, whose suffix a name gets that has none."""
        name = UNSAFE.sub("_", file_name.replace("\\", "/")).rstrip("/").rpartition("/")[2]
        if not name.strip(". "):
            name = f"image_{pk}"
        stem, own = os.path.splitext(name)
        if own.lower() not in SUFFIXES:
            stem, own = name, os.path.splitext(stored)[1]
        while not self._take(stem):
            stem = f"{stem}_{pk}"
        return stem + own

    def _take(self, stem: str) -> bool:
        digest = hashlib.blake2b(stem.casefold().encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big")
        if key in self.taken:
            return False
        self.taken.add(key)
        return True


def folders(labels: Iterable[str]) -> dict[str, str]:
    """A folder for each label. Raises ValidationError where two would share one, or one can't be a folder."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {UNLABELLED: "images with no label"}
    for label in labels:
        folder = UNSAFE_IN_FOLDERS.sub("_", label)
        if not folder.strip(". "):
            raise ValidationError(f"The label “{label}” can't be the name of a folder. {OTHERWISE}")
        if other := taken.get(folder.casefold()):
            raise ValidationError(f"“{other}” and “{label}” would share the folder “{folder}”. {OTHERWISE}")
        taken[folder.casefold()] = label
        found[label] = folder
    return found
