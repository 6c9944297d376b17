"""The one door for files: check, decode once, thumbnail, recognise duplicates, save."""

import hashlib
import io
import logging
import math
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import PIL.Image
from django.conf import settings
from django.core.files.base import ContentFile, File
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django_q.tasks import async_task

from gallery import decoding
from gallery.access import User
from gallery.decoding import BadPicture
from gallery.models import Image, Project, Upload, UploadEntry

logger = logging.getLogger(__name__)

THUMBNAIL_SIDE = 320
PREVIEW_SIDE = 1280
# A ZIP of at most this many entries is unpacked while its sender waits; a larger one by a task.
ZIP_AT_ONCE = 32
# What an entry of a ZIP takes in its directory, with a long name.
ENTRY_BYTES = 400
# Between two entries no live expansion is silent for longer, and no ZIP takes longer to be saved.
EXPANSION_LEASE, ARRIVAL_LEASE = timedelta(minutes=2), timedelta(minutes=30)
ZIP_NOT_SAVED = "The disk is full: the ZIP was not saved. Free some space, then send it again."
JUNK = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")

Outcome = UploadEntry.Outcome


class StorageFull(OSError):
    """The disk took no more; nothing was half-written."""


def add_images(project: Project, user: User, files: Iterable[File], upload: Upload | None = None) -> Upload:
    """Add `files`, pictures or ZIPs of pictures, each with an entry that says what became of it.

    `upload`: one act of adding may come in several requests. Raises StorageFull.
    """
    upload = upload or Upload.objects.create(project=project, uploaded_by=user)
    try:
        for file in files:
            if _is_zip(file):
                _receive_zip(upload, file)
            else:
                _add(upload, file.name, file)
    finally:
        embed_later(project.pk)
    return upload


def embed_later(project_id: int) -> None:
    """Once what was written is committed, have new images embedded and labelled."""
    # Robust: where the queue can't be reached the images are in all the same, and the worker comes to them.
    transaction.on_commit(lambda: async_task("labeling.tasks.embed_project", project_id), robust=True)


def _is_zip(file: File) -> bool:
    magic = file.read(4)
    file.seek(0)
    return magic in (b"PK\x03\x04", b"PK\x05\x06")


def _add(upload: Upload, name: str, file: File, position: int | None = None) -> None:
    """Add one file with its entry, at `position` or behind all others. Raises StorageFull."""
    name = name[-255:]
    try:
        content = _read_capped(file)
        sha256 = hashlib.sha256(content).hexdigest()
        twins = Image.objects.filter(project=upload.project_id, sha256=sha256)
        if twin := twins.first():
            _note(upload, position, name=name, outcome=Outcome.DUPLICATE, image=twin)
        elif not _save(upload, name, content, sha256, position):
            # The same picture came in by another request in the meantime.
            _note(upload, position, name=name, outcome=Outcome.DUPLICATE, image=twins.first())
    except BadPicture as refusal:
        _note(upload, position, name=name, outcome=Outcome.REFUSED, reason=str(refusal)[:300])


def _note(upload: Upload, position: int | None, **result: Any) -> None:
    """Write an entry, and a new `image` with it. Raises IntegrityError where either is there already."""
    with transaction.atomic():
        if result["outcome"] == Outcome.ADDED:
            result["image"].save()
        position = _next_position(upload) if position is None else position
        entry = upload.entries.create(position=position, **result)
    upload.fresh.append(entry)


def _next_position(upload: Upload) -> int:
    """Behind all entries, those included that a ZIP will still bring. Held until the transaction ends."""
    locked = Upload.objects.select_for_update().get(pk=upload.pk)
    last = upload.entries.aggregate(last=Max("position"))["last"]
    return locked.total if last is None else max(locked.total, last + 1)


