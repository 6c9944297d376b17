"""Files that are made to do harm: bombs, hostile ZIPs, and whole files cut and flipped. Made when asked."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import PIL.Image
import PIL.ImageDraw

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Fifty megapixels, the most that is taken in.
WIDTH, HEIGHT = 10_000, 5_000
CUTS, FLIPS = 20, 200

Make = Callable[[], bytes]


def saved(image: PIL.Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def small(mode: str = "RGB", side: int = 48) -> PIL.Image.Image:
    """A picture whose corners differ, so that it shows where it was turned or lost."""
    image = PIL.Image.new("RGB", (side, side * 2 // 3), "black")
    draw = PIL.ImageDraw.Draw(image)
    draw.rectangle((0, 0, side // 2, side // 3), fill="red")
    draw.rectangle((side // 2, 0, side, side // 3), fill="white")
    return image.convert(mode)


def zeros(size: int) -> bytes:
    """A zlib stream of so many zeros."""
    packer, block, parts = zlib.compressobj(1), bytes(1024**2), []
    for _ in range(size // len(block)):
        parts.append(packer.compress(block))
    return b"".join([*parts, packer.compress(bytes(size % len(block))), packer.flush()])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int,
    height: int,
    colour: int = 2,
    depth: int = 8,
    *extra: tuple[bytes, bytes],
    interlaced: bool = False,
) -> bytes:
    """A black PNG, however large, without the memory that it would take."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    # Seven passes have a filter byte for each of their rows: some more zeros do no harm.
    size = row * height + (height * 2 if interlaced else 0)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    chunks = [(b"IHDR", head), *palette, *extra, (b"IDAT", zeros(size)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def png_of_chunks(kind: bytes, content: bytes, number: int, last: bool = False) -> bytes:
    """The same chunk again and again, before the pixels or after them."""
    whole = png(32, 32)
    at = whole.index(b"IEND" if last else b"IDAT") - 4
    return whole[:at] + _chunk(kind, content) * number + whole[at:]


def png_of_two_heads(width: int, height: int) -> bytes:
    return png_of_chunks(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), 1)


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def jpeg_header(width: int, height: int) -> bytes:
    content = saved(small(), "JPEG")
    return _patched(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def jpeg_of_many_scans(scans: int, side: int = 4000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each of them goes over the whole picture."""
    content = saved(PIL.Image.new("L", (side, side)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def jpeg_of_segments(segment: bytes, number: int) -> bytes:
    content = saved(small(), "JPEG")
    return content[:2] + segment * number + content[2:]


def jpeg_of_two_heads(*sizes: tuple[int, int]) -> bytes:
    """Which of two frame headers is believed? One of them is looked at, another may be decoded."""
    content = saved(small(), "JPEG")
    at = content.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    heads = [_patched(content[at:end], 5, struct.pack(">HH", height, width)) for width, height in sizes]
    return content[:at] + b"".join(heads) + content[end:]


def gif_of_comments(number: int) -> bytes:
    content = saved(PIL.Image.new("P", (8, 8)), "GIF")
    at = content.index(b",", 13)
    return content[:at] + b"!\xfe\1x\0" * number + content[at:]


def gif(width: int, height: int, offset: int = 0, frames: int = 1, frame: int = 8) -> bytes:
    first = saved(PIL.Image.new("P", (8, 8)), "GIF")
    content = _patched(first, 6, struct.pack("<HH", width, height))
    at = content.index(b",", 13)
    block = _patched(content[at:-1], 1, struct.pack("<HHHH", offset, offset, frame, frame))
    return content[:at] + block * frames + b";"


def bmp(width: int, height: int) -> bytes:
    """Run-length coded: two bytes end it, whatever its size."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0)
    offset = 14 + len(head) + 1024
    return b"BM" + struct.pack("<IHHI", offset + 2, 0, 0, offset) + head + bytes(1024) + b"\x00\x01"


def tiff(
    tags: dict[int, tuple[int, list[int]]], data: bytes = b"", next_ifd: int = 0, ifds: int = 1
) -> bytes:
    """Tags by number: (type, values); 3 is two bytes wide, 4 is four. The data lies at byte 8."""
    at = 8 + len(data) + len(data) % 2
    out, body = b"II*\0" + struct.pack("<I", at) + data.ljust(at - 8, b"\0"), b""
    for number in range(ifds):
        body = struct.pack("<H", len(tags))
        far, end = b"", len(out) + 2 + 12 * len(tags) + 4
        for tag, (kind, values) in sorted(tags.items()):
            packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
            place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", end + len(far))
            far += packed if len(packed) > 4 else b""
            body += struct.pack("<HHI", tag, kind, len(values)) + place
        following = next_ifd if number == ifds - 1 else end + len(far)
        out += body + struct.pack("<I", following) + far
    return out


def tiff_tags(width: int, height: int, compression: int = 1, **more: list[int]) -> dict:
    tags = {256: [width], 257: [height], 258: [8], 259: [compression], 262: [1], 277: [1], 278: [height]}
    return {tag: (4, values) for tag, values in tags.items()} | {int(k[1:]): (4, v) for k, v in more.items()}


def tiff_bomb(width: int, height: int) -> bytes:
    """One deflated strip of zeros."""
    data = zeros(width * height)
    return tiff(tiff_tags(width, height, 8, t273=[8], t279=[len(data)]), data)


def tiff_of_tiles(number: int) -> bytes:
    tiles = {"t322": [16], "t323": [16], "t324": [8] * number, "t325": [256] * number}
    return tiff(tiff_tags(60_000, 60_000, **tiles), bytes(256))


def _tiff_around(data: bytes, compression: int) -> bytes:
    return tiff(tiff_tags(64, 64, compression, t273=[8], t279=[len(data)]), data)


def webp_header(width: int, height: int) -> bytes:
    content = saved(small(), "WEBP", lossless=True)
    return _patched(content, content.index(b"VP8L") + 9, struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_lossy_header(width: int, height: int) -> bytes:
    content = saved(small(), "WEBP")
    return _patched(content, content.index(b"VP8 ") + 14, struct.pack("<HH", width, height))


def webp_on_canvas(width: int, height: int, content: bytes) -> bytes:
    """A picture that is no animation, behind a head that names another size."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + sides + content[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_animated(frames: int, canvas: tuple[int, int] | None = None) -> bytes:
    pictures = [PIL.Image.new("RGB", (16, 16), (n % 2 * 255, n % 251, n // 251)) for n in range(frames)]
    content = saved(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    if canvas:
        sizes = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
        content = _patched(content, content.index(b"VP8X") + 12, sizes)
    return content


def avif_header(width: int, height: int, real: tuple[int, int] | None = None) -> bytes:
    """An AVIF that says to be of this size; `real` is that of its pixels."""
    image = PIL.Image.new("RGB", real) if real else small()
    content = saved(image, "AVIF", speed=10)
    return _patched(content, content.index(b"ispe") + 8, struct.pack(">II", width, height))


def exif_loop() -> bytes:
    """An IFD whose EXIF IFD, and whose next IFD, is itself."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)


# More pixels than are taken in: each is refused by its head.
TOO_LARGE: dict[str, Make] = {
    "PNG of 177 megapixels": lambda: png(13_300, 13_300, colour=0, depth=1),
    "PNG of 16-bit RGBA": lambda: png(7_100, 7_100, colour=6, depth=16),
    "PNG strip": lambda: png(16_385, 1),
    "JPEG of 65,500 a side": lambda: jpeg_header(65_500, 65_500),
    "GIF of a giant screen": lambda: gif(65_535, 65_535),
    "BMP, run-length coded": lambda: bmp(30_000, 30_000),
    "TIFF of a giant strip": lambda: tiff(tiff_tags(60_000, 60_000, t273=[8], t279=[2**31]), bytes(64)),
    "TIFF of four gigapixels a side": lambda: tiff(tiff_tags(2**32 - 1, 2**32 - 1, t273=[8], t279=[64])),
    "TIFF of 10,000 tiles": lambda: tiff_of_tiles(10_000),
    "TIFF of 400,000 tiles": lambda: tiff_of_tiles(400_000),
    "TIFF whose size lies far from its tag": lambda: tiff(
        tiff_tags(16, 16, t322=[16], t323=[16], t324=[8] * 400_000, t325=[256] * 400_000)
        | {256: (4, [60_000] * 2), 257: (4, [60_000] * 2)},
        bytes(256),
    ),
    "TIFF, deflated": lambda: tiff_bomb(10_000, 5_100),
    "WebP of 16,383 a side": lambda: webp_header(16_383, 16_383),
    "WebP, animated, on a giant canvas": lambda: webp_animated(3, (16_383, 16_383)),
    "WebP of 16,383 a side, lossy": lambda: webp_lossy_header(16_383, 16_383),
    "WebP, not animated, on a giant canvas": lambda: webp_on_canvas(2**24, 256, webp_header(48, 32)),
    "PNG with a second, larger head": lambda: png_of_two_heads(20_000, 20_000),
    "JPEG with a second, larger head": lambda: jpeg_of_two_heads((48, 32), (65_500, 65_500)),
    "GIF of a giant frame": lambda: gif(16, 16, frame=65_535),
    "BMP of the least height there is": lambda: bmp(64, -(2**31)),
    "AVIF of 144 megapixels": lambda: avif_header(12_000, 12_000),
    "animated PNG of 100 megapixels": lambda: png(
        10_000, 10_000, 0, 1, (b"acTL", struct.pack(">II", 2**31 - 1, 0))
    ),
}

# Few pixels, and something beside them that is much, endless or a lie.
SLY: dict[str, Make] = {
    "PNG with 200 MB of text": lambda: png(32, 32, 2, 8, (b"zTXt", b"Comment\0\0" + zeros(200 * 1024**2))),
    "PNG with 200 MB of international text": lambda: png(
        32, 32, 2, 8, (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(200 * 1024**2))
    ),
    "PNG with a profile of 200 MB": lambda: png(32, 32, 2, 8, (b"iCCP", b"x\0\0" + zeros(200 * 1024**2))),
    "PNG with 20 MB of XMP": lambda: png(
        32, 32, 2, 8, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * 20 * 1024**2)
    ),
    "PNG whose EXIF is a loop": lambda: png(32, 32, 2, 8, (b"eXIf", exif_loop()[6:])),
    "JPEG whose EXIF is a loop": lambda: saved(small(), "JPEG", exif=exif_loop()),
    "WebP whose EXIF is a loop": lambda: saved(small(), "WEBP", exif=exif_loop()),
    "WebP with 20 MB of XMP": lambda: saved(small(), "WEBP", xmp=b" " * 20 * 1024**2),
    "JPEG with a broken profile": lambda: saved(small(), "JPEG", icc_profile=b"\xff" * 1_000_000),
    "MPO of 300 frames": lambda: saved(small(), "MPO", save_all=True, append_images=[small()] * 299),
    "GIF whose frame lies far away": lambda: gif(16, 16, offset=60_000),
    "GIF of 20,000 frames": lambda: gif(16, 16, frames=20_000),
    "WebP of 1,000 frames": lambda: webp_animated(1_000),
    "TIFF of 20,000 directories": lambda: tiff(
        tiff_tags(16, 16, t273=[8], t279=[256]), bytes(256), ifds=20_000
    ),
    "TIFF that follows itself": lambda: tiff(
        tiff_tags(16, 16, t273=[8], t279=[256]), bytes(256), next_ifd=264
    ),
    "TIFF whose strip lies about its bytes": lambda: tiff(
        tiff_tags(4_000, 4_000, t273=[8], t279=[2**32 - 1]), bytes(256)
    ),
    "TIFF whose bits are many": lambda: tiff(
        tiff_tags(64, 64, t273=[8], t279=[4096]) | {258: (3, [8] * 60_000), 277: (3, [60_000])}, bytes(4096)
    ),
    "TIFF that unpacks to more than it says": lambda: tiff(
        tiff_tags(16, 16, 8, t273=[8], t279=[200_000]), zeros(200 * 1024**2)
    ),
    "BMP of a few bytes": lambda: bmp(7_000, 7_000),
    "PNG strip of the longest side": lambda: png(16_384, 1),
    "PNG of 100,000 chunks": lambda: png_of_chunks(b"abCd", b"", 100_000),
    "PNG of 100,000 chunks behind its pixels": lambda: png_of_chunks(b"abCd", b"", 100_000, last=True),
    "PNG with 99 texts of a megabyte": lambda: png_of_chunks(b"zTXt", b"x\0\0" + zeros(1024**2 - 9), 99),
    "PNG with 1,000 profiles of a megabyte": lambda: png_of_chunks(
        b"iCCP", b"x\0\0" + zeros(1024**2 - 9), 1_000
    ),
    "animated PNG of a giant frame": lambda: png(
        *(32, 32, 2, 8),
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**30, 2**30, 0, 0, 1, 1, 0, 0)),
    ),
    "JPEG of 200 scans": lambda: jpeg_of_many_scans(200, 1_000),
    "JPEG with a second, smaller head": lambda: jpeg_of_two_heads((65_500, 65_500), (48, 32)),
    "JPEG of 200,000 empty comments": lambda: jpeg_of_segments(b"\xff\xfe\0\2", 200_000),
    "JPEG with 25 MB of comments": lambda: jpeg_of_segments(b"\xff\xfe\xff\xff" + bytes(65_533), 400),
    "JPEG with 25 MB of profile": lambda: jpeg_of_segments(
        b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\1".ljust(65_533, b"x"), 400
    ),
    "JPEG with 6 MB of EXIF": lambda: jpeg_of_segments(
        b"\xff\xe1\xff\xff" + b"Exif\0\0".ljust(65_533, b"x"), 100
    ),
    "JPEG with a megabyte of filling": lambda: jpeg_of_segments(b"\xff", 1024**2),
    "GIF of 200,000 comments": lambda: gif_of_comments(200_000),
    "TIFF of 60,000 tags": lambda: tiff(
        tiff_tags(16, 16, t273=[8], t279=[256]) | {1000 + n: (4, [1]) for n in range(60_000)}, bytes(256)
    ),
    "TIFF of a giant tile": lambda: tiff(
        tiff_tags(64, 64, 8, t322=[2**15], t323=[2**15], t324=[8], t325=[2**17]), zeros(100 * 1024**2)
    ),
    "TIFF whose 4,000 strips are one": lambda: tiff(
        tiff_tags(4_000, 4_000, t273=[8] * 4_000, t279=[4_000] * 4_000) | {278: (4, [1])}, bytes(4_000)
    ),
    "TIFF around a larger JPEG": lambda: _tiff_around(saved(PIL.Image.new("L", (7_000, 7_000)), "JPEG"), 7),
    "TIFF around a giant WebP": lambda: _tiff_around(webp_header(16_383, 16_383), 50_001),
    "WebP that says less than it is": lambda: webp_on_canvas(48, 32, webp_header(16_383, 16_383)),
    "WebP that says more than it is": lambda: webp_on_canvas(7_000, 7_000, webp_header(48, 32)),
    "WebP of a head alone": lambda: webp_header(7_000, 7_000),
    "AVIF that says less than it is": lambda: avif_header(64, 48, real=(7_200, 7_200)),
    "AVIF that says more than it is": lambda: avif_header(7_000, 7_000),
    "AVIF of 200 frames": lambda: saved(
        small(), "AVIF", save_all=True, append_images=[small("L").convert("RGB")] * 200, speed=10
    ),
    "PNG of few bytes of data": lambda: png(64, 64)[:60],
}


def _fifty(mode: str, format: str, **options: object) -> Make:
    return lambda: saved(PIL.Image.new(mode, (WIDTH, HEIGHT)), format, **options)


# As many pixels as are taken in.
AT_THE_CAP: dict[str, Make] = {
    "PNG 1": lambda: png(WIDTH, HEIGHT, 0, 1),
    "PNG L": lambda: png(WIDTH, HEIGHT, 0),
    "PNG P": lambda: png(WIDTH, HEIGHT, 3),
    "PNG P, transparent": lambda: png(WIDTH, HEIGHT, 3, 8, (b"tRNS", b"\x80" * 256)),
    "PNG LA": lambda: png(WIDTH, HEIGHT, 4),
    "PNG RGB": lambda: png(WIDTH, HEIGHT, 2),
    "PNG RGBA": lambda: png(WIDTH, HEIGHT, 6),
    "PNG I;16": lambda: png(WIDTH, HEIGHT, 0, 16),
    "PNG RGB of 16 bits": lambda: png(WIDTH, HEIGHT, 2, 16),
    "PNG RGBA of 16 bits": lambda: png(WIDTH, HEIGHT, 6, 16),
    "PNG RGBA, interlaced": lambda: png(WIDTH, HEIGHT, 6, interlaced=True),
    "PNG RGBA, turned": lambda: png(WIDTH, HEIGHT, 6, 8, (b"eXIf", turned())),
    "PNG strip": lambda: png(16_384, 3_000),
    "TIFF F": _fifty("F", "TIFF", compression="tiff_deflate"),
    "TIFF I": _fifty("I", "TIFF", compression="tiff_deflate"),
    "TIFF I;16": _fifty("I;16", "TIFF", compression="tiff_deflate"),
    "TIFF CMYK": _fifty("CMYK", "TIFF", compression="tiff_deflate"),
    "TIFF RGBA": _fifty("RGBA", "TIFF", compression="tiff_lzw"),
    "JPEG RGB": _fifty("RGB", "JPEG"),
    "JPEG RGB, progressive": _fifty("RGB", "JPEG", progressive=True),
    "JPEG CMYK, progressive": _fifty("CMYK", "JPEG", progressive=True),
    "WebP RGBA, lossless": _fifty("RGBA", "WEBP", lossless=True, method=0),
    "GIF": _fifty("P", "GIF"),
    "AVIF": _fifty("RGB", "AVIF", speed=10, quality=20),
}


def turned(orientation: int = 6) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()[6:]


def damaged(content: bytes, cuts: int = CUTS, flips: int = FLIPS, seed: int = 11) -> Iterator[bytes]:
    """`content` cut at so many places, then with one byte changed at as many others."""
    rng = random.Random(seed)
    for number in range(cuts):
        yield content[: max(1, len(content) * number // cuts)]
    for _ in range(flips):
        at = rng.randrange(len(content))
        yield _patched(content, at, bytes([content[at] ^ rng.randrange(1, 256)]))


def packed(*files: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def good() -> bytes:
    return saved(small(), "PNG")


def renamed(name: bytes, content: bytes = b"", flags: int = 0) -> bytes:
    """A ZIP with one picture, under a name in bytes that `zipfile` would not write."""
    placeholder = "n" * len(name)
    raw = bytearray(packed((placeholder, content or good())).replace(placeholder.encode(), name))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", raw, raw.index(magic) + at, flags)
    return bytes(raw)


def directory_field(content: bytes, at: int, value: int, form: str = "<I") -> bytes:
    """`content` with another value at byte `at` of its first entry in the directory."""
    return _patched(content, content.index(b"PK\x01\x02") + at, struct.pack(form, value))


def special(mode: int, content: bytes) -> bytes:
    """A ZIP whose entry calls itself a link, or a device, as Unix does."""
    info = zipfile.ZipInfo("special.png")
    info.create_system, info.external_attr = 3, mode << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, content)
    return out.getvalue()


def counted(number: int) -> bytes:
    """Three entries, which the end of the directory says to be so many."""
    content = packed(*[(f"{side}.png", saved(small(side=side), "PNG")) for side in (48, 60, 72)])
    return _patched(content, content.index(b"PK\5\6") + 8, struct.pack("<HH", number, number))


def two_directories() -> bytes:
    """A whole second ZIP in the comment of the first."""
    first, second = packed(("first.png", good())), packed(("second.png", saved(small("L"), "PNG")))
    return first[:-2] + struct.pack("<H", len(second)) + second


def broken_stream() -> bytes:
    content = packed(("zeros.png", bytes(200_000)), GOOD)
    return _patched(content, 45, b"\xff" * 20)


def many_entries(number: int = 200_000) -> bytes:
    """Empty entries, written by hand: the local head of all of them is one."""
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 5, 0) + b"a.png"
    central = (
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
        + b"a.png"
    )
    size = len(central) * number
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, len(local), 0)
    return local + central * number + end


def overlapping(number: int = 500) -> bytes:
    """Entries that all point at the same megabyte."""
    out = packed(("a.png", random.Random(3).randbytes(1024**2)), compression=zipfile.ZIP_STORED)
    start = out.index(b"PK\x01\x02", 1024**2)
    end = out.index(b"PK\x05\x06", start)
    size = (end - start) * number
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, number, number, size, start, 0)
    return out[:start] + out[start:end] * number + tail


