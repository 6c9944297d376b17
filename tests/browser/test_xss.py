"""Hostile texts in every field and file name, seen on every page: they are text there, and nothing runs."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from gallery.decoding import SUFFIXES
from tests.browser import hostile_site
from tests.browser.conftest import log_in, until_keys_count
from tests.browser.hostile_site import OWNER, PAYLOADS
from tests.live import Site
from tests.walk import Route, routes


@pytest.fixture(scope="module")
def ids(site: Site, browser: Browser) -> dict[str, object]:
    return hostile_site.make(site)


class Watched:
    """A page of a browser in which nothing that runs goes unseen."""

    def __init__(self, context: BrowserContext) -> None:
        self.troubles: list[str] = []
        self.shown: set[str] = set()
        self.status = 0
        context.expose_binding("xss", lambda source, number=0: self.note(f"ran: {number}"))
        context.expose_binding("violated", lambda source, words: self.note(f"policy: {words}"))
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " violated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`))"
        )
        context.on("request", lambda request: "/xss" in request.url and self.note(f"asked: {request.url}"))
        context.on("dialog", lambda dialog: (self.note(f"dialog: {dialog.message}"), dialog.dismiss()))
        context.on("weberror", lambda error: self.note(f"script: {error.error}"))
        context.on("console", lambda message: self.heard(message.text))
        self.page = context.new_page()

    def note(self, words: str) -> None:
        self.troubles.append(f"{self.page.url}: {words}")

    def heard(self, words: str) -> None:
        if "Content Security Policy" in words or "Content-Security-Policy" in words:
            self.note(words)

    def check(self) -> str:
        """Note what became an element; the texts of the page's main part, and all attributes' values."""
        seen = self.page.evaluate(TEXTS)
        if seen["made"]:
            self.note(f"became an element: {seen['made']}")
        self.shown |= {payload for payload in PAYLOADS if payload_in(payload, seen["all"])}
        return seen["main"]

    def visit(self, path: str) -> str | None:
        """The texts of the page; None where the address answers with no page."""
        answer = self.page.request.get(path)
        self.status = answer.status
        assert self.status < 500, path
        policy = answer.headers["content-security-policy"]
        assert policy and "unsafe" not in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        if not answer.headers.get("content-type", "").startswith("text/html") or not answer.body():
            return None
        self.page.goto(path)
        return self.check()


TEXTS = """() => {
  const values = (root) => [...root.querySelectorAll("*")].flatMap((one) =>
    [...one.attributes].map((attribute) => attribute.value).concat(one.value ?? []));
  const main = document.querySelector("#main, main, #content, .error-page") ?? document.body;
  const texts = (root) => root.textContent + "\\n" + values(root).join("\\n");
  return {
    made: [...document.querySelectorAll("[data-xss]")].map((one) => one.outerHTML.slice(0, 200)),
    main: texts(main),
    all: texts(document.documentElement),
  };
}"""


def words(text: object) -> str:
    """As it can be compared: a field of one line and HTML's own rules change white space."""
    return "".join(str(text).split())


def payload_in(payload: str, text: str) -> bool:
    return words(payload) in words(text)


@pytest.fixture
def watch(browser: Browser, site: Site) -> Iterator[Callable[..., Watched]]:
    """`watch(user)` is a watched page where the user is logged in."""
    contexts: list[BrowserContext] = []
    made: list[Watched] = []

    def make(user: str | None = OWNER, **options: object) -> Watched:
        contexts.append(browser.new_context(base_url=site.url, **options))
        made.append(Watched(contexts[-1]))
        if user:
            log_in(made[-1].page, user)
        return made[-1]

    yield make
    for context in contexts:
        context.close()
    assert not [trouble for watched in made for trouble in watched.troubles]


