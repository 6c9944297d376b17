"""The process in which files from strangers are decoded: bounded memory and time, no Django, no rows.

It reads a request a line, `{"path": …, "pixels": …, "side": …}`, with `"scale"` and `"format"` for one copy
of the picture instead of ours, and answers with a line of JSON and the bytes whose number that names. A
picture that it dies of costs nobody else anything; it ends with its parent.
"""

import ctypes
import io
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any

import PIL.Image

from gallery import decoding
from gallery.decoding import BadPicture, Limits

PREVIEW_SIDE, THUMBNAIL_SIDE = 1280, 320
# Of address space. Fifty megapixels take at most 785 MB, as WebP.
MEMORY = 850 * 1024**2
SECONDS = 20
SAVED: dict[str, dict[str, Any]] = {"WEBP": {"quality": 82, "method": 2}, "JPEG": {"quality": 90}}
ARENA_MAX = -8  # of glibc's malloc.h
TOO_MUCH = "Broken, or made to do harm: to decode it takes too much memory."


def main() -> None:
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _one_arena()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    PIL.Image.init()
    for line in sys.stdin.buffer:
        # Not caught by anybody: the alarm ends the process, wherever in native code it is.
        signal.alarm(SECONDS)
        head, parts = _answer(**json.loads(line))
        signal.alarm(0)
        answers.write(json.dumps(head).encode() + b"\n" + b"".join(parts))
        answers.flush()


def _one_arena() -> None:
    # Else each thread of a codec takes a large part of the address space that is allowed. Not every libc
    # has arenas.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(ARENA_MAX, 1)


def _answer(
    path: str, pixels: int, side: int, scale: int = PREVIEW_SIDE, format: str = ""
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        with open(path, "rb") as file:
            picture = decoding.read(file, scale, Limits(pixels, side))
        if format:
            parts = [_saved(picture.rgb, scale, format)]
        else:
            parts = [_saved(picture.rgb, longest) for longest in (PREVIEW_SIDE, THUMBNAIL_SIDE)]
    except BadPicture as refusal:
        return {"reason": str(refusal), "status": refusal.status}, []
    except MemoryError:
        return {"reason": TOO_MUCH, "status": 413}, []
    head = {"format": picture.format, "width": picture.width, "height": picture.height}
    return head | {"sizes": [len(part) for part in parts]}, parts


def _saved(picture: PIL.Image.Image, longest: int, format: str = "WEBP") -> bytes:
    """The picture at most `longest` a side. It is made smaller itself: the largest comes first."""
    picture.thumbnail((longest, longest), reducing_gap=2.0)
    # A new image carries no EXIF, GPS, XMP or comment along.
    clean = PIL.Image.new("RGB", picture.size)
    clean.paste(picture)
    out = io.BytesIO()
    clean.save(out, format, **SAVED.get(format, {}))
    return out.getvalue()


if __name__ == "__main__":
    main()
