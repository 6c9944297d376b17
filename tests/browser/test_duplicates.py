"""Near-duplicates in a browser: found by themselves, decided about by keys alone, undone, brought back."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
from playwright.sync_api import Page, expect

from tests.browser.test_journey import make_project
from tests.live import Site, wait_for

SEARCH = (
    "SELECT count(*) FROM labeling_duplicatesearch AS search "
    "JOIN gallery_project AS project ON project.id = search.project_id "
    "WHERE project.slug = 'twins' AND search.state = 'done'"
)
PAIRS = (
    "SELECT count(*) FROM labeling_nearduplicate AS pair "
    "JOIN gallery_project AS project ON project.id = pair.project_id WHERE project.slug = 'twins'"
)


def test_a_copy_is_found_set_aside_by_keys_and_brought_back(
    open_page: Callable[..., Page], site: Site, pictures: list[Path], tmp_path: Path
) -> None:
    small = tmp_path / "small copy.jpg"
    with PIL.Image.open(pictures[0]) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(small, quality=80)
    page = open_page()
    make_project(page, "Twins", [pictures[0], pictures[1], small], ["red circle", "blue square"])
    wait_for(lambda: site.value(PAIRS) == 1, 90, "the copy is not found")

    page.goto("/projects/twins/duplicates/")
    expect(page.locator(".twin")).to_have_count(2)
    best = page.get_by_role("checkbox", name=f"Keep {pictures[0].name}")
    expect(best).to_be_checked()
    expect(page.get_by_role("checkbox", name="Keep small copy.jpg")).not_to_be_checked()
    best.focus()
    for _ in range(3):  # past the other picture and its box, to the button
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Keep the chosen")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Kept 1, set 1 aside.")).to_be_visible()
    expect(page.locator(".twin")).to_have_count(0)
    page.goto("/projects/twins/")
    expect(page.locator(".tile")).to_have_count(2)

    page.goto("/projects/twins/set-aside/")
    page.get_by_role("button", name="Bring back small copy.jpg").press("Enter")
    expect(page.get_by_text("1 image is back in the project.")).to_be_visible()
    page.goto("/projects/twins/")
    expect(page.locator(".tile")).to_have_count(3)

    page.goto("/projects/twins/duplicates/")
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.locator(".twin")).to_have_count(2)
    page.get_by_role("button", name="Keep all").press("Enter")
    expect(page.get_by_text("All 2 are kept")).to_be_visible()
    page.get_by_role("button", name="Look for near-duplicates").click()
    wait_for(lambda: site.value(SEARCH) == 1, 60, "the search does not end")
    page.goto("/projects/twins/duplicates/")
    expect(page.locator(".twin")).to_have_count(0)
