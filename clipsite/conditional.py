"""Middleware: what a GET of the API answers has an ETag, and whoever has it already gets 304 instead."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, set_response_etag

from gallery import problems

CHANGED = "If-Match names another version than there is now. Ask without it."


def conditional(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method not in ("GET", "HEAD") or not request.path_info.startswith("/api/v1/"):
            return response
        if response.status_code == 304 or _is_json(response):
            # Nobody else's cache may keep it, and one's own must ask each time whether it still holds.
            response.headers.setdefault("Cache-Control", "private, no-cache")
        if _is_json(response):
            if not response.has_header("ETag"):
                set_response_etag(response)
            response = get_conditional_response(request, etag=response["ETag"], response=response)
        return problems.answer(412, CHANGED) if response.status_code == 412 else response

    return answer


def _is_json(response: HttpResponse) -> bool:
    kind = response.get("Content-Type", "")
    return response.status_code == 200 and not response.streaming and "json" in kind
