"""A class at a time, as a person does it: 200 pictures with 12 wrong ones in 13 actions, and back in one."""

import json
import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.live import Site

MAKE = """
import io, json, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from gallery import projects
from gallery.models import Image, Membership
from labeling import review
from labeling.models import Match
from labeling.review import Decision, Verdict, decide
from labeling.starter import drawing
from tests.labeling import rows

rng = random.Random(5)
def stored(colour, shape):
    out = io.BytesIO()
    drawing.draw(drawing.Drawing(colour, shape, "solid", 1, "white", "large"), rng, 96).save(out, "WEBP")
    return default_storage.save("images/drawn.webp", ContentFile(out.getvalue()))
files = {{name: [stored(*name.split()) for _ in range(3)] for name in ("red circle", "blue square")}}
olga, vera = (User.objects.get(username=name) for name in ("olga", "vera"))
made = {{}}
for name in {names!r}:
    project = projects.create(olga, name)
    Membership.objects.create(project=project, user=vera, role="labeler")
    others = (f"label {{n}}" for n in range(12))
    label_set = rows.label_set(project, "red circle", "blue square", "star", *others)
    circle, square, star, *_, last = label_set.labels.all()
    images = rows.images(project, 230)
    rows.match(label_set, images, [0.5 + rng.random() / 2 for _ in images])
    wrong = set(rng.sample(range(200), 12))
    for number, image in enumerate(images):
        kind = "blue square" if number in wrong or number >= 200 else "red circle"
        image.name = f"{{kind}} {{number:03}}.jpg"
        image.file = image.thumbnail = image.preview = rng.choice(files[kind])
    Image.objects.bulk_update(images, ["name", "file", "thumbnail", "preview"])
    Match.objects.filter(image__in=images[:200]).update(label=circle, runner_up=square)
    Match.objects.filter(image__in=images[200:]).update(label=square, runner_up=circle)
    # Some history: decided and taken back, and decided for good.
    batch = decide(label_set, vera, [Decision(image.pk, Verdict.NONE) for image in images[:5]])
    review.undo(label_set, vera, "labeler", batch)
    decide(label_set, vera, [Decision(image.pk, Verdict.ACCEPTED) for image in images[200:210]])
    made[name] = dict(label_set=label_set.pk, circle=circle.pk, square=square.pk, last=last.pk)
print("IDS" + json.dumps(made))
"""
NAMES = ["Pointer", "Keys", "Phone", "Plain"]


@pytest.fixture(scope="module")
def ids(site: Site, browser: Browser) -> dict[str, dict[str, int]]:
    return json.loads(site.manage("shell", "-v0", "-c", MAKE.format(names=NAMES)).rpartition("IDS")[2])


def wait_for_words(page: Page, words: str) -> None:
    """The page that follows is there, and says so. On a busy machine that takes a while."""
    expect(page.locator(".alert")).to_contain_text(words, timeout=30_000)


