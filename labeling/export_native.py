"""CSV and JSON Lines, a column at a time: per row there is no Python left but the joining of its cells.

A million rows take a few seconds so; a csv.writer or json.dumps for each takes three times as long.
"""

import re
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

from django.db.models import QuerySet

from labeling.export_table import COLUMNS, FIGURES, Columns, Names, similarities, told
from labeling.models import Review

NUMBERS = {"id", "width", "height"}
# A spreadsheet runs a cell that begins so. One that begins so behind apostrophes gets one more, so that what
# was written can be told from what was made safe.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
MUST_BE_QUOTED = re.compile(r'[,"\r\n]')
MORE = ("scores", "reviews")


def csv_text(table: Columns, columns: Sequence[str], raw: bool) -> str:
    """Lines as RFC 4180 has them. Not `raw`: what a spreadsheet would run gets an apostrophe."""
    cell = _raw_cell if raw else _safe_cell
    cells = [_cells(name, table[name], cell, "") for name in columns]
    if len(cells) == 1:  # a line with nothing on it would be no row
        cells = [[one or '""' for one in cells[0]]]
    return "\r\n".join(map(",".join, zip(*cells, strict=True))) + "\r\n"


def csv_head(columns: Sequence[str]) -> str:
    return ",".join(columns) + "\r\n"


def _raw_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if MUST_BE_QUOTED.search(text) else text


def _safe_cell(text: str) -> str:
    return _raw_cell(f"'{text}" if FORMULA.match(text) else text)


def json_text(table: Columns, columns: Sequence[str], reviews: QuerySet[Review], names: Names) -> str:
    """A line of JSON for each row, with the columns asked for, of COLUMNS and MORE."""
    cells = [_cells(name, table[name], encode_basestring, "null") for name in columns if name in COLUMNS]
    if "scores" in columns:
        cells.append(_scores(table))
    if "reviews" in columns:
        cells.append(_reviews(reviews, table["id"], names))
    ordered = [*(name for name in columns if name in COLUMNS), *(name for name in MORE if name in columns)]
    line = "{" + ", ".join(f'"{name}": %s' for name in ordered) + "}"
    return "\n".join(map(line.__mod__, zip(*cells, strict=True))) + "\n"


def _scores(table: Columns) -> list[str]:
    found = {}
    for labels, image_ids, cosines in similarities(table):
        names = (encode_basestring(label).replace("%", "%%") for label in labels)
        line = "{" + ", ".join(f"{name}: %.6g" for name in names) + "}"
        found |= zip(image_ids, map(line.__mod__, map(tuple, cosines)), strict=True)
    return [found.get(pk, "{}") for pk in table["id"]]


def _reviews(reviews: QuerySet[Review], ids: Sequence[int], names: Names) -> list[str]:
    found: dict[int, str] = {}
    written = {None: "null", "": "null"}
    for image_id, user, label, verdict, at in told(reviews, ids, names):
        for text in (user, label):
            if text not in written:
                written[text] = encode_basestring(text)
        line = f'{{"user": {written[user]}, "label": {written[label]}, "verdict": "{verdict}", "at": "{at}"}}'
        found[image_id] = f"{found[image_id]}, {line}" if image_id in found else line
    return [f"[{found.get(pk, '')}]" for pk in ids]


def _cells(name: str, column: Sequence[Any], escape: Callable[[str], str], nothing: str) -> Sequence[str]:
    """A column as text, `nothing` where it has no value."""
    if name in NUMBERS:
        return list(map(str, column))
    if name in FIGURES:
        if None in column:
            return [nothing if value is None else f"{value:.6g}" for value in column]
        return list(map("%.6g".__mod__, column))
    # Most columns say the same few things again and again.
    written = {text: nothing if text is None else escape(text) for text in set(column)}
    return list(map(written.__getitem__, column))
