"""The one door for files: what comes in, what is refused and why, and that nothing is left behind."""

import errno
import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import PIL.Image
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone
from django_q.models import OrmQ

from gallery import archives, intake, tasks, uploads
from gallery.models import Image, Project, Upload, UploadEntry
from tests.conftest import picture

Add = Callable[..., list[Image]]
OnCommit = Callable[..., Iterator]


def outcomes(upload: Upload) -> list[tuple[str, str]]:
    return [(entry.name, entry.outcome) for entry in upload.entries.all()]


def packed(*files: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> ContentFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return ContentFile(out.getvalue(), "pictures.zip")


def huge_directory() -> bytes:
    """A ZIP that calls its directory larger than that of so many entries can be."""
    content = bytearray(packed(("red.png", picture())).read())
    content[-10:-6] = (100_000 * archives.ENTRY_BYTES + 1).to_bytes(4, "little")
    return bytes(content)


def pictures(number: int, first: int = 10) -> list[tuple[str, bytes]]:
    return [(f"{side}.png", picture(side=side)) for side in range(first, first + number)]


def stored(settings: object) -> list[str]:
    """Every file that lies in the media folder."""
    return [str(path) for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_format_is_kept_as_it_came(format: str, add: Add) -> None:
    content = picture(format=format, side=400)
    image = add((f"red.{format.lower()}", content))[0]
    assert image.file.read() == content
    assert (image.format, image.width, image.height, image.size) == (format, 400, 400, len(content))
    thumbnail, preview = PIL.Image.open(image.thumbnail), PIL.Image.open(image.preview)
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (320, 320))
    assert (preview.format, preview.size) == ("WEBP", (400, 400))


def test_a_file_is_stored_under_a_name_of_our_own(add: Add, project: Project) -> None:
    image = add(("../../../evil.php", picture()))[0]
    assert Path(image.file.name).parent == Path(f"images/{project.pk}")
    assert Path(image.file.name).suffix == ".png" and "evil" not in image.file.name


def test_derivatives_say_nothing_of_where_and_by_what_they_were_taken(add: Add) -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    image = add(("home.jpg", picture(format="JPEG", exif=exif, comment=b"at home", xmp=b"<x/>")))[0]
    assert b"A camera" in image.file.read()
    for field in (image.thumbnail, image.preview):
        shown = PIL.Image.open(field)
        assert not shown.getexif() and not set(shown.info) & {"exif", "xmp", "comment", "icc_profile"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Empty: the file has no content."),
        (b"hello", "Not an image that we can read: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."),
        (picture("red", 200, "JPEG")[:-200], "Broken: the file ends too early or its data is damaged."),
    ],
)
def test_a_refused_file_comes_with_its_reason(
    content: bytes, reason: str, add: Add, settings: object
) -> None:
    assert add(("a.jpg", content)) == []
    entry = UploadEntry.objects.get()
    assert (entry.name, entry.outcome, entry.reason) == ("a.jpg", "refused", reason)
    assert stored(settings) == []


def test_a_file_may_be_too_large_in_bytes_and_in_pixels(add: Add, settings: object) -> None:
    settings.UPLOAD_MAX_BYTES = 2 * 1024**2
    settings.UPLOAD_MAX_PIXELS = 100 * 100
    add(
        ("bytes.png", b"x" * (2 * 1024**2 + 1)),
        ("pixels.png", picture(side=101)),
        ("fits.png", picture(side=100)),
    )
    reasons = dict(UploadEntry.objects.values_list("name", "reason"))
    assert reasons["bytes.png"] == "Too large: more than 2 MB."
    assert reasons["pixels.png"].startswith("Too large: 101 × 101 pixels.")
    assert reasons["fits.png"] == ""


def test_the_same_picture_twice_is_recognised(project: Project, owner: User, add: Add) -> None:
    first = add(("a.png", picture("red")), ("b.png", picture("red")))
    assert first[0] == first[1] == Image.objects.get()
    upload = uploads.add_images(project, owner, [ContentFile(picture("red"), "c.png")])
    assert outcomes(upload) == [("c.png", "duplicate")]


def test_the_same_picture_in_another_project_is_no_duplicate(project: Project, owner: User, add: Add) -> None:
    add(("a.png", picture("red")))
    other = Project.objects.create(name="Other", slug="other")
    assert outcomes(uploads.add_images(other, owner, [ContentFile(picture("red"), "a.png")])) == [
        ("a.png", "added")
    ]


