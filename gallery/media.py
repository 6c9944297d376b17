"""An image's files, as they go to those who may see them: never guessed at, never run by a browser."""

from pathlib import PurePath

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

from gallery.models import Image

TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}


# A file never changes under its address, and only its reader's own browser may keep it.
KEPT = "private, max-age=31536000, immutable"


def serve(request: HttpRequest, image: Image, field: str) -> HttpResponse:
    """The image's `file` as a download, or its `thumbnail` or `preview` to be shown; 304 for who has it.

    Raises Http404 where the file is gone. Who may see the image is for the caller to check.
    """
    etag = f'"{image.sha256}-{field}"'
    response = get_conditional_response(request, etag=etag) or _file(image, field)
    response["ETag"], response["Cache-Control"] = etag, KEPT
    return response


def _file(image: Image, field: str) -> FileResponse:
    stored = getattr(image, field)
    try:
        content = stored.open("rb")
    except FileNotFoundError as error:
        raise Http404("The file of this image is missing.") from error
    if field == "file":
        name = PurePath(image.name).stem + PurePath(stored.name).suffix
        content_type = TYPES[image.format]
    else:
        name, content_type = PurePath(stored.name).name, "image/webp"
    response = FileResponse(content, as_attachment=field == "file", filename=name, content_type=content_type)
    response["X-Content-Type-Options"] = "nosniff"
    # Whoever opens one by its address gets a picture, whatever else stands in the file.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response
