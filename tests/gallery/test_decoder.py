"""The child that decodes: kept and used again, bounded, and replaced when a picture is too much for it."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import psutil
import pytest

from gallery import decoder
from gallery.decoding import BadPicture
from tests.conftest import picture
from tests.live import ROOT

Decode = Callable[..., decoder.Decoded]


@pytest.fixture
def decode(tmp_path: Path) -> Decode:
    def make(content: bytes) -> decoder.Decoded:
        path = tmp_path / "file"
        path.write_bytes(content)
        return decoder.decode(path)

    return make


@pytest.fixture(autouse=True)
def _new_children() -> Iterator[None]:
    yield
    end_all()


def end_all() -> None:
    while decoder._idle:
        decoder._end(decoder._idle.pop()[0])


def strip(width: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("1", (width, 1)).save(out, "PNG")
    return out.getvalue()


def children() -> list[psutil.Process]:
    mine = psutil.Process().children()
    return [process for process in mine if "gallery.decoder_child" in process.cmdline()]


def a_child_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str) -> Path:
    """Children do `does` at each picture, from now on. Returns a file that has a line for each start."""
    end_all()
    starts = tmp_path / "starts"
    program = tmp_path / "child.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"open({str(starts)!r}, 'a').write('started\\n')\n"
        "from gallery import decoder_child, decoding\n"
        "decoder_child.SECONDS = 1\n"
        f"def read(*args):\n    {does}\n"
        "decoding.read = read\n"
        "decoder_child.main()\n"
    )
    monkeypatch.setattr(decoder, "PROGRAM", [str(program)])
    return starts


def test_one_child_decodes_many_pictures(decode: Decode) -> None:
    end_all()
    first = decode(picture("red"))
    [child] = children()
    for side in range(20, 30):
        assert decode(picture("blue", side)).width == side
    assert [process.pid for process in children()] == [child.pid]
    assert (first.format, first.width, first.preview[:4], first.thumbnail[8:12]) == (
        "PNG",
        64,
        b"RIFF",
        b"WEBP",
    )


def test_a_child_is_replaced_after_so_many_pictures(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "PICTURES_A_CHILD", 3)
    end_all()
    seen = []
    for _ in range(6):
        decode(picture())
        seen += [process.pid for process in children()]
    assert len(set(seen)) == 2
    assert children() == []


def test_a_refusal_says_what_the_child_says(decode: Decode) -> None:
    for content, words, status in (
        (b"plain text", "Not an image", 415),
        (picture()[:100], "Broken", 400),
        (strip(16_385), "Too large: 16385 × 1 pixels", 413),
    ):
        with pytest.raises(BadPicture, match=words) as caught:
            decode(content)
        assert caught.value.status == status


def test_a_child_that_was_killed_costs_no_picture(decode: Decode) -> None:
    decode(picture())
    [child] = children()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert decode(picture("blue")).width == 64


def test_a_child_outlives_the_signals_of_its_group(decode: Decode) -> None:
    decode(picture())
    [child] = children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)
    assert decode(picture("blue")).width == 64
    assert children() == [child]


@pytest.mark.parametrize(
    ("does", "words", "starts"),
    [
        ("import ctypes; ctypes.PyDLL(None).pause()", "takes too long", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "can't be decoded", 2),
        ("return bytearray(2 * 1024**3)", "too much memory", 1),
        ("raise SystemExit", "can't be decoded", 2),
    ],
)
def test_what_a_picture_does_to_the_child_it_does_to_nobody_else(
    does: str, words: str, starts: int, decode: Decode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = a_child_that(monkeypatch, tmp_path, does)
    with pytest.raises(BadPicture, match=words):
        decode(picture())
    assert len(log.read_text().splitlines()) == starts
    monkeypatch.undo()
    end_all()
    assert decode(picture()).width == 64


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(picture())
    code = (
        "import django, os, signal; django.setup(); from gallery import decoder; from pathlib import Path;"
        f"decoder.decode(Path({str(path)!r})); print(decoder._idle[0][0].pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = psutil.Popen(
        [os.sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "clipsite.settings"},
        stdout=-1,
    )
    pid = int(parent.communicate()[0])
    _, alive = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    assert not alive
