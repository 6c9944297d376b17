"""Refusals of the API in one shape: problem details, as RFC 9457 has them."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.http import HttpResponse

from gallery.rest import JSON

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
# What DRF, its serializers and Django's forms call what is wrong with no field in particular.
NO_FIELD = ("detail", "non_field_errors", "__all__")

Errors = list[dict[str, str]]


def answer(status: int, detail: str, errors: Errors | None = None, **own: Any) -> HttpResponse:
    """A refusal. `own`: what this one tells beside what every problem does."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail or title}
    if errors:
        body["errors"] = errors
    return HttpResponse(JSON().render(body | own), status=status, content_type=MEDIA_TYPE)


def told(data: Any) -> tuple[str, Errors]:
    """What DRF says of a refusal, as sentences and as the problems of its fields, each by its JSON pointer.

    Of a request without a body the pointers name parameters of the query.
    """
    found = list(islice(_each(data, ""), MOST_ERRORS))
    errors = [{"pointer": pointer, "detail": sentence} for pointer, sentence in found if pointer]
    return " ".join(dict.fromkeys(sentence for _, sentence in found)), errors


def _each(data: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, Mapping):
        for name, inner in data.items():
            below = str(name).replace("~", "~0").replace("/", "~1")
            yield from _each(inner, pointer if name in NO_FIELD else f"{pointer}/{below}")
    elif isinstance(data, list | tuple):
        for number, inner in enumerate(data):
            # Sentences stand in a list, and so do the problems of a list's members, by their place.
            is_member = isinstance(inner, Mapping | list | tuple)
            yield from _each(inner, f"{pointer}/{number}" if is_member else pointer)
    else:
        yield pointer, str(data)
