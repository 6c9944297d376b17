"""A client of clipsite: upload a folder, wait until CLIP has labelled it, download the labels.

    from clipsite_client import Client

    site = Client("http://127.0.0.1:8000", token="…")
    pets = site.project("Pets")
    animals = site.label_set(pets, "Animals", ["cat", "dog"])
    site.upload(pets, "photos/")
    site.wait(animals)
    site.export(animals, "labels.csv", include="suggested")

Everything can be repeated: a picture that is there already is not added again.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".zip"}
# The most files and bytes that are sent in one request.
MOST_FILES, MOST_BYTES = 50, 32 * 1024**2
RETRIED = {429, 502, 503, 504}
TRIES, FIRST_WAIT, LONGEST_WAIT = 6, 0.5, 30.0
DONE, SOME_LEFT, USAGE, UNREACHED = 0, 1, 2, 3


class Refused(Exception):
    """The site's answer to what it did not do, with its HTTP status; 0 where there was no answer."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


@dataclass
class Uploaded:
    """What became of the files of an upload."""

    added: int = 0
    duplicates: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # name, reason


class Client:
    """A site and a token for it. Threads may share it."""

    def __init__(self, url: str, token: str, timeout: float = 120) -> None:
        self.http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/",
            headers={"Authorization": f"Token {token}"},
            timeout=timeout,
        )

    @classmethod
    def login(cls, url: str, username: str, password: str, name: str = "clipsite client") -> "Client":
        """A client with a new token, which works for 90 days. Raises Refused."""
        said = {"username": username, "password": password, "name": name}
        anonymous = cls(url, "")
        del anonymous.http.headers["Authorization"]
        return cls(url, anonymous._ask("POST", "token/", json=said)["token"])

    # What a site has

    def project(self, name: str) -> str:
        """The slug of the project of this name, made where it isn't there. Raises Refused."""
        for project in self._all("projects/"):
            if project["name"] == name:
                return project["slug"]
        return self._ask("POST", "projects/", json={"name": name})["slug"]

    def label_set(
        self, project: str, name: str, labels: Sequence[str], templates: Sequence[str] | None = None
    ) -> int:
        """The id of the label set of this name, made, or changed to these labels. Raises Refused."""
        said: dict[str, Any] = {"name": name, "labels": [{"name": label} for label in labels]}
        if templates:
            said["templates"] = list(templates)
        for there in self._all(f"projects/{project}/label-sets/"):
            if there["name"] == name:
                if [label["name"] for label in there["labels"]] != list(labels):
                    self._ask("PATCH", f"label-sets/{there['id']}/", json=said)
                return there["id"]
        return self._ask("POST", f"projects/{project}/label-sets/", json=said)["id"]

    def upload(self, project: str, files: str | Path | Iterable[str | Path], workers: int = 4) -> Uploaded:
        """Send the pictures and ZIPs of a folder, however deep, or these files; `workers` requests at a time.

        Raises Refused where the site can't be reached, or takes nothing more in.
        """
        pairs = list(_pictures(files))
        done = Uploaded()
        with ThreadPoolExecutor(workers) as pool, tqdm(None, "Upload", len(pairs), disable=None) as bar:
            sent = {pool.submit(self._send, project, some): len(some) for some in _requests(pairs)}
            try:
                for future in as_completed(sent):
                    _add(done, future.result())
                    bar.update(sent[future])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return done

    def wait(self, label_set: int, every: float = 1.0) -> dict[str, Any]:
        """The newest run of a label set, once it has come to all images. Raises Refused where it fails."""
        with tqdm(None, "CLIP", disable=None) as bar:
            while True:
                newest = self._ask("GET", f"label-sets/{label_set}/")["run"]
                run = self._ask("GET", f"runs/{newest['id']}/") if newest else {"state": "queued", "total": 0}
                bar.total = run["total"]
                bar.update(run.get("done", 0) - bar.n)
                if run["state"] in ("failed", "cancelled"):
                    raise Refused(0, f"The run is {run['state']}. {run.get('error', '')}".strip())
                if run["state"] == "done" and run["done"] + run["failed"] >= run["total"]:
                    return run
                time.sleep(every)

    def export(self, label_set: int, path: str | Path, **params: Any) -> Path:
        """Download an export to `path`, whole or not at all. `params`: format, q, images, … as in the API's
        reference. Raises Refused."""
        path = Path(path)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
            try:
                self._retried(lambda: self._download(label_set, params, out))
                os.replace(out.name, path)
            except BaseException:
                os.unlink(out.name)
                raise
        return path

    def import_labels(
        self, label_set: int, path: str | Path, format: str = "", every: float = 1.0
    ) -> dict[str, Any]:
        """Import a file of labels, or a ZIP of pictures and labels: what was made of it. Raises Refused."""
        data = {"confirm": "true"} | ({"format": format} if format else {})
        with Path(path).open("rb") as file:
            files = {"file": (Path(path).name, file)}
            row = self._ask("POST", f"label-sets/{label_set}/import/", data=data, files=files)
        while row["state"] in ("queued", "running"):
            time.sleep(every)
            row = self._ask("GET", f"imports/{row['id']}/")
        if row["state"] != "done":
            raise Refused(0, row["error"] or "The import was dropped.")
        return row

    # How it is asked

    def _send(self, project: str, some: Sequence[tuple[str, Path]]) -> dict[str, Any]:
        with ExitStack() as stack:
            files = [("files", (path.name, stack.enter_context(path.open("rb")))) for _, path in some]
            paths = {"paths": [name for name, _ in some]}
            return self._ask("POST", f"projects/{project}/images/", data=paths, files=files)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        # The same for each try, so that what was done before an answer was lost is not done twice.
        headers = {} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}

        def once() -> httpx.Response:
            for _, (_, file) in content.get("files", ()) if isinstance(content.get("files"), list) else ():
                file.seek(0)
            return self.http.request(method, path, headers=headers, **content)

        response = self._retried(once)
        body = response.json() if response.content else {}
        # Files that were refused, each with its reason, are an answer like any other.
        if response.is_error and not (isinstance(body, dict) and "refused" in body):
            raise Refused(response.status_code, _sentence(body))
        return body

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        page = self._ask("GET", path)
        while True:
            yield from page["results"]
            if not page["next"]:
                return
            page = self._ask("GET", page["next"])

    def _download(self, label_set: int, params: dict[str, Any], out: Any) -> httpx.Response:
        out.seek(0)
        out.truncate()
        with self.http.stream("GET", f"label-sets/{label_set}/export/", params=params) as response:
            if response.status_code in RETRIED:
                return response
            if response.is_error:
                response.read()
                raise Refused(response.status_code, _sentence(response.json()))
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(None, "Export", total, unit="B", unit_scale=True, disable=None) as bar:
                for part in response.iter_bytes():
                    out.write(part)
                    bar.update(len(part))
        out.flush()
        return response

    def _retried(self, once: Callable[[], httpx.Response]) -> httpx.Response:
        """The first answer that isn't a wait, or the last one. Raises Refused where there is none."""
        for attempt in range(1, TRIES + 1):
            try:
                response = once()
                if response.status_code not in RETRIED or attempt == TRIES:
                    return response
                asked = response.headers.get("Retry-After", "")
            except httpx.TransportError as error:
                if attempt == TRIES:
                    raise Refused(0, f"The site can't be reached: {error}") from error
                asked = ""
            wait = float(asked) if asked.isdecimal() else FIRST_WAIT * 2**attempt * random.uniform(0.5, 1)
            time.sleep(min(wait, LONGEST_WAIT))
        raise AssertionError("the last try returns or raises")


