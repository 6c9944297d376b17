"""CSV and JSON Lines, a column at a time: per row there is no Python left but one `%` that joins its cells.

A million rows take a few seconds so; a csv.writer or json.dumps for each takes three times as long.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

from django.db.models import QuerySet

from labeling.export_rows import Export
from labeling.export_table import COLUMNS, FIGURES, Columns, Names, similarities, told
from labeling.models import Review

NUMBERS = {"id", "width", "height"}
# Of these, no two rows say the same; the others say the same few things again and again.
VARIED = {"file_name", "sha256", "decided_at"}
# A spreadsheet runs a cell that begins so. One that begins so behind apostrophes gets one more, so that what
# was written can be told from what was made safe.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
# What such a cell begins with.
FIRST = set("'=+-@\t\r")
MUST_BE_QUOTED = re.compile(r'[,"\r\n]')
MORE = ("scores", "reviews")

# How a column is written: a conversion of Python's `%`, and the values that it takes.
Column = tuple[str, Sequence[Any]]


def csv_text(export: Export, table: Columns) -> str:
    """Lines as RFC 4180 has them. Where not `raw`, what a spreadsheet would run gets an apostrophe."""
    write = _raw_cells if export.raw else _safe_cells
    columns = [_column(name, table[name], write, "") for name in export.columns]
    if len(columns) == 1:  # a line with nothing on it would be no row
        [(conversion, values)] = columns
        columns = [("%s", [conversion % value or '""' for value in values])]
    return _lines(",".join(conversion for conversion, _ in columns) + "\r\n", columns)


def csv_head(columns: Sequence[str]) -> str:
    return ",".join(columns) + "\r\n"


def _lines(line: str, columns: Sequence[Column]) -> str:
    """All rows, by a line of these columns' conversions: most cells never are a string of their own."""
    return "".join(map(line.__mod__, zip(*(values for _, values in columns), strict=True)))


def _raw_cells(texts: Sequence[str]) -> Column:
    # To look for what hardly ever is there goes faster in all of them at once.
    together = "".join(texts)
    if not any(character in together for character in ',"\r\n'):
        return "%s", texts
    return "%s", [
        '"' + text.replace('"', '""') + '"' if MUST_BE_QUOTED.search(text) else text for text in texts
    ]


def _safe_cells(texts: Sequence[str]) -> Column:
    if not FIRST.isdisjoint({text[:1] for text in texts}):
        texts = [f"'{text}" if FORMULA.match(text) else text for text in texts]
    return _raw_cells(texts)


def _json_cells(texts: Sequence[str]) -> Column:
    together = "".join(texts)
    if together.isprintable() and '"' not in together and "\\" not in together:
        return '"%s"', texts
    return "%s", list(map(encode_basestring, texts))


def json_text(export: Export, table: Columns) -> str:
    """A line of JSON for each row, with the columns asked for, of COLUMNS and MORE."""
    columns = {
        name: _column(name, table[name], _json_cells, "null") for name in export.columns if name in COLUMNS
    }
    if "scores" in export.columns:
        columns["scores"] = "%s", _scores(table, export.names)
    if "reviews" in export.columns:
        columns["reviews"] = "[%s]", _reviews(export.reviews, table["id"], export.names)
    members = ", ".join(f'"{name}": {conversion}' for name, (conversion, _) in columns.items())
    return _lines("{" + members + "}\n", list(columns.values()))


def _scores(table: Columns, names: Names) -> list[str]:
    found = {}
    for labels, image_ids, cosines in similarities(table, names):
        quoted = (encode_basestring(label).replace("%", "%%") for label in labels)
        line = "{" + ", ".join(f"{name}: %.6g" for name in quoted) + "}"
        found |= zip(image_ids, map(line.__mod__, map(tuple, cosines)), strict=True)
    return [found.get(pk, "{}") for pk in table["id"]]


def _reviews(reviews: QuerySet[Review], ids: Sequence[int], names: Names) -> list[str]:
    image_ids, *who_what, dates = told(reviews, ids, names)
    keys = list(zip(*who_what, strict=True))
    heads = {key: _head(*key) for key in set(keys)}
    found = defaultdict(list)
    for image_id, key, at in zip(image_ids, keys, dates, strict=True):
        found[image_id].append(f'{heads[key]}{at}"}}')
    return [", ".join(found[pk]) for pk in ids]


def _head(user: str | None, label: str, verdict: str) -> str:
    """A review but for its date: the same people say the same things again and again."""
    return f'{{"user": {_json(user)}, "label": {_json(label or None)}, "verdict": "{verdict}", "at": "'


def _json(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def _column(
    name: str, column: Sequence[Any], write: Callable[[Sequence[str]], Column], nothing: str
) -> Column:
    """Texts as `write` says them, and `nothing` for no value."""
    if name in NUMBERS:
        return "%d", column
    if name in FIGURES:
        if None in column:
            return "%s", [nothing if value is None else f"{value:.6g}" for value in column]
        return "%.6g", column
    if name in VARIED and None not in column:
        return write(column)
    texts = [text for text in set(column) if text is not None]
    conversion, written = write(texts)
    cells = {None: nothing} | dict(zip(texts, map(conversion.__mod__, written), strict=True))
    return "%s", list(map(cells.__getitem__, column))
