"""`manage.py fetch_model` against a hub on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from huggingface_hub import constants

from labeling import clip, hub
from tests import random_models
from tests.hub import Hub
from tests.live import free_port

NAME = "openai/clip-vit-base-patch32"
COMMIT = hub.REVISIONS[NAME]
NEEDED = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"}
BESIDE = {
    "README.md": b"# CLIP",
    "code.py": b"",
    "flax_model.msgpack": b"",
    "pytorch_model.bin": b"",
}
BROKE_OFF = "can't be reached, or broke off. Is there a network? What came so far is kept"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    """A hub with OpenAI's CLIP, a very small one."""
    folder = random_models.clip_of_2021(tmp_path / "model")
    for name, content in BESIDE.items():
        (folder / name).write_bytes(content)
    server = Hub(NAME, COMMIT, folder)
    yield server
    server.close()


@pytest.fixture
def models_dir(settings: Any, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "data" / "models"
    settings.CLIP_MODEL = NAME
    return settings.MODELS_DIR


def fetch_model(tmp_path: Path, endpoint: str, *args: str) -> subprocess.CompletedProcess:
    """The command in a process of its own, for a user who closed the hub for other programs."""
    return subprocess.run(
        [sys.executable, "manage.py", "fetch_model", *args],
        cwd=django_settings.BASE_DIR,
        env=os.environ
        | {
            "DATA_DIR": str(tmp_path / "data"),
            "CLIP_MODEL": NAME,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_in_use(commit: str) -> None:
    model = clip.current()
    assert (model.name, model.revision, model.path.name) == (NAME, commit, commit)
    assert not list(model.path.glob("*.part"))
    assert clip.engine().embed_texts(["a cat"]).shape == (1, 16)


def is_in_use() -> bool:
    return (clip.model_dir(NAME) / clip.REVISION_FILE).exists()


def test_a_model_is_fetched_with_a_progress_bar_and_in_use(
    server: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.files["model-00001-of-00001.safetensors"] = b"the same weights again"
    done = fetch_model(tmp_path, server.url)
    assert done.returncode == 0, done.stderr
    assert f"{NAME} is ready in {models_dir}" in done.stdout
    assert f"{NAME}: 100%" in done.stderr and "Traceback" not in done.stderr
    assert_in_use(COMMIT)
    asked = {file for file, _ in server.asked}
    assert asked == NEEDED | {"tokenizer_config.json"}, "and nothing beside"
    for file in NEEDED:
        assert (clip.current().path / file).read_bytes() == server.files[file]


def test_what_broke_off_is_gone_on_from_by_the_next_call(
    server: Hub, models_dir: Path, tmp_path: Path
) -> None:
    half = len(server.files["model.safetensors"]) // 2
    server.breaks_at["model.safetensors"] = half
    server.goes_down_after_a_break = True
    stopped = fetch_model(tmp_path, server.url)
    assert stopped.returncode == 1 and BROKE_OFF in stopped.stderr
    assert "Traceback" not in stopped.stderr and not is_in_use()
    assert not list(models_dir.rglob("model.safetensors"))
    server.is_down = False
    server.asked.clear()
    done = fetch_model(tmp_path, server.url)
    assert done.returncode == 0, done.stderr
    assert server.asked == [("model.safetensors", half)], "only what had not come yet"
    assert_in_use(COMMIT)


def test_without_a_network_it_says_so_at_once(models_dir: Path, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    done = fetch_model(tmp_path, endpoint)
    assert done.returncode == 1
    assert done.stderr.startswith(f"CommandError: {endpoint} {BROKE_OFF}")
    assert len(done.stderr.splitlines()) == 1 and not is_in_use()


# In this process


@pytest.fixture
def fetch(server: Hub, models_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    """`fetch(*args)` is the command, in this process."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(hub, "PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return lambda *args: call_command("fetch_model", *args)


def refused(fetch: Callable, *args: str) -> str:
    with pytest.raises(CommandError) as refusal:
        fetch(*args)
    return str(refusal.value)


def test_a_connection_that_breaks_is_made_again(fetch: Callable, server: Hub) -> None:
    server.breaks_at["model.safetensors"] = 1000
    fetch()
    assert server.first_bytes("model.safetensors") == [0, 1000]
    assert_in_use(COMMIT)


def test_nothing_comes_twice(fetch: Callable, server: Hub) -> None:
    fetch()
    server.asked.clear()
    fetch()
    assert server.asked == []


@pytest.mark.parametrize(
    ("lacking", "what"),
    [
        (["model.safetensors"], "what it lacks is weights as safetensors."),
        (["tokenizer.json"], "what it lacks is a tokenizer."),
        (["config.json", "preprocessor_config.json"], "config.json and a processor's settings."),
    ],
)
def test_a_model_that_lacks_something_is_refused_before_anything_comes(
    fetch: Callable, server: Hub, lacking: list[str], what: str
) -> None:
    for file in lacking:
        del server.files[file]
    message = refused(fetch)
    assert what in message and "--revision" in message
    assert server.asked == [] and not is_in_use()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_thrown_away(fetch: Callable, server: Hub, file: str) -> None:
    server.served[file] = server.files[file][::-1]
    assert f"{file} came damaged" in refused(fetch)
    assert not is_in_use()
    server.served.clear()
    fetch()
    assert_in_use(COMMIT)


def test_a_hub_that_sends_less_than_it_promised_is_given_up(fetch: Callable, server: Hub) -> None:
    server.served["model.safetensors"] = b""
    assert BROKE_OFF in refused(fetch)
    assert len(server.first_bytes("model.safetensors")) == hub.TRIES


def test_a_model_of_another_kind_is_not_put_in_use(fetch: Callable, server: Hub, tmp_path: Path) -> None:
    vit = random_models.vit(tmp_path / "vit")
    server.files |= {path.name: path.read_bytes() for path in vit.iterdir()}
    assert "is no model with an image and a text tower" in refused(fetch)
    assert not is_in_use()


def test_a_newer_commit_replaces_the_older_one_once_all_of_it_is_here(fetch: Callable, server: Hub) -> None:
    fetch()
    server.commit = "1" * 40
    server.served["model.safetensors"] = server.files["model.safetensors"][::-1]
    refused(fetch, "--revision", "main")
    assert_in_use(COMMIT)
    server.served.clear()
    fetch("--revision", "main")
    assert_in_use("1" * 40)
    folders = [path.name for path in clip.model_dir(NAME).iterdir() if path.is_dir()]
    assert folders == ["1" * 40], "the older commit is gone"


def test_weights_in_several_files(fetch: Callable, server: Hub) -> None:
    whole = server.files.pop("model.safetensors")
    server.files["model-00001-of-00001.safetensors"] = whole
    parts = dict.fromkeys(safetensors.torch.load(whole), "model-00001-of-00001.safetensors")
    index = json.dumps({"metadata": {}, "weight_map": parts})
    server.files["model.safetensors.index.json"] = index.encode()
    fetch()
    assert_in_use(COMMIT)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((404, "RepoNotFound"), f"There is no model {NAME} on "),
        ((404, "RevisionNotFound"), f"{NAME} has no revision {COMMIT}."),
        ((403, "GatedRepo"), "agreed to its terms"),
        ((503, ""), f"answered 503 when asked for {NAME}. Run the command again later."),
        ((418, ""), f"answered 418 when asked for {NAME}."),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(
    fetch: Callable, server: Hub, refusal: tuple[int, str], sentence: str
) -> None:
    server.refusal = refusal
    assert sentence in refused(fetch)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("no such name", "can't be the name of a model"), ("/srv/my-clip", "is a folder of your own")],
)
def test_names_that_are_none(fetch: Callable, server: Hub, name: str, sentence: str) -> None:
    assert sentence in refused(fetch, name)


def test_another_model_has_to_be_chosen(
    fetch: Callable, server: Hub, capsys: pytest.CaptureFixture, settings: Any
) -> None:
    settings.CLIP_MODEL = "someone/else"
    fetch(NAME)
    assert f"To use it, set CLIP_MODEL={NAME} and restart the site." in capsys.readouterr().out


def test_a_disk_that_is_too_full_is_noticed_before(
    fetch: Callable, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "the disk has less room than that" in refused(fetch)
    assert server.asked == []


def test_ctrl_c_is_no_traceback(fetch: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "_receive", interrupt)
    with pytest.raises(CommandError, match="Stopped. What came so far is kept") as stopped:
        fetch()
    assert stopped.value.returncode == 130
