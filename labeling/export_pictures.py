"""The pictures of an export: the files that were uploaded, or what a decoder makes of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gallery import decoder
from gallery.decoding import BadPicture
from labeling.export_rows import Pictures

# Small enough that memory for it is at hand: more is fetched from the kernel for each read, and given back.
CHUNK = 64 * 1024
# No picture has a longer side.
ANY_SIDE = 2**16


def content(path: str, form: str, pictures: Pictures) -> Iterator[bytes]:
    """What goes along for a stored file of this format; nothing where it can't be decoded any more."""
    if pictures.are_stored:
        # A file object would take half as long again for a picture.
        file = os.open(path, os.O_RDONLY)
        try:
            while chunk := os.read(file, CHUNK):
                yield chunk
        finally:
            os.close(file)
    else:
        with suppress(BadPicture):
            yield decoder.scaled(Path(path), pictures.side or ANY_SIDE, "JPEG" if pictures.jpeg else form)
