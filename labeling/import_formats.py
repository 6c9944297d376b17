"""What each format says of each image: one function and one table entry for each, a row at a time.

Whatever is wrong with a row is said with its place; the others go on.
"""

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple
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


# Of one row or line: what is longer is no row, and would be read into memory whole.
MOST_CHARACTERS, MOST_COLUMNS = 2**20, 1000


def read_csv(source: Source) -> Read:
    [path] = _one(source, "labels.csv", ".csv")
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
    name = _first(row, NAMES)
    found = Found(place, _text(name), _text(row.get("sha256")).lower(), _text(label := _first(row, LABELS)))
    if isinstance(label, dict | list):
        return found._replace(error="Its label is no text; here an image has one.")
    match _text(row.get("status")):
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


def _first(row: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) not in (None, "")), "")


def _text(value: Any) -> str:
    """A text or a number as text; nothing else is one."""
    return str(value) if isinstance(value, str | int | float) else ""


def read_jsonl(source: Source) -> Read:
    [path] = _one(source, "labels.jsonl", ".jsonl", ".ndjson")
    yield from _json_rows(source, path)


def _json_rows(source: Source, path: str) -> Iterator[Found]:
    for number, row in _json_lines(source, path):
        place = f"line {number}"
        yield _native(row, place) if isinstance(row, dict) else Found(place, error=NO_OBJECT)


NO_OBJECT = "It is no JSON object."


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
        for event, node in _elements(source, path):
            if event == "end" and node.tag == "Choice" and node.get("value"):
                yield Declared(node.get("value"))
    [path] = _one(source, "tasks.json", ".json")
    _check_depth(source, path)
    for number, task in enumerate(_items(source, path, "item"), start=1):
        yield (
            _task(task, f"task {number}")
            if isinstance(task, dict)
            else Found(f"task {number}", error=NO_OBJECT)
        )


def _task(task: dict[str, Any], place: str) -> Found:
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    image = data.get("image") or next((text for text in data.values() if _is_picture(text)), "")
    found = Found(place, _file_of(_text(image)), _text(data.get("sha256")))
    if "data" not in task:  # Label Studio's JSON-MIN
        return _minimal(found, _first(task, LABELS[::-1]))
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


def _minimal(found: Found, chosen: Any) -> Found:
    labels = chosen.get("choices") if isinstance(chosen, dict) else chosen
    if isinstance(labels, list):
        return _chosen(found, tuple(map(_text, labels)))
    return found._replace(label=_text(labels))


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
            found += map(_text, value["choices"])
    return tuple(dict.fromkeys(filter(None, found)))


def _chosen(found: Found, labels: tuple[str, ...]) -> Found:
    if len(labels) != 1:
        return found._replace(error=f"It has {len(labels)} labels; here an image has one.")
    return found._replace(label=labels[0])


def _is_picture(text: Any) -> bool:
    return isinstance(text, str) and PurePosixPath(_file_of(text)).suffix.lower() in PICTURES


PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def _file_of(address: str) -> str:
    """The path in an address: of Label Studio's local files it is a parameter."""
    if "://" not in address and "?d=" not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:  # such as “http://[”
        return address
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


# JSON documents

MOST_DEPTH = 50


def _check_depth(source: Source, path: str) -> None:
    """Raises Unreadable for a document of brackets in brackets, which would take for ever."""
    depth = 0
    with source.open(path) as file:
        try:
            # Without `use_float`, here and below, a number of 5,000 digits ends the process.
            for event, _ in ijson.basic_parse(file, use_float=True):
                depth += event.startswith("start_") - event.startswith("end_")
                if depth > MOST_DEPTH:
                    raise Unreadable(f"{path} is nested too deep: it is no list of labels.")
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise Unreadable(f"{path} is no whole JSON document: {error}"[:300]) from error


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
        _check_depth(source, path)
        classes = [_text(name) for name in _items(source, path, "classes.item")]
        yield from map(Declared, classes)
        folder = PurePosixPath(path).parent
        for stem, said in _pairs(source, path, "labels"):
            yield _fiftyone_label(Found(f"“{stem}”", str(folder / "data" / stem)), said, classes)


def _fiftyone_label(found: Found, said: Any, classes: list[str]) -> Found:
    value, confidence = (
        (said.get("label"), said.get("confidence")) if isinstance(said, dict) else (said, None)
    )
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value not in range(len(classes)):
            return found._replace(error=f"There is no class {value}.")
        value = classes[int(value)]
    if not isinstance(value, str | None):
        return found._replace(error="Its label is no text; here an image has one.")
    return found._replace(label=value or "", is_prediction=bool(value) and confidence is not None)


