from collections.abc import Callable
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up stays closed unless SIGNUP_OPEN says otherwise."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP_OPEN


def back_to_the_page(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    """Middleware: who sends a form while logged out comes back to its page; its address takes no GET."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        came_from = request.META.get("HTTP_REFERER", "")
        if (
            request.method == "POST"
            and response.status_code == 302
            and response.url.startswith(f"{resolve_url(settings.LOGIN_URL)}?")
            and url_has_allowed_host_and_scheme(came_from, {request.get_host()})
        ):
            messages.warning(
                request, "You were logged out, and nothing was changed. Log in, then do it again."
            )
            page = urlsplit(came_from)
            return redirect_to_login(f"{page.path}?{page.query}" if page.query else page.path)
        return response

    return answer


def signup_open(request: HttpRequest) -> dict[str, bool]:
    """For templates: whether to offer sign-up."""
    return {"signup_open": settings.SIGNUP_OPEN}
