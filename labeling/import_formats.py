"""Each format that labels come in by: one table entry for each, and how to tell one from another.

Whatever is wrong with a row is said with its place; the others go on.
"""

from collections.abc import Callable
from typing import NamedTuple

from labeling.import_found import Read, Unreadable
from labeling.import_json import read_coco, read_datumaro, read_fiftyone, read_label_studio
from labeling.import_sources import Source
from labeling.import_tables import read_csv, read_hugging_face, read_imagenet, read_jsonl
from labeling.import_xml import read_cvat


class Format(NamedTuple):
    title: str
    read: Callable[[Source], Read] | None  # None: what the pictures' folders are called


FORMATS = {
    "csv": Format("CSV", read_csv),
    "jsonl": Format("JSON Lines", read_jsonl),
    "label-studio": Format("Label Studio JSON", read_label_studio),
    "hugging-face": Format("Hugging Face imagefolder", read_hugging_face),
    "folders": Format("A folder for each label", None),
    "imagenet": Format("ImageNet text", read_imagenet),
    "fiftyone": Format("FiftyOne", read_fiftyone),
    "cvat": Format("CVAT 1.1", read_cvat),
    "datumaro": Format("Datumaro", read_datumaro),
    "coco": Format("COCO", read_coco),
}
# By a file's name, the first that is there; a JSON document by what it begins with.
BY_NAME = {
    "tasks.json": "label-studio",
    "metadata.csv": "hugging-face",
    "metadata.jsonl": "hugging-face",
    "synsets.txt": "imagenet",
    ".xml": "cvat",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
BY_KEY = {
    '"dm_format_version"': "datumaro",
    '"classes"': "fiftyone",
    '"images"': "coco",
    '"categories"': "coco",
}


def detect(source: Source, has_pictures: bool) -> str:
    """The key of the format that it is in. Raises Unreadable."""
    for name, key in BY_NAME.items():
        if source.find(name):
            # Label Studio's config lies beside its tasks, whatever they are called.
            return "label-studio" if source.find("config.xml") else key
    for path in source.find(".json"):
        head = source.head(path)
        if head.startswith("["):
            return "label-studio"
        for word, key in BY_KEY.items():
            if word in head:
                return key
    if has_pictures:
        return "folders"
    raise Unreadable("What this file is can't be told from its beginning. Choose its format.")
