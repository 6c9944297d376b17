"""The engine: any model with an image and a text tower, from a folder, with no network."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
import transformers
from django.conf import settings as django_settings

from labeling import clip
from labeling.clip import Engine, ModelFolder, ModelUnusable
from tests import random_models

FAMILIES = ["clip", "clip_of_2021", "siglip", "siglip2", "metaclip2"]
# How SigLIP was trained, and wants to be asked.
SIGLIP_TEXTS = {"padding": "max_length", "max_length": random_models.LENGTH, "return_attention_mask": False}
TEXTS = ["a photo of a cat.", "a dog", "the red square, the blue circle, a star", "green"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each family."""
    root = tmp_path_factory.mktemp("models")
    for name in [*FAMILIES, "vit"]:
        getattr(random_models, name)(root / name)
    return root


@pytest.fixture(params=FAMILIES)
def folder(models: Path, request: pytest.FixtureRequest) -> Path:
    return models / request.param


def loaded(path: Path, precision: str = "fp32") -> Engine:
    return Engine(ModelFolder(path.name, "1", path), precision)


def pictures(count: int) -> list[PIL.Image.Image]:
    """Noise of several sizes and shapes."""
    rng = np.random.default_rng(1)
    sizes = [(40, 40), (64, 48), (30, 90)]
    noise = [rng.integers(0, 255, (*sizes[n % 3], 3), dtype=np.uint8) for n in range(count)]
    return [PIL.Image.fromarray(pixels) for pixels in noise]


