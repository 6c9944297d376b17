"""The pictures of an export: the files that were uploaded, or what a decoder makes of them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gallery import decoder
from gallery.decoding import BadPicture
from labeling.export_rows import Pictures

CHUNK = 1024**2
# No picture has a longer side.
ANY_SIDE = 2**16


def content(path: str, form: str, pictures: Pictures) -> Iterator[bytes]:
    """What goes along for a stored file of this format; nothing where it can't be decoded any more."""
    if pictures.are_stored:
        # Most are read in one piece: a buffer between would cost more than it saves.
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    else:
        with suppress(BadPicture):
            yield decoder.scaled(Path(path), pictures.side or ANY_SIDE, "JPEG" if pictures.jpeg else form)
