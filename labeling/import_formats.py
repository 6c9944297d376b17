"""What each format says of each image: one function and one table entry for each, a row at a time.

Whatever is wrong with a row is said with its place; the others go on.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import ijson
from defusedxml import DefusedXmlException, ElementTree
from django.core.exceptions import ValidationError

from labeling.import_sources import Source
from labeling.models import Annotation

Status = Annotation.Status


class Found(NamedTuple):
    """What a file says of one image. With neither label nor `is_none` it says nothing of it.

    `status`: accepted or corrected, where the file tells.
    """

    place: str  # in the file, for people
    name: str = ""  # of the image, maybe with folders
    sha256: str = ""
    label: str = ""
    is_none: bool = False  # none of the labels
    status: str = ""
    is_prediction: bool = False
    error: str = ""


class Declared(NamedTuple):
    """A label that the file lists, whether an image has it or not. In the file's order."""

    label: str


Read = Iterator[Found | Declared]


class Unreadable(ValidationError):
    """The file as a whole can't be read as what it is said to be."""


# clipsite's own, and Hugging Face's: tables

NAMES = ("file_name", "filename", "file", "image", "path", "name")
LABELS = ("label", "class", "category", "choice")
SAFE = re.compile(r"^'+[=+\-@\t\r]")


def read_csv(source: Source) -> Read:
    [path] = _one(source, "labels.csv", ".csv")
    with source.text(path) as text:
        try:
            rows = csv.DictReader(text, strict=True)
            heads = [head.strip().lower() for head in rows.fieldnames or ()]
            rows.fieldnames = heads
            _check_heads(heads)
            for row in rows:
                yield _native(
                    {key: _unsafe(cell or "") for key, cell in row.items() if key}, f"line {rows.line_num}"
                )
        except (csv.Error, UnicodeDecodeError) as error:
            raise Unreadable(_no_table(error)) from error