class Spy:
    """Stands in for one of a model's methods, calls it, and keeps what it was called with."""

    def __init__(self, model: torch.nn.Module, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real, self.calls = getattr(model, name), []
        monkeypatch.setattr(model, name, self)

    def __call__(self, **inputs: torch.Tensor) -> Any:
        self.calls.append(inputs)
        return self.real(**inputs)

    def texts(self) -> int:
        return sum(len(inputs["input_ids"]) for inputs in self.calls)


# What comes out


def test_rows_are_unit_and_float32(folder: Path) -> None:
    engine = loaded(folder)
    images, texts = engine.embed_images(pictures(3)), engine.embed_texts(TEXTS)
    assert images.shape == (3, texts.shape[1]) and texts.shape[0] == len(TEXTS)
    for rows in (images, texts):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert len({row.tobytes() for row in [*images, *texts]}) == 3 + len(TEXTS), "rows differ"


def test_rows_are_what_transformers_gives(folder: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    options = SIGLIP_TEXTS if "siglip" in folder.name else {}
    engine = loaded(folder)
    for picture in pictures(3):
        seen = processor.image_processor(picture, return_tensors="pt")
        assert_same(engine.embed_images([picture]), model.get_image_features(**seen).pooler_output)
    for text in TEXTS:
        read = processor(text=text, return_tensors="pt", **options)
        assert_same(engine.embed_texts([text]), model.get_text_features(**read).pooler_output)


@pytest.mark.parametrize("size", [(900, 60), (60, 900)])
def test_of_a_strip_only_the_middle_is_given_to_the_processor(folder: Path, size: tuple[int, int]) -> None:
    """What CLIP would enlarge before it cuts: of 16,384 × 1 pixels, eight gigabytes."""
    engine = loaded(folder)
    strip = PIL.Image.effect_noise(size, 90).convert("RGB")
    seen = engine.processor.image_processor(strip, return_tensors="pt")
    [expected] = engine.model.get_image_features(**seen).pooler_output.detach().numpy()
    [row] = engine.embed_images([strip])
    assert row @ expected / np.linalg.norm(expected) > 0.999, "and the row is the same"
    if engine.processor.image_processor.do_center_crop:
        assert sorted(engine._middle(strip).size) == [60, 480]


def assert_same(row: np.ndarray, expected: torch.Tensor) -> None:
    expected = torch.nn.functional.normalize(expected.detach()).numpy()
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_bf16_is_as_good_as_fp32(folder: Path) -> None:
    exact, quick = loaded(folder), loaded(folder, "bf16")
    pairs = [
        (exact.embed_images(pictures(6)), quick.embed_images(pictures(6))),
        (exact.embed_texts(TEXTS), quick.embed_texts(TEXTS)),
    ]
    for one, other in pairs:
        assert (one * other).sum(axis=1).min() > 0.999
        assert other.dtype == np.float32 and not np.array_equal(one, other)


def test_a_row_does_not_depend_on_its_batch(folder: Path) -> None:
    together, alone = loaded(folder), loaded(folder)
    many = pictures(20)
    assert len(many) > clip.BATCH
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    np.testing.assert_allclose(
        together.embed_images(many), np.concatenate([alone.embed_images([one]) for one in many]), atol=1e-5
    )
    np.testing.assert_allclose(
        together.embed_texts(texts), np.concatenate([alone.embed_texts([text]) for text in texts]), atol=1e-5
    )


def test_siglip_reads_texts_at_full_length_and_clip_as_short_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = loaded(folder)
    spy = Spy(engine.model, "get_text_features", monkeypatch)
    engine.embed_texts(["a cat"])
    length = spy.calls[0]["input_ids"].shape[1]
    if "siglip" in folder.name:
        assert length == random_models.LENGTH and "attention_mask" not in spy.calls[0]
    else:
        assert length < random_models.LENGTH


def test_a_text_is_cut_where_the_model_stops_reading(folder: Path) -> None:
    engine = loaded(folder)
    first, second, other = engine.embed_texts(["cat " * 100, "cat " * 50 + "dog", "dog " * 100])
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert not np.allclose(first, other, atol=1e-3)


def test_logit_scale_and_bias_are_the_models_own(folder: Path) -> None:
    engine = loaded(folder)
    if "siglip" in folder.name:
        assert engine.logit_scale == pytest.approx(np.exp(4.75)) and engine.logit_bias == -16.5
    else:
        assert engine.logit_scale == pytest.approx(1 / 0.07, rel=1e-4) and engine.logit_bias is None


def test_the_side_is_what_the_image_tower_sees(folder: Path) -> None:
    patches = 4 * random_models.PATCH  # sixteen patches, four a side
    assert loaded(folder).side == (patches if folder.name == "siglip2" else random_models.SIDE)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_auto_is_bf16_where_the_processor_multiplies_it_natively(
    models: Path, monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert loaded(models / "clip", "auto").precision == precision


# What is remembered


def test_a_text_is_computed_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = loaded(models / "clip")
    spy = Spy(engine.model, "get_text_features", monkeypatch)
    first = engine.embed_texts([*TEXTS, TEXTS[0]])
    assert spy.texts() == len(TEXTS) and np.array_equal(first[0], first[-1])
    again = engine.embed_texts(["something new", *reversed(TEXTS)])
    assert spy.texts() == len(TEXTS) + 1
    assert np.array_equal(again[1:], first[len(TEXTS) - 1 :: -1])


def test_more_texts_than_are_remembered_still_come_out_right(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded(models / "clip").embed_texts(TEXTS)
    monkeypatch.setattr(clip, "KNOWN_TEXTS", 3)
    engine = loaded(models / "clip")
    for some in ([0, 1], [1, 2], [3, 1], [0, 1, 2, 3], [3, 2, 0]):
        rows = engine.embed_texts([TEXTS[number] for number in some])
        np.testing.assert_allclose(rows, expected[some], atol=1e-6)
    for number in range(10):
        engine.embed_texts([f"text {number}"])
        assert len(engine._known_texts) <= 3


def test_a_memory_that_another_thread_empties_costs_no_row(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded(models / "clip").embed_texts(TEXTS)
    monkeypatch.setattr(clip, "KNOWN_TEXTS", 3)
    engine = loaded(models / "clip")
    engine.embed_texts(TEXTS[:1])
    compute = engine._in_batches

    def meanwhile(*args: Any) -> np.ndarray:
        monkeypatch.setattr(engine, "_in_batches", compute)
        engine.embed_texts(["one", "two", "three"])
        return compute(*args)

    monkeypatch.setattr(engine, "_in_batches", meanwhile)
    np.testing.assert_allclose(engine.embed_texts(TEXTS[:2]), expected[:2], atol=1e-6)


def test_threads_share_an_engine(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "KNOWN_TEXTS", 3)
    engine, many = loaded(models / "clip"), pictures(8)
    images, texts = loaded(models / "clip").embed_images(many), loaded(models / "clip").embed_texts(TEXTS)

    def embed(number: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(number % 3, None)
        return engine.embed_images(many[part])[-1], engine.embed_texts(TEXTS[part])[-1]

    with ThreadPoolExecutor(8) as threads:
        for image, text in threads.map(embed, range(64)):
            np.testing.assert_allclose(image, images[-1], atol=1e-5)
            np.testing.assert_allclose(text, texts[-1], atol=1e-5)


def test_one_call_computes_at_a_time(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once would need the memory of two, and be no faster."""
    engine = loaded(models / "clip")
    compute, two_meet = engine.model.get_image_features, Barrier(2)
    met = []

    def watched(**inputs: torch.Tensor) -> Any:
        with suppress(BrokenBarrierError):
            met.append(two_meet.wait(timeout=0.3))
        return compute(**inputs)

    monkeypatch.setattr(engine.model, "get_image_features", watched)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda picture: engine.embed_images([picture]), pictures(4)))
    assert not met


# Which model is in use


def test_a_folder_of_ones_own(models: Path, settings: Any, tmp_path: Path) -> None:
    settings.CLIP_MODEL = f"{random_models.clip(tmp_path / 'mine')}/"
    before = clip.current()
    assert (before.name, before.path, before.is_starter) == ("mine", tmp_path / "mine", False)
    assert clip.current() == before
    os.utime(tmp_path / "mine" / "model.safetensors", (1, 1))
    assert clip.current().key != before.key, "other weights, other embeddings"


def test_a_fetched_model(models: Path, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR, settings.CLIP_MODEL = tmp_path, "someone/some-clip"
    folder = clip.model_dir("someone/some-clip")
    random_models.clip(folder / "abc123")
    with pytest.raises(ModelUnusable, match="Run “manage.py fetch_model someone/some-clip”"):
        clip.current()  # files alone are no fetched model: more may be on their way
    (folder / clip.REVISION_FILE).write_text(json.dumps({"revision": "abc123"}))
    assert clip.current().key == "someone/some-clip@abc123"
    assert clip.engine().embed_texts(["a cat"]).shape == (1, 16)


def test_until_the_default_model_is_fetched_the_starter_is_in_use(settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR, settings.CLIP_MODEL = tmp_path, "openai/clip-vit-base-patch32"
    model = clip.current()
    assert model.is_starter and model.path == clip.STARTER and model.key.startswith("clipsite/starter@")


def test_the_engine_is_loaded_once_and_again_for_another_model(models: Path, settings: Any) -> None:
    settings.CLIP_MODEL = str(models / "clip")
    engine = clip.engine()
    assert clip.engine() is engine
    settings.CLIP_MODEL = str(models / "siglip")
    assert clip.engine().folder.name == "siglip"


# What can't be used


def without_weights(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def without_half_its_weights(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    half = {name: weight for name, weight in weights.items() if not name.startswith("text_model")}
    safetensors.torch.save_file(half, folder / "model.safetensors", {"format": "pt"})


def with_a_weight_of_another_shape(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["visual_projection.weight"] = torch.zeros(3, 3)
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def with_cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def without_processor(folder: Path) -> None:
    (folder / "processor_config.json").unlink()


def with_code_of_its_own(folder: Path) -> None:
    (folder / "theirs.py").write_text("raise SystemExit('their code ran')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.C", "AutoModel": "theirs.M"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_weights, "model.safetensors"),
        (without_half_its_weights, "are missing or don't fit"),
        (with_a_weight_of_another_shape, "are missing or don't fit"),
        (with_cut_weights, "can't be loaded"),
        (without_config, "can't be loaded"),
        (without_tokenizer, "there is no tokenizer"),
        (without_processor, "can't be loaded"),
        (with_code_of_its_own, "can't be loaded"),
    ],
)
def test_a_spoilt_folder_is_refused_in_words(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # somebody who agrees to everything
    folder = random_models.clip(tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(ModelUnusable) as refusal:
        loaded(folder)
    assert reason in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("spoil", [without_weights, lambda folder: None])
def test_a_folder_without_safetensors_is_refused_before_anything_is_loaded(
    settings: Any, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "spoilt"
    if spoil is without_weights:
        random_models.clip(folder)
        without_weights(folder)
    settings.CLIP_MODEL = str(folder)
    with pytest.raises(ModelUnusable, match="there is no model.safetensors in that folder"):
        clip.current()


def test_a_model_without_a_text_tower_is_refused(models: Path) -> None:
    with pytest.raises(ModelUnusable, match="vit is no model with an image and a text tower"):
        loaded(models / "vit")


# In a process of its own

ALONE = """
import socket, sys
asked = []

def refuse(*args, **kwargs):
    asked.append(args)
    raise OSError("there is no network")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.create_connection = socket.getaddrinfo = refuse

import django
django.setup()
import PIL.Image
from django.conf import settings
from labeling import clip

for settings.CLIP_MODEL in sys.argv[1:]:
    engine = clip.engine()
    assert engine.embed_images([PIL.Image.new("RGB", (50, 40), "red")]).shape[0] == 1
    assert engine.embed_texts(["a red square"]).shape[0] == 1
assert not asked, asked
"""


def test_nothing_reaches_for_the_network_and_loading_is_quiet(models: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(str(models / name) for name in FAMILIES)],
        cwd=django_settings.BASE_DIR,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "clipsite.settings",
            "DATA_DIR": str(tmp_path),
            "HF_HOME": str(tmp_path / "hub"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr and not done.stdout
