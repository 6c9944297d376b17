"""Uploads in the corner of the page: they go on while the person does, and say what became of each file."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import log_in, site_with_people
from tests.conftest import picture
from tests.live import Site

RESULTS = re.compile(r"/projects/[^/]+/\?")
IMAGES = re.compile(r"/api/v1/projects/[^/]+/images/$")
# Files as a person drags them from a folder, each with a colour of its own.
DRAG = """async ([count, first, target]) => {
  const dropped = new DataTransfer();
  for (let number = first; number < first + count; number++) {
    const canvas = new OffscreenCanvas(24, 24);
    const pen = canvas.getContext("2d");
    pen.fillStyle = `rgb(${number % 256}, ${(number * 7) % 256}, 90)`;
    pen.fillRect(0, 0, 24, 24);
    const type = "image/png";
    dropped.items.add(new File([await canvas.convertToBlob({ type })], `${number}.png`, { type }));
  }
  const fire = (name) => document.querySelector(target).dispatchEvent(
    new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: dropped }));
  fire("dragover");
  fire("drop");
}"""


def new_project(page: Page, name: str) -> str:
    """A project without images; where it is."""
    page.goto("/projects/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Labels").fill("cat\ndog")
    page.get_by_role("button", name="Go").click()
    page.wait_for_url(re.compile(r"/projects/(?!new)"))
    return page.url


def slowly(page: Page, seconds: float = 0.15) -> None:
    """Let each file take its time."""

    def wait(route: Route) -> None:
        time.sleep(seconds)
        route.continue_()

    page.route(IMAGES, wait)


def finished(page: Page, words: str) -> None:
    expect(page.locator("#upload-tray h2")).to_have_text("Upload finished", timeout=30_000)
    expect(page.locator("#upload-tray [data-tray=counts]")).to_have_text(words)


def test_files_dropped_on_the_gallery_go_on_while_one_looks_elsewhere(open_page: Callable[..., Page]) -> None:
    page = open_page()
    gallery = new_project(page, "Elsewhere")
    slowly(page)
    page.evaluate(DRAG, [20, 0, "#main"])
    expect(page.locator("#upload-tray h2")).to_contain_text("of 20 files")
    page.get_by_role("link", name="Members").click()
    expect(page).to_have_title(re.compile("Members"))
    expect(page.locator("#upload-tray h2")).to_contain_text("Uploading")
    finished(page, "20 added")
    expect(page.locator("#live")).to_have_text("Upload finished: 20 added")
    page.goto(gallery)
    expect(page.locator(".tile")).to_have_count(20)


def test_an_answer_to_a_page_that_was_left_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page()
    new_project(page, "Left")
    page.evaluate(DRAG, [1, 0, "#main"])
    finished(page, "1 added")
    page.reload()
    slowly(page, 0.3)
    page.evaluate(DRAG, [20, 100, "#main"])
    expect(page.locator("#upload-tray h2")).to_contain_text("Uploading")
    held: list[Route] = []
    page.route(RESULTS, lambda route: held.append(route))
    page.locator("#statuses a").nth(1).click()
    page.get_by_role("link", name="Members").click()
    expect(page).to_have_title(re.compile("Members"))
    [late] = held
    late.continue_()
    finished(page, "20 added")
    # Nothing on the console either: the page sees to that.
    expect(page).to_have_title(re.compile("Members"))


def kept_back(page: Page, address: str, act: Callable[[], object]) -> Callable[[], None]:
    """Keep the answer that `act` makes the page ask for, as it is by then, until this is called."""
    asked: list[Route] = []
    page.route(re.compile(address), lambda route: asked.append(route), times=1)
    act()
    while not asked:
        page.wait_for_timeout(10)
    answer = asked[0].fetch()
    return lambda: asked[0].fulfill(response=answer)


def test_what_comes_while_it_is_asked_how_far_it_is_is_shown_too(open_page: Callable[..., Page]) -> None:
    """The answer takes the place of what asked for it: that must not be the last that is heard of it."""
    page = open_page()
    new_project(page, "In between")
    page.evaluate(DRAG, [1, 150, "#main"])
    expect(page.locator(".tile.state-unreviewed")).to_have_count(1)
    # Nothing goes on: it is asked once, when files come.
    expect(page.locator("#progress[data-state=done]:not([hx-trigger*=every])")).to_have_count(1)
    let_go = kept_back(page, "/progress/", lambda: page.evaluate("htmx.trigger('body', 'images-added')"))
    page.evaluate(DRAG, [1, 160, "#main"])
    finished(page, "1 added")
    let_go()
    expect(page.locator(".tile.state-unreviewed")).to_have_count(2)


def test_what_comes_while_the_first_pictures_are_drawn_is_shown_too(open_page: Callable[..., Page]) -> None:
    page = open_page()
    gallery = new_project(page, "The first")
    let_go = kept_back(page, re.escape(gallery), lambda: page.evaluate(DRAG, [1, 170, "#main"]))
    page.evaluate(DRAG, [1, 180, "#main"])
    expect(page.locator("#progress")).to_have_attribute("data-says", "2 images labelled")
    let_go()
    expect(page.locator(".tile.state-unreviewed")).to_have_count(2)


def test_a_form_does_not_end_an_upload(open_page: Callable[..., Page]) -> None:
    page = open_page()
    new_project(page, "Renamed")
    slowly(page)
    page.evaluate(DRAG, [25, 50, "#main"])
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Name", exact=True).fill("Other name")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Other name")
    assert page.url.endswith("/settings/")
    expect(page.locator("#upload-tray h2")).to_contain_text("Uploading")
    finished(page, "25 added")


def test_what_is_here_already_is_said_and_stands_in_one_report(open_page: Callable[..., Page]) -> None:
    page = open_page()
    new_project(page, "Twice")
    page.evaluate(DRAG, [3, 100, "#main"])
    finished(page, "3 added")
    page.evaluate(DRAG, [5, 100, "#main"])
    finished(page, "2 added, 3 already here")
    page.get_by_role("link", name="Report").click()
    expect(page.locator(".filter-chips")).to_contain_text("All 5")
    expect(page.locator(".upload-row.is-duplicate")).to_have_count(3)


def test_files_that_were_chosen_outlast_a_mistake_in_the_form(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page()
    (tmp_path / "red.png").write_bytes(picture("red"))
    page.goto("/projects/new/")
    page.get_by_label("Name").fill("Mistake")
    page.locator("#id_files").set_input_files(tmp_path / "red.png")
    page.get_by_label("Labels").fill("cat")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".errorlist")).to_contain_text("two labels or more")
    expect(page.locator("#id_labels")).to_be_focused()
    expect(page.locator("[data-chosen]")).to_contain_text("1 file")
    page.get_by_label("Labels").fill("cat\ndog")
    page.get_by_role("button", name="Go").click()
    finished(page, "1 added")
    expect(page.locator("#main")).to_be_focused()


def test_an_upload_can_be_stopped_and_what_is_in_stays(open_page: Callable[..., Page]) -> None:
    page = open_page()
    new_project(page, "Stopped")
    slowly(page)
    page.evaluate(DRAG, [60, 300, "#main"])
    expect(page.locator("[data-tray=counts]")).to_contain_text("added")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("#upload-tray h2")).to_have_text("Upload finished")
    page.unroute_all(behavior="wait")
    page.reload()
    assert 0 < page.locator(".tile").count() < 60


@pytest.fixture
def shaky_page(browser: Browser, site: Site) -> Page:
    """A page whose failures are meant."""
    page = browser.new_context(base_url=site.url).new_page()
    log_in(page, "olga")
    return page


def test_a_file_is_sent_again_when_the_connection_breaks(shaky_page: Page) -> None:
    new_project(shaky_page, "Shaky")
    sent = []

    def break_twice(route: Route) -> None:
        sent.append(route)
        route.abort() if len(sent) <= 2 else route.continue_()

    shaky_page.route(IMAGES, break_twice)
    shaky_page.evaluate(DRAG, [1, 400, "#main"])
    finished(shaky_page, "1 added")
    assert len(sent) == 3
    shaky_page.context.close()


@pytest.fixture
def narrow_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of its own that takes one call a second."""
    monkeypatch.setenv("API_RATE", "1/s")
    with site_with_people(tmp_path) as narrow:
        yield narrow


