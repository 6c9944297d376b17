"""Labels as tables and lists: CSV, JSON Lines, Hugging Face's metadata, ImageNet's lists."""

import csv
import json
import re
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import IO, Any

from labeling.import_found import (
    LABELS,
    NO_OBJECT,
    Declared,
    Found,
    Read,
    Unreadable,
    as_text,
    first,
    the_one,
)
from labeling.import_sources import Source
from labeling.models import Annotation

Status = Annotation.Status

NAMES = ("file_name", "filename", "file", "image", "path", "name")
SAFE = re.compile(r"^'+[=+\-@\t\r]")


# Of one row or line: what is longer is no row, and would be read into memory whole.
MOST_CHARACTERS, MOST_COLUMNS = 2**20, 1000


def read_csv(source: Source) -> Read:
    [path] = the_one(source, "labels.csv", ".csv")
    for place, row in _table(source, path):
        yield _native({key: _unsafe(cell) for key, cell in row.items()}, place)


def _table(source: Source, path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV by the names of their columns, each with its place. Raises Unreadable."""
    with source.text(path) as text:
        try:
            lines = _Lines(text)
            head = next(lines, "")
            # As Excel writes it where the comma parts decimals.
            delimiter = max(",;\t", key=head.count)
            rows = csv.DictReader(chain([head], lines), delimiter=delimiter, strict=True)
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
            _check_heads(rows.fieldnames)
            for row in rows:
                lines.read = 0
                yield f"line {rows.line_num}", {key: cell or "" for key, cell in row.items() if key}
        except (csv.Error, UnicodeDecodeError) as error:
            raise Unreadable(_no_table(error)) from error


class _Lines:
    """The lines of a text. Raises Unreadable where they are too long before `read` is set to 0 again."""

    def __init__(self, text: IO[str]) -> None:
        self.text, self.read = text, 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.text.readline(MOST_CHARACTERS + 1)
        self.read += len(line)
        if self.read > MOST_CHARACTERS:
            raise Unreadable("It has a row of more than a million characters: it is no list of images.")
        if not line:
            raise StopIteration
        return line


def _capped(text: IO[str]) -> Iterator[str]:
    """The lines of a text, each by itself. Raises Unreadable at one that is too long."""
    lines = _Lines(text)
    for line in lines:
        lines.read = 0
        yield line


def _no_table(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "The file is not in UTF-8. Save it as “CSV UTF-8”, then send it again."
    return f"The file can't be read as CSV: {error}."


def _check_heads(heads: Collection[str]) -> None:
    if len(heads) > MOST_COLUMNS:
        raise Unreadable(f"The first line names {len(heads):,} columns; at most {MOST_COLUMNS:,} are read.")
    if "sha256" not in heads and not set(NAMES) & set(heads):
        raise Unreadable("The first line must name the columns, file_name or sha256 among them.")
    if not set(LABELS) & set(heads):
        raise Unreadable("There is no column “label”.")


def _unsafe(cell: str) -> str:
    """What was made safe for spreadsheets, as it was before."""
    return cell[1:] if SAFE.match(cell) else cell


def _native(row: dict[str, Any], place: str) -> Found:
    name = first(row, NAMES)
    found = Found(
        place, as_text(name), as_text(row.get("sha256")).lower(), as_text(label := first(row, LABELS))
    )
    if isinstance(label, dict | list):
        return found._replace(error="Its label is no text; here an image has one.")
    match as_text(row.get("status")):
        case Status.ACCEPTED | Status.CORRECTED as status:
            return (
                found._replace(status=status)
                if label
                else found._replace(error="It is settled, but has no label.")
            )
        case Status.NONE:
            return found._replace(label="", is_none=True)
        case "unreviewed":
            return found._replace(is_prediction=bool(label))
        case Status.DISPUTED | "unscored":
            return found._replace(label="")
        case "":
            return found
        case other:
            return found._replace(error=f"“{other[:40]}” is no status.")


def read_jsonl(source: Source) -> Read:
    [path] = the_one(source, "labels.jsonl", ".jsonl", ".ndjson")
    yield from _json_rows(source, path)


def _json_rows(source: Source, path: str) -> Iterator[Found]:
    for number, row in _json_lines(source, path):
        place = f"line {number}"
        yield _native(row, place) if isinstance(row, dict) else Found(place, error=NO_OBJECT)


def _json_lines(source: Source, path: str) -> Iterator[tuple[int, Any]]:
    with source.text(path) as text:
        try:
            for number, line in enumerate(_capped(text), start=1):
                if line.strip():
                    yield number, _parsed(line)
        except UnicodeDecodeError as error:
            raise Unreadable("The file is not in UTF-8.") from error


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def read_hugging_face(source: Source) -> Read:
    paths = source.find("metadata.csv", "metadata.jsonl")
    if not paths:
        raise Unreadable("There is no metadata.csv or metadata.jsonl.")
    for path in paths:
        folder = PurePosixPath(path).parent
        for found in _metadata(source, path):
            # Relative to the file that names it.
            yield found._replace(
                place=f"{path}, {found.place}" if len(paths) > 1 else found.place,
                name=str(folder / found.name) if found.name else "",
            )


def _metadata(source: Source, path: str) -> Iterator[Found]:
    if path.endswith(".csv"):
        for place, row in _table(source, path):
            yield _native(row, place)
    else:
        yield from _json_rows(source, path)


def read_imagenet(source: Source) -> Read:
    [path] = the_one(source, "synsets.txt")
    names = [line for _, line in _lines(source, path)]
    yield from map(Declared, names)
    for other in source.find(".txt"):
        if other != path:
            for number, line in _lines(source, other):
                yield _listed(line, f"{other}, line {number}", names)


def _listed(line: str, place: str, names: list[str]) -> Found:
    """`name.jpg 0`, with the name before its suffix in quotes where it has spaces."""
    name, number = (line.rsplit(None, 1) + [""])[:2]
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        return Found(place, error="It is not a file's name and a number.")
    stem, quote, suffix = name.removeprefix('"').rpartition('"')
    if quote and name.startswith('"'):
        name = stem + suffix
    if int(number) >= len(names):
        return Found(place, name, error=f"synsets.txt has no line for {number}.")
    return Found(place, name, label=names[int(number)])


def _lines(source: Source, path: str) -> Iterator[tuple[int, str]]:
    with source.text(path) as text:
        try:
            for number, line in enumerate(_capped(text), start=1):
                if stripped := line.rstrip("\r\n"):
                    yield number, stripped
        except UnicodeDecodeError as error:
            raise Unreadable(f"{path} is not in UTF-8.") from error
