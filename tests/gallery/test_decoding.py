"""What Pillow makes of files from strangers: every format, mode and orientation, upright and RGB."""

import io
import struct
from collections.abc import Callable

import PIL.features
import PIL.Image
import pytest

from gallery import decoding
from gallery.decoding import BadPicture, Limits
from gallery.models import Image
from tests.conftest import picture

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
ORIENTATION = 0x0112
Add = Callable[..., list[Image]]


def corners(width: int = 80, height: int = 48) -> PIL.Image.Image:
    """Red on the left above, blue right of it; black below."""
    image = PIL.Image.new("RGB", (width, height), "black")
    image.paste("red", (0, 0, width // 2, height // 2))
    image.paste("blue", (width // 2, 0, width, height // 2))
    return image


def saved(image: PIL.Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def is_close(pixel: tuple[int, ...], colour: tuple[int, ...], by: int = 40) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, colour, strict=True))


def is_upright(image: PIL.Image.Image) -> bool:
    """Whether the picture of `corners` shows its colours where they belong."""
    places = {(0.25, 0.25): (255, 0, 0), (0.75, 0.25): (0, 0, 255), (0.25, 0.75): (0, 0, 0)}
    width, height = image.size
    return all(
        is_close(image.getpixel((int(x * width), int(y * height))), colour)
        for (x, y), colour in places.items()
    )


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read(format: str) -> None:
    content = saved(corners(), format)
    read = decoding.read(io.BytesIO(content), side=24)
    assert (read.format, read.width, read.height) == (format, 80, 48)
    assert is_upright(read.rgb)


# How an upright picture has to be laid down so that the orientation turns it back.
LAID = {
    1: [],
    2: [PIL.Image.Transpose.FLIP_LEFT_RIGHT],
    3: [PIL.Image.Transpose.ROTATE_180],
    4: [PIL.Image.Transpose.FLIP_TOP_BOTTOM],
    5: [PIL.Image.Transpose.TRANSPOSE],
    6: [PIL.Image.Transpose.ROTATE_90],
    7: [PIL.Image.Transpose.TRANSVERSE],
    8: [PIL.Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", LAID)
def test_every_orientation_is_shown_upright(orientation: int, format: str, add: Add) -> None:
    laid = corners()
    for method in LAID[orientation]:
        laid = laid.transpose(method)
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    image = add((f"turned.{format.lower()}", saved(laid, format, exif=exif)))[0]
    assert (image.width, image.height) == (80, 48)
    for field in (image.thumbnail, image.preview):
        shown = PIL.Image.open(field)
        assert shown.size == (80, 48)
        assert is_upright(shown)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("1", "PNG"),
        ("L", "JPEG"),
        ("LA", "PNG"),
        ("P", "GIF"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("YCbCr", "TIFF"),
        ("I;16", "PNG"),
        ("I", "TIFF"),
        ("F", "TIFF"),
    ],
)
def test_every_mode_becomes_rgb(mode: str, format: str) -> None:
    grey = PIL.Image.linear_gradient("L").resize((64, 64))
    if mode == "I;16":
        image = PIL.Image.frombytes(
            "I;16", (64, 64), b"".join((4 * v * 64).to_bytes(2, "little") for v in grey.tobytes())
        )
    else:
        image = grey.convert(mode)
    shown = decoding.rgb(io.BytesIO(saved(image, format)), side=32)
    assert shown.mode == "RGB"
    above, below = shown.getpixel((shown.width // 2, 1)), shown.getpixel((shown.width // 2, shown.height - 2))
    assert max(above) < 40 and min(below) > 200


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    if mode == "P":
        image = PIL.Image.new("P", (16, 16), 3)
        image.putpalette([0, 0, 0] * 4)
        content = saved(image, "PNG", transparency=3)
    else:
        content = saved(PIL.Image.new("RGBA", (16, 16), (0, 0, 0, 0)).convert(mode), "PNG")
    assert decoding.rgb(io.BytesIO(content), side=8).getpixel((4, 4)) == (255, 255, 255)


def test_only_the_first_frame_of_an_animation_is_looked_at() -> None:
    frames = [PIL.Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert is_close(decoding.rgb(io.BytesIO(content), side=8).getpixel((4, 4)), (255, 0, 0))


def test_a_large_jpeg_is_decoded_at_a_reduced_scale() -> None:
    content = saved(corners(1600, 960), "JPEG")
    assert decoding.rgb(io.BytesIO(content), side=100).size == (200, 120)


def test_what_a_phone_calls_jpeg_is_read() -> None:
    content = saved(corners(), "MPO", save_all=True, append_images=[corners()])
    assert is_upright(decoding.rgb(io.BytesIO(content), side=24))


@pytest.mark.parametrize(
    "content",
    [
        b"plain text",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_picture_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(BadPicture, match="Not an image that we can read|Broken"):
        decoding.rgb(io.BytesIO(content), side=24)


def test_formats_that_pillow_knows_and_we_do_not_are_refused() -> None:
    for format in ("PPM", "ICO", "TGA"):
        with pytest.raises(BadPicture, match="Not an image"):
            decoding.open_checked(io.BytesIO(saved(corners(64, 64), format)))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_ends_too_early_is_refused_or_whole(format: str, share: float) -> None:
    """Some formats lose nothing with their last bytes; no cut ends in anything but a picture or a refusal."""
    noise = PIL.Image.effect_noise((90, 60), 80).convert("RGB")
    content = saved(noise, format)
    try:
        assert decoding.rgb(io.BytesIO(content[: int(len(content) * share)]), side=24).mode == "RGB"
    except BadPicture as refusal:
        assert str(refusal).startswith(("Broken", "Not an image"))


def test_the_size_is_refused_before_anything_is_decoded() -> None:
    limits = Limits(pixels=1_000_000, side=1200)

    def opened(width: int, height: int) -> PIL.Image.Image:
        content = saved(PIL.Image.new("1", (width, height)), "PNG")
        return decoding.open_checked(io.BytesIO(content), limits)

    with pytest.raises(BadPicture, match="Too large: 1001 × 1000 pixels. At most 1 megapixels"):
        opened(1001, 1000)
    with pytest.raises(BadPicture, match="1,200 a side"):
        opened(1201, 10)
    assert opened(1000, 1000).size == (1000, 1000)


@pytest.mark.parametrize("big", [False, True])
def test_the_size_of_a_tiff_is_read_from_its_head(big: bool) -> None:
    content = saved(corners(), "TIFF", big_tiff=big)
    assert decoding._tiff_size(io.BytesIO(content)) == (80, 48)
    for cut in range(len(content) - 160, len(content)):
        assert decoding._tiff_size(io.BytesIO(content[:cut])) in ((80, 48), (80, 0), (0, 0))


@pytest.mark.parametrize("form", ["<", ">"])
def test_the_size_of_a_tiff_is_read_in_either_order(form: str) -> None:
    head = struct.pack(f"{form}HHI", 0x4949 if form == "<" else 0x4D4D, 42, 8)
    tags = [struct.pack(f"{form}HHIHxx", 256, 3, 1, 80), struct.pack(f"{form}HHII", 257, 4, 1, 48)]
    content = head + struct.pack(f"{form}H", 2) + b"".join(tags)
    assert decoding._tiff_size(io.BytesIO(content)) == (80, 48)


@pytest.mark.parametrize("place", [2**63 - 1, 2**64 - 1])
def test_a_tiff_that_points_to_nowhere_is_refused_in_words(place: int) -> None:
    content = struct.pack("<2sHHHQ", b"II", 43, 8, 0, place) + bytes(64)
    with pytest.raises(BadPicture, match="Not an image"):
        decoding.open_checked(io.BytesIO(content), Limits(pixels=1_000_000, side=1200))
    far = struct.pack("<HHQQ", 256, 4, 9, place) + struct.pack("<HHQQ", 257, 4, 1, 1)
    content = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 2) + far
    with pytest.raises(BadPicture, match="Not an image"):
        decoding.open_checked(io.BytesIO(content), Limits(pixels=1_000_000, side=1200))


def test_every_format_is_built_into_this_pillow() -> None:
    assert PIL.features.check("webp") and PIL.features.check("avif") and PIL.features.check("jpg")
    assert picture(format="AVIF")
