"""Labels as JSON documents of any size: Label Studio, FiftyOne, Datumaro, COCO."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import ijson

from labeling.import_found import (
    LABELS,
    NO_OBJECT,
    Declared,
    Found,
    Read,
    Unreadable,
    as_text,
    first,
    objects,
    the_label,
    the_one,
)
from labeling.import_sources import Source
from labeling.import_xml import elements

# Label Studio


def read_label_studio(source: Source) -> Read:
    for path in source.find("config.xml"):
        for event, node in elements(source, path):
            if event == "end" and node.tag == "Choice" and node.get("value"):
                yield Declared(node.get("value"))
    [path] = the_one(source, "tasks.json", ".json")
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
    found = Found(place, _file_of(as_text(image)), as_text(data.get("sha256")))
    if "data" not in task:  # Label Studio's JSON-MIN
        return _minimal(found, first(task, LABELS[::-1]))
    said = objects(task.get("annotations"))
    answers = {_choices(each) for each in said if not each.get("was_cancelled")} - {()}
    if len(answers) > 1:
        return found._replace(error="Its annotations disagree.")
    if answers:
        return the_label(found, answers.pop())
    if said:
        return found._replace(is_none=any(each.get("was_cancelled") for each in said))
    guesses = [each for each in objects(task.get("predictions")) if _choices(each)]
    if not guesses:
        return found
    best = max(guesses, key=lambda each: each["score"] if isinstance(each.get("score"), int | float) else 0)
    return the_label(found, _choices(best))._replace(is_prediction=True)


def _minimal(found: Found, chosen: Any) -> Found:
    labels = chosen.get("choices") if isinstance(chosen, dict) else chosen
    if isinstance(labels, list):
        return the_label(found, tuple(map(as_text, labels)))
    return found._replace(label=as_text(labels))


def _choices(said: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for result in objects(said.get("result")):
        value = result.get("value")
        if (
            result.get("type") == "choices"
            and isinstance(value, dict)
            and isinstance(value.get("choices"), list)
        ):
            found += map(as_text, value["choices"])
    return tuple(dict.fromkeys(filter(None, found)))


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
        classes = [as_text(name) for name in _items(source, path, "classes.item")]
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
            as_text(label.get("name"))
            for label in objects(list(_items(source, path, "categories.label.labels.item")))
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
    path = as_text(image.get("path") if isinstance(image, dict) else "") or as_text(item.get("id"))
    found = Found(f"item “{as_text(item.get('id'))}”", f"images/{subset}/{path}")
    said = [each for each in objects(item.get("annotations")) if each.get("type") == "label"]
    ids = list(dict.fromkeys(_key(each.get("label_id")) for each in said))
    if any(pk not in range(len(names)) for pk in ids):
        return found._replace(error="Its label is none of those that the file lists.")
    if not ids:
        return found
    attributes = [each.get("attributes") for each in said]
    suggested = all(isinstance(each, dict) and each.get("suggested") for each in attributes)
    return the_label(found, tuple(names[pk] for pk in ids))._replace(is_prediction=suggested)


def read_coco(source: Source) -> Read:
    for path in source.find(".json"):
        _check_depth(source, path)
        names = {
            _key(each.get("id")): as_text(each.get("name"))
            for each in objects(list(_items(source, path, "categories.item")))
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
    found = Found(f"image {pk}", as_text(image.get("file_name")), as_text(image.get("sha256")))
    labels = said.get(pk, [])
    if missing := [category for category, _ in labels if category not in names]:
        return found._replace(error=f"There is no category {missing[0]}.")
    if not labels:
        return found
    if empty is not None and [category for category, _ in labels] == [empty]:
        return found._replace(is_none=True, is_prediction=labels[0][1])
    return the_label(found, tuple(names[category] for category, _ in labels))._replace(
        is_prediction=all(suggested for _, suggested in labels)
    )
