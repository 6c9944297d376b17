"""Accounts: sign-up is closed unless opened, failed log-ins slow down, passwords are reset by mail."""

import re

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import get_resolver, reverse

from gallery.models import Membership, Project
from tests.gallery.test_views import PAGES as GALLERY
from tests.labeling.test_views import ACTIONS, PAGES
from tests.test_access import routes

NEW = {"username": "nina", "password1": "nina-secret-1", "password2": "nina-secret-1"}
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


def test_a_log_in_leads_nowhere_else(owner: User) -> None:
    assert Client().post("/accounts/login/?next=/projects/new/", RIGHT).url == "/projects/new/"
    for bad in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        assert Client().post("/accounts/login/", RIGHT | {"next": bad}).url == "/"


def test_a_forgotten_password_is_reset_by_mail(owner: User) -> None:
    User.objects.update(email="olga@example.org")
    client = Client()
    client.post("/accounts/password/reset/", {"email": "olga@example.org"})
    [letter] = mail.outbox
    link = re.search(r"http://testserver(/\S+)", letter.body).group(1)
    form = client.get(link, follow=True)
    new = {"password1": "another-secret-2", "password2": "another-secret-2"}
    client.post(form.redirect_chain[-1][0], new)
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


def test_every_page_stands_in_a_table_of_who_gets_in() -> None:
    """The tables of tests/gallery/test_views.py and tests/labeling/test_views.py; the API has its own."""
    elsewhere = ("accounts/", "admin/", "api/", "image_text_similarity_best_match", "healthz", "readyz")
    here = {name for path, name in routes(get_resolver().url_patterns) if not path.startswith(elsewhere)}
    # Of oneself alone, and so of no project.
    assert here - {"token_revoke"} == {*GALLERY, *PAGES, *ACTIONS}
