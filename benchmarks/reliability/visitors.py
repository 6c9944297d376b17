"""People and programs at a live site in a temporary folder: what the benchmarks of the web side share."""

import io
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
# A kept connection may be closed by the server at the very moment when it is used again. Browsers then ask
# once more; this client would call it an error.
ONE_EACH = {"Connection": "close"}


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
        self.headers.update(ONE_EACH)
        self.api = f"{site.url}/api/v1/"
        self.headers["Authorization"] = f"Token {token_of(site, name)}"

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        return super().request(method, f"{self.api}{path}", timeout=PATIENCE, **options)


class Visitor(requests.Session):
    """A person who is logged in on the pages; `path` begins with a slash."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__()
        self.headers.update(ONE_EACH)
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


class Notes:
    """What visitors asked for, how long the answers took, and what was wrong with them."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[str] = Counter()
        self.troubles: list[str] = []

    def ask(self, what: str, ask: Callable[..., requests.Response], *args: object, **options: object) -> Any:
        began = time.perf_counter()
        answer = ask(*args, **options)
        self.taken[what].append(1000 * (time.perf_counter() - began))
        self.statuses[f"{what} {answer.status_code}"] += 1
        # The beginning is enough: exports with pictures are large.
        if answer.status_code >= 500 or b"database is locked" in answer.content[:100_000]:
            self.troubles.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        return answer

    def tell(self) -> None:
        for what, taken in sorted(self.taken.items()):
            half, most = percentile(taken, 0.5), percentile(taken, 0.95)
            print(f"{what:>24}: {len(taken):6,}, half in {half:5.0f} ms, 95 of 100 in {most:5.0f} ms")
        print(", ".join(f"{count} × {what}" for what, count in sorted(self.statuses.items())))
        print(*self.troubles[:10], sep="\n")


def together(seconds: float, jobs: Sequence[Callable[[threading.Event], object]]) -> None:
    """Have all jobs at it for so long; each is told when it is over. Raises what one of them raised."""
    over = threading.Event()
    with ThreadPoolExecutor(len(jobs)) as threads:
        running = [threads.submit(job, over) for job in jobs]
        wait(running, seconds, FIRST_EXCEPTION)
        over.set()
        for job in running:
            job.result()


def verdict(held: bool) -> int:
    """Say whether the bar holds, and return the exit status for it."""
    print("the bar holds" if held else "THE BAR IS MISSED", flush=True)
    return int(not held)