def _sentence(body: Any) -> str:
    return str(body.get("detail") or body) if isinstance(body, dict) else str(body)


def _pictures(files: str | Path | Iterable[str | Path]) -> Iterator[tuple[str, Path]]:
    """The name and place of each picture: in a folder, by its path in there."""
    if isinstance(files, str | Path) and (folder := Path(files)).is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() in SUFFIXES:
                yield path.relative_to(folder).as_posix(), path
        return
    for path in [files] if isinstance(files, str | Path) else files:
        yield Path(path).name, Path(path)


def _requests(pairs: Iterable[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """As many files as go in one request; a ZIP goes by itself."""
    some: list[tuple[str, Path]] = []
    size = 0
    for name, path in pairs:
        more = path.stat().st_size
        alone = path.suffix.lower() == ".zip"
        if some and (alone or len(some) == MOST_FILES or size + more > MOST_BYTES):
            yield some
            some, size = [], 0
        some.append((name, path))
        size += MOST_BYTES if alone else more
    if some:
        yield some


def _add(done: Uploaded, answer: dict[str, Any]) -> None:
    done.added += len(answer["added"])
    done.duplicates += len(answer["duplicates"])
    done.refused += [(each["name"], each["reason"]) for each in answer["refused"]]


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Exits with 0 where all is done, 1 where some files were refused or not labelled, 2 where it was not
    asked for rightly, 3 where the site can't be reached, or refused."""
    options = _parser().parse_args(arguments)
    if not options.token:
        print("Give a token: --token, or CLIPSITE_TOKEN in the environment.", file=sys.stderr)
        return USAGE
    if not options.folder.exists():
        print(f"There is no {options.folder}.", file=sys.stderr)
        return USAGE
    try:
        return _label(Client(options.url, options.token), options)
    except Refused as error:
        print(error, file=sys.stderr)
        return UNREACHED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("clipsite", description="Have the pictures of a folder labelled.")
    commands = parser.add_subparsers(required=True)
    label = commands.add_parser("label", help=main.__doc__)
    label.add_argument("folder", type=Path)
    label.add_argument("--labels", required=True, help='With commas between: "cat, dog".')
    label.add_argument("--project", help="Its name; else the folder's.")
    label.add_argument("--out", type=Path, default=Path("labels.csv"))
    label.add_argument("--format", default="csv")
    label.add_argument("--workers", type=int, default=4, help="Requests at a time.")
    label.add_argument("--url", default=os.environ.get("CLIPSITE_URL", "http://127.0.0.1:8000"))
    label.add_argument("--token", default=os.environ.get("CLIPSITE_TOKEN", ""))
    label.add_argument("--json", action="store_true", help="Say what came of it as JSON, on one line.")
    return parser


def _label(site: Client, options: argparse.Namespace) -> int:
    project = site.project(options.project or options.folder.resolve().name)
    labels = [label.strip() for label in options.labels.split(",") if label.strip()]
    label_set = site.label_set(project, "Labels", labels)
    uploaded = site.upload(project, options.folder, options.workers)
    run = site.wait(label_set)
    site.export(label_set, options.out, format=options.format, include="suggested")
    said = {"project": project, "label_set": label_set, "run": run["id"], "failed": run["failed"]}
    if options.json:
        print(json.dumps(said | asdict(uploaded) | {"out": str(options.out)}, ensure_ascii=False))
    else:
        print(f"{uploaded.added} added, {uploaded.duplicates} there already. Labels are in {options.out}.")
    for name, reason in uploaded.refused:
        print(f"{name}: {reason}", file=sys.stderr)
    return SOME_LEFT if uploaded.refused or run["failed"] else DONE


if __name__ == "__main__":
    sys.exit(main())
