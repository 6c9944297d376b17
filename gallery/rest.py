"""What the lists and the request bodies of the API have in common."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import APIException, NotAcceptable, NotFound, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.utils.urls import replace_query_param

Key = list[int | float | str]


class CursorPages(CursorPagination):
    """Each row on exactly one page, whatever comes and goes: a cursor holds the key of the row beside it.

    DRF's own cursor counts rows of equal value and gives up at a thousand; here as many may share a
    probability. The last field of an ordering is unique.
    """

    ordering = ("-id",)
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list[Model]:
        self.base_url = request.build_absolute_uri()
        self.ordering = self.get_ordering(request, queryset, view)
        size = self.get_page_size(request)
        try:
            back, key = self._cursor(request)
            order = [_flipped(field) for field in self.ordering] if back else self.ordering
            rows = list(queryset.filter(_beyond(order, key)).order_by(*order)[: size + 1])
        except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
            raise NotFound(self.invalid_cursor_message) from error
        self.page, more, came = rows[:size], len(rows) > size, bool(key)
        if back:
            self.page.reverse()
        self.has_next, self.has_previous = (came, more) if back else (more, came)
        return self.page

    def _cursor(self, request: Request) -> tuple[bool, Key]:
        encoded = request.query_params.get(self.cursor_query_param)
        if not encoded:
            return False, []
        back, *key = json.loads(urlsafe_b64decode(encoded))
        if len(key) != len(self.ordering) or not all(isinstance(value, int | float | str) for value in key):
            raise ValueError("a cursor of another list")
        return bool(back), key

    def get_next_link(self) -> str | None:
        return self._link(False, self.page[-1]) if self.has_next and self.page else None

    def get_previous_link(self) -> str | None:
        return self._link(True, self.page[0]) if self.has_previous and self.page else None

    def _link(self, back: bool, row: Model) -> str:
        key = [getattr(row, field.lstrip("-")) for field in self.ordering]
        cursor = urlsafe_b64encode(json.dumps([int(back), *key], default=str).encode()).decode()
        return replace_query_param(self.base_url, self.cursor_query_param, cursor)


def _flipped(field: str) -> str:
    return field[1:] if field.startswith("-") else f"-{field}"


def _beyond(order: list[str] | tuple[str, ...], key: Key) -> Q:
    """The rows that come after `key` in this order; all of them where there is no key."""
    beyond, equal = Q(), Q()
    for field, value in zip(order, key, strict=False):
        name, lookup = field.lstrip("-"), "lt" if field.startswith("-") else "gt"
        beyond |= equal & Q(**{f"{name}__{lookup}": value})
        equal &= Q(**{name: value})
    return beyond


class TooLarge(APIException):
    status_code = 413
    default_detail = "The request is too large."


class CappedJSONParser(JSONParser):
    """JSON of a bounded size: the whole of it is read into memory."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        size, limit = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0), self.limit()
        if size > limit:
            raise TooLarge(f"The request is too large: at most {limit / 1024**2:.1f} MB of JSON.")
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error

    def limit(self) -> int:
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE


class CallsOfOneUser(UserRateThrottle):
    """As many calls as API_RATE allows; who isn't logged in is counted by their address."""

    def get_rate(self) -> str | None:
        return settings.API_RATE or None


class JSON(JSONRenderer):
    """Says back also what is no text, half of a surrogate pair: as an escape."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        try:
            return super().render(data, *args, **kwargs)
        except UnicodeEncodeError:
            self.ensure_ascii = True
            return super().render(data, *args, **kwargs)


class AlwaysJSON(DefaultContentNegotiation):
    """JSON, or a file, whatever the client says that it accepts: an answer beats a 406."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type