def _save(upload: Upload, name: str, content: bytes, sha256: str, position: int | None) -> bool:
    """Store a new picture, its row and its entry; False where the row is there already. Raises BadPicture."""
    picture = decoding.read(io.BytesIO(content), side=PREVIEW_SIDE)
    image = Image(
        project=upload.project,
        name=name,
        sha256=sha256,
        width=picture.width,
        height=picture.height,
        format="JPEG" if picture.format == "MPO" else picture.format,
        size=len(content),
        uploaded_by=upload.uploaded_by,
    )
    parts = {
        "file": (content, decoding.SUFFIXES[picture.format]),
        "preview": (_webp(picture.rgb, PREVIEW_SIDE), ".webp"),
        "thumbnail": (_webp(picture.rgb, THUMBNAIL_SIDE), ".webp"),
    }
    try:
        for field, (part, suffix) in parts.items():
            _store(getattr(image, field), f"name{suffix}", part)
        _note(upload, position, name=name, outcome=Outcome.ADDED, image=image)
    except Exception as error:
        discard_files(image)
        if isinstance(error, IntegrityError):
            return False
        if isinstance(error, OSError):
            raise StorageFull(
                "The disk is full: the picture was not saved. Free some space, then send it again."
            ) from error
        raise
    return True


def _store(file: FieldFile, name: str, content: bytes) -> None:
    # Named before it is written, so that half a file can be found and discarded.
    file.name = file.field.generate_filename(file.instance, name)
    file.name = file.storage.save(file.name, ContentFile(content))


def _read_capped(file: File) -> bytes:
    content = file.read(settings.UPLOAD_MAX_BYTES + 1)
    if len(content) > settings.UPLOAD_MAX_BYTES:
        raise BadPicture(f"Too large: more than {settings.UPLOAD_MAX_BYTES // 1024**2} MB.")
    if not content:
        raise BadPicture("Empty: the file has no content.")
    return content


def _webp(picture: PIL.Image.Image, side: int) -> bytes:
    small = picture.copy()
    small.thumbnail((side, side), reducing_gap=2.0)
    out = io.BytesIO()
    # A new image carries no EXIF, GPS, XMP or comment along.
    clean = PIL.Image.new("RGB", small.size)
    clean.paste(small)
    clean.save(out, "WEBP", quality=82, method=2)
    return out.getvalue()


def discard_files(image: Image) -> None:
    """Remove the files of an image whose row is gone or never was."""
    for field in (image.file, image.preview, image.thumbnail):
        if field:
            field.storage.delete(field.name)


def delete_image(image: Image) -> None:
    """Delete an image, all opinions about it, and, once that is committed, its files."""
    with transaction.atomic():
        image.delete()
        transaction.on_commit(lambda: discard_files(image))


def delete_project(project: Project) -> None:
    """Delete a project, everything in it, and, once that is committed, its files."""
    images = list(project.images.only("file", "preview", "thumbnail"))
    archives = [upload.archive for upload in project.uploads.exclude(archive="").only("archive")]
    with transaction.atomic():
        project.delete()
        transaction.on_commit(lambda: _discard(images, archives))


def _discard(images: Iterable[Image], archives: Iterable[FieldFile]) -> None:
    for image in images:
        discard_files(image)
    for archive in archives:
        archive.storage.delete(archive.name)


def _receive_zip(upload: Upload, file: File) -> None:
    try:
        entries = _pictures_in(file)
        _reserve(upload, len(entries))
    except BadPicture as refusal:
        _note(upload, None, name=file.name[-255:], outcome=Outcome.REFUSED, reason=str(refusal))
        return
    file.seek(0)
    try:
        upload.archive.save("archive.zip", file)
    except OSError as error:
        Upload.objects.filter(pk=upload.pk).update(state=Upload.State.FAILED, error=ZIP_NOT_SAVED)
        raise StorageFull(ZIP_NOT_SAVED) from error
    if len(entries) <= ZIP_AT_ONCE:
        expand(upload)
    else:
        expand_later(upload)


@transaction.atomic
def _reserve(upload: Upload, entries: int) -> None:
    """Keep the next positions for a ZIP's entries. Raises BadPicture."""
    first = _next_position(upload)
    if Upload.objects.filter(pk=upload.pk, state=Upload.State.OPEN).exists():
        raise BadPicture("Another ZIP of this upload is still being unpacked: send this one by itself.")
    upload.state, upload.total, upload.beat_at = Upload.State.OPEN, first + entries, timezone.now()
    upload.save(update_fields=["state", "total", "beat_at"])


def expand_later(upload: Upload) -> None:
    transaction.on_commit(lambda: async_task("gallery.tasks.expand_zip", upload.pk), robust=True)


