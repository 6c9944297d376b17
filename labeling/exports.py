"""Labels out: one function and one table entry for each format, streamed in flat memory."""

import csv
import io
import json
import os
import re
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import PurePath
from typing import Any, NamedTuple

import zipstream
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.http import QueryDict, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import slugify

from gallery.access import User
from gallery.models import Image
from labeling import embeddings
from labeling.filters import ImageFilter
from labeling.models import UNREVIEWED, Annotation, LabelSet, Match, Review, ScoringRun

COLUMNS = [
    *(
        "id",
        "file_name",
        "sha256",
        "width",
        "height",
        "label",
        "status",
        "source",
        "decided_by",
        "decided_at",
    ),
    *("suggested_label", "similarity", "probability", "margin", "runner_up", "model", "split"),
]
ROWS_AT_ONCE = 500
# A spreadsheet runs a cell that begins so.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# What a file system may not take as part of a file's name; a slash parts folders.
UNSAFE_IN_NAMES = re.compile(r'[\x00-\x1f\x7f:*?"<>|]')

Row = dict[str, Any]


class Format(NamedTuple):
    write: Callable[[LabelSet, Iterable[Row], bool, QuerySet[Review] | None], Iterator[str]]
    content_type: str


def chosen(images: QuerySet[Image], suggested: bool) -> QuerySet[Image]:
    """The images that an export holds: settled ones, and with `suggested` those that CLIP has labelled."""
    statuses = [*Annotation.Status.values, UNREVIEWED] if suggested else Annotation.Status.values
    return images.filter(status__in=statuses).order_by("pk")


def write(
    label_set: LabelSet,
    images: QuerySet[Image],
    format: str,
    raw: bool = False,
    reviews: QuerySet[Review] | None = None,
) -> Iterator[str]:
    """The text of an export in parts. `images`: of `label_set.images()`; `raw`: cells as they are.

    `reviews`: those that may be told, or all of the label set's. Raises KeyError for an unknown format.
    """
    return FORMATS[format].write(label_set, rows(label_set, images), raw, reviews)


def rows(label_set: LabelSet, images: QuerySet[Image]) -> Iterator[Row]:
    """One dict of COLUMNS an image."""
    names = dict(label_set.labels.values_list("pk", "name"))
    models = dict(label_set.runs.values_list("pk", "model"))
    values = images.annotate(
        run_id=F("match__run_id"),
        source=F("annotation__source"),
        decided_by=F("annotation__decided_by__username"),
        decided_at=F("annotation__decided_at"),
    ).values(
        *("id", "name", "sha256", "width", "height", "label_id", "status", "source", "decided_by"),
        *("decided_at", "suggested_id", "similarity", "probability", "margin", "runner_up_id", "run_id"),
    )
    for image in values.iterator(chunk_size=ROWS_AT_ONCE):
        yield {
            "id": image["id"],
            "file_name": unicodedata.normalize("NFC", image["name"]),
            "sha256": image["sha256"],
            "width": image["width"],
            "height": image["height"],
            "label": names.get(image["label_id"]),
            "status": image["status"],
            "source": image["source"] or Annotation.Source.AUTO.value,
            "decided_by": image["decided_by"],
            "decided_at": image["decided_at"] and image["decided_at"].isoformat(),
            "suggested_label": names.get(image["suggested_id"]),
            "similarity": _rounded(image["similarity"]),
            "probability": _rounded(image["probability"]),
            "margin": _rounded(image["margin"]),
            "runner_up": names.get(image["runner_up_id"]),
            "model": models.get(image["run_id"]),
            "split": None,
        }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 6)


def write_csv(
    label_set: LabelSet, table: Iterable[Row], raw: bool, reviews: QuerySet[Review] | None = None
) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in _cells(table):
        writer.writerow(cells if raw else [_safe(cell) for cell in cells])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cells(table: Iterable[Row]) -> Iterator[list[Any]]:
    yield COLUMNS
    for row in table:
        yield [row[column] for column in COLUMNS]


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def write_jsonl(
    label_set: LabelSet, table: Iterable[Row], raw: bool, reviews: QuerySet[Review] | None = None
) -> Iterator[str]:
    """As CSV, and of each image `scores` (similarity to each label) and `reviews`."""
    table, told = iter(table), label_set.reviews.all() if reviews is None else reviews
    while some := list(islice(table, ROWS_AT_ONCE)):
        ids = [row["id"] for row in some]
        scores, by_image = similarities(label_set, ids), _reviews(told, ids)
        for row in some:
            more = {"scores": scores.get(row["id"], {}), "reviews": by_image[row["id"]]}
            yield json.dumps(row | more, ensure_ascii=False) + "\n"


