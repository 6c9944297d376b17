"""Comments and guidelines with script and without: their dialogs in review, and the names after an @."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import until_keys_count
from tests.browser.test_pages import problems
from tests.live import Site

MAKE = """
import json
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from gallery.models import Membership, Project
from tests.conftest import picture
from tests.labeling import rows

olga = User.objects.get(username="olga")
project = projects.create(olga, "Talk")
Project.objects.filter(pk=project.pk).update(guidelines="# Foxes\\n\\nA *fox* has a white tip.")
for name in ("vera", "vera.b"):
    user, _ = User.objects.get_or_create(username=name)
    Membership.objects.create(project=project, user=user, role="labeler")
label_set = rows.label_set(project, "cat", "dog")
colours = ("red", "green", "blue")
uploads.add_images(project, olga, [ContentFile(picture(colour), f"{colour}.png") for colour in colours])
images = list(project.images.order_by("pk"))
rows.match(label_set, images, [0.5, 0.6, 0.7])
print("IDS" + json.dumps(dict(label_set=label_set.pk, image=images[0].pk)))
"""


@pytest.fixture(scope="module")
def ids(site: Site, browser: Browser) -> dict[str, int]:
    return json.loads(site.manage("shell", "-v0", "-c", MAKE).rpartition("IDS")[2])


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id")


def test_in_review_comments_and_guidelines_are_one_key_away(
    open_page: Callable[..., Page], ids: dict[str, int]
) -> None:
    page = open_page(bypass_csp=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/label-sets/{ids['label_set']}/review/")
    assert not [url for url in asked if url.endswith(("/comments/", "/guidelines/"))], "asked for when opened"

    # Everything by keys: open, name a member, send, see the number, resolve.
    until_keys_count(page)
    page.keyboard.press("c")
    field = page.locator("#comment-text")
    expect(field).to_be_focused()
    page.keyboard.type("Is it one, @ve")
    options = page.locator("#mention-list").get_by_role("option")
    expect(options).to_have_text(["vera", "vera.b"])
    assert not list(problems(page))
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", options.nth(1).get_attribute("id"))
    page.keyboard.press("Enter")
    expect(field).to_have_value("Is it one, @vera.b ")
    page.keyboard.type("or @")
    expect(options).to_have_count(3)
    page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    expect(page.locator("#comments-dialog")).to_be_visible()
    page.keyboard.type("c?")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".comment .mention")).to_have_text("@vera.b")
    expect(page.locator("#comments-dialog [role=status]")).to_have_text("Your comment is added.")
    expect(page.locator("#comments-button")).to_have_attribute("aria-label", "Comments: 1 open")
    expect(field).to_be_focused()
    expect(field).to_have_value("")

    # What is half written stays when something else is done.
    page.keyboard.type("Half")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("summary")).to_have_text("1 resolved")
    expect(field).to_have_value("Half")
    expect(page.locator("#comments-button")).to_have_attribute("aria-label", "Comments: 0 open")
    assert not list(problems(page))
    page.keyboard.press("Escape")
    assert focused(page) == "review", "the next key is for the image again"
    page.keyboard.press("h")
    expect(page.locator("#guidelines-dialog h3")).to_have_text("Foxes")
    assert not list(problems(page))
    page.keyboard.press("Escape")
    first = page.locator("#review").get_attribute("data-name")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#review")).not_to_have_attribute("data-name", first)
    until_keys_count(page)
    page.keyboard.press("h")
    expect(page.locator("#guidelines-dialog h3")).to_be_visible()
    assert len([url for url in asked if url.endswith("/guidelines/")]) == 1, "asked for once"
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.get_by_text("Nobody has said anything of this image.")).to_be_visible()


def test_a_comment_is_deleted_after_a_question_and_the_focus_stays_near(
    open_page: Callable[..., Page], ids: dict[str, int]
) -> None:
    page = open_page()
    page.goto(f"/images/{ids['image']}/")
    page.get_by_label("Add a comment").fill("Wrong picture")
    page.get_by_role("button", name="Comment", exact=True).click()
    comment = page.locator(".comment", has_text="Wrong picture")
    comment.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(comment).to_have_count(0)
    expect(page.locator("#live")).to_have_text("The comment is deleted.")
    assert focused(page) == "comment-text"


def test_without_script_all_of_it_is_pages_and_forms(
    open_page: Callable[..., Page], ids: dict[str, int]
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"/label-sets/{ids['label_set']}/review/")
    page.locator("#guidelines-button").click()
    expect(page.locator("h3")).to_have_text("Foxes")
    page.go_back()
    page.locator("#comments-button").click()
    page.get_by_label("Add a comment").fill("No script, @vera")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.get_by_text("Your comment is added.")).to_be_visible()
    comment = page.locator(".comment", has_text="No script")
    comment.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete this comment?")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The comment is deleted.")).to_be_visible()
    expect(comment).to_have_count(0)
