"""Plays the Hugging Face hub on this machine: one model, its listing and its files, and breaks on demand."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

LARGE = (".safetensors", ".bin")


class Hub:
    """Serves `files` as the model `name` at `commit`. Close it with `close()`."""

    def __init__(self, name: str, commit: str, folder: Path) -> None:
        self.name, self.commit, self.files = name, commit, files_in(folder)
        self.asked: list[tuple[str, int]] = []  # file, first byte
        self.breaks_at: dict[str, int] = {}  # file: the byte at which the connection is closed, once
        self.is_down = False
        self.goes_down_after_a_break = False
        self.refusal: tuple[int, str] | None = None
        self.served: dict[str, bytes] = {}  # what is sent instead of what the listing promises
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def first_bytes(self, file: str) -> list[int]:
        """From which byte on the file was asked for, each time."""
        return [first for name, first in self.asked if name == file]

    def listing(self) -> bytes:
        siblings = [sibling(name, content) for name, content in self.files.items()]
        return json.dumps({"id": self.name, "sha": self.commit, "siblings": siblings}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                resolve = f"/{hub.name}/resolve/{hub.commit}/"
                if hub.is_down:
                    self.close_connection = True
                elif hub.refusal:
                    self.answer(hub.refusal[0], {"X-Error-Code": hub.refusal[1]})
                elif path in (f"/api/models/{hub.name}/revision/{name}" for name in ("main", hub.commit)):
                    self.answer(200, {"Content-Type": "application/json"}, hub.listing())
                elif path.startswith(resolve) and path.endswith(LARGE):
                    self.answer(302, {"Location": f"{hub.url}/cdn/{path.removeprefix(resolve)}"})
                elif path.startswith((resolve, "/cdn/")):
                    self.send_file(path.removeprefix(resolve).removeprefix("/cdn/"))
                else:
                    self.answer(404, {"X-Error-Code": "RevisionNotFound"})

            def send_file(self, name: str) -> None:
                content = hub.served.get(name, hub.files[name])
                first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
                hub.asked.append((name, first))
                end = hub.breaks_at.pop(name, None)
                headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
                self.answer(206, headers, content[first:], None if end is None else end - first)

            def answer(
                self, status: int, headers: dict[str, str], body: bytes = b"", only: int | None = None
            ) -> None:
                """Send it all, or `only` so many bytes of the body and hang up."""
                self.send_response(status)
                for key, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(key, value)
                self.end_headers()
                if only is not None:
                    hub.is_down = hub.goes_down_after_a_break
                    self.close_connection = True
                self.wfile.write(body[:only])

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def sibling(name: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it: a large one stands in git as a pointer to its sha256."""
    entry: dict[str, Any] = {"rfilename": name, "size": len(content)}
    if name.endswith(LARGE):
        sha256 = hashlib.sha256(content).hexdigest()
        return entry | {
            "blobId": "0" * 40,
            "lfs": {"sha256": sha256, "size": len(content), "pointerSize": 134},
        }
    blob = b"blob %d\0" % len(content) + content
    return entry | {"blobId": hashlib.sha1(blob, usedforsecurity=False).hexdigest()}
