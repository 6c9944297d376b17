"""Labels from a file, by mouse and keyboard: chosen, seen, mapped, written, and taken back."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.live import Site

MAKE = """
from pathlib import Path
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import projects, uploads
from labeling import label_sets
from labeling.label_sets import LabelSpec

olga = User.objects.get(username="olga")
project = projects.create(olga, {name!r})
files = [ContentFile(Path(path).read_bytes(), Path(path).name) for path in {paths!r}]
uploads.add_images(project, olga, files)
print(project.slug, label_sets.create(project, olga, "Shapes", [LabelSpec("circle"), LabelSpec("square")]).pk)
"""


@pytest.fixture
def make(site: Site, pictures: list[Path]) -> Callable[[str], tuple[str, int]]:
    """`make(name)` is the slug of a project with six pictures, and the id of its labels."""

    def made(name: str) -> tuple[str, int]:
        paths = [str(path) for path in pictures[:6]]
        slug, pk = site.manage("shell", "-v0", "-c", MAKE.format(name=name, paths=paths)).split()
        return slug, int(pk)

    return made


def table(pictures: list[Path], *labels: str) -> dict[str, object]:
    lines = [f"{path.name},{label}" for path, label in zip(pictures, labels, strict=False)]
    content = "\n".join(["file_name,label", *lines, "missing.jpg,circle"])
    return {"name": "labels.csv", "mimeType": "text/csv", "buffer": content.encode()}


def reviews(site: Site, label_set: int) -> list[str]:
    sql = f"""SELECT l.name FROM labeling_annotation a JOIN labeling_label l ON l.id = a.label_id
              WHERE a.label_set_id = {label_set} AND a.source = 'import' ORDER BY a.image_id"""
    return [name for [name] in site.rows(sql)]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_table_is_shown_mapped_written_and_taken_back(
    width: int,
    open_page: Callable[..., Page],
    make: Callable[[str], tuple[str, int]],
    site: Site,
    pictures: list[Path],
) -> None:
    slug, label_set = make(f"Import {width}")
    page = open_page(viewport={"width": width, "height": 850})
    page.goto(f"/projects/{slug}/imports/?label_set={label_set}")
    page.get_by_label("A file of labels").set_input_files([table(pictures, "circle", "Squares", "moon")])
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_role("heading", name="4 rows in the file")).to_be_visible()
    expect(page.get_by_text("There is no image “missing.jpg” here.")).to_be_visible()
    assert reviews(site, label_set) == []
    # What is spelled nearly so is offered, and another is left out.
    expect(page.get_by_label("Squares")).to_have_value("=square")
    page.get_by_label("moon").select_option("left out")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("The labels are written.")).to_be_visible()
    assert reviews(site, label_set) == ["circle", "square"]
    page.get_by_role("link", name="What it did").click()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("document.body.innerText.match(/undone|taken back/i)")
    assert reviews(site, label_set) == []
    page.goto(f"/projects/{slug}/imports/")
    expect(page.get_by_role("link", name="labels.csv")).to_be_visible()


def test_the_gallery_shows_what_came_in_by_keyboard_alone(
    open_page: Callable[..., Page], make: Callable[[str], tuple[str, int]], pictures: list[Path]
) -> None:
    slug, label_set = make("By keys")
    page = open_page()
    page.goto(f"/projects/{slug}/imports/?label_set={label_set}")
    page.get_by_label("A file of labels").set_input_files([table(pictures, "circle", "square")])
    page.get_by_role("button", name="Show what it would do").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="3 rows in the file")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").strip() == "Import":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("The labels are written.")).to_be_visible()
    page.goto(f"/projects/{slug}/?label_set={label_set}&q=-status:unreviewed label:circle")
    expect(page.get_by_role("link", name=pictures[0].name).first).to_be_visible()
    expect(page.get_by_role("link", name=pictures[1].name)).to_have_count(0)


def test_the_folders_of_a_zip_become_labels(
    open_page: Callable[..., Page], make: Callable[[str], tuple[str, int]], site: Site, pictures: list[Path]
) -> None:
    slug, label_set = make("Folders")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, path in enumerate(pictures[:6]):
            archive.write(path, f"{('circle', 'square')[number % 2]}/{path.name}")
    page = open_page()
    page.goto(f"/projects/{slug}/imports/?label_set={label_set}")
    page.get_by_label("A file of labels").set_input_files(
        [{"name": "folders.zip", "mimeType": "application/zip", "buffer": out.getvalue()}]
    )
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_text("images would get a label")).to_be_visible()
    page.get_by_role("button", name="Drop it").click()
    expect(page.get_by_text("This import was dropped. No label was changed.")).to_be_visible()
    page.goto(f"/uploads/{site.value('SELECT max(id) FROM gallery_upload')}/")
    page.get_by_label("Label set").select_option("Shapes")
    page.get_by_role("button", name="Use the folders as labels").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("The labels are written.")).to_be_visible()
    assert reviews(site, label_set) == ["circle", "square"] * 3


def test_what_is_wrong_with_a_file_is_said_beside_it(
    open_page: Callable[..., Page], make: Callable[[str], tuple[str, int]]
) -> None:
    slug, _ = make("Wrong")
    page = open_page()
    page.goto(f"/projects/{slug}/imports/")
    wrong = {"name": "x.bin", "mimeType": "application/octet-stream", "buffer": b"\0\1\2"}
    page.get_by_label("A file of labels").set_input_files([wrong])
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_text("Choose its format.")).to_be_visible()
