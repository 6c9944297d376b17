"""Finding by words and by a picture as a person does it: while typing, with the cut-off, up to a label."""

import random
from collections.abc import Callable
from io import BytesIO

import pytest
from playwright.sync_api import Page, expect

from labeling.starter import drawing
from labeling.starter.drawing import Drawing
from tests.browser.test_pages import problems
from tests.live import Site, wait_for

KINDS = [("red", "circle"), ("blue", "star"), ("green", "heart")]
EACH = 5
MAKE = f"""
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from labeling import label_sets
from labeling.label_sets import LabelSpec
from labeling.starter import drawing
from labeling.starter.drawing import Drawing

olga = User.objects.get(username="olga")
project = projects.create(olga, {{name!r}})
def files():
    for colour, shape in {KINDS!r}:
        for number in range({EACH}):
            out = io.BytesIO()
            one = Drawing(colour, shape, "solid", 1, "white", "large")
            drawing.draw(one, random.Random(number), 96).save(out, "PNG")
            yield ContentFile(out.getvalue(), f"{{{{colour}}}} {{{{shape}}}} {{{{number}}}}.png")
uploads.add_images(project, olga, files())
print(label_sets.create(project, olga, "Kinds", [LabelSpec("one"), LabelSpec("other")]).pk)
"""


@pytest.fixture
def address(site: Site, request: pytest.FixtureRequest) -> str:
    """The gallery of a project of its own, of fifteen pictures that are scored."""
    pk = int(site.manage("shell", "-v0", "-c", MAKE.format(name=f"Find {request.node.name}")))
    count = f"SELECT count(*) FROM labeling_match WHERE label_set_id = {pk}"
    wait_for(lambda: site.value(count) == EACH * len(KINDS), 60, "the pictures are not scored")
    slugs = "SELECT slug FROM gallery_project p JOIN labeling_labelset s ON s.project_id = p.id"
    return f"/projects/{site.value(f'{slugs} WHERE s.id = {pk}')}/"


def shown(page: Page) -> set[str]:
    """The kinds of the pictures in the grid."""
    names = page.locator("#grid .tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.name)")
    return {name.rpartition(" ")[0] for name in names}


@pytest.mark.parametrize("width", [1280, 390])
def test_a_find_is_narrowed_labelled_and_taken_back(
    open_page: Callable[..., Page], site: Site, address: str, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 900}, bypass_csp=True)
    page.goto(address)
    expect(page.locator("#grid .tile")).to_have_count(15)

    # While typing, and what was typed stays in the line.
    page.locator("#q").click()
    page.keyboard.type("blue star", delay=40)
    expect(page.locator("#grid .tile")).to_have_count(EACH)
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#q")).to_have_value("blue star")
    assert shown(page) == {"blue star"}
    page.wait_for_url("**q=blue*star*")
    # Half a line changes nothing.
    page.keyboard.type(" -")
    page.keyboard.type(" ")
    expect(page.locator("#grid .tile")).to_have_count(EACH)
    page.keyboard.press("Control+A")
    page.keyboard.type("blue star")
    # The address is the same as before: only the answer tells that it was asked again.
    with page.expect_response(lambda answer: "q=blue" in answer.url and "typing" not in answer.url):
        page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
    assert not list(problems(page))

    # The cut-off by keys: all come in, and only those above are ever shown.
    handle = page.locator("#cutoff")
    handle.focus()
    page.keyboard.press("Home")
    expect(page.locator("#grid .tile")).to_have_count(15)
    expect(page.locator("#find-says")).to_contain_text("15 of 15")
    page.locator("#cutoff-suggested").click()
    expect(page.locator("#grid .tile")).to_have_count(EACH)
    page.wait_for_load_state("networkidle")

    # All of the find get a label, as one batch, and lose it again.
    project = f"SELECT id FROM gallery_project WHERE slug = '{address.split('/')[2]}'"
    images = f"SELECT id FROM gallery_image WHERE project_id = ({project})"
    answers = f"SELECT count(*) FROM labeling_annotation WHERE image_id IN ({images})"
    page.locator("#grid .tile-picture").first.focus()
    page.keyboard.press("x")
    expect(page.locator("#bulk")).to_contain_class("is-open")
    page.keyboard.press("b")
    expect(page.locator("#bulk-find")).to_be_focused()
    page.keyboard.type("other")
    page.locator("[data-all]").click()
    wait_for(lambda: site.value(answers) == EACH, 10, "the find has no label")
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    wait_for(lambda: site.value(answers) == 0, 10, "the find has its label still")


def test_a_picture_is_dropped_on_the_line(open_page: Callable[..., Page], site: Site, address: str) -> None:
    page = open_page()
    page.goto(address)
    out = BytesIO()
    one = Drawing("green", "heart", "solid", 1, "white", "large")
    drawing.draw(one, random.Random(77), 96).save(out, "PNG")
    transfer = page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "shown.png", { type: "image/png" }));
          return transfer;
        }""",
        list(out.getvalue()),
    )
    images = site.value("SELECT count(*) FROM gallery_image")
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#q", kind, {"dataTransfer": transfer})
    page.wait_for_url("**q=picture*")
    assert shown(page) == {"green heart"}
    assert site.value("SELECT count(*) FROM gallery_image") == images, "it is not kept"


def test_all_projects_are_searched_without_script_too(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/")
    page.get_by_role("link", name="Search", exact=True).click()
    page.get_by_label("Search the pictures").fill("green heart")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".grid .tile").first).to_be_visible()
    page.locator(".grid .tile .tile-label").first.click()
    expect(page.locator("#find")).to_contain_text("images at")


def test_one_key_finds_what_is_like_an_image_of_the_grid(
    open_page: Callable[..., Page], address: str
) -> None:
    page = open_page()
    page.goto(f"{address}?q=green+heart")
    page.locator(".tile-picture").first.focus()
    page.keyboard.press("f")
    page.wait_for_url("**q=similar*")
    expect(page.locator("#grid .tile")).to_have_count(EACH)
    assert shown(page) == {"green heart"}
    # From the image's own page as well.
    page.locator(".tile-picture").first.click()
    page.get_by_role("link", name="Similar").click()
    page.get_by_role("link", name="All that are like it, in the gallery").click()
    expect(page.locator("#grid .tile")).to_have_count(EACH)


def test_all_of_ones_projects_are_searched_while_typing(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(bypass_csp=True)
    page.goto("/search/")
    page.locator("#q").click()
    page.keyboard.type("green heart", delay=40)
    expect(page.locator("#found .tile").nth(EACH - 1)).to_be_visible(timeout=20_000)
    expect(page.locator("#q")).to_be_focused()
    page.wait_for_url("**/search/?q=green*heart")
    # Half a line changes nothing; a whole one is the page's address.
    page.keyboard.type(" -")
    page.keyboard.type(" red", delay=40)
    page.wait_for_url("**/search/?q=green*heart*-*red")
    expect(page.locator("#found .tile").first).to_be_visible()
    assert list(problems(page)) == []