def test_an_upload_waits_where_the_site_takes_no_more_calls_for_now(
    browser: Browser, narrow_site: Site
) -> None:
    page = browser.new_context(base_url=narrow_site.url).new_page()
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if IMAGES.search(answer.url) else None)
    log_in(page, "olga")
    new_project(page, "Narrow")
    page.evaluate(DRAG, [6, 450, "#main"])
    finished(page, "6 added")
    assert set(statuses) == {201, 429} and statuses.count(201) == 6
    page.context.close()


def test_without_a_connection_the_upload_waits_for_a_person(shaky_page: Page) -> None:
    new_project(shaky_page, "Offline")
    shaky_page.context.set_offline(True)
    shaky_page.evaluate(DRAG, [6, 500, "#main"])
    expect(shaky_page.locator("[data-tray=problem]")).to_contain_text("can't be reached", timeout=20_000)
    expect(shaky_page.locator("#upload-tray h2")).to_have_text("6 files not uploaded")
    shaky_page.context.set_offline(False)
    shaky_page.get_by_role("button", name="Try again").click()
    finished(shaky_page, "6 added")
    shaky_page.context.close()


def test_who_was_logged_out_goes_on_after_logging_in_again(shaky_page: Page) -> None:
    new_project(shaky_page, "Logged out")
    shaky_page.context.clear_cookies()
    shaky_page.evaluate(DRAG, [2, 600, "#main"])
    expect(shaky_page.locator("[data-tray=problem]")).to_contain_text("You are logged out")
    log_in(shaky_page.context.new_page(), "olga")
    shaky_page.get_by_role("button", name="Try again").click()
    finished(shaky_page, "2 added")
    shaky_page.context.close()


def test_a_refused_file_shows_its_reason(shaky_page: Page, tmp_path: Path) -> None:
    new_project(shaky_page, "Refused")
    (tmp_path / "note.txt").write_bytes(b"hello")
    shaky_page.get_by_role("link", name="Add images").first.click()
    shaky_page.locator("#id_files").set_input_files(tmp_path / "note.txt")
    finished(shaky_page, "1 refused")
    reason = shaky_page.locator("#upload-tray .is-refused").get_by_text("Not an image that we can read")
    expect(reason).to_be_visible()
    shaky_page.get_by_role("button", name="Hide the files").click()
    expect(reason).to_be_hidden()
    shaky_page.context.close()


def test_ten_thousand_files_do_not_freeze_the_page(shaky_page: Page) -> None:
    new_project(shaky_page, "Many")
    shaky_page.route(IMAGES, lambda route: route.abort())
    longest = shaky_page.evaluate("""async () => {
      const dropped = new DataTransfer();
      for (let number = 0; number < 10000; number++) dropped.items.add(new File(["x"], `${number}.jpg`));
      const began = performance.now();
      document.querySelector("#main").dispatchEvent(
        new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dropped }));
      return performance.now() - began;
    }""")
    expect(shaky_page.locator("#upload-tray h2")).to_contain_text("10,000 files")
    assert shaky_page.locator("#upload-tray .upload-row").count() <= 200
    assert longest < 2000
    shaky_page.context.close()
