from collections.abc import Callable
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from gallery import invitations
from gallery.models import Invitation


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up stays closed unless SIGNUP_OPEN says otherwise, or an invitation is brought along."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP_OPEN or bool(invited_by(request))

    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: BaseForm, commit: bool = True
    ) -> AbstractBaseUser:
        if not invited_by(request):
            return super().save_user(request, user, form, commit)
        # Together or not at all: of two who sign up with one link, the second gets no account.
        try:
            with transaction.atomic():
                user = super().save_user(request, user, form, commit)
                membership, _ = invitations.accept(request.session["invitation"], user)
        except invitations.Unusable as error:
            page = render(request, "gallery/invitation_ended.html", {"words": error}, status=error.status)
            raise ImmediateHttpResponse(page) from error
        del request.session["invitation"]
        request.joined = membership.project
        return user

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        joined = getattr(request, "joined", None)
        return joined.get_absolute_url() if joined else super().get_signup_redirect_url(request)


def invited_by(request: HttpRequest) -> Invitation | None:
    """The usable invitation whose link was opened in this session."""
    # What fails before the user is known has neither.
    nobody = hasattr(request, "user") and not request.user.is_authenticated
    token = request.session.get("invitation") if nobody else None
    if not token:
        return None
    try:
        return invitations.usable(token)
    except invitations.Unusable:
        return None


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
    return {"signup_open": settings.SIGNUP_OPEN or bool(invited_by(request))}
