"""People and programs at a live site in a temporary folder: what the benchmarks of the web side share."""

import io
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import requests

from labeling.starter import drawing
from tests.live import Site, free_port, wait_for

PASSWORD = "of-a-visitor-1"
MAKE_USERS = """
from django.contrib.auth.models import User
for name in {names}:
    User.objects.create_user(name, password={password!r})
"""
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
# No honest answer takes longer; a request that does counts as failed.
PATIENCE = 60


@contextmanager
def live_site(*names: str, data_dir: Path | None = None) -> Iterator[Site]:
    """A migrated site with these users, not started yet. All its processes and files are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="clipsite-reliability-") as folder:
        site = Site(data_dir or Path(folder))
        site.manage("migrate", "-v0")
        site.manage("shell", "-v0", "-c", MAKE_USERS.format(names=names, password=PASSWORD))
        try:
            yield site
        finally:
            site.kill_everything()


def open_site(site: Site) -> None:
    """Start web and worker as `manage.py start` does, at a free port, and wait until they answer."""
    port = free_port()
    site.url = f"http://127.0.0.1:{port}"
    site.start("start", "--port", str(port))
    wait_for(lambda: answers(site), 60, "the site does not answer")


def answers(site: Site) -> bool:
    try:
        return requests.get(f"{site.url}/healthz", timeout=2).ok
    except requests.RequestException:
        return False


def token_of(site: Site, name: str) -> str:
    body = {"username": name, "password": PASSWORD}
    answer = requests.post(f"{site.url}/api/v1/token/", json=body, timeout=PATIENCE)
    answer.raise_for_status()
    return answer.json()["token"]


class Program(requests.Session):
    """A client of the API; `path` is what follows /api/v1/."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__()
        self.api = f"{site.url}/api/v1/"
        self.headers["Authorization"] = f"Token {token_of(site, name)}"

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        return super().request(method, f"{self.api}{path}", timeout=PATIENCE, **options)


class Visitor(requests.Session):
    """A person who is logged in on the pages; `path` begins with a slash."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__()
        self.site, self.name = site.url, name

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        # A redirect brings a whole address.
        url = path if path.startswith("http") else f"{self.site}{path}"
        return super().request(method, url, timeout=PATIENCE, **options)

    def log_in(self) -> requests.Response:
        form = self.get("/accounts/login/")
        body = {"login": self.name, "password": PASSWORD, "csrfmiddlewaretoken": CSRF.search(form.text)[1]}
        return self.post("/accounts/login/", data=body)

    def submit(self, path: str, body: dict[str, object]) -> requests.Response:
        """Post a form as the page's script does."""
        headers = {"X-CSRFToken": self.cookies["csrftoken"], "HX-Request": "true"}
        return self.post(path, data=body, headers=headers)


def pictures(seed: int, count: int, side: int = 320) -> Iterator[tuple[str, bytes]]:
    """Name and JPEG of `count` drawn pictures, no two alike."""
    rng = random.Random(seed)
    for number in range(count):
        out = io.BytesIO()
        drawing.draw(drawing.random_drawing(rng), rng, side).save(out, "JPEG", quality=88)
        yield f"{seed}-{number:05}.jpg", out.getvalue()


def percentile(taken: Sequence[float], part: float) -> float:
    """The time that this part of all stays within."""
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * part))]


def log_of(site: Site) -> str:
    return (site.data_dir / "log.txt").read_text(errors="replace")


def until(seconds: float) -> Iterator[float]:
    """The seconds that have passed, again and again until so many have."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        yield passed


def verdict(held: bool) -> int:
    """Say whether the bar holds, and return the exit status for it."""
    print("the bar holds" if held else "THE BAR IS MISSED", flush=True)
    return int(not held)