def _key(value: Any) -> Any:
    """What rows may name each other by; whatever else stands there names none."""
    return value if isinstance(value, str | int) else None


def read_datumaro(source: Source) -> Read:
    for path in source.find(".json"):
        _check_depth(source, path)
        names = [
            _text(label.get("name"))
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
    path = _text(image.get("path") if isinstance(image, dict) else "") or _text(item.get("id"))
    found = Found(f"item “{_text(item.get('id'))}”", f"images/{subset}/{path}")
    said = [each for each in _objects(item.get("annotations")) if each.get("type") == "label"]
    ids = list(dict.fromkeys(_key(each.get("label_id")) for each in said))
    if any(pk not in range(len(names)) for pk in ids):
        return found._replace(error="Its label is none of those that the file lists.")
    if not ids:
        return found
    attributes = [each.get("attributes") for each in said]
    suggested = all(isinstance(each, dict) and each.get("suggested") for each in attributes)
    return _chosen(found, tuple(names[pk] for pk in ids))._replace(is_prediction=suggested)


def read_coco(source: Source) -> Read:
    for path in source.find(".json"):
        _check_depth(source, path)
        names = {
            _key(each.get("id")): _text(each.get("name"))
            for each in _objects(list(_items(source, path, "categories.item")))
        }
        empty = next((pk for pk, name in names.items() if pk == 0 and name == "empty"), None)
        yield from (Declared(name) for pk, name in names.items() if pk != empty)
        said = _coco_labels(source, path)
        for image in _items(source, path, "images.item"):
            if isinstance(image, dict):
                yield _coco_image(image, said, names, empty)
            else:
                yield Found("an image", error=NO_OBJECT)


# A category, and whether it is only suggested.
Said = tuple[Any, bool]


def _coco_labels(source: Source, path: str) -> dict[Any, list[Said]]:
    """What is said of each image, each category once: boxes of the same kind are one label."""
    said: dict[Any, list[Said]] = {}
    for each in _items(source, path, "annotations.item"):
        if isinstance(each, dict):
            of_image = said.setdefault(_key(each.get("image_id")), [])
            category = _key(each.get("category_id"))
            if category not in (known for known, _ in of_image):
                of_image.append((category, bool(each.get("suggested"))))
    return said


def _coco_image(
    image: dict[str, Any], said: dict[Any, list[Said]], names: dict[Any, str], empty: Any
) -> Found:
    pk = _key(image.get("id"))
    found = Found(f"image {pk}", _text(image.get("file_name")), _text(image.get("sha256")))
    labels = said.get(pk, [])
    if missing := [category for category, _ in labels if category not in names]:
        return found._replace(error=f"There is no category {missing[0]}.")
    if not labels:
        return found
    if empty is not None and [category for category, _ in labels] == [empty]:
        return found._replace(is_none=True, is_prediction=labels[0][1])
    return _chosen(found, tuple(names[category] for category, _ in labels))._replace(
        is_prediction=all(suggested for _, suggested in labels)
    )


# XML


# Of one image or label, and of all before the first.
MOST_ELEMENTS = 100_000


def _elements(source: Source, path: str) -> Iterator[tuple[str, Any]]:
    """An XML document's elements as they start and end. Raises Unreadable, also for what could do harm."""
    with source.open(path) as file:
        try:
            yield from ElementTree.iterparse(file, ("start", "end"), forbid_dtd=True)
        except DefusedXmlException as error:
            raise Unreadable(
                f"{path} defines entities or a document type, which are not read here."
            ) from error
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise Unreadable(f"{path} is no whole XML document: {error}"[:300]) from error


def read_cvat(source: Source) -> Read:
    [path] = _one(source, "annotations.xml", ".xml")
    since = 0
    for event, node in _elements(source, path):
        since += event == "start"
        if since > MOST_ELEMENTS:
            raise Unreadable(f"{path} has too much between its images: it is no list of labels by CVAT.")
        if event == "start":
            continue
        if node.tag == "label" and (name := node.findtext("name")):
            yield Declared(name)
        elif node.tag == "image":
            found = Found(f"image {node.get('id')}", node.get("name") or "")
            tags = tuple(dict.fromkeys(tag.get("label") or "" for tag in node.iter("tag")))
            auto = all(tag.get("source") == "auto" for tag in node.iter("tag"))
            yield _chosen(found, tags)._replace(is_prediction=auto) if tags else found
            # What was read is let go: else it all stays in memory.
            node.clear()
            since = 0


# ImageNet


def read_imagenet(source: Source) -> Read:
    [path] = _one(source, "synsets.txt")
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
