"""How a person comes in: an owner makes a link, somebody new signs up with it and sees the project."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD
from tests.live import Site

MAKE = """
from django.contrib.auth.models import User
from gallery import projects
projects.create(User.objects.get(username="olga"), "People")
"""


def test_from_an_invitation_to_the_project(open_page: Callable[..., Page], site: Site) -> None:
    site.manage("shell", "-v0", "-c", MAKE)
    owner = open_page("olga", permissions=["clipboard-read", "clipboard-write"])
    owner.goto("/projects/people/members/")
    form = owner.locator("form", has=owner.get_by_role("heading", name="Invite by link"))
    form.get_by_label("Role").select_option("labeler")
    form.get_by_role("button", name="Make a link").click()
    owner.get_by_role("button", name="Copy the link").click()
    link = owner.get_by_label("Link", exact=True).inner_text()
    assert owner.evaluate("navigator.clipboard.readText()") == link

    # Somebody new, by keys alone: sign-up is closed but for this link.
    page = open_page(None, viewport={"width": 390, "height": 850})
    page.goto(link)
    expect(page.get_by_role("heading", name="Join “People” as labeler?")).to_be_visible()
    page.get_by_role("link", name="Create an account").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Username").focus()
    page.keyboard.type("nadia")
    for label in ("Password", "Password (again)"):
        page.get_by_label(label, exact=True).focus()
        page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/projects/people/"))
    expect(page.get_by_role("heading", name="People")).to_be_visible()

    # The owner sees who came, and the link lets in nobody else.
    owner.goto("/projects/people/members/")
    expect(owner.get_by_role("region", name="Members")).to_contain_text("nadia")
    expect(owner.get_by_role("region", name="Invitations")).to_contain_text("used by nadia")
    other = open_page("vera")
    assert other.goto(link).status == 410
    expect(other.get_by_text("was used already")).to_be_visible()
