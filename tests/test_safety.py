"""What every answer says to the browser, and what no request gets by with. Every route is walked."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from gallery.models import Comment, Image, Membership, Project
from labeling.models import LabelSet
from labeling.review import Decision, decide
from tests.walk import Route, routes

UNSAFE = ("post", "put", "patch", "delete")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
AWAY = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    r"/\evil.example/",
    r"\\evil.example/",
    "https:evil.example",
    "https:///evil.example/",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "\t//evil.example/",
    " //evil.example/",
    "\x00//evil.example/",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,evil.example",
)


@pytest.fixture(autouse=True)
def _nothing_slowed_down() -> None:
    cache.clear()


@pytest.fixture
def rows(project: Project, scored: LabelSet, owner: User) -> dict[str, object]:
    """What the parameters of an address stand for, by what stands before them."""
    comment = Comment.objects.create(image=Image.objects.first(), user=owner, text="Is this a fox?")
    return {
        "projects": project.slug,
        "members": Membership.objects.first().pk,
        "uploads": project.uploads.first().pk,
        "images": Image.objects.first().pk,
        "comments": comment.pk,
        "label-sets": scored.pk,
        "runs": scored.runs.first().pk,
        "batches": decide(
            scored, scored.runs.first().created_by, [Decision(Image.objects.first().pk, "none")]
        ),
    }


@pytest.fixture
def root(owner: User) -> User:
    """The project's owner, who runs the site as well: whatever is refused is refused to them too."""
    owner.is_staff = owner.is_superuser = True
    owner.save()
    return owner


def send(client: Client, route: Route, rows: dict[str, object], method: str = "get") -> HttpResponse:
    answer = getattr(client, method)(route.address(rows))
    if answer.streaming:
        list(answer.streaming_content)
    return answer


def wrong_headers(answer: HttpResponse) -> dict[str, str | None]:
    wrong = {name: answer.get(name) for name, value in HEADERS.items() if answer.get(name) != value}
    policy = answer.get("Content-Security-Policy", "")
    if "default-src 'self'" not in policy and "default-src 'none'" not in policy:
        wrong["Content-Security-Policy"] = policy
    if "unsafe-" in policy or "*" in policy:
        wrong["Content-Security-Policy"] = policy
    return wrong


# Headers


def test_every_answer_tells_the_browser_to_run_and_guess_nothing(
    rows: dict[str, object], root: User, stranger: User, login: Callable[[User | None], Client]
) -> None:
    wrong = {}
    for route in routes():
        for user, method in ((root, "get"), (stranger, "get"), (None, "get"), (root, "put")):
            answer = send(login(user), route, rows, method)
            assert answer.status_code in (*range(500), 503), route
            if found := wrong_headers(answer):
                wrong[route.name, user and user.username, answer.status_code] = found
    assert not wrong