# Pages on which nothing stands that anybody typed. Any other page must show a hostile text.
PLAIN = {
    # Their own words alone: keys, and what a worker is at.
    "keys",
    "batches",
    "progress",
    "project_new",
    "tokens",
    "api-docs",
    "coming_from",
    # Empty until something is looked for, as it is below.
    "search",
    "account_logout",
    "account_login",
    "account_signup",
    "account_inactive",
    "account_change_password",
    "account_set_password",
    "account_reauthenticate",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "account_confirm_email",
    "account_email_verification_sent",
    "account_confirm_login_code",
}


def is_admins(route: Route) -> bool:
    return route.path.startswith("admin/")


def test_every_page_shows_hostile_texts_as_texts(
    watch: Callable[..., Watched], ids: dict[str, object]
) -> None:
    watched, empty = watch(), []
    for route in routes():
        if is_admins(route) or route.name == "account_logout":
            continue
        told = watched.visit(route.address(ids))
        if told is not None and watched.status == 200 and route.name not in PLAIN and "xss" not in told:
            empty.append(route.name)
    for slug in ids["slugs"]:
        for route in routes():
            if route.path.startswith("projects/<slug:slug>/"):
                watched.visit(route.address(ids | {"projects": slug}))
    watched.visit(f"/images/{ids['decided']}/")
    for line in (EVERYTHING, "a picture cutoff:-1"):
        assert "xss" in watched.visit(f"/search/?{urlencode({'q': line})}")
    assert not empty
    assert watched.shown == set(PAYLOADS)


