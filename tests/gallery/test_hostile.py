"""What is made to do harm, at the one door: bombs, hostile ZIPs, damage, and every mode of a picture."""

import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import psutil
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile

from gallery import decoder, tasks, uploads
from gallery.models import Image, Project, Upload
from labeling import work
from tests import hostile
from tests.hostile import saved, small

MB = 1024
REFUSED_SECONDS, REFUSED_MB, CHILD_MB, WEB_MB, REPORT_SECONDS = 0.2, 50, 800, 100, 5
# At the cap those that take most; the others are thrown by benchmarks/reliability/hostile.py.
AT_THE_CAP = ("PNG P, transparent", "WebP RGBA, lossless")
Send = Callable[..., Upload]


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    while decoder._idle:
        decoder._end(decoder._idle.pop()[0])


@pytest.fixture
def send(project: Project, owner: User) -> Send:
    """`send(content, …)` is the upload that the files came in by, its ZIP unpacked to its end."""

    def make(*contents: bytes) -> Upload:
        files = [ContentFile(content, f"{number}.bin") for number, content in enumerate(contents)]
        upload = uploads.add_images(project, owner, files)
        while Upload.objects.get(pk=upload.pk).state == Upload.State.OPEN:
            tasks.expand_zip(upload.pk)
        return Upload.objects.get(pk=upload.pk)

    return make


def memory(pid: int | str, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / MB for line in lines if line.startswith(field))


def forget_peak(pid: int | str) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds() -> float:
    """Of this process and all that it started: a busy machine makes them no more."""
    alive = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(os.times()[:4]) + sum(times.user + times.system for times in alive)


def warm(send: Send) -> int:
    """The pid of a child that has decoded a picture."""
    send(hostile.good())
    with decoder._places:
        if not decoder._idle:
            decoder._idle.append((decoder._start(), 0))
    return decoder._idle[-1][0].pid


def reasons(upload: Upload) -> list[str]:
    return [entry.reason for entry in upload.entries.all() if not entry.image]


@pytest.mark.parametrize("name", hostile.TOO_LARGE)
def test_what_has_too_many_pixels_is_refused_by_its_head(name: str, send: Send, tmp_path: Path) -> None:
    content, seconds, growth = hostile.TOO_LARGE[name](), [], []
    send(hostile.good())
    path = tmp_path / "file"
    path.write_bytes(content)
    for _ in range(3):
        decoder_child = decoder._idle[-1][0].pid
        forget_peak(decoder_child)
        before, started = memory(decoder_child, "VmRSS"), time.perf_counter()
        with pytest.raises(decoder.BadPicture, match="^Too large: ") as refusal:
            decoder.decode(path)
        seconds.append(time.perf_counter() - started)
        growth.append(memory(decoder_child, "VmHWM") - before)
        assert refusal.value.status == 413
    assert min(seconds) <= REFUSED_SECONDS
    assert max(growth) <= REFUSED_MB
    assert reasons(send(content))[0].startswith("Too large: ")


@pytest.mark.parametrize("name", [*hostile.SLY, *AT_THE_CAP])
def test_what_is_much_beside_the_pixels_stays_within_bounds(name: str, send: Send) -> None:
    content = (hostile.SLY | hostile.AT_THE_CAP)[name]()
    child = warm(send)
    for pid in ("self", child):
        forget_peak(pid)
    before = memory("self", "VmRSS")
    [entry] = send(content).entries.all()
    assert memory("self", "VmHWM") - before <= WEB_MB
    assert decoder._idle[-1][0].pid == child, "it killed its child"
    assert memory(child, "VmHWM") <= CHILD_MB
    assert entry.image if name in AT_THE_CAP else entry.image or entry.reason
    if entry.image:
        assert work._decode(entry.image, 224).mode == "RGB"


# What becomes of the entries of each: how many come in, and what is said of the others.
ZIPS = {
    "slip": (1, []),
    "absolute": (1, []),
    "Windows": (1, []),
    "symlink": (0, ["Not an image"]),
    "symlink with a picture": (1, []),
    "device": (0, ["Empty"]),
    "200,000 entries": (0, ["Too many"]),
    "1 GiB from 1 MB": (0, ["Too large"]),
    "overlap": (0, ["lie over each other"]),
    "says less than it is": (0, ["Broken"]),
    "says more than it is": (1, []),
    "packed to more than the file has": (0, ["lie over each other"]),
    "says to be empty": (0, ["Empty"]),
    "packed to nothing": (0, ["Broken"]),
    "lies far behind the end": (0, ["Broken"]),
    "counts too few": (3, []),
    "counts too many": (3, []),
    "two names for one entry": (0, ["Broken"]),
    "two directories": (1, []),
    "a stream of junk": (1, ["Broken"]),
    "of a version to come": (0, ["Broken"]),
    "patch data": (0, ["Broken"]),
    "nested": (1, ["A ZIP inside a ZIP"]),
    "encrypted": (0, ["Encrypted"]),
    "duplicate names": (2, []),
    "bad UTF-8": (0, ["Broken"]),
    "NUL in a name": (1, []),
    "a name that begins with NUL": (1, []),
    "dots": (1, []),
    "slashes": (0, ["Empty"]),
    "lines in a name": (1, []),
    "a name from right to left": (1, []),
    "a name of 64 KB": (1, []),
    "ZIP64 with absurd numbers": (0, ["Broken|Too many"]),
    "cut directory": (0, ["Broken"]),
    "junk before it": (1, []),
    "bzip2": (0, ["Packed in a way"]),
    "lzma": (0, ["Packed in a way"]),
    "a method that nobody knows": (0, ["Packed in a way"]),
    "wrong CRC": (0, ["Broken"]),
    "no entry": (0, ["Empty"]),
    "its end alone": (0, ["Empty"]),
    "junk of a system alone": (0, ["Empty"]),
    "a folder with content": (1, []),
    "a bomb inside": (1, ["Too large"]),
}


