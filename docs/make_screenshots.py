"""Makes the README's screenshots from the real thing: a fresh demo, served, looked at with Chromium.

.venv/bin/python docs/make_screenshots.py
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright

from tests.live import Site, free_port, wait_for

PASSWORD = re.compile(r"password: (\S+)")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        password = PASSWORD.search(site.manage("demo")).group(1)
        port = free_port()
        site.start("start", "--port", str(port))
        wait_for(lambda: "is at http" in (site.data_dir / "log.txt").read_text(), 60, "no site")
        try:
            look(f"http://127.0.0.1:{port}", password)
        finally:
            site.kill_everything()


def look(url: str, password: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(base_url=url, viewport={"width": 1280, "height": 800})
        page.goto("/accounts/login/")
        page.get_by_label("Username").fill("demo")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        page.goto("/projects/drawn-shapes/?ordering=probability")
        page.locator(".tile-picture").first.focus()
        for key in ("Enter", "Enter", "n"):
            page.keyboard.press(key)
            page.wait_for_load_state("networkidle")
        page.goto("/projects/drawn-shapes/?ordering=probability")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs" / "gallery.png")
        page.get_by_role("link", name="Review by class").click()
        page.locator(".class-row a").first.click()
        page.locator(".pick").first.wait_for()
        for key in ("ArrowRight", "ArrowRight", "x", "ArrowRight", "ArrowRight", "x"):
            page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs" / "classes.png")
        page.goto("/projects/drawn-shapes/")
        page.get_by_role("link", name=re.compile(r"^Review \d")).click()
        page.locator(".stage img").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs" / "review.png")
        page.goto("/projects/drawn-shapes/?q=red - circle")
        page.locator(".find-bars").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs" / "search.png")
        page.goto("/projects/drawn-shapes/map/")
        page.get_by_role("button", name="Draw the map").click()
        page.get_by_text("120 images on the map.").wait_for()
        page.wait_for_load_state("networkidle")
        page.locator("#map").screenshot(path=ROOT / "docs" / "map.png")


if __name__ == "__main__":
    main()