def bomb() -> bytes:
    """One GiB of zeros in a megabyte."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.png", "w", force_zip64=True) as entry,
    ):
        for _ in range(1024):
            entry.write(bytes(1024**2))
    return out.getvalue()


def wrong_crc() -> bytes:
    content = packed(("a.png", good()))
    return directory_field(_patched(content, 14, b"\1\2\3\4"), 16, 0x04030201)


def folder_with_content() -> bytes:
    return packed(("folder/", good()), ("folder/a.png", good()))


GOOD = ("ok.png", good())
ZIPS: dict[str, Make] = {
    "slip": lambda: packed(("../../../x.png", good())),
    "absolute": lambda: packed(("/tmp/clipsite-hostile.png", good())),
    "Windows": lambda: renamed(b"C:\\windows\\..\\..\\x.png"),
    "symlink": lambda: special(0o120777, b"/etc/passwd"),
    "symlink with a picture": lambda: special(0o120777, good()),
    "device": lambda: special(0o020666, b""),
    "200,000 entries": many_entries,
    "1 GiB from 1 MB": bomb,
    "overlap": overlapping,
    "says less than it is": lambda: directory_field(packed(("a.png", good())), 24, 10),
    "says more than it is": lambda: directory_field(packed(("a.png", good())), 24, 2**31),
    "packed to more than the file has": lambda: directory_field(packed(("a.png", good())), 20, 2**31),
    "says to be empty": lambda: directory_field(packed(("a.png", good())), 24, 0),
    "packed to nothing": lambda: directory_field(packed(("a.png", good())), 20, 0),
    "lies far behind the end": lambda: directory_field(packed(("a.png", good())), 42, 2**31),
    "counts too few": lambda: counted(1),
    "counts too many": lambda: counted(60_000),
    "two names for one entry": lambda: _patched(packed(("a.png", good())), 30, b"b"),
    "two directories": two_directories,
    "a stream of junk": broken_stream,
    "of a version to come": lambda: directory_field(packed(("a.png", good())), 6, 999, "<H"),
    "patch data": lambda: renamed(b"a.png", flags=0x20),
    "nested": lambda: packed(("inner.zip", packed(GOOD)), GOOD),
    "encrypted": lambda: renamed(b"a.png", flags=1),
    "duplicate names": lambda: packed(("a.png", good()), ("a.png", saved(small("L"), "PNG"))),
    "bad UTF-8": lambda: renamed(b"\xff\xfe\x80.png", flags=0x800),
    "NUL in a name": lambda: renamed(b"a.png\0.exe"),
    "a name that begins with NUL": lambda: renamed(b"\0.png"),
    "dots": lambda: packed(("..", good())),
    "slashes": lambda: packed(("////", good())),
    "lines in a name": lambda: packed(("a\n2026 ERROR\r\n.png", good())),
    "a name from right to left": lambda: packed(("\u202egnp.exe", good())),
    "a name of 64 KB": lambda: packed(("n" * 65_000 + ".png", good())),
    "ZIP64 with absurd numbers": lambda: _zip64(),
    "cut directory": lambda: packed(*[(f"{n}.png", good()) for n in range(20)])[:-200],
    "junk before it": lambda: b"PK\x03\x04" + bytes(5000) + packed(GOOD),
    "bzip2": lambda: packed(("a.png", good()), compression=zipfile.ZIP_BZIP2),
    "lzma": lambda: packed(("a.png", good()), compression=zipfile.ZIP_LZMA),
    "a method that nobody knows": lambda: directory_field(packed(("a.png", good())), 10, 99, "<H"),
    "wrong CRC": wrong_crc,
    "no entry": lambda: packed(),
    "its end alone": lambda: b"PK\5\6" + bytes(18),
    "junk of a system alone": lambda: packed(("__MACOSX/a.png", good())),
    "a folder with content": folder_with_content,
    "a bomb inside": lambda: packed(("bomb.png", png(13_300, 13_300, 0, 1)), GOOD),
}


def _zip64() -> bytes:
    content = packed(GOOD)
    at = content.index(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**63, 2**63, 2**62, 2**62)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return content[:at] + record + locator + end
