"""Files that are two things at once, or are called what they are not: served as pictures, or refused."""

import io
from collections.abc import Callable

import PIL.Image
import PIL.PngImagePlugin
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from gallery.media import TYPES
from gallery.models import Image, Project
from tests.conftest import picture

HTML = b"<!doctype html><html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n0 0 9 9 rectfill\nshowpage\n%%EOF\n"
PDF = b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\ntrailer<</Root 1 0 R>>\n"


def gif_and_script() -> bytes:
    """A GIF that is a script as well: its width is the two letters that begin a comment."""
    side = int.from_bytes(b"/*", "little")
    plain = picture("red", 8, "GIF")
    # The screen is as large as the letters say, the picture in it as large as it was.
    assert side < 16_384
    return plain[:6] + b"/*" + plain[8:] + b"*/=1;alert(1);"


def jpeg_and_html() -> bytes:
    return picture("red", 64, "JPEG", comment=HTML) + HTML


def png_and_html() -> bytes:
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Comment", HTML.decode())
    return picture("red", pnginfo=text) + HTML


def jpeg_and_pdf() -> bytes:
    return picture("red", 64, "JPEG", comment=PDF) + PDF


def jpeg_and_zip() -> bytes:
    out = io.BytesIO(picture("blue", 64, "JPEG"))
    out.seek(0, io.SEEK_END)
    out.write(b"PK\x03\x04" + HTML)
    return out.getvalue()


def webp_and_html() -> bytes:
    return picture("red", 64, "WEBP", xmp=HTML) + HTML


def tiff_and_html() -> bytes:
    return picture("red", 64, "TIFF", description=HTML.decode()) + HTML


def bmp_and_script() -> bytes:
    return picture("red", 64, "BMP") + b"*/=1;alert(1);"


POLYGLOTS = {
    "gif.js": gif_and_script,
    "photo.html": jpeg_and_html,
    "chunk.svg": png_and_html,
    "paper.pdf": jpeg_and_pdf,
    "archive.xhtml": jpeg_and_zip,
    "web.htm": webp_and_html,
    "scan.shtml": tiff_and_html,
    "bits.mjs": bmp_and_script,
}
NO_PICTURES = {"html": HTML, "svg": SVG, "eps": EPS, "pdf": PDF, "pdf first": PDF + picture("red", 9, "JPEG")}
CLAIMS = ("text/html", "image/svg+xml", "image/jpeg", "application/xhtml+xml", "text/javascript")
NAMES = (
    "x.html",
    "x.svg",
    "x.jpg.html",
    "x",
    'a"; filename="evil.html',
    "a\r\nContent-Type: text/html\r\n\r\nx.html",
)


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def send(client: Client, name: str, content: bytes, claim: str) -> dict[str, list]:
    """The API's answer to one file."""
    file = SimpleUploadedFile(name, content, content_type=claim)
    answer = client.post("/api/v1/projects/animals/images/", {"files": file})
    assert answer.status_code in (201, 400, 415)
    return answer.json()


def wrong(answer: HttpResponse, original: bool) -> list[str]:
    """What the answer lets a browser do that a picture should not."""
    found = [
        f"{name}: {answer.get(name)}"
        for name, value in {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }.items()
        if answer.get(name) != value
    ]
    allowed = set(TYPES.values()) if original else {"image/webp"}
    if answer["Content-Type"] not in allowed:
        found.append(answer["Content-Type"])
    disposition = answer.get("Content-Disposition", "")
    if original and not disposition.startswith("attachment;"):
        found.append(f"not as a download: {disposition}")
    if any(ending in disposition.rpartition(".")[2] for ending in ("htm", "svg", "js", "pdf")):
        found.append(disposition)
    return found


def problems(client: Client, image: int) -> list[str]:
    return [
        f"{address}: {problem}"
        for address in (
            *(f"/images/{image}/{kind}/" for kind in ("file", "thumbnail", "preview")),
            *(f"/api/v1/images/{image}/{kind}/" for kind in ("file", "thumbnail")),
        )
        for problem in wrong(client.get(address), address.endswith("/file/"))
    ]


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_picture_that_is_something_else_too_is_served_as_a_picture(
    name: str, client: Client, project: Project
) -> None:
    for claim in CLAIMS:
        said = send(client, name, POLYGLOTS[name](), claim)
        [image] = said["added"]
        assert problems(client, image["id"]) == []
        row = Image.objects.get()
        # What is drawn again carries nothing along.
        for small in (row.thumbnail, row.preview):
            with small.open() as file:
                content = file.read()
            assert b"alert" not in content and PIL.Image.open(io.BytesIO(content)).format == "WEBP"
        row.delete()


@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture_is_refused_whatever_it_is_called(
    kind: str, client: Client, project: Project
) -> None:
    for name in ("x.jpg", "x.png", "x.svg", "x.html", "x"):
        for claim in CLAIMS:
            said = send(client, name, NO_PICTURES[kind], claim)
            assert (said["added"], len(said["refused"])) == ([], 1)
    assert not Image.objects.exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF"])
def test_a_real_picture_is_a_picture_whatever_it_is_called(
    name: str, format: str, add: Callable[..., list[Image]], client: Client
) -> None:
    [image] = add((name, picture("red", format=format)))
    assert problems(client, image.pk) == []
    assert client.get(f"/images/{image.pk}/file/")["Content-Type"] == TYPES[format]
