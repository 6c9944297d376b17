"""Goes wrong where CLIP would: an app that a benchmark's settings add to the site, and nobody else's.

FAULT_SLOW: seconds that a picture takes longer. FAULT_KIND: what happens at a picture that is poison:
`kill`, `hang` (in native code, holding Python's lock), `exit` (SystemExit) or `memory` (MemoryError).
"""

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
from django.apps import AppConfig

# No drawing has this colour in its corner.
POISON = (255, 0, 254)


def happens(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "hang":
        # A lock that is taken twice: no signal wakes its owner, and Python's own lock is held meanwhile.
        lock, libc = ctypes.create_string_buffer(128), ctypes.PyDLL(None)
        libc.pthread_mutex_lock(lock)
        libc.pthread_mutex_lock(lock)
    elif kind == "exit":
        raise SystemExit("the scorer ended its process")
    elif kind == "memory":
        raise MemoryError("the scorer found no memory")


class Faults(AppConfig):
    name = "benchmarks.reliability.faults"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        from labeling import clip

        embed, slow = clip.Engine.embed_images, float(os.environ.get("FAULT_SLOW", 0))
        kind = os.environ.get("FAULT_KIND", "")

        def faulty(engine: clip.Engine, images: Sequence[PIL.Image.Image]) -> clip.Rows:
            time.sleep(slow * len(images))
            if any(image.getpixel((0, 0)) == POISON for image in images):
                happens(kind)
            return embed(engine, images)

        clip.Engine.embed_images = faulty
