"""What a page answers to a change: where it goes on, or why it was refused; and what its address is."""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

# The parameter of a request that a line brings about while it is being typed.
TYPING = "typing"


def next_address(request: HttpRequest, default: str) -> str:
    """Where the form wants to go on, if that is on this site."""
    return _here(request, request.POST.get("next", "")) or default


def _here(request: HttpRequest, address: str) -> str:
    """The address, if it is one of this site."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if safe else ""


def refused(request: HttpRequest, sentences: Iterable[str], status: int = 400) -> HttpResponse:
    """An error with the reason: as a page, or as text for the script that shows it."""
    words = " ".join(sentences)
    if request.htmx:
        return HttpResponse(words, content_type="text/plain; charset=utf-8", status=status)
    return render(request, "refused.html", {"words": words}, status=status)


def asked_back(request: HttpRequest, question: str, detail: str, agree: str) -> HttpResponse | None:
    """A page that asks for a yes to what can't be undone; None where the form brings one along.

    With script the page that has the form asks by itself.
    """
    if request.POST.get("confirmed"):
        return None
    before = _here(request, request.META.get("HTTP_REFERER", "")) or resolve_url("projects")
    context = {
        "question": question,
        "detail": detail,
        "agree": agree,
        "values": request.POST.items(),
        "before": before,
    }
    return render(request, "confirm.html", context)


def address(request: HttpRequest) -> str:
    """Of what is shown; that it was asked for while somebody typed is no part of it."""
    params = request.GET.copy()
    params.pop(TYPING, None)
    return f"{request.path}?{params.urlencode()}" if params else request.path
