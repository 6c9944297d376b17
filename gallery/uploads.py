"""The one door for files: check, decode once, thumbnail, recognise duplicates, save."""

import math
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Sum
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django_q.tasks import async_task

from gallery import access, archives, backups, decoder, derived, intake, webhooks
from gallery.access import User
from gallery.decoding import SUFFIXES, BadPicture
from gallery.intake import Received, StorageFull
from gallery.models import Image, Project, Upload, UploadEntry

# A ZIP of at most this many entries is unpacked while its sender waits, for a moment; the rest by a task.
ZIP_AT_ONCE, SECONDS_AT_ONCE = 32, 3
# Between two entries no live expansion is silent for longer, and no ZIP takes longer to be saved.
EXPANSION_LEASE, ARRIVAL_LEASE = timedelta(minutes=2), timedelta(minutes=30)
# An upload may come in many requests: so long after the last of them it counts as done.
MORE_TO_COME = timedelta(seconds=10)
NOT_SAVED = "The disk is full: the picture was not saved. Free some space, then send it again."
ZIP_NOT_SAVED = "The disk is full: the ZIP was not saved. Free some space, then send it again."
ZIP_WAITS = "The disk is full. Unpacking goes on by itself once there is space."
SET_ASIDE = "Here already, and set aside as a near-duplicate: bring it back on the page of what is set aside."

Outcome = UploadEntry.Outcome


@dataclass
class Room:
    """What a project may still take in."""

    images: int
    bytes: int

    def take(self, size: int) -> None:
        """Raises BadPicture where a picture of so many bytes is too much."""
        if self.images < 1:
            most = f"{settings.PROJECT_MAX_IMAGES:,} images"
        elif self.bytes < size:
            most = f"{settings.PROJECT_MAX_BYTES / 1024**3:.3g} GB"
        else:
            self.images, self.bytes = self.images - 1, self.bytes - size
            return
        reason = (
            f"The project is full: it may have {most}. Delete some of its images, or start another project."
        )
        raise BadPicture(reason, status=507)


def room_of(project_id: int) -> Room:
    held = Image.everything.filter(project=project_id).aggregate(images=Count("pk"), bytes=Sum("size"))
    return Room(
        settings.PROJECT_MAX_IMAGES - held["images"], settings.PROJECT_MAX_BYTES - (held["bytes"] or 0)
    )


def add_images(project: Project, user: User, files: Iterable[File], upload: Upload | None = None) -> Upload:
    """Add `files`, pictures or ZIPs of pictures, each with an entry that says what became of it.

    `upload`: one act of adding may come in several requests. Raises StorageFull.
    """
    intake.check_disk()
    upload = upload or Upload.objects.create(project=project, uploaded_by=user)
    room = room_of(project.pk)
    try:
        for file in files:
            if archives.is_zip(file):
                _receive_zip(upload, file)
            else:
                _add(upload, room, file.name, file.chunks())
    finally:
        embed_later(project.pk)
    if upload.fresh and upload.state != Upload.State.OPEN:
        _tell(upload)
    return upload


def embed_later(project_id: int) -> None:
    """Once what was written is committed, have new images embedded and labelled."""
    # Robust: where the queue can't be reached the images are in all the same, and the worker comes to them.
    transaction.on_commit(lambda: async_task("labeling.tasks.embed_project", project_id), robust=True)


def _tell(upload: Upload) -> None:
    """Tell webhooks that the upload is at its end, once: a page sends a request for each of its files."""
    if webhooks.is_told(upload.project_id, "upload.done"):
        found = upload.entries.order_by().values_list("outcome").annotate(Count("pk"))
        counts = dict.fromkeys(Outcome.values, 0) | dict(found)
        data = {"upload": upload.pk, "state": upload.state, "error": upload.error, **counts}
        webhooks.notify(upload.project_id, "upload.done", data, f"upload {upload.pk}", wait=MORE_TO_COME)


def _add(upload: Upload, room: Room, name: str, chunks: Iterable[bytes], position: int | None = None) -> None:
    """Add one file with its entry, at `position` or behind all others. Raises StorageFull."""
    name = name[-255:] or "unnamed"
    try:
        with intake.storage_full(NOT_SAVED), intake.received(chunks) as file:
            twins = Image.everything.filter(project=upload.project_id, sha256=file.sha256)
            if twin := twins.first():
                _note_twin(upload, position, name, twin)
                return
            room.take(file.size)
            if not _save(upload, name, file, position):
                # The same picture came in by another request in the meantime.
                _note_twin(upload, position, name, twins.first())
    except BadPicture as refusal:
        _refuse(upload, position, name, refusal)


def _note_twin(upload: Upload, position: int | None, name: str, twin: Image | None) -> None:
    reason = SET_ASIDE if twin and twin.set_aside_at else ""
    _note(upload, position, name=name, outcome=Outcome.DUPLICATE, image=twin, reason=reason)


def _refuse(upload: Upload, position: int | None, name: str, refusal: BadPicture) -> None:
    _note(upload, position, name=name, outcome=Outcome.REFUSED, reason=str(refusal)[:300])
    upload.refusals.add(refusal.status)


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


