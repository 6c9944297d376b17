"""Reviewing one by one by keys alone: what was pressed is what is stored, and the next picture is there."""

import random
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import until_keys_count
from tests.live import Site, wait_for

NAMES = [f"label {number}" for number in range(1, 13)]
MAKE = """
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from labeling import label_sets
from labeling.label_sets import LabelSpec
from labeling.models import Keymap
from labeling.starter import drawing

user = User.objects.get(username="olga")
Keymap.objects.all().delete()
project = projects.create(user, "Keys")
rng = random.Random(7)
def files():
    for number in range({count}):
        out = io.BytesIO()
        drawing.draw(drawing.random_drawing(rng), rng, 640).save(out, "JPEG")
        yield ContentFile(out.getvalue(), f"{{number:04}}.jpg")
uploads.add_images(project, user, files())
print("ID", label_sets.create(project, user, "Keys", [LabelSpec(name) for name in {names}]).pk)
"""
# When a key went down, and when the picture that it led to was decoded and on its way to the screen.
CLOCK = """
window.times = [];
let pressed = 0;
addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
document.addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) {
    if (node.id !== "review" || !node.querySelector(".stage img")) continue;
    const from = pressed;
    node.querySelector(".stage img").decode().then(() => requestAnimationFrame(() => setTimeout(() => {
      window.times.push(performance.now() - from);
    })));
  }
}).observe(document.getElementById("main"), { childList: true, subtree: true }));
"""
# What was pressed, and about which image.
LISTEN = """
window.counted = [];
addEventListener("submit", ({ target, submitter }) => {
  const name = submitter.querySelector(".choice-text")?.textContent ?? "";
  if (!clipsite.keys.held) counted.push([Number(target.elements.image.value), name]);
}, true);
"""


@pytest.fixture
def make(site: Site) -> Callable[[int], int]:
    """`make(count)` is a new label set over as many images, all of them labelled by CLIP."""

    def made(count: int) -> int:
        printed = site.manage("shell", "-v0", "-c", MAKE.format(count=count, names=NAMES))
        label_set = int(printed.rpartition("ID ")[2])
        matches = f"SELECT count(*) FROM labeling_match WHERE label_set_id = {label_set}"
        wait_for(lambda: site.value(matches) == count, 120, "the pictures are not labelled")
        return label_set

    return made


class Reviewer:
    """Presses keys, and writes down what they should come to."""

    def __init__(self, page: Page, site: Site, label_set: int) -> None:
        self.page, self.site, self.label_set = page, site, label_set
        self.said: list[tuple[int, str, str]] = []  # image, verdict or "undone", label
        self.answers: dict[int, tuple[str, str]] = {}
        page.goto(f"/label-sets/{label_set}/review/")
        until_keys_count(page)
        rows = site.rows(
            "SELECT m.image_id, l.name FROM labeling_match m JOIN labeling_label l ON l.id = m.label_id "
            f"WHERE m.label_set_id = {label_set}"
        )
        self.suggested = dict(rows)

    @property
    def image(self) -> int:
        return int(self.page.locator("#review").get_attribute("data-image") or 0)

    def press(self, *keys: str) -> int:
        """Press keys that lead to another image; returns the image that they were about."""
        image = self.image
        until_keys_count(self.page)
        for key in keys:
            self.page.keyboard.press(key)
        expect(self.page.locator(f'#review[data-image="{image}"]')).to_have_count(0)
        return image

    def decide(self, how: str) -> int:
        image, suggested = self.image, self.suggested[self.image]
        if how == "find":
            name = NAMES[11]
            until_keys_count(self.page)
            self.page.keyboard.press("/")
            self.page.keyboard.type("label 12")
            self.press("Enter")
        else:
            name = {"Enter": suggested, "0": "label 10"}.get(how, f"label {how}" if how.isdigit() else "")
            self.press(how)
        verdict = {"n": "none", "s": "skipped"}.get(how, "accepted" if name == suggested else "corrected")
        self.say(image, verdict, name)
        return image

    def say(self, image: int, verdict: str, name: str) -> None:
        self.said.append((image, verdict, name))
        if verdict != "skipped":
            self.answers[image] = (verdict, name)

    def undo(self, key: str = "u") -> tuple[int, str, str]:
        """Take the last decision back; the image is shown again."""
        image, verdict, name = self.said[-1]
        until_keys_count(self.page)
        self.page.keyboard.press(key)
        expect(self.page.locator(f'#review[data-image="{image}"]')).to_have_count(1)
        self.said.append((image, "undone", ""))
        self.answers.pop(image, None)
        return image, verdict, name

    def stored(self) -> list[tuple[int, str, str]]:
        return self.site.rows(
            "SELECT image_id, verdict, CASE verdict WHEN 'undone' THEN '' ELSE label_name END "
            f"FROM labeling_review WHERE label_set_id = {self.label_set} ORDER BY id"
        )

    def settled(self) -> dict[int, tuple[str, str]]:
        rows = self.site.rows(
            "SELECT a.image_id, a.status, coalesce(l.name, '') FROM labeling_annotation a "
            f"LEFT JOIN labeling_label l ON l.id = a.label_id WHERE a.label_set_id = {self.label_set}"
        )
        return {image: (status, name) for image, status, name in rows}

    def check(self) -> None:
        wait_for(lambda: len(self.stored()) == len(self.said), 20, "not all that was pressed is stored")
        assert self.stored() == self.said
        assert self.settled() == self.answers