def _no_table(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "The file is not in UTF-8. Save it as “CSV UTF-8”, then send it again."
    return f"The file can't be read as CSV: {error}."


def _check_heads(heads: Iterable[str]) -> None:
    if "sha256" not in heads and not set(NAMES) & set(heads):
        raise Unreadable("The first line must name the columns, file_name or sha256 among them.")
    if not set(LABELS) & set(heads):
        raise Unreadable("There is no column “label”.")


def _unsafe(cell: str) -> str:
    """What was made safe for spreadsheets, as it was before."""
    return cell[1:] if SAFE.match(cell) else cell


def _native(row: dict[str, Any], place: str) -> Found:
    name = next((str(row[key]) for key in NAMES if row.get(key)), "")
    label = next((str(row[key]) for key in LABELS if row.get(key) not in (None, "")), "")
    found = Found(place, name, str(row.get("sha256") or ""), label)
    match str(row.get("status") or ""):
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
    [path] = _one(source, "labels.jsonl", ".jsonl", ".ndjson")
    for number, row in _json_lines(source, path):
        yield (
            _native(row, f"line {number}")
            if isinstance(row, dict)
            else Found(f"line {number}", error=NO_OBJECT)
        )


NO_OBJECT = "It is no JSON object."


def _json_lines(source: Source, path: str) -> Iterator[tuple[int, Any]]:
    with source.text(path) as text:
        try:
            for number, line in enumerate(text, start=1):
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
        with source.text(path) as text:
            try:
                rows = csv.DictReader(text)
                _check_heads(rows.fieldnames or ())
                for row in rows:
                    yield _native(row, f"line {rows.line_num}")
            except (csv.Error, UnicodeDecodeError) as error:
                raise Unreadable(_no_table(error)) from error
        return
    for number, row in _json_lines(source, path):
        yield (
            _native(row, f"line {number}")
            if isinstance(row, dict)
            else Found(f"line {number}", error=NO_OBJECT)
        )


def _one(source: Source, *names: str) -> list[str]:
    """The one file of labels. Raises Unreadable where there is none, or can't be told which."""
    for name in names:
        if paths := source.find(name):
            if len(paths) == 1:
                return paths
            raise Unreadable(f"There are {len(paths)} files {name} here. Send them one by one.")
    raise Unreadable(f"There is no {' or '.join(names)} here.")


# Label Studio


def read_label_studio(source: Source) -> Read:
    for path in source.find("config.xml"):
        for _, node in _elements(source, path):
            if node.tag == "Choice" and node.get("value"):
                yield Declared(node.get("value"))
    [path] = _one(source, "tasks.json", ".json")
    for number, task in enumerate(_items(source, path, "item"), start=1):
        yield (
            _task(task, f"task {number}")
            if isinstance(task, dict)
            else Found(f"task {number}", error=NO_OBJECT)
        )


def _task(task: dict[str, Any], place: str) -> Found:
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    image = data.get("image") or next((text for text in data.values() if _is_picture(text)), "")
    found = Found(place, _file_of(str(image)), str(data.get("sha256") or ""))
    if "data" not in task and "choice" in task:  # Label Studio's JSON-MIN
        return found._replace(label=str(task["choice"] or ""))
    said = _objects(task.get("annotations"))
    answers = {_choices(each) for each in said if not each.get("was_cancelled")} - {()}
    if len(answers) > 1:
        return found._replace(error="Its annotations disagree.")
    if answers:
        return _chosen(found, answers.pop())
    if said:
        return found._replace(is_none=any(each.get("was_cancelled") for each in said))
    guesses = [each for each in _objects(task.get("predictions")) if _choices(each)]
    if not guesses:
        return found
    best = max(guesses, key=lambda each: each["score"] if isinstance(each.get("score"), int | float) else 0)
    return _chosen(found, _choices(best))._replace(is_prediction=True)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _choices(said: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for result in _objects(said.get("result")):
        value = result.get("value")
        if (
            result.get("type") == "choices"
            and isinstance(value, dict)
            and isinstance(value.get("choices"), list)
        ):
            found += map(str, value["choices"])
    return tuple(dict.fromkeys(found))


def _chosen(found: Found, labels: tuple[str, ...]) -> Found:
    if len(labels) > 1:
        return found._replace(error=f"It has {len(labels)} labels; here an image has one.")
    return found._replace(label=labels[0])


def _is_picture(text: Any) -> bool:
    return isinstance(text, str) and PurePosixPath(urlsplit(text).path).suffix.lower() in PICTURES


PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def _file_of(address: str) -> str:
    """The path in an address: of Label Studio's local files it is a parameter."""
    if "://" not in address and "?d=" not in address:
        return address
    parts = urlsplit(address)
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


# JSON documents


def _items(source: Source, path: str, prefix: str) -> Iterator[Any]:
    """The items of a list in a JSON document, one after another. Raises Unreadable."""
    with source.open(path) as file:
        try:
            yield from ijson.items(file, prefix, use_float=True)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise Unreadable(f"{path} is no whole JSON document: {error}"[:300]) from error


def _pairs(source: Source, path: str, prefix: str) -> Iterator[tuple[str, Any]]:
    with source.open(path) as file:
        try:
            yield from ijson.kvitems(file, prefix, use_float=True)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise Unreadable(f"{path} is no whole JSON document: {error}"[:300]) from error


def read_fiftyone(source: Source) -> Read:
    for path in source.find("labels.json", ".json"):
        classes = [str(name) for name in _items(source, path, "classes.item")]
        yield from map(Declared, classes)
        folder = PurePosixPath(path).parent
        for stem, said in _pairs(source, path, "labels"):
            found = Found(f"“{stem}”", str(folder / "data" / stem))
            confident = isinstance(said, dict)
            value = said.get("label") if confident else said
            if isinstance(value, int | float) and not isinstance(value, bool):
                if not 0 <= value < len(classes):
                    yield found._replace(error=f"There is no class {value}.")
                    continue
                value = classes[int(value)]
            yield found._replace(label=str(value or ""), is_prediction=confident and value is not None)


def read_datumaro(source: Source) -> Read:
    for path in source.find(".json"):
        names = [
            str(label.get("name"))
            for label in _objects(list(_items(source, path, "categories.label.labels.item")))
        ]
        yield from map(Declared, names)
        subset = PurePosixPath(path).stem
        for item in _items(source, path, "items.item"):
            yield (
                _datumaro_item(item, names, subset)
                if isinstance(item, dict)
                else Found("an item", error=NO_OBJECT)
            )


def _datumaro_item(item: dict[str, Any], names: list[str], subset: str) -> Found:
    image = item.get("image")
    path = str(image.get("path") if isinstance(image, dict) else "") or str(item.get("id"))
    found = Found(f"item “{item.get('id')}”", f"images/{subset}/{path}")
    said = [each for each in _objects(item.get("annotations")) if each.get("type") == "label"]
    ids = list(dict.fromkeys(each.get("label_id") for each in said))
    if any(not isinstance(pk, int) or not 0 <= pk < len(names) for pk in ids):
        return found._replace(error="Its label is none of those that the file lists.")
    if not ids:
        return found
    suggested = all((each.get("attributes") or {}).get("suggested") for each in said)
    return _chosen(found, tuple(names[pk] for pk in ids))._replace(is_prediction=suggested)


def read_coco(source: Source) -> Read:
    for path in source.find(".json"):
        names = {
            each.get("id"): str(each.get("name"))
            for each in _objects(list(_items(source, path, "categories.item")))
        }
        empty = next((pk for pk, name in names.items() if pk == 0 and name == "empty"), None)
        yield from (Declared(name) for pk, name in names.items() if pk != empty)
        said: dict[Any, tuple[Any, bool, str]] = {}
        for each in _objects(list(_items(source, path, "annotations.item"))):
            pk, category = each.get("image_id"), each.get("category_id")
            error = "" if category in names else f"There is no category {category}."
            if pk in said and said[pk][0] != category:
                error = "It has several labels; here an image has one."
            said[pk] = (category, bool(each.get("suggested")), error)
        for image in _items(source, path, "images.item"):
            if not isinstance(image, dict):
                yield Found("an image", error=NO_OBJECT)
                continue
            category, suggested, error = said.get(image.get("id"), (None, False, ""))
            yield Found(
                f"image {image.get('id')}",
                str(image.get("file_name") or ""),
                str(image.get("sha256") or ""),
                label="" if category in (None, empty) else names.get(category, ""),
                is_none=empty is not None and category == empty,
                is_prediction=suggested,
                error=error,
            )


# XML


def _elements(source: Source, path: str) -> Iterator[tuple[str, Any]]:
    """The elements of an XML document as they end. Raises Unreadable, also for what could do harm."""
    with source.open(path) as file:
        try:
            yield from ElementTree.iterparse(file)
        except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise Unreadable(
                f"{path} is no XML that is read here: {error or type(error).__name__}"[:300]
            ) from error


def read_cvat(source: Source) -> Read:
    [path] = _one(source, "annotations.xml", ".xml")
    for _, node in _elements(source, path):
        if node.tag == "label":
            yield Declared(node.findtext("name") or "")
        elif node.tag == "image":
            found = Found(f"image {node.get('id')}", node.get("name") or "")
            tags = tuple(dict.fromkeys(tag.get("label") or "" for tag in node.iter("tag")))
            auto = all(tag.get("source") == "auto" for tag in node.iter("tag"))
            yield _chosen(found, tags)._replace(is_prediction=auto) if tags else found
            # What was read is let go: else it all stays in memory.
            node.clear()


# ImageNet

LISTED = re.compile(r'^(?:"(?P<quoted>.*)"(?P<suffix>\S*)|(?P<plain>.+?))\s+(?P<id>\d{1,9})$')


def read_imagenet(source: Source) -> Read:
    [path] = _one(source, "synsets.txt")
    names = [line for _, line in _lines(source, path)]
    yield from map(Declared, names)
    for other in source.find(".txt"):
        if other == path:
            continue
        for number, line in _lines(source, other):
            place = f"{other}, line {number}"
            if not (parts := LISTED.match(line)):
                yield Found(place, error="It is not a file's name and a number.")
                continue
            name = parts["plain"] or parts["quoted"] + parts["suffix"]
            if int(parts["id"]) >= len(names):
                yield Found(place, name, error=f"synsets.txt has no line for {parts['id']}.")
                continue
            yield Found(place, name, label=names[int(parts["id"])])


def _lines(source: Source, path: str) -> Iterator[tuple[int, str]]:
    with source.text(path) as text:
        try:
            for number, line in enumerate(text, start=1):
                if stripped := line.rstrip("\r\n"):
                    yield number, stripped
        except UnicodeDecodeError as error:
            raise Unreadable(f"{path} is not in UTF-8.") from error


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