def test_errors_say_the_same_to_the_browser(
    root: User, login: Callable[[User | None], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login(root)
    client.raise_request_exception = False
    monkeypatch.setattr("gallery.forms.TokenForm.__init__", lambda *args, **kwargs: 1 / 0)
    answers = {
        404: client.get("/no/such/page/"),
        400: client.get("/", headers={"host": "evil.example"}),
        500: client.get(reverse("tokens")),
        403: Client(enforce_csrf_checks=True).post(reverse("account_login")),
    }
    for status, answer in answers.items():
        assert (answer.status_code, wrong_headers(answer)) == (status, {})


MEDIA = ("image_file", "image_thumbnail", "image_preview", "api-image-file", "api-image-thumbnail")


@pytest.mark.parametrize("name", MEDIA)
def test_a_picture_runs_nothing_and_is_kept_by_its_reader_alone(
    name: str, scored: LabelSet, owner: User, login: Callable[[User | None], Client]
) -> None:
    answer = login(owner).get(reverse(name, args=[Image.objects.first().pk]))
    assert answer["Content-Type"] == ("image/png" if name.endswith("file") else "image/webp")
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert "private" in answer["Cache-Control"] and "public" not in answer["Cache-Control"]
    kind = answer.get("Content-Disposition", "inline").split(";")[0]
    assert kind == ("attachment" if name.endswith("file") else "inline")


def test_every_route_that_serves_a_picture_is_known(
    rows: dict[str, object], owner: User, login: Callable[[User | None], Client]
) -> None:
    client = login(owner)
    here = {
        route.name
        for route in routes()
        if not route.path.startswith("admin/")
        and send(client, route, rows).get("Content-Type", "").startswith("image/")
    }
    assert here == set(MEDIA)


# Forgery


def forged(client: Client, route: Route, rows: dict[str, object], method: str) -> HttpResponse:
    """As a form of another site sends it; and as JSON, where a route takes no form."""
    answer = send(client, route, rows, method)
    if answer.status_code == 415:
        answer = getattr(client, method)(route.address(rows), {}, content_type="application/json")
    return answer


def test_nothing_is_changed_without_the_page_that_asks_for_it(rows: dict[str, object], root: User) -> None:
    """A session, and no CSRF token: 403 by every route, whatever it would answer otherwise."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    wrong = {}
    for route in routes():
        for method in UNSAFE:
            answer = forged(client, route, rows, method)
            says_why = "CSRF" in answer.text or "This form has expired" in answer.text
            if (answer.status_code, says_why) != (403, True):
                wrong[route.name, method] = answer.status_code
    # For a password, not for a session.
    assert wrong == {("api-token", "post"): 400}


# Open redirects


def leads_away(answer: HttpResponse, to: str) -> bool:
    """Whether a header or a link leads out of this site, as a browser reads addresses."""
    there = answer.get("Location", "") or answer.get("HX-Redirect", "")
    read = there.replace("\\", "/").translate(dict.fromkeys(map(ord, "\t\r\n\x00"))).strip()
    inside = not read or (read.startswith("/") and not read.startswith("//"))
    if not (inside or read.startswith("http://testserver/")):
        return True
    is_page = not answer.streaming and "html" in answer.get("Content-Type", "")
    return is_page and any(f'{name}="{escape(to)}' in answer.text for name in ("href", "action", "hx-get"))


def led(client: Client, address: str, body: dict[str, object], to: str) -> bool:
    """Whether the page, asked with `next` or with a form, leads there. What it changes is taken back."""
    with transaction.atomic():
        # A header can't hold these.
        referer = to.translate(dict.fromkeys(map(ord, "\r\n\x00")))
        sent = client.post(address, body | {"next": to}, headers={"referer": referer})
        asked = client.get(address, {"next": to}, headers={"referer": referer})
        transaction.set_rollback(True)
    return leads_away(sent, to) or leads_away(asked, to)


def test_no_form_leads_to_another_site(
    rows: dict[str, object], owner: User, login: Callable[[User | None], Client]
) -> None:
    address = {route.name: route.address(rows) for route in routes()}
    right = {
        "decide": {"image": rows["images"], "verdict": "none"},
        "undo": {},
        "run_start": {},
        "bulk": {"image": rows["images"], "what": "none"},
        "batch_undo": {},
        "batch_stop": {},
        "run_cancel": {},
        "member": {"role": "owner"},
        "image_delete": {"confirmed": "yes"},
        "label_set_delete": {},
        "comments": {"text": "A fox."},
        "comment_resolve": {},
        "comment_delete": {"confirmed": "yes"},
        "project_settings": {"name": "Animals"},
        "account_logout": {},
        "account_login": {"login": "olga", "password": "olga-secret-1"},
        "account_reauthenticate": {"password": "olga-secret-1"},
    }
    wrong = [
        (name, to)
        for name, body in right.items()
        for to in AWAY
        for who in (owner, None)
        if led(login(who), address[name], body, to)
    ]
    assert not wrong


def test_no_route_leads_to_another_site(
    rows: dict[str, object], owner: User, login: Callable[[User | None], Client]
) -> None:
    everywhere = [route for route in routes() if not re.match("admin/.+/", route.path)]
    wrong = [
        (route.name, to)
        for route in everywhere
        for to in ("//evil.example/", r"/\evil.example/")
        for who in (owner, None)
        if led(login(who), route.address(rows), {}, to)
    ]
    assert not wrong


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/%2f..", "/%5cevil.example", "///x/.."])
def test_an_address_without_its_slash_stays_here(path: str, owner: User, login: Callable) -> None:
    assert not leads_away(login(owner).get(path), path)
