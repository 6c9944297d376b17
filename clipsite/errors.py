"""What goes wrong, in the form of whoever asked: problem details under /api/, a page elsewhere."""

import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    ObjectDoesNotExist,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from rest_framework import exceptions, serializers, views

from gallery import problems
from gallery.decoding import BadPicture
from gallery.intake import StorageFull, is_full
from gallery.invitations import Unusable
from labeling.clip import ModelUnusable

API = ("/api/", "/image_text_similarity_best_match")
TOO_MANY_FILES = (
    f"More than {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files came at once, and none was kept. Pack them in "
    "a ZIP; or allow scripts for this site: then files go one by one, as many as you like."
)
FULL = "The disk of this site is full, so nothing was changed. Free some space, then do it again."


class Refused(exceptions.APIException):
    def __init__(self, status_code: int, detail: str) -> None:
        self.status_code = status_code
        super().__init__(detail)


def api_exception(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's answer to an exception, for those of Django and of our doors as well, as a problem."""
    drfs = views.exception_handler(_as_drf(error), context)
    if drfs is None:
        return None
    answer = problems.answer(drfs.status_code, *problems.told(drfs.data))
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in drfs:
            answer[name] = drfs[name]
    return answer


def _as_drf(error: Exception) -> Exception:
    match error:
        case ValidationError():
            return exceptions.ValidationError(serializers.as_serializer_error(error))
        case TooManyFilesSent():
            return Refused(413, f"Too many files: at most {settings.DATA_UPLOAD_MAX_NUMBER_FILES} a request.")
        case RequestDataTooBig() | TooManyFieldsSent():
            return Refused(413, "The request is too large.")
        case SuspiciousOperation() | UnicodeError():
            return exceptions.ParseError("The request can't be read.")
        case ObjectDoesNotExist():  # it was there when the request came in
            return exceptions.NotFound("It was deleted in the meantime.")
        case BadPicture():
            return Refused(error.status, str(error))
        case StorageFull():
            return Refused(507, str(error))
        case _ if is_full(error):
            return Refused(507, FULL)
        case Unusable():
            return Refused(error.status, str(error))
        case ModelUnusable():
            return Refused(503, str(error))
    return error


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    status, reason = 400, ""
    if isinstance(exception, TooManyFilesSent):
        status, reason = 413, TOO_MANY_FILES
    elif isinstance(exception, RequestDataTooBig):
        status, reason = 413, str(exception)
    if request.path.startswith(API):
        return problems.answer(status, reason or "The request can't be read.")
    return render(request, "400.html", {"reason": reason, "status": status}, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return problems.answer(404, "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if is_full(error):
        words = str(error) if isinstance(error, StorageFull) else FULL
        if request.path.startswith(API):
            return problems.answer(507, words)
        return render(request, "refused.html", {"words": words, "status": 507}, status=507)
    if request.path.startswith(API):
        return problems.answer(500, "Something went wrong on the server; it is in its log.")
    return defaults.server_error(request)
