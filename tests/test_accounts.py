"""Accounts: sign-up is closed unless opened, failed log-ins slow down, passwords are reset by mail."""

import re
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.test.client import MULTIPART_CONTENT
from django.urls import reverse

from gallery.models import Membership, Project

NEW = {"username": "nina", "password1": "nina-secret-1", "password2": "nina-secret-1"}
JSON, FORM = "application/json", MULTIPART_CONTENT
RIGHT = {"login": "olga", "password": "olga-secret-1"}


@pytest.fixture(autouse=True)
def _no_failures_yet() -> None:
    cache.clear()


def test_sign_up_is_closed(db: None) -> None:
    for answer in (Client().get("/accounts/signup/"), Client().post("/accounts/signup/", NEW)):
        assert "Sign-up is closed" in answer.text
    assert "Sign up" not in Client().get("/accounts/login/").text
    assert not User.objects.exists()


def test_sign_up_can_be_opened(db: None, settings: object) -> None:
    settings.SIGNUP_OPEN = True
    client = Client()
    assert "Sign up" in client.get("/accounts/login/").text
    assert client.post("/accounts/signup/", NEW).url == "/"
    assert client.get("/").context["user"].username == "nina"


def test_ten_failed_log_ins_and_there_is_a_wait(owner: User) -> None:
    for attempt in range(10):
        answer = Client().post("/accounts/login/", {"login": f"user{attempt}", "password": "wrong"})
        assert "not correct" in answer.text
    answer = Client().post("/accounts/login/", RIGHT)
    assert answer.status_code in (200, 429) and "Too many failed login attempts" in answer.text


@pytest.mark.parametrize("name", ["olga", "nobody", "user{}"])
@pytest.mark.parametrize(("url", "field"), [("/accounts/login/", "login"), ("/api/v1/token/", "username")])
def test_a_hundred_bad_tries_under_many_addresses_are_slowed_after_ten(
    url: str, field: str, name: str, owner: User
) -> None:
    heard = [
        Client(headers={"X-Forwarded-For": f"10.0.{number}.1, 10.1.{number}.1"}).post(
            url,
            {field: name.format(number), "password": f"wrong{number}"},
            content_type=JSON if "api" in url else FORM,
        )
        for number in range(100)
    ]
    # The page says it beside the fields, until allauth's limit on log-ins of any kind answers for it.
    slowed = [answer.status_code == 429 or "Too many failed" in answer.text for answer in heard]
    assert slowed == [False] * 10 + [True] * 90


def said_of(answer: HttpResponse, name: str) -> str:
    """The page, but for the name that was typed and the CSRF token."""
    text = re.sub(r'(name="csrfmiddlewaretoken" value=|"X-CSRFToken": )"\w+"', "", answer.text)
    return text.replace(name, "NAME")


def test_a_wrong_password_and_an_unknown_name_sound_the_same(owner: User) -> None:
    heard = {
        said_of(Client().post("/accounts/login/", {"login": name, "password": "wrong"}), name)
        for name in ("olga", "nobody")
    }
    assert len(heard) == 1
    User.objects.update(is_active=False)
    answer = Client().post("/accounts/login/", {"login": "olga", "password": "wrong"})
    assert said_of(answer, "olga") in heard


BAD = [
    *("https://evil.example/", "//evil.example", "///evil.example", "javascript:alert(1)", "/\\evil.example"),
    *("http:evil.example", "https:///evil.example", "\tjavascript:alert(1)", "//evil.example@testserver/"),
]


@pytest.mark.parametrize("bad", BAD)
def test_no_account_page_leads_off_the_site(bad: str, owner: User, settings: object) -> None:
    settings.SIGNUP_OPEN = True
    ways = [("/accounts/login/", RIGHT), ("/accounts/signup/", NEW), ("/accounts/logout/", {})]
    for url, sent in ways:
        for query, extra in ((f"?next={quote(bad)}", {}), ("", {"next": bad})):
            client = Client()
            if "logout" in url:
                client.force_login(owner)
            User.objects.filter(username="nina").delete()
            answer = client.post(url + query, sent | extra)
            assert answer.status_code == 302 and answer.url in ("/", "/accounts/login/"), (url, query)
    client = Client()
    client.force_login(owner)
    for url in ("/accounts/login/", "/accounts/signup/"):
        assert client.get(url, {"next": bad}).url == "/", url


def test_a_changed_password_ends_the_other_sessions(owner: User) -> None:
    mine, other = Client(), Client()
    for client in (mine, other):
        assert client.post("/accounts/login/", RIGHT).status_code == 302
    new = {"oldpassword": RIGHT["password"], "password1": "another-secret-2", "password2": "another-secret-2"}
    assert mine.post("/accounts/password/change/", new).status_code == 302
    assert mine.get("/").status_code == 200
    assert other.get("/").url.startswith("/accounts/login/")


def test_a_log_in_leads_nowhere_else(owner: User) -> None:
    assert Client().post("/accounts/login/?next=/projects/new/", RIGHT).url == "/projects/new/"
    for bad in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        assert Client().post("/accounts/login/", RIGHT | {"next": bad}).url == "/"


def test_a_forgotten_password_is_reset_by_mail(owner: User) -> None:
    User.objects.update(email="olga@example.org")
    client, inside = Client(), Client()
    assert inside.post("/accounts/login/", RIGHT).status_code == 302
    client.post("/accounts/password/reset/", {"email": "olga@example.org"})
    [letter] = mail.outbox
    link = re.search(r"http://testserver(/\S+)", letter.body).group(1)
    form = client.get(link, follow=True)
    new = {"password1": "another-secret-2", "password2": "another-secret-2"}
    client.post(form.redirect_chain[-1][0], new)
    assert inside.get("/").url.startswith("/accounts/login/"), "who was inside is out"
    assert Client().post("/accounts/login/", RIGHT | {"password": "another-secret-2"}).status_code == 302
    assert "not correct" in Client().post("/accounts/login/", RIGHT).text


def test_who_sends_a_form_while_logged_out_comes_back_to_its_page(owner: User, project: Project) -> None:
    member = Membership.objects.get()
    client = Client()
    page = "http://testserver/projects/animals/members/?x=1"
    answer = client.post(reverse("member", args=[member.pk]), {"role": "viewer"}, headers={"referer": page})
    assert answer.url == "/accounts/login/?next=/projects/animals/members/%3Fx%3D1"
    asked = client.get(answer.url)
    assert "You were logged out, and nothing was changed." in asked.text
    assert client.post(answer.url, RIGHT).url == "/projects/animals/members/?x=1"


@pytest.mark.parametrize("page", ["", "https://evil.example/page", "http://["])
def test_another_sites_page_is_none_to_come_back_to(owner: User, project: Project, page: str) -> None:
    where = reverse("member", args=[Membership.objects.get().pk])
    answer = Client().post(where, {"role": "viewer"}, headers={"referer": page})
    assert answer.url == f"/accounts/login/?next={where}"