def test_every_hostile_zip_is_thrown() -> None:
    assert ZIPS.keys() == hostile.ZIPS.keys()


@pytest.mark.parametrize("name", ZIPS)
def test_a_hostile_zip_is_reported_entry_by_entry(
    name: str, send: Send, settings: object, tmp_path: Path
) -> None:
    content, (added, said) = hostile.ZIPS[name](), ZIPS[name]
    started = cpu_seconds()
    upload = send(content)
    assert cpu_seconds() - started <= REPORT_SECONDS
    entries = list(upload.entries.all())
    assert sum(bool(entry.image) for entry in entries) == added
    found = reasons(upload)
    assert len(found) == len(said)
    for reason, words in zip(found, said, strict=True):
        assert any(word in reason for word in words.split("|")), reason
    media = Path(settings.MEDIA_ROOT)
    assert not Path("/tmp/clipsite-hostile.png").exists()
    assert all(media in path.parents for path in tmp_path.rglob("*") if path.is_file())
    assert not any(path.is_symlink() for path in media.rglob("*"))
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).glob("tmp*"))


def test_every_hostile_zip_gets_an_answer_in_json(project: Project, owner: User, login: Callable) -> None:
    client, codes = login(owner), set()
    for name, make in hostile.ZIPS.items():
        file = SimpleUploadedFile("hostile.zip", make())
        answer = client.post(f"/api/v1/projects/{project.slug}/images/", {"files": [file]})
        assert answer.status_code in (200, 201, 202, 400, 413, 415), (name, answer.status_code)
        assert answer.json(), name
        codes.add(answer.status_code)
    assert {400, 413, 415} < codes


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_is_unpacked_or_refused_in_words(compression: int, send: Send) -> None:
    files = [(f"{side}.png", saved(small(side=side), "PNG")) for side in (48, 60, 72)]
    refused = 0
    for content in hostile.damaged(hostile.packed(*files, compression=compression)):
        upload = send(content)
        assert upload.state == Upload.State.DONE and upload.entries.exists(), upload.error
        entries = list(upload.entries.all())
        assert all(bool(entry.image_id) != bool(entry.reason) for entry in entries)
        refused += any(entry.reason for entry in entries)
    assert refused >= hostile.CUTS - 1, "no damage was seen"


@pytest.mark.parametrize("format", hostile.FORMATS)
def test_nothing_damaged_that_was_accepted_fails_at_scoring(format: str, send: Send) -> None:
    files = dict.fromkeys(hostile.damaged(saved(small(), format)))
    files.pop(b"", None)
    upload = send(*files)
    entries = list(upload.entries.select_related("image"))
    assert len(entries) == len(files)
    for entry in entries:
        if entry.image:
            assert work._decode(entry.image, 224).mode == "RGB"
        else:
            assert entry.reason.startswith(("Broken", "Not an image", "Too large"))
    assert reasons(upload), "no damage was seen at all"


def profile(mode: str) -> bytes:
    if mode == "broken":
        return b"\xff" * 200
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile(mode)).tobytes()


def for_print() -> bytes:
    """A profile that says to be a printer's, in CMYK. Nobody converts by it: it must do no harm."""
    content = bytearray(profile("sRGB"))
    content[12:16], content[16:20] = b"prtr", b"CMYK"
    return bytes(content)


