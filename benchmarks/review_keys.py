"""From a key in review to the next picture on the screen, in a real browser on a site of its own.

    .venv/bin/python benchmarks/review_keys.py [--images 100] [--pace 0.25]

Accepts that many images by Enter, one every `pace` seconds, and prints how long it took from each key until
the next picture was decoded and handed to the screen. Exits with 1 where the middle one took 100 ms or more,
or where not every image was accepted.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, MAKE_USERS, answers, log_in
from tests.browser.test_keys import CLOCK, MAKE, NAMES
from tests.live import Site, free_port, wait_for

MOST = 100


def started(folder: Path, images: int) -> tuple[Site, int]:
    """A site with as many images that CLIP has labelled, and the id of their label set."""
    site, port = Site(folder), free_port()
    site.url = f"http://127.0.0.1:{port}"
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", MAKE_USERS)
    site.start("start", "--port", str(port))
    wait_for(lambda: answers(f"{site.url}/healthz"), 60, "the site does not answer")
    printed = site.manage("shell", "-v0", "-c", MAKE.format(count=images + 1, names=NAMES))
    label_set = int(printed.rpartition("ID ")[2])
    wait_for(lambda: site.value("SELECT count(*) FROM labeling_match") > images, 300, "not labelled")
    return site, label_set


def reviewed(page: Page, label_set: int, images: int, pace: float) -> list[float]:
    """The milliseconds from each key to its picture."""
    page.add_init_script(CLOCK)
    page.goto(f"/label-sets/{label_set}/review/")
    page.wait_for_load_state("networkidle")
    for number in range(images):
        due = time.perf_counter() + pace
        page.keyboard.press("Enter")
        page.wait_for_timeout(max(0, (due - time.perf_counter()) * 1000))
        wait_for(lambda drawn=number + 1: page.evaluate("times.length") >= drawn, 20, "no picture came")
    return sorted(page.evaluate("times"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.25)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipsite-benchmark-") as folder, sync_playwright() as playwright:
        site, label_set = started(Path(folder), args.images)
        try:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900}).new_page()
            log_in(page, "olga")
            times = reviewed(page, label_set, args.images, args.pace)
            accepted = "SELECT count(*) FROM labeling_annotation WHERE status = 'accepted'"
            wait_for(lambda: site.value(accepted) == args.images, 30, "not every image is accepted")
            browser.close()
        finally:
            site.kill_everything()
    median, p95 = statistics.median(times), times[int(len(times) * 0.95)]
    print(f"from key to picture, {len(times)} times: median {median:.0f} ms, 95th percentile {p95:.0f} ms")
    return int(median >= MOST)


if __name__ == "__main__":
    sys.exit(main())
