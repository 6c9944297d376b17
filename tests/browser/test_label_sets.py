"""Label sets in and out by the pages: a ready set fills the form, a downloaded file makes the same again."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect


def fill(page: Page, name: str) -> None:
    page.get_by_label("Start from a ready set").select_option(label=name)
    page.get_by_role("button", name="Fill the form").click()


def test_a_ready_set_fills_the_labels_and_leaves_the_rest(
    open_page: Callable[..., Page], pictures: list[Path]
) -> None:
    page = open_page()
    page.goto("/projects/new/")
    page.get_by_label("Name").fill("Small pictures")
    page.locator("#id_files").set_input_files(pictures[:2])
    expect(page.get_by_text("2 files")).to_be_visible()
    fill(page, "CIFAR-10 (10 labels)")
    labels = page.get_by_label("Labels", exact=True)
    expect(labels).to_have_value(re.compile(r"^airplane: .*\ntruck: .*$", re.DOTALL))
    expect(page.get_by_label("Name")).to_have_value("Small pictures")
    expect(page.get_by_text("2 files")).to_be_visible()
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading", name="Small pictures")).to_be_visible()
    expect(page.locator("img[id^=thumbnail]")).to_have_count(2)


def test_what_was_downloaded_makes_the_same_label_set(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    page.goto("/projects/new/?ready=quality")
    page.get_by_label("Name").fill("Quality")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading", name="Quality", exact=True)).to_be_visible()
    page.goto("/projects/quality/label-sets/new/")
    first = page.get_by_role("navigation", name="Label sets").get_by_role("link", name="Quality checks")
    first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "quality-quality-checks-labels.json"
    page.goto("/projects/quality/label-sets/new/")
    page.get_by_label("Or a file").set_input_files(path)
    expect(page.get_by_role("heading", name="CLIP is asked about “sharp”")).to_be_visible()
    page.get_by_role("button", name="Make the label set").click()
    page.goto("/projects/quality/label-sets/new/")
    made = page.get_by_role("navigation", name="Label sets").get_by_role("link", name="Quality checks")
    expect(made).to_have_count(2)


def test_the_form_of_a_label_set_is_filled_with_and_without_script(open_page: Callable[..., Page]) -> None:
    for options in ({}, {"java_script_enabled": False}):
        page = open_page(**options)
        page.goto("/projects/new/")
        page.get_by_label("Name").fill("Scenes")
        page.get_by_label("Labels", exact=True).fill("cat\ndog")
        page.get_by_role("button", name="Go").click()
        expect(page.get_by_role("heading", name="Scenes")).to_be_visible()
        page.goto("/projects/scenes/label-sets/new/")
        fill(page, "Scenes (33 labels)")
        expect(page.get_by_label("Name")).to_have_value("Scenes")
        expect(page.get_by_label("Prompt templates")).to_have_value(re.compile("a wide view of a {label}."))
        expect(page.get_by_role("heading", name="CLIP is asked about “beach”")).to_be_visible()
