"""Pictures from strangers, through Pillow: checked before they are decoded, and always upright RGB after."""

from typing import IO

import PIL.Image
import PIL.ImageOps
from django.conf import settings

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# MPO is what many phones call their JPEG. Pillow opens it as JPEG first.
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"} | {
    name: f".{name.lower()}" for name in ("PNG", "WEBP", "GIF", "BMP", "AVIF")
}
# Ours is checked from the header, before Pillow would warn.
PIL.Image.MAX_IMAGE_PIXELS = None


class BadPicture(ValueError):
    """The file can't be used; the message says why, in words for the person who sent it."""


def open_checked(file: IO[bytes]) -> PIL.Image.Image:
    """The picture, not decoded yet. Raises BadPicture where it is no image of ours or is too large."""
    try:
        image = PIL.Image.open(file, formats=FORMATS)
    except Exception as error:
        raise BadPicture("Not an image that we can read: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.") from error
    width, height = image.size
    if width * height > settings.UPLOAD_MAX_PIXELS or max(width, height) > settings.UPLOAD_MAX_SIDE:
        raise BadPicture(
            f"Too large: {width} × {height} pixels. At most {settings.UPLOAD_MAX_PIXELS // 10**6} megapixels "
            f"and {settings.UPLOAD_MAX_SIDE:,} a side."
        )
    return image


def rgb(file: IO[bytes], side: int) -> PIL.Image.Image:
    """The first frame, upright, RGB on white, shortest side at least `side` where the file has as many.

    JPEG is decoded at a reduced scale, which is several times faster. Raises BadPicture.
    """
    image = open_checked(file)
    try:
        image.draft("RGB", (side, side))
        image.load()
        return _flat(PIL.ImageOps.exif_transpose(image))
    except Exception as error:
        raise BadPicture("Broken: the file ends too early or its data is damaged.") from error


def _flat(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """16-bit and float greys, spread over 0 to 255 by their own extremes."""
    grey = image if image.mode == "F" else image.convert("I").convert("F")
    low, high = grey.getextrema()
    scale = 255 / (high - low) if high > low else 0
    return grey.point(lambda value: value * scale - low * scale).convert("L")


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """Width and height in pixels as the picture is shown, from its header alone."""
    width, height = image.size
    # Of a TIFF Pillow tells the size as it is shown, of the others as it is laid down.
    turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)
