"""What is exported, and its rows as the formats take them: with names for files, folders and splits."""

import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from django.conf import settings
from django.db.models import QuerySet

from gallery.models import Image
from labeling.export_names import UNLABELLED, FileNames, folders
from labeling.export_table import COLUMNS, Columns, Names, read, tables
from labeling.models import UNREVIEWED, Annotation, LabelSet, Review
from labeling.splits import NAMES, Splits

# Ids: those after the first, up to the second.
Part = tuple[int, int]


class Row(NamedTuple):
    """An image in an export: COLUMNS, of which `file_name` is unique, and its folder."""

    id: int
    file_name: str
    sha256: str
    width: int
    height: int
    label: str | None
    status: str
    source: str
    decided_by: str | None
    decided_at: str | None
    suggested_label: str | None
    similarity: float | None
    probability: float | None
    margin: float | None
    runner_up: str | None
    model: str | None
    split: str | None
    path: str  # of the picture, where it goes along and is there
    form: str
    bytes: int

    @property
    def is_suggestion(self) -> bool:
        return self.status == UNREVIEWED

    @property
    def stem(self) -> str:
        return self.file_name.rpartition(".")[0] or self.file_name


@dataclass(frozen=True)
class Pictures:
    """How pictures go along: as they are, or at most `side` pixels a side, or as JPEG."""

    side: int = 0
    jpeg: bool = False

    @property
    def are_stored(self) -> bool:
        """Whether each is the file that was uploaded."""
        return not self.side and not self.jpeg


@dataclass
class Export:
    """One export: which images, what of them, and how. Its rows can be gone through several times."""

    label_set: LabelSet
    images: QuerySet[Image]  # export_table.chosen
    reviews: QuerySet[Review]  # those that may be told
    columns: Sequence[str] = COLUMNS
    raw: bool = False
    pictures: Pictures | None = None
    splits: Splits | None = None
    # Label Studio takes pictures by addresses that begin so.
    prefix: str = ""
    _spool: IO[bytes] | None = field(default=None, repr=False)

    @cached_property
    def labels(self) -> list[str]:
        return [label.name for label in self.label_set.labels.all()]

    @cached_property
    def folders(self) -> dict[str, str]:
        """Raises ValidationError where labels can't be folders."""
        return folders(self.labels)

    def folder(self, row: Row) -> str:
        return UNLABELLED if row.label is None else self.folders[row.label]

    @property
    def split_names(self) -> Sequence[str]:
        return (
            [name for name, share in zip(NAMES, self.splits.shares, strict=True) if share]
            if self.splits
            else []
        )

    @cached_property
    def names(self) -> Names:
        return Names(self.label_set)

    @property
    def ids(self) -> QuerySet[Image, int]:
        """Of all images that could be in it, in order."""
        images = Image.objects.filter(project=self.label_set.project_id)
        return images.order_by("pk").values_list("pk", flat=True)

    def tables(self) -> Iterator[Columns]:
        """With the names that images have here, which may be the same."""
        # Between the first and the last of the project: SQLite goes over all ids, those of others too.
        within = self.images.filter(pk__lte=self.ids.reverse()[:1])
        return tables(self.names, within, self.splits, after=(self.ids.first() or 0) - 1)

    def table(self, part: Part) -> Columns | None:
        """As of `tables`, of the images of a part; None where it has none."""
        after, last = part
        return read(self.names, self.images.filter(pk__gt=after, pk__lte=last), self.splits)

    def named_tables(self) -> Iterator[Columns]:
        """With file names that are unique, and where each picture is, its format and its size."""
        if self._spool is None:
            yield from self._named()
            return
        self._spool.seek(0)
        while table := pickle.load(self._spool):
            yield table

    def spool(self, most: int) -> bool:
        """Read everything once, so that each file of an archive tells of the same rows.

        False, and nothing is kept, where there are more than `most` images.
        """
        # Closed with the export.
        spool = TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
        count = 0
        for table in self._named():
            count += len(table["id"])
            if count > most:
                return False
            pickle.dump(table, spool)
        pickle.dump(None, spool)
        self._spool = spool
        return True

    def _named(self) -> Iterator[Columns]:
        names = FileNames()
        for table in self.tables():
            files = self._files(table["id"])
            unique = [
                names.of(pk, name, files[pk][0])
                for pk, name in zip(table["id"], table["file_name"], strict=True)
            ]
            if self.pictures and self.pictures.jpeg:
                unique = [f"{os.path.splitext(name)[0]}.jpg" for name in unique]
            stored = zip(*(self._stored(*files[pk]) for pk in table["id"]), strict=True)
            yield table | {"file_name": unique} | dict(zip(("path", "form", "bytes"), stored, strict=True))

    def _files(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """The stored file of each image and its format; empty where the image is deleted by now."""
        rows = Image.everything.filter(project=self.label_set.project_id, pk__gte=ids[0], pk__lte=ids[-1])
        found = {pk: (file, form) for pk, file, form in rows.values_list("pk", "file", "format")}
        return {pk: found.get(pk, ("", "")) for pk in ids}

    def _stored(self, file: str, form: str) -> tuple[str, str, int]:
        """Where a picture that goes along is, its format and its size; no place where it is gone."""
        if self.pictures is None or not file:
            return "", form, 0
        # One that the site named itself: nothing has to be made safe.
        path = f"{settings.MEDIA_ROOT}{os.sep}{file}"
        try:
            return path, form, os.stat(path).st_size
        except FileNotFoundError:
            return "", form, 0

    def rows(self, split: str | None = None) -> Iterator[Row]:
        """Images with an answer or a suggestion, of one split where one is named. With pictures, those alone
        whose picture is there."""
        for row in self.all_rows():
            told = row.status != Annotation.Status.DISPUTED and split in (None, row.split)
            if told and (self.pictures is None or row.path):
                yield row

    def all_rows(self) -> Iterator[Row]:
        for table in self.named_tables():
            yield from map(Row._make, zip(*(table[name] for name in Row._fields), strict=True))


def plain(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """Those of its columns, as JSON has them."""
    return {name: getattr(row, name) for name in columns}
