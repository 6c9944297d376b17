"""The main job as a person does it: a project, files, labels that come, corrections by key, an export."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import COLOURS, SHAPES, until_keys_count
from tests.live import Site

LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


def make_project(page: Page, name: str, files: list[Path], labels: list[str]) -> None:
    page.goto("/projects/new/")
    page.get_by_label("Name").fill(name)
    page.locator("#id_files").set_input_files(files)
    page.get_by_label("Labels").fill("\n".join(labels))
    page.get_by_role("button", name="Go").click()
    page.wait_for_url(re.compile(r"/projects/(?!new)"))


def tiles(page: Page, status: str = "") -> object:
    return page.locator(f".tile.state-{status}" if status else ".tile")


def test_from_pictures_to_a_reviewed_export(
    open_page: Callable[..., Page], pictures: list[Path], tmp_path: Path
) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture at all")
    make_project(page, "Shapes", [*pictures, pictures[0], broken], LABELS)

    # The files go on coming in while the gallery is open already, and then the labels come by themselves.
    tray = page.locator("#upload-tray")
    expect(tray).to_contain_text("30 added", timeout=60_000)
    expect(tray).to_contain_text("1 already here")
    expect(tray).to_contain_text("1 refused")
    expect(tiles(page, "unreviewed")).to_have_count(30, timeout=60_000)
    for tile in page.locator(".tile").all():
        kind = tile.get_attribute("data-name").rsplit(" ", 1)[0]
        expect(tile.locator(".tile-label")).to_have_text(kind)

    # Correct by keys alone: accept, another label, none of these, and take one back.
    page.keyboard.press("Escape")
    first, second, third = (page.locator(".tile").nth(number) for number in range(3))
    names = [tile.get_attribute("data-name") for tile in (first, second, third)]
    wrong = next(number for number, label in enumerate(LABELS, start=1) if label not in names[1])
    page.keyboard.press("ArrowRight")
    expect(first.locator(".tile-picture")).to_be_focused()
    page.keyboard.press("Enter")
    expect(tiles(page, "accepted")).to_have_count(1)
    expect(second.locator(".tile-picture")).to_be_focused()
    page.keyboard.press(str(wrong))
    expect(tiles(page, "corrected")).to_have_attribute("data-name", names[1])
    expect(second.locator(".tile-label")).to_have_text(LABELS[wrong - 1])
    page.keyboard.press("n")
    expect(tiles(page, "none")).to_have_attribute("data-name", names[2])
    page.keyboard.press("u")
    expect(tiles(page, "none")).to_have_count(0)
    expect(tiles(page, "unreviewed")).to_have_count(28)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("l")
    page.keyboard.type(LABELS[0])
    page.keyboard.press("Escape")
    expect(tiles(page, "unreviewed")).to_have_count(28)

    # It stays when the tab is closed, and what was exported is what was decided.
    again = page.context.new_page()
    address = page.url
    page.close()
    again.goto(address)
    expect(tiles(again, "unreviewed")).to_have_count(28)
    again.locator("summary, button").filter(has_text="Export").first.click()
    with again.expect_download() as download:
        again.get_by_role("link", name="CSV").or_(again.get_by_role("button", name="CSV")).first.click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert {row["file_name"]: (row["status"], row["label"]) for row in rows} == {
        names[0]: ("accepted", names[0].rsplit(" ", 1)[0]),
        names[1]: ("corrected", LABELS[wrong - 1]),
    }
    assert {row["source"] for row in rows} == {"human"} and {row["decided_by"] for row in rows} == {"olga"}


def test_one_by_one_by_keys_alone_to_the_end(
    open_page: Callable[..., Page], pictures: list[Path], site: Site
) -> None:
    page = open_page()
    make_project(page, "One by one", pictures[:4], LABELS)
    expect(tiles(page, "unreviewed")).to_have_count(4, timeout=60_000)
    page.get_by_role("link", name=re.compile(r"^Review \d")).click()
    picture = page.locator(".stage img")

    def press(key: str) -> str:
        """Press a key, wait for the next picture, and return the name of the one before."""
        name, shown = picture.get_attribute("alt"), picture.get_attribute("src")
        until_keys_count(page)
        page.keyboard.press(key)
        expect(page.locator(f'.stage img[src="{shown}"]')).to_have_count(0)
        return name

    skipped = press("s")
    accepted = press("Enter")
    undone = press("n")
    assert press("u") and picture.get_attribute("alt") == undone
    assert press("ArrowLeft") and picture.get_attribute("alt") == accepted, "a look at what was just done"
    expect(page.locator("#question")).to_contain_text(accepted)
    press("ArrowRight")
    corrected = press(next(str(n) for n, label in enumerate(LABELS, start=1) if label not in undone))
    assert corrected == undone
    none = press("n")
    assert picture.get_attribute("alt") == skipped, "what was skipped comes last"
    press("Enter")
    expect(page.locator("main")).to_contain_text("All 4 images are reviewed")
    label_set = re.search(r"/label-sets/(\d+)/", page.url).group(1)
    status = (
        "SELECT status FROM labeling_annotation a JOIN gallery_image i ON i.id = a.image_id "
        f"WHERE a.label_set_id = {label_set} AND i.name = '{{}}'"
    )
    told = {name: site.value(status.format(name)) for name in (skipped, accepted, corrected, none)}
    assert told == {skipped: "accepted", accepted: "accepted", corrected: "corrected", none: "none"}


def test_on_the_page_of_an_image_focus_and_place_stay(
    open_page: Callable[..., Page], pictures: list[Path]
) -> None:
    page = open_page(viewport={"width": 390, "height": 664})
    make_project(page, "One image", pictures[:3], LABELS)
    expect(tiles(page, "unreviewed")).to_have_count(3, timeout=60_000)
    page.keyboard.press("Escape")
    page.locator(".tile-picture").nth(1).focus()
    page.keyboard.press("o")
    page.wait_for_url(re.compile("/images/"))
    button = page.locator("#labels button").nth(2)
    button.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_have_text("Settled answer")
    expect(page.locator("#toasts")).to_contain_text(LABELS[2])
    expect(page.locator("#labels button").nth(2)).to_be_focused()
    assert abs(page.evaluate("scrollY") - before) < 60
    page.keyboard.press("u")
    expect(page.locator("#answer")).to_have_text("Not reviewed yet")
    page.keyboard.press("g")
    expect(page.locator(".tile-picture").nth(1)).to_be_focused()


def test_a_member_sees_the_project_and_a_stranger_does_not(
    open_page: Callable[..., Page], pictures: list[Path]
) -> None:
    page = open_page()
    make_project(page, "Ours", pictures[:2], LABELS)
    address = page.url
    page.get_by_role("link", name="Members").click()
    page.get_by_label("Username").fill("vera")
    page.locator("#id_role").select_option("viewer")
    page.get_by_role("button", name="Add member").click()
    expect(page.locator("main")).to_contain_text("vera")
    member = open_page("vera")
    assert member.goto(address).ok
    expect(member.get_by_role("link", name="Add images")).to_have_count(0)
    stranger = open_page("sven").request.get(address)
    assert stranger.status == 404


def test_the_worker_is_away_and_comes_back(
    open_page: Callable[..., Page], pictures: list[Path], site: Site
) -> None:
    """Labels wait for it, nothing is lost, and the page goes on by itself."""
    page = open_page()
    killed = site.cluster()
    assert killed
    for process in killed:
        process.kill()
    make_project(page, "Later", pictures[:6], LABELS)
    expect(tiles(page, "unreviewed")).to_have_count(6, timeout=60_000)


def test_it_works_without_script(open_page: Callable[..., Page], pictures: list[Path]) -> None:
    page = open_page(java_script_enabled=False)
    make_project(page, "Plain", pictures[:3], LABELS)
    expect(page.locator("main")).to_contain_text("3 added")
    address = page.url
    for _ in range(100):
        page.goto(address)
        if tiles(page, "unreviewed").count() == 3:
            break
        page.wait_for_timeout(300)
    page.locator(".tile-actions button[data-accept]").first.click()
    expect(tiles(page, "accepted")).to_have_count(1)
