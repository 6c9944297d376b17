"""What each format looks like: one function for each of its files, and one table entry.

The formats are other people's; docs/formats.md says where each is described, and what it can't carry.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from django.core.exceptions import ValidationError

from labeling import export_helper
from labeling.export_json import (
    File,
    Text,
    by_subset,
    coco_files,
    datumaro_files,
    dumps,
    fiftyone_files,
    in_data,
    listed,
)
from labeling.export_native import MORE, csv_head, csv_text, json_text
from labeling.export_parquet import parquet_files
from labeling.export_rows import Export, Row, plain
from labeling.export_table import COLUMNS
from labeling.models import Annotation

NONE = Annotation.Status.NONE
# What XML 1.0 has no way to write.
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ALL_COLUMNS = (*COLUMNS, *MORE)


class Format(NamedTuple):
    title: str
    says: str  # whose it is, in a few words
    files: Callable[[Export], list[File]]
    # Where a picture lies in the archive.
    place: Callable[[Export, Row], str] = lambda export, row: f"images/{row.file_name}"
    needs_pictures: bool = False
    holds_pictures: bool = False  # in its one file
    content_type: str = "application/json"
    columns: Sequence[str] = ()  # that may be chosen
    usual: Sequence[str] = ()  # of these, if none are
    # Also of images that people disagree about, and whose picture is gone.
    tells_all: bool = False


# clipsite's own


def csv_files(export: Export) -> list[File]:
    return [("labels.csv", lambda: chain([csv_head(export.columns)], _texts(export, csv_text)))]


def jsonl_files(export: Export) -> list[File]:
    return [("labels.jsonl", lambda: _texts(export, json_text))]


def _texts(export: Export, write: export_helper.Write) -> Iterator[str | bytes]:
    if export.pictures:
        return (write(export, table) for table in export.named_tables())
    return export_helper.texts(export, write)


# Label Studio


def label_studio_files(export: Export) -> list[File]:
    return [("tasks.json", lambda: _tasks(export)), ("config.xml", lambda: _config(export))]


def _tasks(export: Export) -> Text:
    folder = f"{export.prefix}images/" if export.pictures else export.prefix
    tasks = (dumps(_task(number, row, folder)) for number, row in enumerate(export.rows(), start=1))
    yield "["
    yield from listed(tasks)
    yield "\n]\n"


def _task(number: int, row: Row, folder: str) -> dict[str, Any]:
    data = {"image": folder + row.file_name, "sha256": row.sha256}
    if row.split:
        data["split"] = row.split
    task: dict[str, Any] = {"id": number, "data": data, "annotations": [], "predictions": []}
    if row.is_suggestion:
        result = [_choice(f"p{number}", row.label)]
        task["predictions"] = [{"model_version": row.model, "score": row.probability, "result": result}]
        return task
    result = [_choice(f"a{number}", row.label)] if row.label is not None else []
    said = {"id": number, "was_cancelled": row.status == NONE, "ground_truth": False, "result": result}
    task["annotations"] = [said]
    return task


def _choice(key: str, label: str | None) -> dict[str, Any]:
    where = {"from_name": "choice", "to_name": "image", "type": "choices"}
    return {"id": key, **where, "value": {"choices": [label]}}


def _config(export: Export) -> Text:
    yield '<View>\n  <Image name="image" value="$image"/>\n'
    yield '  <Choices name="choice" toName="image" choice="single">\n'
    for label in export.labels:
        yield f"    <Choice value={quoteattr(in_xml(label))}/>\n"
    yield "  </Choices>\n</View>\n"


def in_xml(text: str) -> str:
    """Raises ValidationError for what XML can't hold."""
    if NOT_IN_XML.search(text):
        raise ValidationError(
            f"“{text}” has a character in it that XML can't hold. Rename it, or choose another format."
        )
    return text


# Folders: a label is a folder


def no_files(export: Export) -> list[File]:
    return []


def by_label(export: Export, row: Row) -> str:
    split = f"{row.split}/" if row.split else ""
    return f"{split}{export.folder(row)}/{row.file_name}"


def hugging_face_files(export: Export) -> list[File]:
    columns = [name for name in export.columns if name not in ("file_name", "label", "split")]

    def lines(split: str | None) -> Text:
        for row in export.rows(split):
            name = f"{export.folder(row)}/{row.file_name}"
            yield dumps({"file_name": name, "label": row.label} | plain(row, columns)) + "\n"

    return [
        (f"{split or 'train'}/metadata.jsonl", lambda s=split: lines(s))
        for split in export.split_names or [None]
    ]


