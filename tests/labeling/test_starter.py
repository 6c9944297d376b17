"""The starter model that is shipped, put to pictures that it never saw."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from django.core.management import call_command
from transformers import AutoModel, AutoProcessor, CLIPModel

from labeling import clip
from labeling.management.commands import train_starter_model
from labeling.starter import drawing, training

FOLDER = clip.STARTER
SEED = "pictures of the tests"
TEXTS = [
    "red",
    "a photo of a red circle.",
    "three small striped blue stars on a white background",
    "🐶 Größe\n",
]


@pytest.fixture(scope="module")
def model() -> CLIPModel:
    return AutoModel.from_pretrained(FOLDER, dtype=torch.float32, local_files_only=True).eval()


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(FOLDER, backend="pil", local_files_only=True)


def text_rows(model: CLIPModel, processor: Any, texts: list[str]) -> torch.Tensor:
    inputs = processor(text=texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return model.get_text_features(**inputs).pooler_output


@pytest.mark.parametrize(("side", "jpeg"), [(64, False), (320, True)])
def test_it_labels_pictures_it_never_saw(side: int, jpeg: bool) -> None:
    found = training.evaluate(FOLDER, SEED, 1_000, side, jpeg)
    assert len(training.combinations(("colour", "shape"))) == 64
    assert found["colour and shape"] >= 0.97
    assert min(found["colour"], found["shape"], found["pattern"]) >= 0.95


def test_the_engine_gets_the_same_answers_at_its_own_precision() -> None:
    engine = clip.Engine(clip.ModelFolder(clip.STARTER_NAME, "1", FOLDER), "auto")
    rng = random.Random(SEED)
    shown = [drawing.random_drawing(rng) for _ in range(200)]
    images = engine.embed_images([drawing.draw(one, rng) for one in shown])
    choices = training.combinations(("colour", "shape"))
    texts = engine.embed_texts([f"a photo of a {training.label(choice)}." for choice in choices])
    picked = (images @ texts.T).argmax(axis=1)
    assert sum(choices[place].fits(one) for place, one in zip(picked, shown, strict=True)) >= 0.95 * 200


def test_the_folder_is_small_and_holds_nothing_but_a_model() -> None:
    files = {path.name: path.stat() for path in FOLDER.iterdir()}
    assert sum(file.st_size for file in files.values()) <= 4_000_000
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert all(file.st_mode & 0o044 == 0o044 for file in files.values()), "another user can't read it"


def test_it_loads_offline_in_float32_without_a_word_about_it() -> None:
    script = (
        "import sys; from transformers import AutoModel, AutoProcessor; "
        f"model = AutoModel.from_pretrained({str(FOLDER)!r}); "
        f"AutoProcessor.from_pretrained({str(FOLDER)!r}); "
        "assert str(model.dtype) == 'torch.float32', model.dtype"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_its_weights_are_finite_and_its_scale_is_bounded(model: CLIPModel) -> None:
    with safetensors.safe_open(FOLDER / "model.safetensors", "pt") as weights:
        assert all(torch.isfinite(weights.get_tensor(name)).all() for name in weights.keys())  # noqa: SIM118
    assert 1 < model.logit_scale.exp().item() <= 100.1


def test_padding_changes_no_embedding(model: CLIPModel, processor: Any) -> None:
    together = text_rows(model, processor, TEXTS)
    alone = torch.cat([text_rows(model, processor, [text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-5)


def test_case_does_not_matter(model: CLIPModel, processor: Any) -> None:
    lower, upper = text_rows(model, processor, ["a red circle", "A RED Circle"])
    assert torch.allclose(lower, upper, atol=1e-5)


@pytest.mark.parametrize("text", ["", "dog", "日本語 🐶", "\x00\x7f", "<|endoftext|>", "red " * 500])
def test_any_text_has_an_embedding(model: CLIPModel, processor: Any, text: str) -> None:
    row = text_rows(model, processor, [text])
    assert row.shape == (1, training.EMBEDDING) and torch.isfinite(row).all()


def test_the_end_of_a_text_is_pooled_the_modern_way(model: CLIPModel, processor: Any) -> None:
    end = model.config.text_config.eos_token_id
    assert end != 2 and end == processor.tokenizer.eos_token_id
    longest = processor.tokenizer.model_max_length
    assert longest == model.config.text_config.max_position_embeddings
    assert processor.tokenizer("red " * 500, truncation=True)["input_ids"][-1] == end


def test_training_writes_a_model_and_a_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small, evaluate = training.train, training.evaluate
    monkeypatch.setattr(training, "train", lambda output, seed, progress: small(output, seed, 2, 250))
    monkeypatch.setattr(
        training, "evaluate", lambda *args, **options: evaluate(*args, **options | {"pictures": 20})
    )
    call_command("train_starter_model", seed=3, output=tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "clip"
    assert "--seed 3" in (tmp_path / "model" / "README.md").read_text()
    assert "colour and shape" in capsys.readouterr().out


def test_the_readme_names_what_the_model_knows() -> None:
    text = train_starter_model.readme_text(FOLDER, 0, 60, "| table |")
    assert "purple" in text and "checkered" in text and "{" not in text.replace(training.PROMPT_TEMPLATE, "")
