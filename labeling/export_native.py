"""CSV and JSON Lines, a column at a time: per row there is no Python left but the joining of its cells.

A million rows take a few seconds so; a csv.writer or json.dumps for each takes three times as long.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
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


def csv_text(export: Export, table: Columns) -> str:
    """Lines as RFC 4180 has them. Where not `raw`, what a spreadsheet would run gets an apostrophe."""
    write = _raw_cells if export.raw else _safe_cells
    cells = [_cells(name, table[name], write, "") for name in export.columns]
    if len(cells) == 1:  # a line with nothing on it would be no row
        cells = [[one or '""' for one in cells[0]]]
    return "\r\n".join(map(",".join, zip(*cells, strict=True))) + "\r\n"


def csv_head(columns: Sequence[str]) -> str:
    return ",".join(columns) + "\r\n"


def _raw_cells(texts: Sequence[str]) -> Sequence[str]:
    # To look for what hardly ever is there goes faster in all of them at once.
    together = "".join(texts)
    if not any(character in together for character in ',"\r\n'):
        return texts
    return ['"' + text.replace('"', '""') + '"' if MUST_BE_QUOTED.search(text) else text for text in texts]


def _safe_cells(texts: Sequence[str]) -> Sequence[str]:
    if not FIRST.isdisjoint({text[:1] for text in texts}):
        texts = [f"'{text}" if FORMULA.match(text) else text for text in texts]
    return _raw_cells(texts)


def _json_cells(texts: Sequence[str], before: str) -> Sequence[str]:
    together = "".join(texts)
    if together.isprintable() and '"' not in together and "\\" not in together:
        return [f'{before}"{text}"' for text in texts]
    return [before + encode_basestring(text) for text in texts]


def json_text(export: Export, table: Columns) -> str:
    """A line of JSON for each row, with the columns asked for, of COLUMNS and MORE."""
    ordered = [
        *(name for name in export.columns if name in COLUMNS),
        *(name for name in MORE if name in export.columns),
    ]
    cells: list[Sequence[str]] = []
    for name in ordered:
        before = f'{", " if cells else "{"}"{name}": '
        if name == "scores":
            cells.append([before + text for text in _scores(table, export.names)])
        elif name == "reviews":
            cells.append([before + text for text in _reviews(export.reviews, table["id"], export.names)])
        else:
            write = partial(_json_cells, before=before)
            cells.append(_cells(name, table[name], write, f"{before}null", before))
    return "}\n".join(map("".join, zip(*cells, strict=True))) + "}\n"


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
    lines = [f'{heads[key]}{at}"}}' for key, at in zip(keys, dates, strict=True)]
    found = defaultdict(list)
    for image_id, line in zip(image_ids, lines, strict=True):
        found[image_id].append(line)
    return [f"[{', '.join(found[pk])}]" for pk in ids]


def _head(user: str | None, label: str, verdict: str) -> str:
    """A review but for its date: the same people say the same things again and again."""
    return f'{{"user": {_json(user)}, "label": {_json(label or None)}, "verdict": "{verdict}", "at": "'


def _json(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def _cells(
    name: str,
    column: Sequence[Any],
    write: Callable[[Sequence[str]], Sequence[str]],
    nothing: str,
    before: str = "",
) -> Sequence[str]:
    """A column as text: texts as `write` says them, `nothing` for no value, `before` and each number."""
    if name in NUMBERS:
        return [f"{before}{number}" for number in column]
    if name in FIGURES:
        if None in column:
            return [nothing if value is None else f"{before}{value:.6g}" for value in column]
        return list(map(f"{before}%.6g".__mod__, column))
    if name in VARIED and None not in column:
        return write(column)
    texts = [text for text in set(column) if text is not None]
    written = {None: nothing} | dict(zip(texts, write(texts), strict=True))
    return list(map(written.__getitem__, column))