def by_split_and_label(export: Export, row: Row) -> str:
    return f"{row.split or 'train'}/{export.folder(row)}/{row.file_name}"


# ImageNet


def imagenet_files(export: Export) -> list[File]:
    ids = {label: number for number, label in enumerate(export.labels)}
    for label in ids:
        if label.splitlines() != [label]:
            raise ValidationError(
                f"“{label}” has a line break in it, and this format has a line for each label."
            )

    def lines(split: str | None) -> Text:
        for row in export.rows(split):
            if row.label is not None:
                yield f"{_quoted(row.file_name)} {ids[row.label]}\n"

    splits = [(f"{split or 'train'}.txt", lambda s=split: lines(s)) for split in export.split_names or [None]]
    return [("synsets.txt", lambda: (f"{label}\n" for label in ids)), *splits]


def _quoted(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f'"{stem}"{dot}{suffix}' if " " in stem else name


# CVAT


def cvat_files(export: Export) -> list[File]:
    for label in export.labels:
        in_xml(label)
    return [("annotations.xml", lambda: _cvat(export))]


def _cvat(export: Export) -> Text:
    names = [row.file_name for row in export.rows()]
    places = {name: place for place, name in enumerate(sorted(names))}
    task = f"<name>{escape(in_xml(export.label_set.project.name))}</name><size>{len(names)}</size>"
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta><task>'
    yield f"{task}<mode>annotation</mode>\n    <labels>\n"
    for label in export.labels:
        yield f"      <label><name>{escape(label)}</name><type>tag</type><attributes></attributes></label>\n"
    yield "    </labels></task></meta>\n"
    for row in export.rows():
        subset = f" subset={quoteattr(row.split)}" if row.split else ""
        size = f'width="{row.width}" height="{row.height}"'
        yield f'  <image id="{places[row.file_name]}" name={quoteattr(in_xml(row.file_name))}{subset} {size}>'
        if row.label is not None:
            source = "auto" if row.is_suggestion else "manual"
            yield f'<tag label={quoteattr(row.label)} source="{source}"></tag>'
        yield "</image>\n"
    yield "</annotations>\n"


TABLE = {"columns": ALL_COLUMNS[: len(COLUMNS)], "usual": COLUMNS, "tells_all": True}
FORMATS = {
    "csv": Format(
        "CSV",
        "a table, for spreadsheets and pandas",
        csv_files,
        content_type="text/csv; charset=utf-8",
        **TABLE,
    ),
    "jsonl": Format(
        "JSON Lines",
        "the table, and all similarities and reviews",
        jsonl_files,
        content_type="application/x-ndjson; charset=utf-8",
        **TABLE | {"columns": ALL_COLUMNS, "usual": ALL_COLUMNS},
    ),
    "parquet": Format(
        "Parquet",
        "the table with its types, pictures inside it: pandas, DuckDB, Hugging Face datasets",
        parquet_files,
        holds_pictures=True,
        content_type="application/vnd.apache.parquet",
        **TABLE,
    ),
    "label-studio": Format("Label Studio", "tasks, and the labelling config", label_studio_files),
    "hugging-face": Format(
        "Hugging Face imagefolder",
        "for datasets.load_dataset",
        hugging_face_files,
        by_split_and_label,
        needs_pictures=True,
        columns=COLUMNS,
        usual=("status", "source", "sha256"),
    ),
    "imagefolder": Format(
        "ImageFolder",
        "a folder for each label: torchvision, Keras, Ultralytics, FiftyOne",
        no_files,
        by_label,
        needs_pictures=True,
    ),
    "imagenet": Format("ImageNet text", "synsets.txt, and lists of files", imagenet_files),
    "fiftyone": Format("FiftyOne", "FiftyOneImageClassificationDataset", fiftyone_files, in_data),
    "cvat": Format("CVAT 1.1", "CVAT for images, with tags", cvat_files, content_type="application/xml"),
    "datumaro": Format("Datumaro", "Datumaro 1.0", datumaro_files, by_subset),
    "coco": Format("COCO", "image level, as for camera traps", coco_files),
}
