"""Passwords, tokens and session keys stand nowhere in clear text, and end when they are told to."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings as project_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gallery.models import ApiToken, Project
from tests.live import Site, free_port, wait_for

PASSWORD, WRONG = "olga-secret-1", "a-wrong-secret-7"
MAKE_USER = f"""
from django.contrib.auth.models import User
User.objects.create_user("olga", password={PASSWORD!r})
"""


@pytest.fixture(autouse=True)
def _nothing_slowed_down() -> None:
    cache.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    port = free_port()
    site.url = f"http://127.0.0.1:{port}"
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", MAKE_USER)
    site.start("start", "--port", str(port))
    wait_for(lambda: Visitor(site).ask("/healthz")[0] == 200, 60, "the site does not answer")
    yield site
    site.kill_everything()


class Visitor:
    """Somebody with cookies, over HTTP."""

    def __init__(self, site: Site) -> None:
        self.url, self.jar = site.url, CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def cookie(self, name: str) -> str:
        return next(cookie.value for cookie in self.jar if cookie.name == name)

    def ask(self, path: str, data: dict | None = None, **headers: str) -> tuple[int, str]:
        """Status and text. `data` goes as JSON to the API, and as a form with its CSRF token elsewhere."""
        content = None
        if data is not None and path.startswith("/api/"):
            content, headers = json.dumps(data).encode(), headers | {"Content-Type": "application/json"}
        elif data is not None:
            form = data | {"csrfmiddlewaretoken": self.cookie("csrftoken")}
            content, headers = urlencode(form).encode(), headers | {"Referer": self.url}
        try:
            with self.opener.open(
                urllib.request.Request(self.url + path, content, headers), timeout=20
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def stored(folder: Path) -> dict[Path, bytes]:
    """Every file of a site: its database with what is not checkpointed yet, its log, and the rest."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_secret_is_kept_or_logged_in_clear_text(site: Site) -> None:
    olga, program = Visitor(site), Visitor(site)
    olga.ask("/accounts/login/")
    olga.ask("/accounts/login/", {"login": "olga", "password": WRONG})
    olga.ask("/accounts/login/", {"login": "olga", "password": PASSWORD})
    session = olga.cookie("sessionid")
    _, page = olga.ask("/account/tokens/", {"days": 7, "name": "script"})
    shown = page.partition("Authorization: Token ")[2].partition('"')[0]
    assert len(shown) == 64
    program.ask("/api/v1/token/", {"username": "olga", "password": WRONG})
    _, made = program.ask("/api/v1/token/", {"username": "olga", "password": PASSWORD})
    token = json.loads(made)["token"]
    bearing = {"Authorization": f"Token {token}"}
    assert program.ask("/api/v1/projects/", **bearing)[0] == 200
    project = json.loads(program.ask("/api/v1/projects/", {"name": "Pets"}, **bearing)[1])["slug"]
    hook = {"url": "https://example.org/", "events": ["run.finished"]}
    _, made = program.ask(f"/api/v1/projects/{project}/webhooks/", hook, **bearing)
    whsec = json.loads(made)["secret"].removeprefix("whsec_")
    assert len(whsec) == 44
    # What breaks is logged with its traceback.
    site.rows("ALTER TABLE gallery_project RENAME TO away")
    assert program.ask("/api/v1/projects/", **bearing)[0] == 500
    assert olga.ask("/")[0] == 500
    site.rows("ALTER TABLE gallery_apitoken RENAME TO away_too")
    assert program.ask("/api/v1/projects/", **bearing)[0] == 500
    assert program.ask("/api/v1/token/", {"username": "olga", "password": PASSWORD})[0] == 500
    assert olga.ask("/account/tokens/", {"days": 7, "name": "script"})[0] == 500

    files = stored(site.data_dir)
    assert b"olga" in b"".join(content for path, content in files.items() if "sqlite3" in path.name)
    assert b"Traceback" in files[site.data_dir / "log.txt"]
    secrets = {
        "password": PASSWORD,
        "wrong password": WRONG,
        "token": token,
        "token of the page": shown,
        "session": session,
        "secret of a webhook": whsec,
    }
    found = [
        (path.name, what)
        for path, content in files.items()
        for what, secret in secrets.items()
        if secret.encode() in content
    ]
    assert found == []