def script() -> Iterator[str]:
    """How each image is decided, some of every way, in an order that is the same each time."""
    ways = ["Enter"] * 48 + list("1234567890") * 2 + ["find"] * 10 + ["n"] * 14 + ["s"] * 8
    random.Random(4).shuffle(ways)
    yield from ways


def test_a_hundred_images_by_keys_alone(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int]
) -> None:
    label_set = make(104)
    page = open_page(viewport={"width": 1280, "height": 900})
    reviewer = Reviewer(page, site, label_set)
    for number, how in enumerate(script()):
        image = reviewer.decide(how)
        if number % 20 == 5:
            # Taken back, brought back, and on to the next one.
            _, verdict, name = reviewer.undo("Control+z")
            reviewer.press("Shift+Z")
            reviewer.say(image, verdict, name)
        elif number % 20 == 10 and how != "s":
            # A look back at what was just decided, which is cleared and said anew.
            reviewer.press("k")
            assert reviewer.image == image
            until_keys_count(page)
            page.keyboard.press("Backspace")
            expect(page.locator("#live")).to_contain_text("Cleared")
            reviewer.said.append((image, "undone", ""))
            reviewer.answers.pop(image)
            reviewer.decide("n")
        elif number % 20 == 15:
            reviewer.undo()
            reviewer.decide("3")
        elif number % 20 == 18:
            # Ahead and back again, deciding nothing.
            before = reviewer.image
            reviewer.press("ArrowRight")
            reviewer.press("ArrowLeft")
            assert reviewer.image == before
    assert len({image for image, *_ in reviewer.said}) >= 100
    reviewer.check()


def test_the_next_pictures_are_drawn_before_any_answer_came(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int]
) -> None:
    """`benchmarks/review_keys.py` says in how many milliseconds."""
    label_set = make(8)
    page = open_page()
    page.add_init_script(CLOCK)
    reviewer = Reviewer(page, site, label_set)
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    answering = False
    page.route("**/reviews/", lambda route: route.continue_() if answering else held.append(route))
    for how in ("n", "1", "Enter"):
        reviewer.decide(how)
    wait_for(lambda: page.evaluate("times.length") == 3, 20, "the pictures are not drawn")
    assert len(held) == 1 and reviewer.stored() == [], "they go out one after another"
    answering = True
    held[0].continue_()
    # Asking the page lets it ask for what it still has to send.
    wait_for(lambda: len(reviewer.stored()) == page.evaluate("3"), 20, "they are not sent")
    reviewer.check()


