"""Images per second, side by side in one run: the encoder alone, a whole run, and one picture at a time.

    .venv/bin/python benchmarks/throughput.py

The model has the shape of ViT-B/32 and random weights: its labels mean nothing, its work is the real one.
"One at a time" is how the first demo of this idea did it: for each picture the model is asked anew, in
float32, with every text beside the picture, each padded to the 77 tokens of CLIP's own tokenizer. The ratios
to it are bars where the CPU multiplies bf16 at three times the speed of float32 or more, and are printed
anywhere. A bar that is missed makes the command exit with 1.
"""

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="clipsite-benchmark-")
os.environ |= {
    "DATA_DIR": FOLDER.name,
    "CLIP_MODEL": f"{FOLDER.name}/vit-b-32",
    "DJANGO_SETTINGS_MODULE": "clipsite.settings",
}

import django

django.setup()

import numpy as np
import PIL.Image
import torch
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from transformers import AutoTokenizer, CLIPConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from gallery import decoding, projects, uploads
from gallery.models import Image, Project
from labeling import clip, embeddings, label_sets, runs, work
from labeling.label_sets import LabelSpec
from labeling.models import Embedding, Match

IMAGES, SIZE = 192, (640, 480)
TEXT_LENGTH = 77
ROUNDS = 3
FAST_BF16 = 3
STORED, LABELS = 10_000, 100


def make_model() -> None:
    tokenizer = AutoTokenizer.from_pretrained(clip.STARTER)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=special, vision_config={}, projection_dim=512))
    model.save_pretrained(os.environ["CLIP_MODEL"])
    processor = CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    CLIPProcessor(processor, tokenizer).save_pretrained(os.environ["CLIP_MODEL"])


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG as large as a photograph's web version, with soft forms and a little noise."""
    soft = PIL.Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        SIZE, PIL.Image.BICUBIC
    )
    noisy = np.asarray(soft, np.int16) + rng.integers(-12, 12, (*SIZE[::-1], 3))
    out = io.BytesIO()
    PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


def seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def encoder_alone(model: CLIPModel, images: int, precision: str) -> float:
    """Images per second of the image tower, fed from memory in the engine's own batches."""
    pixels = torch.rand(clip.BATCH, 3, 224, 224)

    def encode() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            for _ in range(images // clip.BATCH):
                model.get_image_features(pixel_values=pixels)

    return images / seconds(encode)


def whole_run(project: Project, user: User, labels: list[str]) -> float:
    """Images per second of a run, from stored files to stored matches."""
    project.label_sets.all().delete()
    Embedding.objects.all().delete()
    label_sets.create(project, user, "Labels", [LabelSpec(name) for name in labels])
    return IMAGES / seconds(work_to_the_end)


def work_to_the_end() -> None:
    while runs.ScoringRun.objects.filter(state__in=runs.ACTIVE).exists():
        work.until_none_is_left()


def one_at_a_time(model: CLIPModel, paths: list[str], labels: list[str]) -> float:
    processor = CLIPProcessor.from_pretrained(os.environ["CLIP_MODEL"], backend="pil")

    def ask() -> None:
        for path in paths:
            inputs = processor(
                text=labels,
                images=PIL.Image.open(path),
                return_tensors="pt",
                padding="max_length",
                max_length=TEXT_LENGTH,
            )
            with torch.no_grad():
                model(**inputs).logits_per_image.softmax(dim=1)

    return len(paths) / seconds(ask)


def rescore(user: User) -> float:
    """Seconds for stored embeddings against new labels: prompts embedded, matches written."""
    project = projects.create(user, "Stored")
    images = Image.objects.bulk_create(
        Image(project=project, name=f"{n}.jpg", sha256=f"{n:064}", width=1, height=1, format="JPEG", size=1)
        for n in range(STORED)
    )
    rows = np.random.default_rng(0).standard_normal((STORED, 512)).astype(np.float32)
    key = clip.current().key
    Embedding.objects.bulk_create(
        (
            Embedding(image=image, model=key, vector=embeddings.to_bytes(row))
            for image, row in zip(images, rows, strict=True)
        ),
        batch_size=500,
    )

    def decoded(*_: object) -> None:
        raise AssertionError("a picture was decoded")

    decoding.rgb = decoded
    names = [f"thing number {n}" for n in range(LABELS)]
    took = seconds(
        lambda: (
            label_sets.create(project, user, "Labels", [LabelSpec(name) for name in names]),
            work_to_the_end(),
        )
    )
    assert Match.objects.filter(image__project=project).count() == STORED
    return took


def main() -> int:
    make_model()
    call_command("migrate", verbosity=0)
    user = User.objects.create_user("benchmark")
    project = projects.create(user, "Benchmark")
    rng = np.random.default_rng(1)
    uploads.add_images(project, user, (ContentFile(picture(rng), f"{n}.jpg") for n in range(IMAGES)))
    paths = [image.file.path for image in project.images.all()]
    engine = clip.engine()
    plain = CLIPModel.from_pretrained(os.environ["CLIP_MODEL"], dtype=torch.float32).eval()
    two, twenty = ["a cat", "a dog"], [f"a photo of thing number {n}" for n in range(20)]
    encoder_alone(engine.model, 32, engine.precision)

    figures: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, act in {
            "encoder alone": lambda: encoder_alone(engine.model, IMAGES, engine.precision),
            "encoder alone, float32": lambda: encoder_alone(plain, IMAGES // 4, "fp32"),
            "run, 2 labels": lambda: whole_run(project, user, two),
            "run, 20 labels": lambda: whole_run(project, user, twenty),
            "one at a time, 2 labels": lambda: one_at_a_time(plain, paths[:24], two),
            "one at a time, 20 labels": lambda: one_at_a_time(plain, paths[:8], twenty),
        }.items():
            figures.setdefault(name, []).append(act())
    middle = {name: statistics.median(values) for name, values in figures.items()}
    print(
        f"{torch.get_num_threads()} threads, {engine.precision}, batches of {clip.BATCH}, median of {ROUNDS}"
    )
    for name, values in figures.items():
        print(f"{name:>26}: {middle[name]:7.1f} images/s   ({min(values):.1f} to {max(values):.1f})")
    took = rescore(user)
    print(f"rescoring {STORED:,} stored embeddings against {LABELS} labels: {took:.2f} s")
    return report(middle, took)


def report(middle: dict[str, float], took: float) -> int:
    """Print each bar with its figure. 1 where one is missed."""
    bf16 = middle["encoder alone"] / middle["encoder alone, float32"]
    print(f"encoder in the run's precision / in float32: {bf16:.2f}")
    missed = took >= 5
    for name, over, least, counts in (
        ("run, 2 labels", "encoder alone", 0.8, True),
        ("run, 20 labels", "encoder alone", 0.8, True),
        ("run, 2 labels", "one at a time, 2 labels", 6, bf16 >= FAST_BF16),
        ("run, 20 labels", "one at a time, 20 labels", 30, bf16 >= FAST_BF16),
    ):
        ratio = middle[name] / middle[over]
        verdict = "ok" if ratio >= least else "MISSED" if counts else "not reached: bf16 is slow on this CPU"
        missed |= verdict == "MISSED"
        print(f"{name} / {over}: {ratio:.2f} (at least {least}) {verdict}")
    print(f"rescoring: {took:.2f} s (less than 5) {'ok' if took < 5 else 'MISSED'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
