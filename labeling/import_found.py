"""What a file of labels says of each image, as every format tells it."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

from labeling.import_sources import Source

NO_OBJECT = "It is no JSON object."
# What tables and lists call an image's label.
LABELS = ("label", "class", "category", "choice")


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


def the_one(source: Source, *names: str) -> list[str]:
    """The one file of labels. Raises Unreadable where there is none, or can't be told which."""
    for name in names:
        if paths := source.find(name):
            if len(paths) == 1:
                return paths
            raise Unreadable(f"There are {len(paths)} files {name} here. Send them one by one.")
    raise Unreadable(f"There is no {' or '.join(names)} here.")


def the_label(found: Found, labels: tuple[str, ...]) -> Found:
    if len(labels) != 1:
        return found._replace(error=f"It has {len(labels)} labels; here an image has one.")
    return found._replace(label=labels[0])


def objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """A text or a number as text; nothing else is one."""
    return str(value) if isinstance(value, str | int | float) else ""


def first(row: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) not in (None, "")), "")
