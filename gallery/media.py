"""An image's files, as they go to those who may see them: never guessed at, never run by a browser."""

from pathlib import PurePath

from django.http import FileResponse, Http404

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


def serve(image: Image, field: str) -> FileResponse:
    """The image's `file` as a download, or its `thumbnail` or `preview` to be shown.

    Raises Http404 where the file is gone. Who may see the image is for the caller to check.
    """
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
    # A file never changes under its address, and only its reader's own browser may keep it.
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    # Whoever opens one by its address gets a picture, whatever else stands in the file.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response