@pytest.mark.parametrize("width", [1280, 390])
def test_ten_keys_in_two_seconds_then_undo_then_away(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int], width: int
) -> None:
    label_set = make(16)
    page = open_page(viewport={"width": width, "height": 800})
    reviewer = Reviewer(page, site, label_set)
    page.evaluate(LISTEN)
    for key in "n1n2n3n4n5":
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    # A key that comes before the next picture is seen counts for nothing.
    for image, name in page.evaluate("counted"):
        verdict = "accepted" if name == reviewer.suggested[image] else "corrected" if name else "none"
        reviewer.say(image, verdict, name)
    # How many are, on a machine that is busy, is up to the machine.
    assert len(reviewer.said) >= 2
    reviewer.undo()
    reviewer.check()
    image = reviewer.image
    until_keys_count(page)
    page.keyboard.press("n")
    page.goto("/")
    reviewer.say(image, "none", "")
    reviewer.check()


def test_what_could_not_be_sent_is_said_and_the_image_is_there_again(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int]
) -> None:
    label_set = make(6)
    page = open_page()
    reviewer = Reviewer(page, site, label_set)
    first = reviewer.image
    page.wait_for_load_state("networkidle")
    page.route("**/reviews/", lambda route: route.abort("internetdisconnected"))
    page.keyboard.press("n")
    expect(page.locator("#toasts")).to_contain_text("was not saved")
    expect(page.locator(f'#review[data-image="{first}"]')).to_have_count(1)
    assert reviewer.stored() == []
    page.unroute("**/reviews/")
    reviewer.decide("n")
    reviewer.check()


def test_a_stale_decision_is_told_who_decided_and_overwrites_nothing(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int]
) -> None:
    label_set = make(6)
    page, other = open_page(), open_page()
    reviewer = Reviewer(page, site, label_set)
    page.wait_for_load_state("networkidle")
    elsewhere = Reviewer(other, site, label_set)
    image = elsewhere.decide("n")
    assert reviewer.image == image
    elsewhere.check()
    page.keyboard.press("1")
    expect(page.locator("#toasts")).to_contain_text("olga decided in the meantime that it has none of these")
    expect(page.locator("#live")).to_contain_text("olga decided in the meantime")
    expect(page.locator(f'#review[data-image="{image}"] .badge')).to_contain_text("none of these")
    elsewhere.check()


def test_other_keys_than_the_usual_ones_and_none_while_typing(
    open_page: Callable[..., Page], site: Site, make: Callable[[int], int]
) -> None:
    label_set = make(4)
    page = open_page()
    page.goto("/account/keys/")
    skip, none = page.locator("#id_skip"), page.locator("#id_none")
    skip.focus()
    page.keyboard.press("n")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.locator(".errorlist")).to_contain_text("is the key of “None of these” too")
    none.focus()
    page.keyboard.press("q")
    page.keyboard.press("Shift+Q")
    expect(none).to_have_value("q shift+q")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.locator("main")).to_contain_text("Your keys are saved.")

    reviewer = Reviewer(page, site, label_set)
    expect(page.get_by_role("button", name="None")).to_contain_text("Q")
    # In a field, in a dialog, and with a key that is no action any more, nothing happens.
    page.keyboard.press("/")
    page.keyboard.type("qqn1")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("q")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()
    for key, title in (("f", "Similar images"), ("i", "What CLIP thinks")):
        page.keyboard.press(key)
        expect(page.locator("#look")).to_contain_text(title)
        expect(page.locator("#look .grid, #look .scores")).to_be_visible()
        page.keyboard.press("1")
        page.keyboard.press(key)
        expect(page.locator("#look")).to_be_hidden()
    page.keyboard.press("z")
    expect(page.locator("#zoom img")).to_have_js_property("naturalWidth", 640)
    page.keyboard.press("z")
    expect(page.locator("#zoom")).to_be_hidden()
    assert reviewer.stored() == []
    image = reviewer.press("n")
    reviewer.say(image, "skipped", "")
    image = reviewer.press("Shift+Q")
    reviewer.say(image, "none", "")
    reviewer.check()

    page.goto("/account/keys/")
    page.get_by_role("button", name="Back to the usual keys").click()
    expect(none).to_have_value("n")