def _lab() -> bytes:
    spaces = [PIL.ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    return saved(PIL.ImageCms.profileToProfile(small(), *spaces, outputMode="LAB"), "TIFF")


def _float(special: float | None) -> bytes:
    values = np.asarray(small("L"), dtype=np.float32)
    if special is not None:
        values = values.copy()
        values[0, 0] = special
    return saved(PIL.Image.fromarray(values), "TIFF")


def _animated(format: str) -> bytes:
    return saved(small(), format, save_all=True, append_images=[PIL.Image.new("RGB", (48, 32), "blue")] * 3)


def _sixteen() -> bytes:
    return saved(PIL.Image.fromarray(np.asarray(small("L"), dtype=np.uint16) * 257), "PNG")


MODES: dict[str, Callable[[], bytes]] = {
    "1": lambda: saved(small("1"), "PNG"),
    "L": lambda: saved(small("L"), "JPEG"),
    "LA": lambda: saved(small("LA"), "PNG"),
    "P": lambda: saved(small("P"), "PNG"),
    "P, transparent": lambda: saved(small("P"), "PNG", transparency=small("P").getpixel((40, 4))),
    "RGBA": lambda: saved(small("RGBA"), "PNG"),
    "RGBA, WebP": lambda: saved(small("RGBA"), "WEBP", lossless=True),
    "CMYK, Adobe": lambda: saved(small("CMYK"), "JPEG", quality=95),
    "CMYK, TIFF": lambda: saved(small("CMYK"), "TIFF"),
    "CMYK profile": lambda: saved(small("CMYK"), "JPEG", quality=95, icc_profile=for_print()),
    "CMYK profile, TIFF": lambda: saved(small("CMYK"), "TIFF", icc_profile=for_print()),
    "CMYK profile of another picture": lambda: saved(small(), "PNG", icc_profile=for_print()),
    "Lab": _lab,
    "YCbCr": lambda: saved(small("YCbCr"), "TIFF"),
    "YCbCr, packed as JPEG": lambda: saved(small("YCbCr"), "TIFF", compression="jpeg", quality=95),
    "1, as a fax": lambda: saved(small("1"), "TIFF", compression="group4"),
    "RGB, decoded at a scale": lambda: saved(small(side=480), "JPEG", quality=95),
    "CMYK, decoded at a scale": lambda: saved(small("CMYK", 480), "JPEG", quality=95),
    "RGB, a colour transparent": lambda: saved(small(), "PNG", transparency=(255, 255, 255)),
    "P, transparent GIF": lambda: saved(small("P"), "GIF", transparency=small("P").getpixel((40, 4))),
    "P, alpha for each colour": lambda: saved(small("P"), "PNG", transparency=b"\xff" * 200),
    "RGBA, BMP": lambda: saved(small("RGBA"), "BMP"),
    "RGBA, AVIF": lambda: saved(small("RGBA"), "AVIF", quality=95),
    "I;16": _sixteen,
    "I": lambda: saved(small("I"), "TIFF"),
    "F": lambda: _float(None),
    "sRGB profile": lambda: saved(small(), "PNG", icc_profile=profile("sRGB")),
    "Lab profile": lambda: saved(small(), "PNG", icc_profile=profile("LAB")),
    "broken profile": lambda: saved(small(), "JPEG", icc_profile=profile("broken"), quality=95),
    "animated GIF": lambda: _animated("GIF"),
    "animated WebP": lambda: _animated("WEBP"),
    "animated PNG": lambda: _animated("PNG"),
    "animated AVIF": lambda: _animated("AVIF"),
}


def seen(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """What the page shows and what the model gets, as rows of 24 × 16 pixels."""
    shown, given = PIL.Image.open(image.preview), work._decode(image, 32)
    assert shown.mode == given.mode == "RGB"
    return tuple(np.asarray(one.resize((24, 16), PIL.Image.Resampling.BOX), float) for one in (shown, given))


@pytest.mark.parametrize("mode", MODES)
def test_the_page_and_the_model_see_the_same_pixels(mode: str, send: Send) -> None:
    [entry] = send(MODES[mode]()).entries.all()
    assert entry.image, entry.reason
    page, model = seen(entry.image)
    # WebP blurs colours by some steps where two of them meet.
    assert np.abs(page - model).mean() <= 8
    # White on the right above, black below: upright, and the first frame.
    assert model[4, 20].min() >= 200 and model[13].max() <= 60


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_greys_that_are_no_number_are_shown_or_refused(value: float, send: Send) -> None:
    [entry] = send(_float(value)).entries.all()
    if entry.image:
        page, model = seen(entry.image)
        assert np.abs(page - model).mean() <= 8
    else:
        assert entry.reason.startswith("Broken")


LAID = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation to the transposition that undoes it


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright_for_page_and_model(orientation: int, format: str, send: Send) -> None:
    laid = small()
    if orientation > 1:
        laid = laid.transpose(PIL.Image.Transpose(LAID[orientation]))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    [entry] = send(saved(laid, format, exif=exif)).entries.all()
    assert entry.image.width == 48 and entry.image.height == 32
    page, model = seen(entry.image)
    assert np.abs(page - model).mean() <= 8
    assert model[4, 20].min() >= 200 and model[13].max() <= 60
    assert model[4, 4, 0] >= 200 and model[4, 4, 2] <= 60, "red is on the left above"
