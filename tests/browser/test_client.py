"""The stand-alone client in `client/`: its whole journey against a live site, and past one that fails."""

import csv
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import PASSWORD
from tests.live import ROOT, Site

sys.path.append(str(ROOT / "client"))
import clipsite_client
from clipsite_client import Client, Refused

LABELS = ["red circle", "red square", "blue circle", "blue square", "green circle", "green square"]


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    return Client.login(site.url, "olga", PASSWORD)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipsite_client, "FIRST_WAIT", 0.01)


def command(site: Site, client: Client, *args: object) -> subprocess.CompletedProcess[str]:
    token = client.http.headers["Authorization"].removeprefix("Token ")
    environment = {"CLIPSITE_URL": site.url, "CLIPSITE_TOKEN": token, "PATH": ""}
    program = [sys.executable, str(ROOT / "client" / "clipsite_client.py"), *map(str, args)]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=200)


def test_a_folder_goes_in_and_its_labels_come_out(
    site: Site, client: Client, pictures: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "shapes"
    (folder / "deep").mkdir(parents=True)
    for path in pictures:
        (folder / "deep" / path.name).write_bytes(path.read_bytes())
    (folder / "rubbish.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    out = tmp_path / "labels.jsonl"
    labels = ", ".join(LABELS)
    done = command(
        site, client, "label", folder, "--labels", labels, "--out", out, "--format", "jsonl", "--json"
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("rubbish.jpg: Not an image")
    said = json.loads(done.stdout)
    assert said["added"] == len(pictures) and [name for name, _ in said["refused"]] == ["rubbish.jpg"]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["file_name"] for row in rows} == {f"deep/{path.name}" for path in pictures}
    right = [row for row in rows if row["file_name"].startswith(f"deep/{row['label']} ")]
    assert len(right) > len(rows) * 0.8

    (folder / "rubbish.jpg").unlink()
    again = command(site, client, "label", folder, "--labels", labels, "--out", out, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["added"] == 0, "the same folder again adds nothing"
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == len(pictures)


def test_corrections_come_back_in(client: Client, pictures: list[Path], tmp_path: Path) -> None:
    project = client.project("Corrected")
    labels = client.label_set(project, "Labels", LABELS)
    assert client.upload(project, pictures[:3]).added == 3
    client.wait(labels)
    table = tmp_path / "labels.csv"
    table.write_text(f"file_name,label\n{pictures[0].name},blue square\n")
    assert client.import_labels(labels, table)["report"]["written"] == 1
    client.export(labels, table)
    [row] = csv.DictReader(table.read_text().splitlines())
    assert (row["label"], row["source"]) == ("blue square", "import")
    assert client.project("Corrected") == project and client.label_set(project, "Labels", LABELS) == labels


def test_what_the_site_refuses_is_said_and_leaves_no_file(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        client.export(10**9, tmp_path / "x.csv")
    assert raised.value.status == 404
    with pytest.raises(Refused) as raised:
        client.label_set(client.project("Corrected"), "One", ["only"])
    assert raised.value.status == 400 and "two labels" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_exit_codes(site: Site, client: Client, tmp_path: Path) -> None:
    assert command(site, client, "label", tmp_path / "nope", "--labels", "a, b").returncode == 2
    assert command(site, client, "label").returncode == 2
    wrong = Client(site.url, "wrong")
    refused = command(site, wrong, "label", tmp_path, "--labels", "a, b")
    assert refused.returncode == 3 and refused.stderr.count("\n") == 1, "one sentence, no traceback"


class Flaky(BaseHTTPRequestHandler):
    """Fails the first tries of each request: with 503 and a Retry-After, then by hanging up."""

    tries: dict[str, int]
    keys: dict[str, set[str]]
    site: str

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = self.tries[self.path] = self.tries.get(self.path, 0) + 1
        if key := self.headers.get("Idempotency-Key"):
            self.keys.setdefault(self.path, set()).add(key)
        if number == 1:
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif number == 2:
            self.close_connection = True
            self.connection.close()
        else:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            answer = httpx.request(
                self.command, self.site + self.path, headers=kept, content=body, timeout=60
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    do_GET = do_POST = handle_any

    def log_message(self, *args: object) -> None:
        return None


@pytest.fixture
def flaky(site: Site) -> Iterator[type[Flaky]]:
    handler = type("OneFlaky", (Flaky,), {"tries": {}, "keys": {}, "site": site.url})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    server.shutdown()


def test_a_site_that_fails_for_a_moment_is_asked_again_with_the_same_key(
    flaky: type[Flaky], client: Client, pictures: list[Path]
) -> None:
    token = client.http.headers["Authorization"].removeprefix("Token ")
    through = Client(flaky.url, token)
    project = client.project("Flaky")
    done = through.upload(project, pictures[3:6])
    assert (done.added + done.duplicates, done.refused) == (3, [])
    [path] = flaky.keys
    assert flaky.tries[path] == 3 and len(flaky.keys[path]) == 1


def test_a_site_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch, pictures: list[Path]) -> None:
    monkeypatch.setattr(clipsite_client, "TRIES", 2)
    with pytest.raises(Refused, match="can't be reached"):
        Client("http://127.0.0.1:1", "token").upload("any", pictures[:1])


def test_it_installs_by_itself(tmp_path: Path) -> None:
    """What pip builds has the module, the command and nothing of the site."""
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, ROOT / "client"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert built.returncode == 0, built.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert {"clipsite_client.py", "bin"} <= names and "clipsite" not in names
