"""Pictures with known labels through the whole journey, by the API and in a browser, on a site of its own.

    .venv/bin/python benchmarks/journey.py FOLDER [--each 200] [--labels 8]

FOLDER has a folder of pictures for each label, named by it. The site starts anew in a temporary folder, with
web server and worker as `manage.py start` runs them. Prints how long each step took, and how many suggestions
were right; exits with 1 where a picture was lost or refused, or an answer or a page had an error.
"""

import argparse
import csv
import io
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import requests
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, PASSWORD, log_in
from tests.live import Site, free_port, wait_for

MAKE_USER = (
    f"from django.contrib.auth.models import User; User.objects.create_user('ida', password='{PASSWORD}')"
)
AT_ONCE = 100
REVIEWED = 50


@contextmanager
def step(name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{name:>44}: {time.perf_counter() - began:6.1f} s", flush=True)


def asked(answer: requests.Response) -> requests.Response:
    assert answer.ok, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:300]}"
    return answer


def by_api(site: Site, files: list[Path], labels: list[str]) -> None:
    url, api = f"{site.url}/api/v1", requests.Session()
    token = asked(api.post(f"{url}/token/", json={"username": "ida", "password": PASSWORD})).json()["token"]
    api.headers["Authorization"] = f"Token {token}"
    project = asked(api.post(f"{url}/projects/", json={"name": "By API"})).json()["slug"]
    body: dict[str, int] = {}
    with step(f"API: {len(files):,} pictures sent"):
        for start in range(0, len(files), AT_ONCE):
            some = [("files", (name(file), file.read_bytes())) for file in files[start : start + AT_ONCE]]
            said = asked(api.post(f"{url}/projects/{project}/images/", files=some, data=body)).json()
            assert not said["refused"], said["refused"]
            body = {"upload": said["upload"]}
    kept = asked(api.get(f"{url}/uploads/{body['upload']}/")).json()
    assert kept["added"] + kept["duplicates"] == len(files), kept
    with step("API: labelled"):
        body = {"name": "Things", "labels": [{"name": label} for label in labels]}
        label_set = asked(api.post(f"{url}/projects/{project}/label-sets/", json=body)).json()
        while (run := asked(api.get(f"{url}/runs/{label_set['run']['id']}/")).json())["state"] != "done":
            assert run["state"] in ("queued", "running"), run
            time.sleep(0.2)
    assert (run["done"], run["failed"]) == (kept["added"], 0), run
    here = f"{url}/label-sets/{label_set['id']}"
    with step(f"API: {REVIEWED} least certain reviewed, and undone"):
        page = asked(api.get(f"{here}/matches/?ordering=probability&page_size={REVIEWED}")).json()
        ids = {label["name"]: label["id"] for label in label_set["labels"]}
        reviews = [
            {"image": match["image"], "label": ids[truth(match["file_name"])], "verdict": "corrected"}
            for match in page["results"]
        ]
        batch = asked(api.post(f"{here}/reviews/", json={"reviews": reviews})).json()["batch"]
        exported = asked(api.get(f"{here}/export/?format=jsonl")).text.splitlines()
        assert len(exported) == len(reviews)
        undone = asked(api.post(f"{here}/reviews/undo/", json={"batch": batch})).json()
        assert len(undone["undone"]) == len(reviews)
    with step("API: all exported, with the pictures"):
        rows = asked(api.get(f"{here}/export/?format=csv&include=suggested")).text
        asked(api.get(f"{here}/export/?format=csv&include=suggested&images=1"))
    report(rows, kept["added"])


def in_browser(site: Site, files: list[Path], labels: list[str]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=site.url, accept_downloads=True)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda answer: errors.append(answer.url) if answer.status >= 400 else None)
        log_in(page, "ida")
        page.goto("/projects/new/")
        page.get_by_label("Name").fill("In the browser")
        page.locator("#id_files").set_input_files(files)
        page.get_by_label("Labels").fill("\n".join(labels))
        with step(f"browser: {len(files):,} pictures, until the gallery opens"):
            page.get_by_role("button", name="Go").click()
            page.wait_for_url(re.compile(r"/projects/(?!new)"))
        with step("browser: sent"):
            page.get_by_role("heading", name="Upload finished").wait_for(timeout=1_200_000)
        kept = int(
            re.search(r"([\d,]+) added", page.locator("#upload-tray").inner_text())[1].replace(",", "")
        )
        with step("browser: the last label shown"):
            page.locator("#progress").get_by_text(f"{kept:,} images labelled").wait_for(timeout=1_200_000)
        page.keyboard.press("Escape")
        with step("browser: 10 accepted by key"):
            page.keyboard.press("ArrowRight")
            for number in range(10):
                page.keyboard.press("Enter")
                page.locator(".tile.state-accepted").nth(number).wait_for()
        page.locator("button").filter(has_text="Export").first.click()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").or_(page.get_by_role("link", name="CSV")).first.click()
        assert len(Path(download.value.path()).read_text().splitlines()) == 11
        assert not errors, errors
        browser.close()


def name(file: Path) -> str:
    return f"{file.parent.name} {file.name}"


def truth(file_name: str) -> str:
    return file_name.rpartition(" ")[0]


def report(rows: str, kept: int) -> None:
    found = list(csv.DictReader(io.StringIO(rows)))
    assert len(found) == kept
    right = sum(truth(row["file_name"]) == row["suggested_label"] for row in found)
    print(f"{right:,} of {kept:,} suggestions are right, by {found[0]['model']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=200, help="At most so many pictures of a label.")
    parser.add_argument("--labels", type=int, default=10, help="At most so many labels, the first by name.")
    options = parser.parse_args()
    folders = sorted(path for path in options.folder.iterdir() if path.is_dir())[: options.labels]
    files = [file for folder in folders for file in sorted(folder.iterdir())[: options.each]]
    labels = [folder.name for folder in folders]
    with tempfile.TemporaryDirectory(prefix="clipsite-journey-") as data_dir:
        site, port = Site(Path(data_dir)), free_port()
        site.url = f"http://127.0.0.1:{port}"
        site.manage("migrate", "-v0")
        site.manage("shell", "-v0", "-c", MAKE_USER)
        site.start("start", "--port", str(port))
        log = Path(data_dir, "log.txt")
        wait_for(lambda: "clipsite is at" in log.read_text(), 60, "the site does not answer")
        try:
            by_api(site, files, labels)
            in_browser(site, files, labels)
        finally:
            site.kill_everything()
        assert "Traceback" not in log.read_text(), log.read_text()
    return 0


if __name__ == "__main__":
    sys.exit(main())
