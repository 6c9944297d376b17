"""The map as a person uses it: a lasso by mouse, a circle by keys, a phone; and on to the gallery."""

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.live import Site, wait_for

MAKE = """
import io, json, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from labeling import label_sets, layouts
from labeling.label_sets import LabelSpec
from labeling.starter import drawing

rng = random.Random(2)
olga = User.objects.get(username="olga")
project = projects.create(olga, "Mapped")
def files():
    for number in range(60):
        colour, shape = ("red circle", "blue square", "green star")[number % 3].split()
        out = io.BytesIO()
        drawing.draw(drawing.Drawing(colour, shape, "solid", 1, "white", "large"), rng, 96).save(out, "PNG")
        yield ContentFile(out.getvalue(), f"{colour} {shape} {number:02}.png")
uploads.add_images(project, olga, files())
names = ["red circle", "blue square", "green star"]
print(label_sets.create(project, olga, "Kinds", [LabelSpec(name) for name in names]).pk)
"""
# Where each image is drawn, in the canvas's own pixels; three kinds in three places, far apart.
PLACES = """
import numpy as np
from gallery.models import Project
from labeling.models import MapLayout
from django.utils import timezone

project = Project.objects.get(slug="mapped")
centres = {"red": (0, 0), "blue": (100, 0), "green": (50, 90)}
rows = list(project.images.order_by("pk").values_list("pk", "name"))
rng = np.random.default_rng(1)
points = [np.add(centres[name.split()[0]], rng.uniform(-8, 8, 2)) for _, name in rows]
MapLayout.objects.filter(project=project).update(
    state="done", iteration=500, finished_at=timezone.now(),
    image_ids=np.array([pk for pk, _ in rows], "<i8").tobytes(), points=np.array(points, "<f4").tobytes())
"""


@pytest.fixture(scope="module")
def label_set(site: Site, browser: Browser) -> int:
    made = int(site.manage("shell", "-v0", "-c", MAKE))
    state = f"SELECT state FROM labeling_scoringrun WHERE label_set_id = {made}"
    wait_for(lambda: site.value(state) == "done", 90, "the pictures are not labelled")
    return made


@pytest.fixture(scope="module")
def placed(site: Site, browser: Browser, label_set: int) -> int:
    """The map drawn by the worker once, as anybody would; then with each kind in a known place."""
    site.manage(
        "shell",
        "-v0",
        "-c",
        "from labeling import layouts; from gallery.models import Project;"
        "layouts.start(Project.objects.get(slug='mapped'))",
    )
    state = "SELECT state FROM labeling_maplayout ORDER BY id DESC LIMIT 1"
    wait_for(lambda: site.value(state) == "done", 90, "the map is not drawn")
    site.manage("shell", "-v0", "-c", PLACES)
    return label_set


def opened(page: Page, query: str = "") -> dict:
    """The page of the map once it is drawn, and its points."""
    with page.expect_response(lambda answer: "/api/v1/projects/mapped/map/" in answer.url) as told:
        page.goto(f"/projects/mapped/map/{query}")
    expect(page.locator("#map-says")).to_contain_text("60 images on the map")
    return told.value.json()


def on_screen(page: Page, told: dict, kind: str) -> list[tuple[float, float]]:
    """Where the points of a label are in the window, as the whole map is shown."""
    box = page.locator("#map-canvas").bounding_box()
    label = next(at for at, each in enumerate(told["labels"]) if each["name"] == kind)
    scale = min(box["width"], box["height"]) * 0.92 / 65535
    return [
        (
            box["x"] + box["width"] / 2 + (x - 65535 / 2) * scale,
            box["y"] + box["height"] / 2 + (y - 65535 / 2) * scale,
        )
        for x, y, its in zip(told["x"], told["y"], told["label"], strict=True)
        if its == label
    ]


def around(places: list[tuple[float, float]], more: float = 14) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in places], [y for _, y in places]
    return min(xs) - more, min(ys) - more, max(xs) + more, max(ys) + more


def lasso(page: Page, places: list[tuple[float, float]]) -> None:
    left, top, right, bottom = around(places)
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 3)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()


def names(page: Page) -> set[str]:
    return set(page.locator(".grid .tile img").evaluate_all("all => all.map((one) => one.alt.split(' ')[0])"))


def test_a_lasso_finds_exactly_what_is_in_it_and_the_gallery_shows_that(
    open_page: Callable[..., Page], placed: int, site: Site
) -> None:
    page = open_page(viewport={"width": 1280, "height": 1100})
    told = opened(page)
    blue = [at for at, each in enumerate(told["labels"]) if each["name"] == "blue square"][0]
    asked = {image for image, label in zip(told["images"], told["label"], strict=True) if label == blue}
    lasso(page, on_screen(page, told, "blue square"))
    expect(page.locator("#map-number")).to_have_text(f"{len(asked)} images selected")
    expect(page.locator("#live")).to_have_text(f"{len(asked)} images selected")
    page.get_by_role("button", name=f"Show the {len(asked)} in the gallery").click()
    page.wait_for_url(f"**/projects/mapped/?label_set={placed}&q=picked**")
    shown = page.locator(".grid .tile").count()
    picked = json.loads(site.value("SELECT image_ids FROM labeling_pick ORDER BY id DESC LIMIT 1"))
    assert (set(picked), shown) == (asked, len(asked))
    assert names(page) == {"blue"}


