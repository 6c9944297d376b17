"""Decoding in processes of its own, kept and used again: what a picture does to one, it does to no site."""

import json
import logging
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from gallery.decoding import BadPicture

logger = logging.getLogger(__name__)

PROGRAM = ["-m", "gallery.decoder_child"]
CHILDREN = 2
# Then a child is replaced, whatever its libraries may have kept.
PICTURES_A_CHILD = 1000
TOO_SLOW = "Broken, or made to do harm: to decode it takes too long."
DIED = "Broken: it can't be decoded."

Child = subprocess.Popen
# A child's line, and the bytes that come after it.
Answer = tuple[dict[str, Any], list[bytes]]
_places = threading.BoundedSemaphore(CHILDREN)
_idle: list[tuple[Child, int]] = []


@dataclass(frozen=True)
class Decoded:
    format: str
    width: int  # in pixels, as it is shown
    height: int
    preview: bytes  # WebP, at most 1280 pixels a side
    thumbnail: bytes  # WebP, at most 320 pixels a side


class _Died(Exception):
    pass


def decode(path: Path) -> Decoded:
    """Check and decode the file at `path`. Waits where all children are busy. Raises BadPicture."""
    head, parts = _answer({"path": str(path)})
    return Decoded(head["format"], head["width"], head["height"], *parts)


def scaled(path: Path, side: int, format: str) -> bytes:
    """The picture upright, at most `side` pixels a side, in this format of Pillow's. Raises as `decode`."""
    _, [content] = _answer({"path": str(path), "scale": side, "format": format})
    return content


def _answer(request: dict[str, Any]) -> Answer:
    """What a child makes of a request. Raises BadPicture."""
    with _places:
        child, done = _take()
        try:
            try:
                answer = _ask(child, request)
            except _Died:
                if _was_too_slow(child):
                    raise
                # It may have been killed for another reason than this picture: once more, with a new one.
                child, done = _start(), 0
                answer = _ask(child, request)
        except _Died:
            logger.warning("a picture killed its decoder (%s)", child.returncode)
            raise BadPicture(TOO_SLOW if _was_too_slow(child) else DIED) from None
        if done + 1 < PICTURES_A_CHILD:
            _idle.append((child, done + 1))
        else:
            _end(child)
    if isinstance(answer, BadPicture):
        raise answer
    return answer


def _take() -> tuple[Child, int]:
    with suppress(IndexError):
        return _idle.pop()
    return _start(), 0


def _was_too_slow(child: Child) -> bool:
    return child.returncode == -signal.SIGALRM


def _start() -> Child:
    return subprocess.Popen(
        [sys.executable, *PROGRAM],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _ask(child: Child, request: dict[str, Any]) -> Answer | BadPicture:
    """What the child makes of the file. Raises _Died; then the child is gone."""
    request = request | {"pixels": settings.UPLOAD_MAX_PIXELS, "side": settings.UPLOAD_MAX_SIDE}
    try:
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        line = child.stdout.readline()
        head = json.loads(line) if line.endswith(b"\n") else {}
        parts = [child.stdout.read(size) for size in head.get("sizes", ())]
        whole = bool(head) and [len(part) for part in parts] == head.get("sizes", [])
    except OSError:
        whole = False
    if not whole:
        _end(child)
        raise _Died
    if "reason" in head:
        return BadPicture(head["reason"], head["status"])
    return head, parts


def _end(child: Child) -> None:
    with suppress(OSError):  # what was not sent yet
        child.stdin.close()
    child.stdout.close()
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
