"""Acting on many images as a person does it: a range by keys, one label, all that match, and the way back."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.live import Site, wait_for

MAKE = """
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from gallery.models import Membership
from labeling import label_sets
from labeling.label_sets import LabelSpec
from labeling.starter import drawing

olga = User.objects.get(username="olga")
project = projects.create(olga, {name!r})
Membership.objects.create(project=project, user=User.objects.get(username="vera"), role="labeler")
rng = random.Random(5)
def files():
    for number in range(12):
        out = io.BytesIO()
        drawing.draw(drawing.random_drawing(rng), rng, 96).save(out, "PNG")
        yield ContentFile(out.getvalue(), f"{{number:02}}.png")
uploads.add_images(project, olga, files())
print(label_sets.create(project, olga, "Colours", [LabelSpec(name) for name in drawing.COLOURS]).pk)
"""
DECIDE = """
from django.contrib.auth.models import User
from labeling.models import LabelSet
from labeling.review import Decision, decide
label_set = LabelSet.objects.get(pk={pk})
images = label_set.project.images.order_by("-pk")[{start}:{stop}]
decide(label_set, User.objects.get(username="vera"), [Decision(image.pk, "none") for image in images])
"""


@pytest.fixture
def made(site: Site, request: pytest.FixtureRequest) -> int:
    """The label set of a project of its own, of twelve pictures that are scored."""
    pk = int(site.manage("shell", "-v0", "-c", MAKE.format(name=f"Bulk {request.node.name}")))
    count = f"SELECT count(*) FROM labeling_match WHERE label_set_id = {pk}"
    wait_for(lambda: site.value(count) == 12, 60, "the pictures are not scored")
    return pk


def answers(site: Site, pk: int) -> list[tuple]:
    return site.rows(
        f"""SELECT name, status, count(*)
            FROM labeling_annotation a LEFT JOIN labeling_label l ON l.id = label_id
            WHERE a.label_set_id = {pk} GROUP BY name, status ORDER BY name, status"""
    )


def open_gallery(page: Page, site: Site, pk: int) -> None:
    slugs = "SELECT slug FROM gallery_project p JOIN labeling_labelset s ON s.project_id = p.id"
    slug = site.value(f"{slugs} WHERE s.id = {pk}")
    page.goto(f"/projects/{slug}/")
    page.wait_for_selector("#grid .tile")


def selected(page: Page, number: int) -> None:
    expect(page.locator(".tile-select:checked")).to_have_count(number)
    expect(page.locator("[data-number]")).to_have_text(f"{number} selected" if number else "None selected")


def test_a_range_by_keys_gets_a_label_and_the_history_takes_it_back(
    open_page: Callable[..., Page], site: Site, made: int
) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    open_gallery(page, site, made)
    pictures = page.locator(".tile-picture")
    pictures.nth(1).focus()
    page.keyboard.press("x")
    selected(page, 1)
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    selected(page, 4)
    expect(pictures.nth(4)).to_be_focused()
    expect(page.locator("#live")).to_have_text("4 selected")
    page.keyboard.press("Shift+ArrowLeft")
    selected(page, 3)
    # The label is found by typing, and the button says what it does.
    page.keyboard.press("b")
    expect(page.locator("#bulk-find")).to_be_focused()
    page.keyboard.type("purp")
    button = page.get_by_role("button", name="Set purple on 3 selected")
    expect(button).to_be_enabled()
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("purple")
    expect(page.locator(".tile:not(.state-unreviewed)")).to_have_count(3)
    selected(page, 0)
    assert sum(count for name, _, count in answers(site, made) if name == "purple") == 3

    page.goto(f"/label-sets/{made}/history/")
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("purple")
    row.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Undid: ")
    expect(page.get_by_role("row").nth(2)).to_contain_text("undone")
    assert answers(site, made) == []


def test_all_selected_none_a_range_by_pointer_and_a_click(
    open_page: Callable[..., Page], site: Site, made: int
) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    open_gallery(page, site, made)
    page.locator(".tile-picture").first.focus()
    page.keyboard.press("Control+a")
    selected(page, 12)
    page.keyboard.press("Escape")
    selected(page, 0)
    boxes = page.locator(".tile-select")
    boxes.nth(2).click()
    page.locator(".tile-picture").nth(5).click(modifiers=["Shift"])
    selected(page, 4)
    boxes.nth(7).click(modifiers=["Shift"])
    selected(page, 6)
    boxes.nth(3).click()
    selected(page, 5)
    # A decision about one of them draws its card anew: it stays selected.
    page.locator(".tile-picture").nth(4).focus()
    page.keyboard.press("n")
    expect(page.locator(".tile.state-none")).to_have_count(1)
    selected(page, 5)
    assert "/images/" not in page.url


def test_all_that_match_with_what_others_decided_are_asked_about(
    open_page: Callable[..., Page], site: Site, made: int
) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    open_gallery(page, site, made)
    site.manage("shell", "-v0", "-c", DECIDE.format(pk=made, start=0, stop=2))
    page.locator("#bulk-find").fill("Accept the suggestions")
    page.get_by_role("button", name="Accept the suggestions for all 12 matching").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 of them were decided by others")
    dialog.get_by_text("Cancel").click()
    expect(dialog).to_be_hidden()
    assert answers(site, made) == [(None, "none", 2)]
    page.get_by_role("button", name="Accept the suggestions for all 12 matching").click()
    dialog.get_by_role("button", name="Accept the suggestions for all 12 matching").click()
    expect(page.locator(".tile.state-accepted")).to_have_count(12)
    expect(dialog).to_be_hidden()
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator(".tile.state-none")).to_have_count(2)
    assert answers(site, made) == [(None, "none", 2)]
