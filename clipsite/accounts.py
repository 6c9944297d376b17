from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up stays closed unless SIGNUP_OPEN says otherwise."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP_OPEN


def signup_open(request: HttpRequest) -> dict[str, bool]:
    """For templates: whether to offer sign-up."""
    return {"signup_open": settings.SIGNUP_OPEN}