def expand(upload: Upload, seconds: float = math.inf) -> None:
    """Add the pictures of the upload's ZIP, from where it stopped before, and ring again after `seconds`."""
    until = time.monotonic() + seconds
    with upload.archive.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = _pictures_in(file)
        # The ZIP's entries have the positions before `total`; others of the upload stand before or behind.
        first = upload.total - len(infos)
        done = upload.entries.filter(position__gte=first, position__lt=upload.total).count()
        for position, info in list(enumerate(infos, start=first))[done:]:
            # Where a second task expands the same ZIP, the first to write an entry has it.
            with suppress(IntegrityError):
                _add(upload, info.filename, _capped_entry(archive, info), position)
            over = time.monotonic() > until
            if over or position % 16 == 15:
                Upload.objects.filter(pk=upload.pk).update(beat_at=timezone.now())
                embed_later(upload.project_id)
            if over:
                expand_later(upload)
                return
    finish(upload)


def finish(upload: Upload, error: str = "") -> None:
    """Close an upload whose ZIP is used up, or can't be read to its end."""
    state = Upload.State.FAILED if error else Upload.State.DONE
    Upload.objects.filter(pk=upload.pk).update(state=state, error=error[:300], archive="")
    if upload.archive:
        upload.archive.storage.delete(upload.archive.name)
    upload.state, upload.error, upload.archive = state, error, ""
    embed_later(upload.project_id)


def resume_expansions() -> None:
    """Ring again for every ZIP whose expansion died, and close the uploads whose ZIP never came in whole."""
    now = timezone.now()
    for upload in Upload.objects.filter(state=Upload.State.OPEN):
        silent = now - (upload.beat_at or upload.created_at)
        if upload.archive and silent > EXPANSION_LEASE:
            Upload.objects.filter(pk=upload.pk).update(beat_at=now)
            expand_later(upload)
        elif not upload.archive and silent > ARRIVAL_LEASE:
            finish(upload, error="The ZIP did not come in whole. Send it again: what is here already stays.")


def _pictures_in(file: File) -> list[zipfile.ZipInfo]:
    """The entries of a ZIP that could be pictures, in order. Raises BadPicture for an unusable ZIP."""
    if file.size > settings.UPLOAD_MAX_ZIP_BYTES:
        raise BadPicture(f"Too large: a ZIP may have {settings.UPLOAD_MAX_ZIP_BYTES // 1024**3} GB at most.")
    try:
        end = zipfile._EndRecData(file)
        # Before it is read: each entry of the directory becomes an object, and what it says of their number
        # can be a lie.
        if end and end[zipfile._ECD_SIZE] > settings.UPLOAD_MAX_ZIP_ENTRIES * ENTRY_BYTES:
            raise BadPicture(f"Too many: a ZIP may have {settings.UPLOAD_MAX_ZIP_ENTRIES:,} entries at most.")
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except BadPicture:
        raise
    except Exception as error:
        raise BadPicture("Broken: the ZIP can't be read to its end.") from error
    if len(infos) > settings.UPLOAD_MAX_ZIP_ENTRIES:
        raise BadPicture(f"Too many: a ZIP may have {settings.UPLOAD_MAX_ZIP_ENTRIES:,} entries at most.")
    pictures = [info for info in infos if not info.is_dir() and not _is_junk(info.filename)]
    if not pictures:
        raise BadPicture("Empty: there is no file in this ZIP.")
    return pictures


def _is_junk(name: str) -> bool:
    return name.startswith(JUNK[0]) or PurePosixPath(name).name in JUNK[1:]


def _capped_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> File:
    """One entry, read to the cap of a single file whatever size the ZIP claims."""
    if info.flag_bits & 0x1:
        return _Unreadable("Encrypted: unpack the ZIP and send the pictures themselves.")
    if info.filename.lower().endswith(".zip"):
        return _Unreadable("A ZIP inside a ZIP: unpack it and send its pictures.")
    try:
        with archive.open(info) as entry:
            return ContentFile(entry.read(settings.UPLOAD_MAX_BYTES + 1))
    except Exception:
        logger.info("entry %s of a ZIP can't be read", info.filename, exc_info=True)
        return _Unreadable("Broken: this entry of the ZIP can't be read.")


class _Unreadable(ContentFile):
    """Stands for an entry that is refused before it is read."""

    def __init__(self, reason: str) -> None:
        super().__init__(b"")
        self.reason = reason

    def read(self, *args: int) -> bytes:
        raise BadPicture(self.reason)