def similarities(label_set: LabelSet, image_ids: list[int]) -> dict[int, dict[str, float]]:
    """Of each image that is matched: the similarity to each label of the run that matched it."""
    found: dict[int, dict[str, float]] = {}
    by_run = defaultdict(list)
    for image_id, run_id in Match.objects.filter(label_set=label_set, image__in=image_ids).values_list(
        "image_id", "run_id"
    ):
        by_run[run_id].append(image_id)
    for run in ScoringRun.objects.filter(pk__in=by_run):
        ids, vectors = embeddings.load(by_run[run.pk], run.model)
        labels = embeddings.from_bytes(run.label_vectors, rows=len(run.labels))
        names = [label["name"] for label in run.labels]
        for image_id, vector in zip(ids, vectors, strict=True):
            cosines = (round(float(cosine), 6) for cosine in labels @ vector)
            found[image_id] = dict(zip(names, cosines, strict=True))
    return found


def _reviews(reviews: QuerySet[Review], image_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for review in reviews.filter(image__in=image_ids).select_related("user").order_by("id"):
        found[review.image_id].append(
            {
                "user": review.user.username if review.user else None,
                "label": review.label_name or None,
                "verdict": review.verdict,
                "at": review.at.isoformat(),
            }
        )
    return found


FORMATS = {
    "csv": Format(write_csv, "text/csv; charset=utf-8"),
    "jsonl": Format(write_jsonl, "application/x-ndjson; charset=utf-8"),
}


def archive(
    label_set: LabelSet,
    images: QuerySet[Image],
    format: str,
    raw: bool = False,
    reviews: QuerySet[Review] | None = None,
) -> Iterator[bytes]:
    """A ZIP of the export and its pictures, stored as they are. `file_name` names the file inside it."""
    stream = zipstream.ZipStream()
    names: dict[int, str] = {}
    text = FORMATS[format].write(label_set, _with_unique_names(rows(label_set, images), names), raw, reviews)
    with tempfile.NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as labels:
        labels.writelines(part.encode() for part in text)
        labels.flush()
        # An entry carries its file's date: always the same, so that two exports of the same data are too.
        os.utime(labels.name, (0, 0))
        stream.add_path(labels.name, f"labels.{format}")
        yield from stream.file()
    for path, name in _stored_files(names):
        stream.add_path(path, f"images/{name}")
        yield from stream.file()
    yield from stream.footer()


def _with_unique_names(table: Iterable[Row], names: dict[int, str]) -> Iterator[Row]:
    """The rows with names that are unique in one folder, noted in `names` by image id."""
    taken: set[str] = set()
    for row in table:
        path = PurePath(UNSAFE_IN_NAMES.sub("_", row["file_name"].replace("\\", "/")))
        name = path.name.strip(". ") and path.name
        name = name or f"image_{row['id']}"
        # Some file systems don't tell capitals from small letters.
        while name.casefold() in taken:
            name = f"{PurePath(name).stem}_{row['id']}{PurePath(name).suffix}"
        taken.add(name.casefold())
        names[row["id"]] = name
        yield row | {"file_name": name}


def _stored_files(names: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Path and name of each picture that is still there."""
    storage = Image._meta.get_field("file").storage
    ids = iter(names)
    while some := list(islice(ids, ROWS_AT_ONCE)):
        for image_id, file in Image.objects.filter(pk__in=some).order_by("pk").values_list("pk", "file"):
            if storage.exists(file):
                yield storage.path(file), names[image_id]


class Download(forms.Form):
    """What an export's address may say, beside the gallery's filters."""

    format = forms.ChoiceField(choices=[(name, name) for name in FORMATS], required=False)
    # Read as text: a checkbox would take `images=0` for a yes.
    images = forms.BooleanField(required=False, widget=forms.TextInput)
    include = forms.ChoiceField(choices=[("suggested", "suggested")], required=False)
    raw = forms.BooleanField(required=False, widget=forms.TextInput)


def download(
    label_set: LabelSet, user: User, params: QueryDict, reviews: QuerySet[Review]
) -> StreamingHttpResponse:
    """An export as a file, for pages and API alike. Raises ValidationError for what `params` may not say.

    `reviews`: those of the label set that the person may see, of which JSONL tells.

    They are `format=csv|jsonl`, `images=1` for a ZIP with the pictures, `include=suggested`, `raw=1`, and
    ImageFilter's.
    """
    form, filters = Download(params), ImageFilter(params, label_set.images(), label_set=label_set, user=user)
    if not (form.is_valid() and filters.is_valid()):
        raise ValidationError(form.errors.as_data() | filters.form.errors.as_data())
    asked = form.cleaned_data
    name = asked["format"] or "csv"
    images = chosen(filters.qs, suggested=bool(asked["include"]))
    file_name = f"{label_set.project.slug}-{slugify(label_set.name) or label_set.pk}"
    if asked["images"]:
        parts = archive(label_set, images, name, asked["raw"], reviews)
        return _attachment(parts, "application/zip", f"{file_name}.zip")
    lines = write(label_set, images, name, asked["raw"], reviews)
    return _attachment(_blocks(lines), FORMATS[name].content_type, f"{file_name}.{name}")


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    """Many lines in one write: a response costs by the part."""
    while some := list(islice(lines, ROWS_AT_ONCE)):
        yield "".join(some)


def _attachment(
    parts: Iterator[str] | Iterator[bytes], content_type: str, file_name: str
) -> StreamingHttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=file_name)
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return StreamingHttpResponse(parts, content_type=content_type, headers=headers)