# Sessions

PAGE = "/account/tokens/"


def logged_in(password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": "olga", "password": password})
    assert client.get(PAGE).status_code == 200
    return client


def copy_of(client: Client) -> Client:
    """Somebody who has copied the session's cookie."""
    other = Client()
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    assert other.get(PAGE).status_code == 200
    return other


def test_a_session_ends_with_the_log_out_for_whoever_has_its_cookie(owner: User) -> None:
    client = logged_in()
    thief = copy_of(client)
    client.post("/accounts/logout/")
    assert thief.get(PAGE).status_code == client.get(PAGE).status_code == 302
    assert not Session.objects.exists()


def test_other_sessions_end_with_a_new_password(owner: User) -> None:
    here, elsewhere = logged_in(), logged_in()
    new = {"oldpassword": PASSWORD, "password1": "quite-new-secret-2", "password2": "quite-new-secret-2"}
    here.post("/accounts/password/change/", new)
    assert (here.get(PAGE).status_code, elsewhere.get(PAGE).status_code) == (200, 302)


def test_a_session_ends_with_its_user_and_with_its_time(owner: User) -> None:
    client = logged_in()
    User.objects.update(is_active=False)
    assert client.get(PAGE).status_code == 302
    User.objects.update(is_active=True)
    client = logged_in()
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert client.get(PAGE).status_code == 302


def test_a_log_in_takes_a_new_key(owner: User) -> None:
    client = Client()
    client.get("/accounts/login/?next=/")
    session = client.session
    session["before"] = "yes"
    session.save()
    before = client.cookies["sessionid"] = session.session_key
    client.post("/accounts/login/", {"login": "olga", "password": PASSWORD})
    assert client.cookies["sessionid"].value not in ("", before)
    assert client.get(PAGE).status_code == 200


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_are_out_of_reach(owner: User, settings: object, secure: bool) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = secure
    client = Client()
    client.get("/accounts/login/", secure=secure)
    client.post("/accounts/login/", {"login": "olga", "password": PASSWORD}, secure=secure)
    session, csrf = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")
    assert csrf["samesite"] == "Lax"
    assert bool(session["secure"]) == bool(csrf["secure"]) == secure


def test_the_table_of_sessions_opens_none(owner: User) -> None:
    client = logged_in()
    [row] = Session.objects.all()
    assert row.session_key != client.cookies["sessionid"].value
    reader = Client()
    reader.cookies["sessionid"] = row.session_key
    assert reader.get(PAGE).status_code == 302
    assert project_settings.SESSION_ENGINE == "clipsite.sessions"


# Tokens


@pytest.mark.parametrize("way", ["page", "admin", "api", "user deleted", "expired", "inactive"])
def test_a_token_is_dead_at_once(way: str, owner: User, project: Project, login: Callable) -> None:
    row, token = ApiToken.objects.create(owner)
    client = Client(headers={"Authorization": f"Token {token}"})
    assert client.get("/api/v1/projects/").status_code == 200
    root = login(User.objects.create_superuser("root"))
    chosen = {"action": "revoke", "_selected_action": [row.pk]}
    {
        "page": lambda: login(owner).post(reverse("token_revoke"), {"token_key": row.token_key}),
        "admin": lambda: root.post(reverse("admin:gallery_apitoken_changelist"), chosen),
        "api": lambda: client.delete("/api/v1/token/"),
        "user deleted": lambda: User.objects.get(pk=owner.pk).delete(),
        "expired": lambda: ApiToken.objects.update(expiry=timezone.now()),
        "inactive": lambda: User.objects.filter(pk=owner.pk).update(is_active=False),
    }[way]()
    assert client.get("/api/v1/projects/").status_code == 401