def test_every_page_of_the_admin_shows_them_as_texts(
    watch: Callable[..., Watched], ids: dict[str, object], site: Site
) -> None:
    tables = {
        name.partition("_")[2]: name
        for [name] in site.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    keys = {
        model: site.value(f"SELECT max({'digest' if model == 'apitoken' else 'id'}) FROM {table}")
        for model, table in tables.items()
        if table.startswith(("gallery_", "labeling_", "auth_", "account_"))
    }
    watched = watch("ada")
    for route in filter(is_admins, routes()):
        # One without a name leads to one that has one.
        if route.name not in ("admin:logout", route.path):
            watched.visit(route.address(keys))
    watched.visit(f"/admin/gallery/project/?{urlencode({'q': EVERYTHING, 'created_at__gt': EVERYTHING})}")
    assert watched.shown == set(PAYLOADS)


EVERYTHING = "".join(PAYLOADS)
SUBMIT = """([action, values]) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action });
  values.csrfmiddlewaretoken = clipsite.csrf();
  for (const [name, value] of Object.entries(values)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  form.submit();
}"""
DROP = """async (names) => {
  const dropped = new DataTransfer();
  const pen = new OffscreenCanvas(30, 30).getContext("2d");
  for (const [number, name] of names.entries()) {
    pen.fillStyle = `rgb(${number * 9}, 77, 33)`;
    pen.fillRect(0, 0, 30, 30);
    const content = number % 2 ? "rubbish" : await pen.canvas.convertToBlob({ type: "image/png" });
    dropped.items.add(new File([content], name, { type: "image/png" }));
  }
  document.querySelector("#main").dispatchEvent(
    new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dropped }));
}"""


def test_addresses_and_errors_say_them_back_as_texts(
    watch: Callable[..., Watched], ids: dict[str, object]
) -> None:
    watched = watch()
    page, project, label_set = (
        watched.page,
        f"/projects/{ids['projects']}",
        f"/label-sets/{ids['label-sets']}",
    )
    filters = ("label", "status", "ordering", "probability__lt", "page", "label_set", "q")
    for path in (
        *(f"{project}/?{urlencode({name: EVERYTHING})}" for name in filters),
        *(f"/images/{ids['images']}/?{urlencode({name: EVERYTHING})}" for name in filters),
        f"/uploads/{ids['uploads']}/?{urlencode({'outcome': EVERYTHING, 'page': EVERYTHING})}",
        f"{label_set}/review/?{urlencode({'image': EVERYTHING})}",
        f"{label_set}/classes/?{urlencode({'label': EVERYTHING, 'across': EVERYTHING})}",
        f"{label_set}/export/?{urlencode({'format': EVERYTHING, 'status': EVERYTHING})}",
        f"/accounts/password/reset/key/1-{quote(EVERYTHING, safe='')}/",
        f"/accounts/reauthenticate/?{urlencode({'next': EVERYTHING})}",
        f"/no/{quote(EVERYTHING, safe='')}/",
        f"/api/v1/{label_set}/matches/?{urlencode({'ordering': EVERYTHING})}",
    ):
        watched.visit(path)

    def post(path: str, **values: object) -> str:
        page.goto("/")
        with page.expect_navigation():
            page.evaluate(SUBMIT, [path, values])
        return watched.check()

    for path, values in {
        f"{project}/members/": {"username": EVERYTHING[:150], "role": EVERYTHING},
        f"{project}/settings/": {"name": EVERYTHING, "description": EVERYTHING * 9, "guidelines": EVERYTHING},
        f"/images/{ids['images']}/comments/": {"text": EVERYTHING * 9},
        f"/comments/{ids['comments']}/delete/": {EVERYTHING: EVERYTHING},
        f"{project}/delete/": {"confirm": EVERYTHING},
        f"{project}/label-sets/new/": {"name": EVERYTHING, "labels": "\n".join(PAYLOADS * 2)},
        f"{label_set}/edit/": {"name": "a", "labels": PAYLOADS[0], "templates": EVERYTHING},
        f"{label_set}/reviews/": {"image": ids["images"], "verdict": EVERYTHING},
        f"{label_set}/classes/": {"label": EVERYTHING, "image": EVERYTHING, "wrong": EVERYTHING},
        f"{label_set}/delete/": {"x": EVERYTHING},
        f"/images/{ids['images']}/delete/": {EVERYTHING: EVERYTHING},
        "/projects/new/": {"name": EVERYTHING, "labels": "\n".join(PAYLOADS * 2)},
    }.items():
        assert "xss" in post(path, **values), path
    nobody = watch(None)
    for path in ("/accounts/login/", "/accounts/password/reset/"):
        nobody.visit(f"{path}?{urlencode({'next': EVERYTHING})}")
        field = nobody.page.locator("input[type=text], input[type=email]").first
        field.evaluate("(field) => { field.form.noValidate = true; field.type = 'text'; }")
        field.fill(PAYLOADS[1])
        if nobody.page.locator("input[type=password]").count():
            nobody.page.locator("input[type=password]").fill("wrong")
        with nobody.page.expect_navigation():
            nobody.page.locator("main button[type=submit]").first.click()
        assert PAYLOADS[1] in nobody.check(), path


def test_what_scripts_show_they_show_as_text(watch: Callable[..., Watched], ids: dict[str, object]) -> None:
    watched = watch(viewport={"width": 1280, "height": 900})
    page, label_set = watched.page, f"/label-sets/{ids['label-sets']}"

    def settled(shows: str) -> None:
        expect(page.locator(shows).last).to_contain_text("xss")
        watched.check()

    # The grid: decide, undo, another label; each is drawn again by htmx and said in a toast.
    page.goto(f"/projects/{ids['projects']}/?label_set={ids['label-sets']}&status=unreviewed")
    tile = page.locator(".tile", has_text="xss").first
    tile.hover()
    tile.locator(".tile-picture").focus()
    page.keyboard.press("n")
    settled("[data-said]")
    page.keyboard.press("u")
    expect(page.locator("[data-said]").last).to_contain_text("Undone")
    watched.check()
    page.keyboard.press("l")
    settled("#choose")
    page.locator("#choose [data-find]").fill("<script")
    page.keyboard.press("Enter")
    expect(page.locator("[data-said]").last).to_contain_text("<script")
    watched.check()

    for key in ("1", "n", "s", "u", "Enter"):
        page.goto(f"{label_set}/review/")
        until_keys_count(page)
        with page.expect_response(lambda answer: "/reviews/" in answer.url):
            page.keyboard.press(key)
        settled("#review")

    # A class: a picture that is marked, and shown large, and the labels that it may have instead.
    page.goto(f"{label_set}/classes/")
    page.locator(".class-row a", has_text="xss").first.click()
    page.locator(".pick").first.wait_for()
    for key in ("ArrowRight", "x"):
        page.keyboard.press(key)
    settled("#class-says")
    page.keyboard.press("Space")
    settled("#class-large")
    page.keyboard.press("l")
    settled("#class-choose")

    page.goto(f"/images/{ids['images']}/?label_set={ids['label-sets']}")
    with page.expect_response(lambda answer: "/reviews/" in answer.url):
        page.keyboard.press("2")
    settled("#opinions")

    # The names that are offered after an @, one that is taken, and the comment when it is drawn again.
    page.locator("#comment-text").press_sequentially("@<script")
    settled(".mention-list")
    page.keyboard.press("Enter")
    with page.expect_response(lambda answer: "/comments/" in answer.url):
        page.get_by_role("button", name="Comment", exact=True).click()
    settled(".comment .mention")
    page.goto(f"{label_set}/review/?image={ids['images']}")
    until_keys_count(page)
    page.keyboard.press("c")
    settled("#comments-dialog .comment .mention")
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    settled("#guidelines-dialog .prose")

    # What CLIP is asked is drawn while somebody types; and a question before something is deleted.
    page.goto(f"{label_set}/edit/")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_label("Labels", exact=True).fill("\n".join(PAYLOADS))
    settled("#prompts")
    page.get_by_role("button", name="Delete this label set").click()
    settled("dialog")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    # The tray, with what came in, what is refused, and the report's link.
    page.goto(f"/projects/{ids['projects']}/")
    page.evaluate(DROP, PAYLOADS)
    expect(page.locator("#upload-tray h2")).to_have_text("Upload finished", timeout=60_000)
    settled("#upload-tray .upload-row")
    tray = page.locator("#upload-tray").text_content()
    assert [payload for payload in PAYLOADS if not payload_in(payload, tray)] == []

    page.goto("/api/v1/docs/")
    page.locator("#swagger-ui .opblock").first.wait_for()
    watched.check()


ADD_FILES = """
import json
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from tests.gallery.test_served import POLYGLOTS

owner = User.objects.get(username={owner!r})
project = projects.create(owner, "Polyglots")
upload = uploads.add_images(project, owner, [ContentFile(made(), name) for name, made in POLYGLOTS.items()])
print("IDS" + json.dumps([entry.image_id for entry in upload.entries.all()]))
"""
AS_SCRIPT = """(address) => new Promise((resolve) => {
  const script = Object.assign(document.createElement("script"), { src: address });
  script.onload = () => resolve("ran");
  script.onerror = () => resolve("refused");
  document.head.append(script);
})"""


def test_a_picture_that_is_a_page_or_a_script_too_runs_nowhere(
    watch: Callable[..., Watched], ids: dict[str, object], site: Site
) -> None:
    printed = site.manage("shell", "-v0", "-c", ADD_FILES.format(owner=OWNER))
    images = json.loads(printed.rpartition("IDS")[2])
    assert len(images) == 8 and None not in images
    watched = watch()
    page = watched.page
    for image in images:
        for kind in ("thumbnail", "preview"):
            page.goto(f"/images/{image}/{kind}/")
            assert page.evaluate("document.contentType") == "image/webp"
            # Chromium's own page around a picture would have a style.
            watched.troubles = [words for words in watched.troubles if "style" not in words]
        page.goto("/")
        with page.expect_download() as download:
            page.evaluate("(address) => { location.href = address; }", f"/images/{image}/file/")
        assert download.value.suggested_filename.endswith(tuple(SUFFIXES.values()))
        # The policy lets scripts of this site run: a picture must not be one.
        assert page.evaluate(AS_SCRIPT, f"/images/{image}/file/") == "refused"
    # The same does run where it is a script.
    assert page.evaluate(AS_SCRIPT, page.locator("script[src]").first.get_attribute("src")) == "ran"