def test_a_box_with_shift_and_more_with_control(open_page: Callable[..., Page], placed: int) -> None:
    page = open_page(viewport={"width": 1280, "height": 1100})
    told = opened(page)
    left, top, right, bottom = around(on_screen(page, told, "red circle"))
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(page.locator("#map-number")).to_have_text("20 images selected")
    page.keyboard.down("Control")
    lasso(page, on_screen(page, told, "green star"))
    page.keyboard.up("Control")
    expect(page.locator("#map-number")).to_have_text("40 images selected")
    page.keyboard.press("Escape")
    expect(page.locator("#map-number")).to_have_text("None selected")
    expect(page.locator("#map-show")).to_be_disabled()


def test_by_keys_alone(open_page: Callable[..., Page], placed: int) -> None:
    page = open_page(viewport={"width": 1280, "height": 1100})
    told = opened(page)
    page.locator("#map-fit").focus()
    canvas = page.locator("#map-canvas")
    for _ in range(4):
        if canvas.evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(canvas).to_be_focused()
    box = canvas.bounding_box()
    left, top, right, bottom = around(on_screen(page, told, "green star"))
    x, y = (left + right) / 2 - box["x"] - box["width"] / 2, (top + bottom) / 2 - box["y"] - box["height"] / 2
    for _ in range(round(abs(x) / 12)):
        page.keyboard.press("ArrowRight" if x > 0 else "ArrowLeft")
    for _ in range(round(abs(y) / 12)):
        page.keyboard.press("ArrowDown" if y > 0 else "ArrowUp")
    for _ in range(4):
        page.keyboard.press("+")
    expect(page.locator("#live")).to_have_text("20 images in the circle, 20 of them green star")
    page.keyboard.press("Enter")
    expect(page.locator("#map-number")).to_have_text("20 images selected")
    for _ in range(3):
        if page.locator("#map-show").evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/projects/mapped/?*picked*")
    assert names(page) == {"green"} and page.locator(".grid .tile").count() == 20


def test_what_is_grey_is_not_selected(open_page: Callable[..., Page], placed: int) -> None:
    page = open_page(viewport={"width": 1280, "height": 1100})
    told = opened(page, '?q=label:"red circle"')
    expect(page.locator("#map-says")).to_contain_text("The search finds 20 of them")
    lasso(page, on_screen(page, told, "blue square"))
    expect(page.locator("#map-number")).to_have_text("None selected")
    lasso(page, on_screen(page, told, "red circle"))
    expect(page.locator("#map-number")).to_have_text("20 images selected")
    told = opened(page)
    page.locator(".map-kind", has_text="green star").click()
    expect(page.locator(".map-kind", has_text="green star")).to_have_attribute("aria-pressed", "true")
    lasso(page, on_screen(page, told, "red circle"))
    expect(page.locator("#map-number")).to_have_text("None selected")
    opened(page)
    page.locator("[name=q]").fill("label:nothing")
    page.locator("[name=q]").press("Enter")
    expect(page.locator("#map-says")).to_contain_text("There is no label “nothing” here.")


def test_pictures_move_and_zoom(open_page: Callable[..., Page], placed: int) -> None:
    page = open_page(viewport={"width": 1280, "height": 1100})
    told = opened(page)
    [(x, y), *_] = on_screen(page, told, "red circle")
    page.mouse.move(x, y)
    expect(page.locator("#map-tip-link")).to_contain_text("red circle")
    expect(page.locator("#map-tip-kind")).to_have_text("red circle, suggested")
    page.mouse.wheel(0, -600)
    # What was under the pointer stays there, and is drawn as a picture.
    page.mouse.move(x + 1, y)
    expect(page.locator("#map-tip-link")).to_contain_text("red circle")
    page.keyboard.press("Escape")
    page.locator("label[for=map-hand]").click()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 300, y, steps=4)
    page.mouse.up()
    expect(page.locator("#map-number")).to_have_text("None selected")
    page.mouse.move(x + 300, y)
    expect(page.locator("#map-tip-link")).to_contain_text("red circle")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(open_page: Callable[..., Page], placed: int, scheme: str) -> None:
    page = open_page(
        viewport={"width": 390, "height": 800},
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
        bypass_csp=True,
    )
    told = opened(page)
    [(x, y), *_] = on_screen(page, told, "blue square")
    page.locator("#map-canvas").scroll_into_view_if_needed()
    [(x, y), *_] = on_screen(page, told, "blue square")
    page.touchscreen.tap(x, y)
    expect(page.locator("#map-tip-link")).to_contain_text("blue square")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert not Axe().run(page).response["violations"]


def test_without_script_the_page_leads_to_the_gallery(open_page: Callable[..., Page], placed: int) -> None:
    page = open_page()
    state = page.context.storage_state()
    plain = page.context.browser.new_context(
        java_script_enabled=False, storage_state=state, base_url=page.url
    )
    bare = plain.new_page()
    bare.goto("/projects/mapped/map/")
    expect(bare.locator("#map-canvas")).to_be_hidden()
    bare.get_by_role("link", name="gallery").click()
    expect(bare.locator(".grid .tile").first).to_be_visible()
    plain.close()