class Hand:
    """Every press of a key or a button is an action, and counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.actions = 0

    def click(self, what: Locator) -> None:
        self.actions += 1
        what.click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.actions += 1
            self.page.keyboard.press(key)


def open_class(page: Page, made: dict[str, int]) -> None:
    page.goto(f"/label-sets/{made['label_set']}/classes/")
    page.get_by_role("link", name="red circle").click()
    page.wait_for_url("**label=**")  # and loaded, so that its script runs
    expect(page.locator(".pick")).to_have_count(200)


def rows_of(site: Site, made: dict[str, int], table: str) -> list[tuple]:
    return site.rows(f"SELECT * FROM labeling_{table} WHERE label_set_id = {made['label_set']} ORDER BY id")


def settled(site: Site, made: dict[str, int]) -> dict[tuple, int]:
    """How many of the pictures that were proposed as a circle have which status and label."""
    found = site.rows(
        "SELECT a.status, a.label_id, count(*) FROM labeling_annotation a JOIN labeling_match m"
        " ON m.image_id = a.image_id AND m.label_set_id = a.label_set_id"
        f" WHERE m.label_id = {made['circle']} GROUP BY 1, 2"
    )
    return {(status, label): count for status, label, count in found}


def marked(page: Page) -> Locator:
    return page.locator(".pick:has(.pick-box:checked)")


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.closest('.pick')?.dataset.name ?? ''")


def test_two_hundred_pictures_in_thirteen_actions_and_back_in_one(
    open_page: Callable[..., Page], site: Site, ids: dict[str, dict[str, int]]
) -> None:
    made = ids["Pointer"]
    page = open_page(viewport={"width": 1280, "height": 900})
    open_class(page, made)
    before = {table: rows_of(site, made, table) for table in ("review", "annotation", "batch")}
    hand = Hand(page)
    for picture in page.locator(".pick[data-name^='blue square'] .pick-picture").all():
        hand.click(picture)
    accept = page.get_by_role("button", name="Accept 188 as red circle, correct 12")
    expect(accept).to_be_visible()
    hand.press("Enter")
    assert hand.actions <= 13
    wait_for_words(page, "Accepted 188 as red circle, corrected 12.")
    expect(page.get_by_role("heading", name="This class is settled")).to_be_visible()
    assert settled(site, made) == {("accepted", made["circle"]): 188, ("corrected", made["square"]): 12}
    assert len(rows_of(site, made, "batch")) == len(before["batch"]) + 1, "all of it is one batch"

    hand.press("u")
    assert hand.actions <= 14
    wait_for_words(page, "200 images taken back.")
    expect(page.locator(".pick")).to_have_count(200)
    assert rows_of(site, made, "annotation") == before["annotation"]
    reviews = rows_of(site, made, "review")
    assert reviews[: len(before["review"])] == before["review"], "history is only added to"
    verdicts = site.rows(
        f"SELECT verdict, count(*) FROM labeling_review WHERE label_set_id = {made['label_set']}"
        f" AND id > {before['review'][-1][0]} GROUP BY 1 ORDER BY 1"
    )
    assert verdicts == [("accepted", 188), ("corrected", 12), ("undone", 200)]
    # The marks are there again, so that another one can be added before it is accepted after all.
    expect(marked(page)).to_have_count(12)
    expect(page.locator("#class-says")).to_have_text("Accept 188 as red circle, correct 12")


def test_everything_goes_by_keys_and_is_heard(
    open_page: Callable[..., Page], site: Site, ids: dict[str, dict[str, int]]
) -> None:
    made = ids["Keys"]
    page = open_page(viewport={"width": 1280, "height": 900})
    page.goto(f"/label-sets/{made['label_set']}/classes/")
    while page.evaluate("document.activeElement.closest('.class-row a')?.textContent") != "red circle":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**label=**")
    expect(page.locator(".pick")).to_have_count(200)
    names = [card.get_attribute("data-name") for card in page.locator(".pick").all()]
    hand, live, says = Hand(page), page.locator("#live"), page.locator("#class-says")

    hand.press("ArrowRight")
    assert focused(page) == names[0]
    hand.press("ArrowDown", "ArrowRight", "x")
    assert focused(page) == names[9], "eight in a row; the focus stays where it was"
    expect(live).to_have_text("Wrong, blue square instead of red circle. 1 marked wrong.")
    hand.press("x")
    expect(live).to_have_text("Not wrong. 0 marked wrong.")
    expect(says).to_have_text("Accept 200 as red circle")

    # Another label by its number, by typing, none of these, left out; its own label is no correction.
    hand.press("3")
    expect(live).to_have_text("Wrong, star instead of red circle. 1 marked wrong.")
    hand.press("1")
    expect(marked(page)).to_have_count(0)
    hand.press("ArrowRight", "/")
    expect(page.locator("#class-find")).to_be_focused()
    page.keyboard.type("label 11")
    hand.press("Enter")
    expect(live).to_have_text("Wrong, label 11 instead of red circle. 1 marked wrong.")
    assert focused(page) == names[10]
    hand.press("ArrowRight", "n", "ArrowRight", "s")
    expect(says).to_have_text("Accept 197 as red circle, correct 1, 1 none of these, leave out 1")

    # A range, which also shrinks again.
    hand.press("End", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowRight")
    expect(marked(page)).to_have_count(6)
    assert focused(page) == names[197]
    expect(page.locator("#class-marked")).to_have_text("6")

    # Large: keys go on there, and the focus is back in the grid where it ended.
    hand.press("Home", "Space")
    large = page.locator("#class-large")
    expect(large).to_be_visible()
    expect(page.locator("#large-name")).to_have_text(names[0])
    hand.press("ArrowRight", "x")
    expect(page.locator("#large-says")).to_have_text("Wrong, blue square instead of red circle")
    hand.press("Enter")
    expect(large).to_be_visible()
    hand.press("Space")
    expect(large).to_be_hidden()
    assert focused(page) == names[1]
    expect(marked(page)).to_have_count(7)

    # Marks are there again after a reload, and a look at another class.
    page.reload()
    expect(marked(page)).to_have_count(7)
    expect(says).to_have_text("Accept 193 as red circle, correct 5, 1 none of these, leave out 1")
    hand.press("ArrowRight")

    # More in a row, kept in the address and for the next time.
    hand.press("-", "-", "+")
    assert page.locator("#class-grid").get_attribute("data-across") == "9"
    assert "across=9" in page.url

    expect(page.locator("body:not([data-fresh])")).to_have_count(1)
    hand.press("Enter")
    wait_for_words(page, "Accepted 193 as red circle, corrected 5, 1 is none of these, left out 1.")
    expect(live).to_contain_text("Accepted 193")
    expect(page.locator(".pick")).to_have_count(1)
    assert focused(page) == names[12], "what was left out is asked about again"
    assert settled(site, made) == {
        ("accepted", made["circle"]): 193,
        ("corrected", made["square"]): 4,
        ("corrected", made["last"]): 1,
        ("none", None): 1,
    }
    hand.press("u")
    expect(page.locator(".pick")).to_have_count(200)
    assert settled(site, made) == {}
    hand.press("Shift+Z")
    wait_for_words(page, "200 images done again.")
    assert settled(site, made)[("accepted", made["circle"])] == 193
    hand.press("Control+z")
    wait_for_words(page, "200 images taken back.")
    hand.press("g")
    page.wait_for_url(re.compile(r"/classes/$"))
    assert settled(site, made) == {}


def problems(page: Page) -> list[str]:
    return [violation["id"] for violation in Axe().run(page).response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_a_tap_marks_and_a_button_shows_it_large(
    open_page: Callable[..., Page], ids: dict[str, dict[str, int]], scheme: str
) -> None:
    page = open_page(
        viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme, bypass_csp=True
    )
    open_class(page, ids["Phone"])
    first, second, third = (page.locator(".pick").nth(number) for number in range(3))
    first.locator(".pick-picture").tap()
    second.locator(".pick-picture").tap()
    second.locator(".pick-picture").tap()
    expect(marked(page)).to_have_count(1)
    third.get_by_role("link", name="Large").tap()
    expect(page.locator("#class-large")).to_be_visible()
    assert problems(page) == []
    page.get_by_role("button", name="None of these").first.tap()
    page.get_by_role("button", name="Close").first.tap()
    expect(page.locator("#class-says")).to_have_text("Accept 198 as red circle, correct 1, 1 none of these")
    first.get_by_role("button", name="Another label").tap()
    page.get_by_role("button", name="star").tap()
    expect(first.locator(".pick-choose")).to_have_text("star")
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_without_a_script_it_is_a_form(
    open_page: Callable[..., Page], site: Site, ids: dict[str, dict[str, int]]
) -> None:
    made = ids["Plain"]
    page = open_page(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    open_class(page, made)
    for number, picture in enumerate(page.locator(".pick[data-name^='blue square']").all()):
        picture.locator(".pick-picture").click()
        if number == 0:
            picture.locator("select").select_option("none of these")
    page.get_by_role("button", name="Accept the unmarked as red circle, correct the marked").click()
    wait_for_words(page, "Accepted 188 as red circle, corrected 11, 1 is none of these.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".pick-box:checked")).to_have_count(12)
    assert settled(site, made) == {}