def _save(upload: Upload, name: str, file: Received, position: int | None) -> bool:
    """Store a new picture, its row and its entry; False where the row is there already. Raises BadPicture."""
    picture = decoder.decode(file.path)
    image = Image(
        project=upload.project,
        name=name,
        sha256=file.sha256,
        width=picture.width,
        height=picture.height,
        format="JPEG" if picture.format == "MPO" else picture.format,
        size=file.size,
        uploaded_by=upload.uploaded_by,
    )
    try:
        intake.move(file.path, image.file, SUFFIXES[picture.format])
        intake.keep(picture.preview, image.preview, ".webp")
        intake.keep(picture.thumbnail, image.thumbnail, ".webp")
        _note(upload, position, name=name, outcome=Outcome.ADDED, image=image)
    except Exception as error:
        discard_files(image)
        if isinstance(error, IntegrityError):
            return False
        raise
    return True


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
    project_id = project.pk
    images = list(project.images(manager="everything").only("file", "preview", "thumbnail"))
    waiting = list(_waiting_files(project))
    with transaction.atomic():
        project.delete()
        transaction.on_commit(lambda: _discard(images, waiting))
        transaction.on_commit(lambda: derived.discard(project_id))


def _waiting_files(project: Project) -> Iterator[FieldFile]:
    """Files of the project that wait for a worker, whatever kind of row has them."""
    for field in backups.file_fields():
        if field.model is not Image:
            rows = field.model.objects.filter(project=project).exclude(**{field.name: ""})
            yield from (getattr(row, field.name) for row in rows.only(field.name))


def _discard(images: Iterable[Image], waiting: Iterable[FieldFile]) -> None:
    for image in images:
        discard_files(image)
    for file in waiting:
        file.storage.delete(file.name)


def _receive_zip(upload: Upload, file: File) -> None:
    try:
        entries = archives.pictures_in(file)
        _reserve(upload, len(entries))
    except BadPicture as refusal:
        _refuse(upload, None, file.name[-255:], refusal)
        return
    file.seek(0)
    try:
        with intake.storage_full(ZIP_NOT_SAVED):
            upload.archive.save("archive.zip", file)
    except StorageFull:
        Upload.objects.filter(pk=upload.pk).update(state=Upload.State.FAILED, error=ZIP_NOT_SAVED)
        raise
    if len(entries) <= ZIP_AT_ONCE:
        expand(upload, SECONDS_AT_ONCE)
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
    """Add the pictures of the upload's ZIP, from where it stopped before, and ring again after `seconds`.

    Where the disk is full it waits: the beat rings again.
    """
    until = time.monotonic() + seconds
    try:
        _expand(upload, until)
    except StorageFull:
        Upload.objects.filter(pk=upload.pk).update(error=ZIP_WAITS, beat_at=timezone.now())
        upload.error = ZIP_WAITS
        embed_later(upload.project_id)


def _expand(upload: Upload, until: float) -> None:
    room = room_of(upload.project_id)
    with upload.archive.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = archives.pictures_in(file)
        # The ZIP's entries have the positions before `total`; others of the upload stand before or behind.
        first = upload.total - len(infos)
        done = upload.entries.filter(position__gte=first, position__lt=upload.total).count()
        for position, info in list(enumerate(infos, start=first))[done:]:
            if not Upload.objects.filter(pk=upload.pk, state=Upload.State.OPEN).exists():
                return  # it was stopped
            intake.check_disk()
            # Where a second task expands the same ZIP, the first to write an entry has it.
            with suppress(IntegrityError):
                _add(upload, room, info.filename, archives.content(archive, info), position)
            over = time.monotonic() > until
            if over or position % 16 == 15:
                Upload.objects.filter(pk=upload.pk).update(beat_at=timezone.now(), error="")
                embed_later(upload.project_id)
            if over:
                expand_later(upload)
                return
    finish(upload)


def finish(upload: Upload, error: str = "") -> None:
    """Close an upload whose ZIP is used up, or can't be read to its end."""
    archive = upload.archive and upload.archive.name
    upload.state, upload.error = Upload.State.FAILED if error else Upload.State.DONE, error[:300]
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(state=upload.state, error=upload.error, archive="")
        _tell(upload)
    if archive:
        upload.archive.storage.delete(archive)
    upload.archive = ""
    embed_later(upload.project_id)


def a_folder(upload: Upload) -> str:
    """The last folder of one of the upload's images; empty where they came in none."""
    images = upload.entries.exclude(image=None).filter(name__contains="/").values_list("name", flat=True)
    name = images.first()
    return name.split("/")[-2] if name else ""


def to_stop(user: User, pk: int) -> Upload:
    """The upload, for one's own or a reviewer's hand to stop. Raises as `access.fetch` does."""
    upload = access.fetch(Upload.objects.select_related("project"), user, "view", pk=pk)
    return access.fetch(Upload.objects.select_related("project"), user, asks_to_stop(upload, user), pk=pk)


def asks_to_stop(upload: Upload, user: User) -> str:
    """The action that stopping this upload asks of this user's role."""
    return "upload" if upload.uploaded_by_id == user.pk else "delete images"


def stop(upload: Upload, user: User) -> bool:
    """End the unpacking of a ZIP; what is in stays. False where it had ended already."""
    if not Upload.objects.filter(pk=upload.pk, state=Upload.State.OPEN).exists():
        return False
    finish(upload, error=f"Stopped by {user.get_username()}.")
    return True


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
