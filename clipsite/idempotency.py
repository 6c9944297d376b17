"""Middleware: a call of the API with an `Idempotency-Key` is done once, however often it is sent."""

import logging
from collections.abc import Callable

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import Resolver404, ResolverMatch, resolve
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, ParseError
from rest_framework.parsers import MultiPartParser

from clipsite import errors
from gallery import idempotency, problems
from gallery.models import KeyedCall

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
# What came of who asked and how often, not of what was asked.
NOT_KEPT = (401, 403, 429)
TOLD_ONCE = (
    "This was done already. Its answer has a secret in it, which is told once and kept nowhere: look at "
    "what there is now, take it away, and make another with a new key."
)
logger = logging.getLogger(__name__)


def once(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    def answer(request: HttpRequest) -> HttpResponse:
        header, view = request.headers.get("Idempotency-Key"), _view(request)
        user = _user(request) if header is not None and view else None
        if user is None:
            return get_response(request)
        try:
            key = idempotency.key_in(header)
            parsers = view.func.cls.parser_classes
            takes_files = request.method == "POST" and MultiPartParser in parsers
            call = idempotency.claim(user, key, request, idempotency.fingerprint(request, takes_files))
        except idempotency.Refused as refused:
            return problems.answer(refused.status, str(refused))
        except Exception as error:
            return _unreadable(error)
        return _done_before(call) if call.status else _do(call, get_response, request)

    return answer


def _view(request: HttpRequest) -> ResolverMatch | None:
    """What is asked to change something; but no log-in, which is nobody's yet."""
    if request.method not in UNSAFE or not request.path_info.startswith("/api/v1/"):
        return None
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return None
    return None if match.url_name == "api-token" else match


def _user(request: HttpRequest) -> AbstractBaseUser | None:
    """Who asks, by a token or else the session, as the view will see it. None: for the view to refuse."""
    try:
        by_token = TokenAuthentication().authenticate(request)
    except (AuthenticationFailed, UnicodeError):
        return None
    user = by_token[0] if by_token else request.user
    return user if user.is_authenticated else None


def _unreadable(error: Exception) -> HttpResponse:
    """The view's own answer to a body that can't be read: it can't read it a second time."""
    if isinstance(error, MultiPartParserError):
        error = ParseError(f"The form can't be read: {error}")
    answer = errors.api_exception(error, {})
    if answer is None:
        raise error
    return answer


def _done_before(call: KeyedCall) -> HttpResponse:
    if call.body is None:
        return problems.answer(409, TOLD_ONCE)
    answer = HttpResponse(bytes(call.body), status=call.status, content_type=call.content_type)
    if not call.content_type:
        del answer["Content-Type"]
    answer["Idempotent-Replayed"] = "true"
    return answer


def _do(
    call: KeyedCall, get_response: Callable[[HttpRequest], HttpResponse], request: HttpRequest
) -> HttpResponse:
    answer = get_response(request)
    status = answer.status_code
    try:
        if answer.streaming or status >= 500 or status in NOT_KEPT:
            idempotency.forget(call)
        else:
            is_secret = "no-store" in answer.get("Cache-Control", "")
            body = None if is_secret else answer.content
            idempotency.keep(call, status, answer.get("Content-Type", ""), body)
    except DatabaseError:
        # It is done, and that is what to say. Sent again, it is done again once the lease is over.
        logger.exception("What was answered to a call with an Idempotency-Key could not be kept")
    return answer