def test_two_requests_with_the_same_picture_keep_one(
    project: Project, owner: User, add: Add, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    """The second one looked for a twin before the first had written its row."""
    image, files = add(("a.png", picture("red")))[0], stored(settings)
    looks = iter([None, image])
    monkeypatch.setattr("django.db.models.query.QuerySet.first", lambda rows: next(looks))
    upload = uploads.add_images(project, owner, [ContentFile(picture("red"), "b.png")])
    monkeypatch.undo()
    assert outcomes(upload) == [("b.png", "duplicate")]
    assert stored(settings) == files


def test_one_upload_may_come_in_several_requests(project: Project, owner: User) -> None:
    upload = uploads.add_images(project, owner, [ContentFile(picture("red"), "a.png")])
    uploads.add_images(project, owner, [ContentFile(picture("blue"), "b.png")], upload)
    assert [entry.position for entry in upload.entries.all()] == [0, 1]


def test_new_images_are_seen_to_once_they_are_committed(
    project: Project, owner: User, django_capture_on_commit_callbacks: OnCommit
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        uploads.add_images(project, owner, [ContentFile(picture(), "a.png")])
    assert OrmQ.objects.exists()


# Disk full


@pytest.mark.parametrize("room_for", [0, 1, 2])
def test_a_full_disk_leaves_neither_row_nor_file(
    room_for: int, project: Project, owner: User, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, kept = FileSystemStorage._save, []

    def full(storage: FileSystemStorage, name: str, content: ContentFile) -> str:
        if len(kept) == room_for:
            # As a real one does: half of it is written, then there is no more.
            save(storage, name, ContentFile(b"half"))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        kept.append(name)
        return save(storage, name, content)

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    with pytest.raises(uploads.StorageFull, match="The disk is full"):
        uploads.add_images(project, owner, [ContentFile(picture(), "a.png")])
    assert not Image.objects.exists()
    assert stored(settings) == []
    monkeypatch.undo()
    assert outcomes(uploads.add_images(project, owner, [ContentFile(picture(), "a.png")])) == [
        ("a.png", "added")
    ]


def test_a_zip_that_has_no_room_is_not_kept(
    project: Project, owner: User, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    with pytest.raises(uploads.StorageFull, match="the ZIP was not saved"):
        uploads.add_images(project, owner, [packed(*pictures(2))])
    assert Upload.objects.get().state == Upload.State.FAILED
    assert stored(settings) == []


# Deleting


def test_a_deleted_image_leaves_no_file(
    add: Add, settings: object, django_capture_on_commit_callbacks: OnCommit
) -> None:
    image = add(("a.png", picture()))[0]
    assert len(stored(settings)) == 3
    with django_capture_on_commit_callbacks(execute=True):
        uploads.delete_image(image)
    assert stored(settings) == []


def test_a_deleted_project_leaves_no_file(
    project: Project, owner: User, add: Add, settings: object, django_capture_on_commit_callbacks: OnCommit
) -> None:
    add(*pictures(3))
    uploads.add_images(project, owner, [packed(*pictures(40))])
    with django_capture_on_commit_callbacks(execute=True):
        uploads.delete_project(project)
    assert stored(settings) == []
    assert not Image.objects.exists() and not Upload.objects.exists()


# ZIP


def test_a_small_zip_is_unpacked_at_once(project: Project, owner: User, settings: object) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(3), ("note.txt", b"hello"))])
    assert outcomes(upload) == [
        ("10.png", "added"),
        ("11.png", "added"),
        ("12.png", "added"),
        ("note.txt", "refused"),
    ]
    assert (upload.state, upload.archive.name) == (Upload.State.DONE, "")
    assert not [name for name in stored(settings) if name.endswith(".zip")]


def test_a_large_zip_is_unpacked_by_a_task(
    project: Project, owner: User, settings: object, django_capture_on_commit_callbacks: OnCommit
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        upload = uploads.add_images(project, owner, [packed(*pictures(uploads.ZIP_AT_ONCE + 1))])
    assert (upload.state, upload.entries.count()) == (Upload.State.OPEN, 0)
    assert any(task.func() == "gallery.tasks.expand_zip" for task in OrmQ.objects.all())
    tasks.expand_zip(upload.pk)
    upload.refresh_from_db()
    assert (upload.state, upload.entries.count(), upload.archive.name) == (Upload.State.DONE, 33, "")
    assert project.images.count() == 33


def test_unpacking_goes_on_where_it_stopped(project: Project, owner: User) -> None:
    names = [name for name, _ in pictures(40)]
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    steps = 0
    while upload.state == Upload.State.OPEN:
        # No time at all: one entry, and the bell is rung again.
        uploads.expand(upload, seconds=0)
        upload.refresh_from_db()
        steps += 1
        assert upload.entries.count() == min(steps, 40)
    assert [entry.name for entry in upload.entries.all()] == names


def test_a_task_that_comes_twice_or_too_late_does_no_harm(project: Project, owner: User) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    twin = Upload.objects.get(pk=upload.pk)
    uploads.expand(upload, seconds=0)
    tasks.expand_zip(twin.pk)
    tasks.expand_zip(twin.pk)
    tasks.expand_zip(upload.pk + 1)
    assert (twin.entries.count(), project.images.count()) == (40, 40)


def test_a_zip_that_can_not_be_read_to_its_end_says_so(
    project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    monkeypatch.setattr(uploads, "expand", lambda *args, **kwargs: 1 / 0)
    tasks.expand_zip(upload.pk)
    upload.refresh_from_db()
    assert upload.state == Upload.State.FAILED and "could not be read to its end" in upload.error


def test_an_unpacking_that_died_is_taken_up_again(
    project: Project, owner: User, django_capture_on_commit_callbacks: OnCommit
) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    with django_capture_on_commit_callbacks(execute=True):
        uploads.resume_expansions()
    assert not OrmQ.objects.exists()
    Upload.objects.update(beat_at=upload.created_at.replace(year=2020))
    with django_capture_on_commit_callbacks(execute=True):
        uploads.resume_expansions()
    assert [task.args() for task in OrmQ.objects.all()] == [(upload.pk,)]


def test_pictures_and_a_zip_in_one_request_all_come_in(project: Project, owner: User) -> None:
    files = [
        ContentFile(picture("red"), "red.png"),
        packed(*pictures(3)),
        ContentFile(picture("blue"), "blue.png"),
    ]
    upload = uploads.add_images(project, owner, files)
    assert [name for name, _ in outcomes(upload)] == ["red.png", "10.png", "11.png", "12.png", "blue.png"]


def test_pictures_come_in_while_a_zip_of_the_same_upload_is_unpacked(project: Project, owner: User) -> None:
    upload = uploads.add_images(
        project, owner, [ContentFile(picture("red"), "red.png"), packed(*pictures(40))]
    )
    uploads.expand(upload, seconds=0)
    uploads.add_images(project, owner, [ContentFile(picture("blue"), "blue.png")], upload)
    uploads.expand(upload)
    names = [name for name, _ in outcomes(upload)]
    assert (names[0], names[1], names[-1], len(names)) == ("red.png", "10.png", "blue.png", 42)
    assert project.images.count() == 42


def test_what_an_operating_system_puts_into_a_zip_is_passed_over(project: Project, owner: User) -> None:
    junk = [("__MACOSX/._10.png", b"x"), ("folder/.DS_Store", b"x"), ("Thumbs.db", b"x"), ("folder/", b"")]
    upload = uploads.add_images(project, owner, [packed(*junk, ("folder/10.png", picture()))])
    assert outcomes(upload) == [("folder/10.png", "added")]


def test_names_that_climb_out_of_a_zip_write_nothing_outside(
    project: Project, owner: User, settings: object
) -> None:
    names = ["../../out.png", "/etc/out.png", "C:\\out.png", "..\\..\\out.png"]
    files = [(name, picture(side=10 + number)) for number, name in enumerate(names)]
    upload = uploads.add_images(project, owner, [packed(*files)])
    assert [outcome for _, outcome in outcomes(upload)] == ["added"] * 4
    folder = Path(settings.MEDIA_ROOT) / "images" / str(project.pk)
    assert all(Path(name).parent == folder for name in stored(settings))
    assert not list(Path(settings.MEDIA_ROOT).parent.rglob("out.png"))


def test_a_zip_in_a_zip_and_an_encrypted_entry_are_refused(project: Project, owner: User) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.zip", packed(*pictures(1)).read())
        archive.writestr("secret.png", picture("red"))
        archive.writestr("open.png", picture("blue"))
        archive.getinfo("secret.png").flag_bits |= 1  # what a reader knows an encrypted entry by
    upload = uploads.add_images(project, owner, [ContentFile(out.getvalue(), "a.zip")])
    reasons = {entry.name: entry.reason for entry in upload.entries.all()}
    assert reasons["inner.zip"].startswith("A ZIP inside a ZIP")
    assert reasons["secret.png"].startswith("Encrypted")
    assert reasons["open.png"] == ""


def test_an_entry_is_read_no_further_than_a_file_may_be(
    project: Project, owner: User, settings: object
) -> None:
    settings.UPLOAD_MAX_BYTES = 1024**2
    bomb = packed(("bomb.png", b"\0" * (50 * 1024**2)), ("fits.png", picture()))
    assert bomb.size < 100_000
    upload = uploads.add_images(project, owner, [bomb])
    assert outcomes(upload) == [("bomb.png", "refused"), ("fits.png", "added")]
    assert upload.entries.first().reason == "Too large: more than 1 MB."


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_no_cut_and_no_flipped_byte_of_any_format_stops_the_others(project: Project, owner: User) -> None:
    """An error that is no refusal would take the rest of its request, or of its ZIP, with it."""
    rng, files = random.Random(5), []
    noise = PIL.Image.frombytes("RGB", (48, 40), rng.randbytes(48 * 40 * 3))
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        out = io.BytesIO()
        noise.save(out, format)
        content = out.getvalue()
        for _ in range(25):
            broken = bytearray(content[: rng.randrange(1, len(content))])
            files.append(ContentFile(bytes(broken), f"cut {len(files)}.{format}"))
            broken = bytearray(content)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            files.append(ContentFile(bytes(broken), f"flipped {len(files)}.{format}"))
    upload = uploads.add_images(project, owner, [*files, ContentFile(picture("red"), "last.png")])
    assert upload.entries.count() == len(files) + 1
    assert upload.entries.last().outcome == "added"
    assert upload.entries.filter(outcome="refused").count() > len(files) / 3


def test_what_came_in_before_the_disk_was_full_is_labelled(
    project: Project,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:
    move, moved = intake.move, []

    def until_full(*args: object) -> None:
        moved.append(args)
        if len(moved) > 3:  # the first picture is three files
            raise OSError(errno.ENOSPC, "No space left on device")
        move(*args)

    monkeypatch.setattr(intake, "move", until_full)
    files = [ContentFile(picture(colour), f"{colour}.png") for colour in ("red", "blue")]
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(uploads.StorageFull):
        uploads.add_images(project, owner, files)
    assert project.images.count() == 1
    assert [(task.func(), task.args()) for task in OrmQ.objects.all()] == [
        ("labeling.tasks.embed_project", (project.pk,))
    ]


def test_a_queue_that_is_away_hinders_no_upload(
    project: Project,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:
    def away(*_: object) -> None:
        raise ConnectionError("the queue is away")

    monkeypatch.setattr(uploads, "async_task", away)
    with django_capture_on_commit_callbacks(execute=True):
        uploads.add_images(project, owner, [ContentFile(picture(), "red.png")])
    assert project.images.count() == 1


def test_an_upload_whose_zip_never_came_in_whole_is_closed(project: Project, owner: User) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    upload = Upload.objects.create(
        project=project, uploaded_by=owner, state=Upload.State.OPEN, total=40, beat_at=long_ago
    )
    just_now = Upload.objects.create(
        project=project, uploaded_by=owner, state=Upload.State.OPEN, total=40, beat_at=timezone.now()
    )
    uploads.resume_expansions()
    upload.refresh_from_db()
    just_now.refresh_from_db()
    assert upload.state == Upload.State.FAILED and "Send it again" in upload.error
    assert just_now.state == Upload.State.OPEN


def test_an_image_and_its_entry_come_together_or_not_at_all(
    project: Project, owner: User, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    """Else a ZIP that is gone on from would call its own picture a duplicate."""
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    monkeypatch.setattr(uploads, "_next_position", lambda upload: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        uploads.add_images(project, owner, [ContentFile(picture(), "red.png")], upload)
    assert not project.images.exists() and [path for path in stored(settings) if "/images/" in path] == []


def test_a_damaged_entry_does_not_stop_the_others(project: Project, owner: User) -> None:
    content = bytearray(packed(*pictures(3), compression=zipfile.ZIP_STORED).read())
    at = content.index(picture(side=11))
    content[at + 40] ^= 0xFF
    upload = uploads.add_images(project, owner, [ContentFile(bytes(content), "a.zip")])
    assert [outcome for _, outcome in outcomes(upload)] == ["added", "refused", "added"]
    assert upload.entries.get(name="11.png").reason == "Broken: this entry of the ZIP can't be read."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 and no more", "Broken: the ZIP can't be read to its end."),
        (packed().read(), "Empty: there is no file in this ZIP."),
        (huge_directory(), "Too many: a ZIP may have 100,000 entries at most."),
    ],
)
def test_a_zip_that_is_none_is_refused_as_a_whole(
    content: bytes, reason: str, project: Project, owner: User
) -> None:
    upload = uploads.add_images(project, owner, [ContentFile(content, "a.zip")])
    assert [(entry.name, entry.reason) for entry in upload.entries.all()] == [("a.zip", reason)]
    assert upload.state == Upload.State.DONE


def test_a_zip_may_be_too_large_and_have_too_many_entries(
    project: Project, owner: User, settings: object
) -> None:
    settings.UPLOAD_MAX_ZIP_ENTRIES = 2
    upload = uploads.add_images(project, owner, [packed(*pictures(3))])
    assert upload.entries.get().reason == "Too many: a ZIP may have 2 entries at most."
    settings.UPLOAD_MAX_ZIP_BYTES = 100
    upload = uploads.add_images(project, owner, [packed(*pictures(1))])
    assert upload.entries.get().reason.startswith("Too large")


# Quotas, and a disk that fills


def test_a_project_takes_in_as_much_as_it_may_have(project: Project, owner: User, settings: object) -> None:
    settings.PROJECT_MAX_IMAGES = 2
    files = [ContentFile(content, name) for name, content in pictures(4)]
    upload = uploads.add_images(project, owner, [*files[:3], packed(*pictures(4))])
    assert outcomes(upload)[:3] == [("10.png", "added"), ("11.png", "added"), ("12.png", "refused")]
    assert upload.entries.all()[2].reason.startswith("The project is full: it may have 2 images.")
    # What is here already is no addition, wherever it stands.
    assert [outcome for _, outcome in outcomes(upload)[3:]] == [
        "duplicate",
        "duplicate",
        "refused",
        "refused",
    ]
    settings.PROJECT_MAX_IMAGES = 100
    settings.PROJECT_MAX_BYTES = sum(image.size for image in project.images.all()) + files[2].size
    upload = uploads.add_images(project, owner, files[2:])
    assert outcomes(upload) == [("12.png", "added"), ("13.png", "refused")]


def test_a_zip_waits_for_space_and_goes_on(project: Project, owner: User, settings: object) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    settings.DISK_RESERVE_BYTES = 10**18
    tasks.expand_zip(upload.pk)
    upload.refresh_from_db()
    assert (upload.state, upload.error) == (Upload.State.OPEN, uploads.ZIP_WAITS)
    assert not project.images.exists()
    settings.DISK_RESERVE_BYTES = 0
    tasks.expand_zip(upload.pk)
    upload.refresh_from_db()
    assert (upload.state, upload.error, project.images.count()) == (Upload.State.DONE, "", 40)


def test_another_error_of_a_disk_is_not_called_full(
    project: Project, owner: User, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(FileSystemStorage, "_save", broken)
    with pytest.raises(OSError, match="Read-only") as caught:
        uploads.add_images(project, owner, [ContentFile(picture(), "a.png")])
    assert not isinstance(caught.value, uploads.StorageFull)
    assert stored(settings) == []


def test_nothing_is_left_under_a_temporary_name(project: Project, owner: User, settings: object) -> None:
    before = os.listdir(settings.FILE_UPLOAD_TEMP_DIR)
    files = [ContentFile(picture(), "a.png"), ContentFile(b"none", "b.png"), packed(*pictures(3))]
    uploads.add_images(project, owner, files)
    assert os.listdir(settings.FILE_UPLOAD_TEMP_DIR) == before


def test_the_unpacking_of_a_zip_can_be_stopped(project: Project, owner: User, settings: object) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    uploads.expand(upload, seconds=0)
    assert project.images.count() == 1
    assert uploads.stop(upload, owner)
    assert (upload.state, upload.error) == (Upload.State.FAILED, "Stopped by olga.")
    tasks.expand_zip(upload.pk)
    assert project.images.count() == 1
    assert [path for path in stored(settings) if path.endswith(".zip")] == []
    assert not uploads.stop(upload, owner), "it has ended already"


def test_one_that_is_stopped_under_way_ends_at_the_next_entry(
    project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploads.add_images(project, owner, [packed(*pictures(40))])
    add = uploads._add

    def stopped_at_the_third(*args: object) -> None:
        add(*args)
        if project.images.count() == 3:
            uploads.stop(Upload.objects.get(), owner)

    monkeypatch.setattr(uploads, "_add", stopped_at_the_third)
    tasks.expand_zip(upload.pk)
    upload.refresh_from_db()
    assert (project.images.count(), upload.state) == (3, Upload.State.FAILED)
