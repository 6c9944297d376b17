"""The formats that are a JSON document: FiftyOne, Datumaro and COCO, a line for each image."""

import json
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings

from labeling.export_rows import Export, Row

Text = Iterator[str]
# The name of a file, and what writes it.
File = tuple[str, Callable[[], Iterator[str | bytes]]]

# Kept, since json.dumps would make one for each row.
dumps = json.JSONEncoder(ensure_ascii=False).encode


def listed(items: Text) -> Text:
    """The items of a JSON list, a line each."""
    between = "\n"
    for item in items:
        yield between + item
        between = ",\n"


# FiftyOne


def fiftyone_files(export: Export) -> list[File]:
    ids = {label: number for number, label in enumerate(export.labels)}

    def entry(row: Row) -> str:
        said: Any = ids.get(row.label) if row.label is not None else None
        if row.is_suggestion:
            said = {"label": said, "confidence": row.probability}
        return f"{dumps(row.stem)}: {dumps(said)}"

    def document(split: str | None) -> Text:
        yield f'{{"classes": {dumps(export.labels)}, "labels": {{'
        yield from listed(map(entry, export.rows(split)))
        yield "\n}}\n"

    return [
        (f"{f'{split}/' if split else ''}labels.json", lambda s=split: document(s))
        for split in export.split_names or [None]
    ]


def in_data(export: Export, row: Row) -> str:
    return f"{f'{row.split}/' if row.split else ''}data/{row.file_name}"


# Datumaro


def datumaro_files(export: Export) -> list[File]:
    ids = {label: number for number, label in enumerate(export.labels)}
    labels = [{"name": label, "parent": "", "attributes": []} for label in export.labels]
    head = {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {"label": {"labels": labels, "attributes": []}},
    }

    def item(row: Row) -> str:
        said = []
        if row.label is not None:
            more = {"suggested": True, "score": row.probability} if row.is_suggestion else {}
            said = [{"id": 0, "type": "label", "attributes": more, "group": 0, "label_id": ids[row.label]}]
        image = {"path": row.file_name, "size": [row.height, row.width]}
        return dumps({"id": row.stem, "image": image, "annotations": said})

    def document(split: str | None) -> Text:
        yield dumps(head)[:-1] + ', "items": ['
        yield from listed(map(item, export.rows(split)))
        yield "\n]}\n"

    return [
        (f"annotations/{split or 'default'}.json", lambda s=split: document(s))
        for split in export.split_names or [None]
    ]


def by_subset(export: Export, row: Row) -> str:
    return f"images/{row.split or 'default'}/{row.file_name}"


# COCO


def coco_files(export: Export) -> list[File]:
    ids = {label: number for number, label in enumerate(export.labels, start=1)}
    categories = [{"id": 0, "name": "empty"}] + [{"id": pk, "name": name} for name, pk in ids.items()]

    # Written out, both: an encoder takes longer for an image than all else does but its picture.
    def image(number: int, row: Row) -> str:
        name, sha256 = encode_basestring(row.file_name), encode_basestring(row.sha256)
        size = f'"width": {row.width}, "height": {row.height}'
        return f'{{"id": {number}, "file_name": {name}, {size}, "sha256": {sha256}}}'

    def annotation(number: int, row: Row) -> str:
        category = ids[row.label] if row.label is not None else 0
        more = f', "suggested": true, "score": {dumps(row.probability)}' if row.is_suggestion else ""
        return f'{{"id": {number}, "image_id": {number}, "category_id": {category}{more}}}'

    def document(split: str | None) -> Text:
        yield f'{{"info": {{}}, "categories": {dumps(categories)}, "images": ['
        # Written aside in the same pass: each refers to an image, whatever is changed meanwhile.
        with TemporaryFile("w+", encoding="utf-8", dir=settings.FILE_UPLOAD_TEMP_DIR) as aside:

            def images() -> Text:
                for number, row in enumerate(export.rows(split), start=1):
                    aside.write(annotation(number, row) + "\n")
                    yield image(number, row)

            yield from listed(images())
            yield '\n], "annotations": ['
            aside.seek(0)
            yield from listed(line.rstrip("\n") for line in aside)
        yield "\n]}\n"

    return [
        (f"{split or 'annotations'}.json", lambda s=split: document(s))
        for split in export.split_names or [None]
    ]
