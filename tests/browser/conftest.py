"""A real site (gunicorn, worker, CLIP) in processes of its own, and a real Chromium that looks at it."""

import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from labeling.starter import drawing
from tests.live import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PASSWORD = "olga-secret-1"
# What a page shows in the end; how soon is measured elsewhere, on a machine that does nothing else.
expect.set_options(timeout=20_000)
MAKE_USERS = f"""
from django.contrib.auth.models import User
for name in ("olga", "vera", "sven"):
    User.objects.create_user(name, password={PASSWORD!r})
User.objects.create_superuser("ada", password={PASSWORD!r})
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "Chromium is missing: .ci/run installs it"
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with_people(tmp_path_factory.mktemp("site")) as site:
        yield site


@contextmanager
def site_with_people(data_dir: Path) -> Iterator[Site]:
    site = Site(data_dir)
    try:
        site.manage("migrate", "-v0")
        site.manage("shell", "-v0", "-c", MAKE_USERS)
        site.serve()
        yield site
    finally:
        site.kill_everything()


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`open_page(user)` is a page of a browser where the user is logged in. No error in it goes unseen."""
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def make(user: str | None = "olga", **options: object) -> Page:
        context = browser.new_context(base_url=site.url, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
        page.on("console", lambda message: troubles.append(message.text) if is_trouble(message) else None)
        page.on("response", lambda answer: troubles.append(answer.url) if answer.status >= 500 else None)
        if user:
            log_in(page, user)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not troubles


# What htmx says of a request that was on its way when its page was closed. Statuses are looked at too.
CLOSED = ("htmx:afterRequest", "htmx:sendAbort")


def is_trouble(message: ConsoleMessage) -> bool:
    """Errors on the console, but for what is refused, or cut off, on purpose."""
    meant = ("of 400", "of 404", "of 409", "of 410", "of 415", "ERR_INTERNET_DISCONNECTED", *CLOSED)
    return message.type == "error" and not any(words in message.text for words in meant)


def log_in(page: Page, user: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("/")


def until_keys_count(page: Page) -> None:
    """Wait as a person does: a key that comes before the picture can be seen decides about nothing."""
    page.wait_for_function("() => document.readyState === 'complete' && !clipsite.keys.held")


COLOURS, SHAPES = ("red", "blue", "green"), ("circle", "square")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty drawn pictures of six kinds, their kind in their name."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = random.Random(11)
    paths = []
    for number in range(30):
        colour, shape = COLOURS[number % 3], SHAPES[number % 2]
        out = io.BytesIO()
        kind = drawing.Drawing(colour, shape, "solid", 1, "white", "large")
        drawing.draw(kind, rng, 160).save(out, "JPEG", quality=92)
        paths.append(folder / f"{colour} {shape} {number:02}.jpg")
        paths[-1].write_bytes(out.getvalue())
    return paths
