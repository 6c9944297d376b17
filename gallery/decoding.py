"""Pictures from strangers, through Pillow: checked before they are decoded, and always upright RGB after."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

import PIL.Image
import PIL.ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# MPO is what many phones call their JPEG. Pillow opens it as JPEG first.
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"} | {
    name: f".{name.lower()}" for name in ("PNG", "WEBP", "GIF", "BMP", "AVIF")
}
TIFF_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
# How wide a number is, by its type in a TIFF.
TIFF_BYTES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 16: 8}
TIFF_ENTRIES = 65_535
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
# Ours is checked from the header, before Pillow would warn.
PIL.Image.MAX_IMAGE_PIXELS = None


class BadPicture(ValueError):
    """The file can't be used; the message says why, in words for the person who sent it."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status  # the HTTP status of a request that brought nothing else


@dataclass(frozen=True)
class Limits:
    pixels: int
    side: int


def open_checked(file: IO[bytes], limits: Limits | None = None) -> PIL.Image.Image:
    """The picture, not decoded yet. Raises BadPicture where it is no image of ours or is too large."""
    if limits:
        # A WebP's canvas is taken from memory, and a TIFF's tiles are listed, already when it is opened.
        _check_size(_webp_size(file), limits)
        _check_size(_tiff_size(file), limits)
    try:
        image = PIL.Image.open(file, formats=FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        reason = "Not an image that we can read: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."
        raise BadPicture(reason, status=415) from error
    if limits:
        _check_size(image.size, limits)
    return image


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise BadPicture(
            f"Too large: {width} × {height} pixels. At most {limits.pixels // 10**6} megapixels "
            f"and {limits.side:,} a side.",
            status=413,
        )


def _webp_size(file: IO[bytes]) -> tuple[int, int]:
    """Width and height from the head of a WebP; zeros where it is none."""
    head = file.read(30)
    file.seek(0)
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return 0, 0
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    sides = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return tuple(sides)


def _tiff_size(file: IO[bytes]) -> tuple[int, int]:
    """Width and height from the first directory of a TIFF; zeros where it is none."""
    try:
        return _first_directory(file)
    except (OSError, OverflowError):  # a place where no file can be read
        return 0, 0
    finally:
        file.seek(0)


def _first_directory(file: IO[bytes]) -> tuple[int, int]:
    head = file.read(16)
    order = TIFF_ORDERS.get(head[:2])
    if not order:
        return 0, 0
    # A BigTIFF, known as Pillow knows it, has wider numbers: the directory's place, its length, its entries.
    wide, narrow = (8, 8) if head[2:3] == b"+" else (4, 2)
    file.seek(int.from_bytes(head[wide : 2 * wide], order))
    length = 4 + 2 * wide
    entries = file.read(min(int.from_bytes(file.read(narrow), order), TIFF_ENTRIES) * length)
    found = [entries[at : at + length] for at in range(0, len(entries) - length + 1, length)]
    width, height = (max([0, *_tiff_numbers(file, found, tag, order)]) for tag in (256, 257))
    return width, height


def _tiff_numbers(
    file: IO[bytes], entries: list[bytes], tag: int, order: Literal["little", "big"]
) -> Iterator[int]:
    """The first value of each entry with this tag, where that is a whole number."""
    for entry in entries:
        wide = len(entry) // 2 - 2
        kind = int.from_bytes(entry[2:4], order)
        if int.from_bytes(entry[:2], order) == tag and kind in TIFF_BYTES:
            value, size = entry[-wide:], TIFF_BYTES[kind]
            if int.from_bytes(entry[4 : 4 + wide], order) * size > wide:  # it lies elsewhere
                file.seek(int.from_bytes(value, order))
                value = file.read(size)
            yield int.from_bytes(value[:size], order)


@dataclass(frozen=True)
class Picture:
    format: str
    width: int  # in pixels, as it is shown
    height: int
    rgb: PIL.Image.Image  # the first frame, upright, on white, maybe at a reduced scale


def read(file: IO[bytes], side: int, limits: Limits | None = None) -> Picture:
    """The picture, decoded with its shortest side at least `side` where the file has as many.

    JPEG is decoded at a reduced scale, which is several times faster. Raises BadPicture, and MemoryError.
    """
    image = open_checked(file, limits)
    width, height = image.size
    try:
        image.draft("RGB", (side, side))
        image.load()
        # Of a TIFF Pillow tells the size as it is shown, of the others as it is laid down. A PNG may have its
        # EXIF at the end: it is looked for when all is read.
        if image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) in TURNED:
            width, height = height, width
        format = image.format
        # In place, and below one copy at a time: fifty megapixels are 200 MB.
        PIL.ImageOps.exif_transpose(image, in_place=True)
        return Picture(format, width, height, _flat(image))
    except MemoryError:
        raise
    except Exception as error:
        raise BadPicture("Broken: the file ends too early or its data is damaged.") from error


def rgb(file: IO[bytes], side: int) -> PIL.Image.Image:
    """What `read` makes of the file, the pixels alone."""
    return read(file, side).rgb


def _flat(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = PIL.Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image)
        return ground
    return image.convert("RGB")


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """16-bit and float greys, spread over 0 to 255 by their own extremes."""
    grey = image if image.mode == "F" else image.convert("I").convert("F")
    low, high = grey.getextrema()
    scale = 255 / (high - low) if high > low else 0
    return grey.point(lambda value: value * scale - low * scale).convert("L")
