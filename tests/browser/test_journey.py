"""The main job as a person does it: a project, files, labels that come, corrections by key, an export."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import COLOURS, SHAPES
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
    page.locator(".tile-picture").first.focus()
    page.keyboard.press("Enter")
    expect(tiles(page, "accepted")).to_have_count(1)
    page.keyboard.press("2")
    expect(tiles(page, "corrected").or_(tiles(page, "accepted"))).to_have_count(2)
    page.keyboard.press("n")
    expect(tiles(page, "none")).to_have_count(1)
    page.keyboard.press("u")
    expect(tiles(page, "none")).to_have_count(0)
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
    assert len(rows) == 2
    assert {row["source"] for row in rows} == {"human"} and {row["decided_by"] for row in rows} == {"olga"}
    accepted = [row for row in rows if row["status"] == "accepted"]
    assert all(row["file_name"].startswith(row["label"]) for row in accepted) and accepted


def test_one_by_one_least_certain_first_to_the_end(
    open_page: Callable[..., Page], pictures: list[Path]
) -> None:
    page = open_page()
    make_project(page, "One by one", pictures[:4], LABELS)
    expect(tiles(page, "unreviewed")).to_have_count(4, timeout=60_000)
    page.get_by_role("link", name=re.compile("Review")).first.click()
    for key in ("Enter", "1", "n", "Enter"):
        shown = page.locator(".stage img").get_attribute("src")
        page.keyboard.press(key)
        expect(page.locator(f'.stage img[src="{shown}"]')).to_have_count(0)
    expect(page.locator("main")).to_contain_text(re.compile("All 4 images", re.I))


def test_a_member_sees_the_project_and_a_stranger_does_not(
    open_page: Callable[..., Page], pictures: list[Path]
) -> None:
    page = open_page()
    make_project(page, "Ours", pictures[:2], LABELS)
    address = page.url
    page.get_by_role("link", name="Members").click()
    page.get_by_label("Username").fill("vera")
    page.get_by_label("Role", exact=True).select_option("viewer")
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
    killed = [process for process in site.processes() if "qcluster" in " ".join(process.cmdline())]
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
