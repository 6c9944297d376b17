"""Trains and evaluates the starter model: a small CLIP, from random weights, on pictures of `drawing`.

Besides `labeling/clip.py` this is the only file that imports torch and transformers, and it does so once a
function is called: importing it stays cheap.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import io
import itertools
import json
import math
import multiprocessing
import random
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from tqdm import tqdm

from labeling.starter import drawing as drawings
from labeling.starter.drawing import Drawing, Mention

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

SIDE = 64  # pixels; the image processor brings every picture to this
EMBEDDING = 64
VISION = {
    "image_size": SIDE,
    "patch_size": 8,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "hidden_act": "relu",
}
TEXT = {
    "max_position_embeddings": 32,
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_act": "relu",
}
MOST_TOKENS = 1_000

PICTURES = 40_000
# Most pictures are drawn as large as the model sees them; the others are resized to that, as uploads are.
TRAINING_SIDES = (*[SIDE] * 6, 96, 128, 200, 320)
CHUNK = 250  # pictures that a drawing process hands back at once

STEPS = 2_000
WARMUP = 40
BATCH = 128
FREE_CAPTIONS = 64
NONSENSE = 12
MUON_RATE = 4e-3
ADAM_RATE = 2e-3
WEIGHT_DECAY = 0.05
HIGHEST_LOGIT_SCALE = math.log(100)  # as in OpenAI's CLIP

VALUES: dict[str, Sequence[Any]] = {
    "colour": drawings.COLOURS,
    "shape": drawings.SHAPES,
    "pattern": drawings.PATTERNS,
    "count": drawings.COUNTS,
    "background": drawings.BACKGROUNDS,
    "size": drawings.SIZES,
}
# Of the captions of one set, one for each combination of values, exactly one is true of a picture.
CAPTION_SETS = (*((name,) for name in VALUES), ("colour", "shape"))
PROMPT_TEMPLATE = "a photo of a {label}."
# What `evaluate` asks: sets of labels, each with the values that they name.
QUESTIONS = (("colour", "shape"), ("colour",), ("shape",), ("pattern",), ("count",), ("background",))


def train(
    output: Path, seed: int, steps: int = STEPS, pictures: int = PICTURES, progress: bool = False
) -> dict[str, float]:
    """Trains a model and writes its folder: weights, config, tokenizer, image processor.

    `pictures` are drawn beforehand and used over and over for `steps` batches; `progress` shows bars of both.
    Returns what `evaluate` says of the written folder. Raises OSError if the folder can't be written.
    """
    import torch

    torch.manual_seed(seed)
    shown, pixels = draw_pictures(pictures, f"training {seed}", progress)
    processor = new_processor(seed)
    model = new_model(processor.tokenizer)
    learn(model, processor, shown, pixels, seed, steps, progress)
    save(model, processor, output)
    return evaluate(output, f"held out {seed}")


def evaluate(
    folder: Path, seed: str, pictures: int = 1_000, side: int = SIDE, jpeg: bool = False
) -> dict[str, float]:
    """How often, from 0 to 1, the right label of a set is the most similar to a picture.

    The pictures are drawn for this, `side` pixels a side, and pass through JPEG if asked for; the label sets
    are those of QUESTIONS, in the prompt template. Raises OSError if the folder holds no model.
    """
    import torch
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    rng = random.Random(seed)
    shown = [drawings.random_drawing(rng) for _ in range(pictures)]
    seen = [_uploaded(drawings.draw(one, rng, side), jpeg) for one in shown]
    with torch.inference_mode():
        inputs = [
            processor(images=seen[at : at + 100], return_tensors="pt") for at in range(0, pictures, 100)
        ]
        images = torch.cat([_unit(model.get_image_features(**part)) for part in inputs])
        return {" and ".join(names): _hits(model, processor, images, shown, names) for names in QUESTIONS}


def label(content: Mention) -> str:
    """A short label for what is mentioned, as a user would type it: "red circle", "two shapes"."""
    if content.background:
        return f"{content.background} background"
    if content.count:
        return f"{drawings.COUNT_WORDS[content.count]} {'shape' if content.count == 1 else 'shapes'}"
    return " ".join(word for word in (content.pattern, content.colour, content.shape) if word)


def combinations(names: Sequence[str]) -> list[Mention]:
    """A mention for each combination of the values of these fields."""
    return [
        Mention(**dict(zip(names, values, strict=True)))
        for values in itertools.product(*(VALUES[name] for name in names))
    ]


def draw_pictures(count: int, seed: str, progress: bool = False) -> tuple[list[Drawing], np.ndarray]:
    """At least `count` random drawings and their pixels, uint8 (count, 3, SIDE, SIDE), drawn on all cores."""
    chunks = [f"{seed} {number}" for number in range(math.ceil(count / CHUNK))]
    # Forked children of a process that runs torch's threads can hang; spawned ones can't.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(mp_context=context) as pool:
        done = list(tqdm(pool.map(_chunk, chunks), "Drawing", len(chunks), disable=not progress))
    return [one for shown, _ in done for one in shown], np.concatenate([pixels for _, pixels in done])


def _chunk(seed: str) -> tuple[list[Drawing], np.ndarray]:
    rng = random.Random(seed)
    shown, pixels = [], np.empty((CHUNK, 3, SIDE, SIDE), np.uint8)
    for row in pixels:
        shown.append(drawings.random_drawing(rng))
        picture = drawings.draw(shown[-1], rng, rng.choice(TRAINING_SIDES))
        row[:] = np.asarray(picture.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    return shown, pixels


def new_processor(seed: int) -> CLIPProcessor:
    """A processor that brings pictures to SIDE pixels and splits texts as our captions split best."""
    from transformers import CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)
    return CLIPProcessor(image_processor=images, tokenizer=_new_tokenizer(seed))


def _new_tokenizer(seed: int) -> CLIPTokenizer:
    """A word of our captions is one token; any other text falls apart into pieces, down to bytes."""
    from tokenizers import Tokenizer, models, trainers
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    rng = random.Random(seed)
    captions = [drawings.caption(drawings.random_drawing(rng), rng) for _ in range(20_000)]
    like_clip = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = like_clip.normalizer, like_clip.pre_tokenizer
    rules = trainers.BpeTrainer(vocab_size=MOST_TOKENS, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(captions, rules)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    # Start and end come last, so the end is not 2: with that transformers takes an older way of pooling.
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocabulary, merges, model_max_length=TEXT["max_position_embeddings"])


def new_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of random weights, except that a patch's position in the picture starts as waves."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = TEXT | ids | {"vocab_size": len(tokenizer), "projection_dim": EMBEDDING}
    vision = VISION | {"projection_dim": EMBEDDING}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING))
    model.set_attn_implementation("eager")  # for rows as short as these it trains faster than the fused one
    start = model.vision_model.embeddings
    with torch.no_grad():
        start.position_embedding.weight[1:] = 0.35 * _waves(
            SIDE // VISION["patch_size"], VISION["hidden_size"]
        )
        start.patch_embedding.weight.normal_(std=0.02)
    return model


def _waves(across: int, width: int) -> torch.Tensor:
    """(across², width): sines and cosines of each patch's column and row, from slow to fast."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(across), torch.arange(across), indexing="ij")
    speeds = math.pi / across * across ** (torch.arange(width // 4) / (width // 4))
    angles = [places.reshape(-1, 1) * speeds for places in (columns, rows)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def learn(
    model: CLIPModel,
    processor: CLIPProcessor,
    shown: Sequence[Drawing],
    pixels: np.ndarray,
    seed: int,
    steps: int,
    progress: bool = False,
) -> None:
    """Trains the model in place on `pixels`, uint8 (n, 3, SIDE, SIDE), of the drawings `shown`."""
    import torch

    model.train()
    rng = random.Random(seed)
    values = torch.tensor([_numbers(one) for one in shown])
    aid = _Aid(model)
    optimizers = _optimizers(model, aid)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(one, lambda step: _pace(step, steps)) for one in optimizers
    ]
    for rows in tqdm(_batches(len(shown), steps), "Training", steps, disable=not progress):
        captions = Captions.of([shown[row] for row in rows[:FREE_CAPTIONS]], rng)
        inputs = _normalised(pixels[rows], processor)
        with torch.autocast("cpu", torch.bfloat16, enabled=_multiplies_bf16()):
            images = _unit(model.get_image_features(pixel_values=inputs))
            texts = _text_rows(model, processor, captions.texts)
        loss = captions.loss(images @ texts.T * model.logit_scale.exp(), values[rows]) + aid.loss(
            values[rows]
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for turn in (*optimizers, *schedules):
            turn.step()
        for optimizer in optimizers:
            optimizer.zero_grad()
        model.logit_scale.data.clamp_(max=HIGHEST_LOGIT_SCALE)
    aid.remove()
    model.eval()


@dataclasses.dataclass(frozen=True)
class Captions:
    """The captions of one training step, as texts and as the mentions behind them, in this order.

    Those of CAPTION_SETS; free ones, each true of a picture of the batch and perhaps of others; nonsense.
    """

    texts: list[str]
    values: torch.Tensor

    @classmethod
    def of(cls, shown: Sequence[Drawing], rng: random.Random) -> Captions:
        """New wordings for every set, a free caption for each drawing, and new nonsense."""
        import torch

        mentions = [mention for names in CAPTION_SETS for mention in combinations(names)]
        mentions += [drawings.mention(one, rng) for one in shown]
        texts = [drawings.wording(mention, rng) for mention in mentions]
        texts += [_nonsense(rng) for _ in range(NONSENSE)]
        return cls(texts, torch.tensor([_numbers(mention) for mention in mentions]))

    def loss(self, logits: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the logits (pictures, captions), given what the pictures show.

        Two pictures often share a caption, so CLIP's usual rule, that only its own caption is right for a
        picture, would punish right answers. Here a picture picks its one caption of every set, and a free
        caption picks all the pictures that it is true of.
        """
        import torch
        from torch.nn import functional

        fits = ((self.values[None] == -1) | (self.values[None] == shown[:, None])).all(dim=2)
        nonsense = logits[:, -NONSENSE:]
        total, start = torch.zeros(()), 0
        for names in CAPTION_SETS:
            end = start + math.prod(len(VALUES[name]) for name in names)
            choices = torch.cat([logits[:, start:end], nonsense], dim=1)
            total = total + functional.cross_entropy(choices, fits[:, start:end].int().argmax(dim=1))
            start = end
        fits, free = fits[:, start:].float(), functional.log_softmax(logits[:, start:-NONSENSE], dim=0)
        return total - ((free * fits).sum(dim=0) / fits.sum(dim=0)).mean()


class _Aid:
    """Reads what a picture shows straight from the mean of its patches. Only training uses it.

    Without it, shapes are learned late: all that the patches get to hear comes through one token's attention.
    """

    def __init__(self, model: CLIPModel) -> None:
        from torch import nn

        self.heads = nn.ModuleList(
            nn.Linear(VISION["hidden_size"], len(values)) for values in VALUES.values()
        )
        self._hook = model.vision_model.encoder.register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        self._patches = output[0][:, 1:]

    def loss(self, shown: torch.Tensor) -> torch.Tensor:
        """Cross-entropy for the pictures that the model saw last; `shown` is what they show."""
        from torch.nn import functional

        means = self._patches.float().mean(dim=1)
        return sum(
            functional.cross_entropy(head(means), right)
            for head, right in zip(self.heads, shown.T, strict=True)
        )

    def remove(self) -> None:
        """Leaves the model as it was."""
        self._hook.remove()


def _optimizers(model: CLIPModel, aid: _Aid) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, which learn much sooner with it; Adam for the rest."""
    import torch

    named = list(model.named_parameters())
    inner = [weights for name, weights in named if ".layers." in name and weights.ndim == 2]
    outer = [weights for name, weights in named if ".layers." not in name or weights.ndim != 2]
    return [
        torch.optim.Muon(inner, lr=MUON_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [*outer, *aid.heads.parameters()], lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0
        ),
    ]


def _pace(step: int, steps: int) -> float:
    """The learning rate at a step as a part of the highest: up in a line, down in a cosine."""
    return min(1.0, (step + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))


def _batches(pictures: int, steps: int) -> Iterator[list[int]]:
    """Rows for each step, every picture once before any comes again."""
    import torch

    rows: list[int] = []
    for _ in range(steps):
        while len(rows) < BATCH:
            rows += torch.randperm(pictures).tolist()
        yield rows[:BATCH]
        rows = rows[BATCH:]


def _numbers(content: Drawing | Mention) -> list[int]:
    """Each value's place among VALUES; -1 for one that is left open."""
    found = ((values, getattr(content, name)) for name, values in VALUES.items())
    return [-1 if value is None else values.index(value) for values, value in found]


def _nonsense(rng: random.Random) -> str:
    """A caption of an invented word. It fits no picture, so unknown words come to lie far from pictures."""
    word = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))
    return rng.choice(drawings.PROMPT_TEMPLATES).format(word)


def _normalised(pixels: np.ndarray, processor: CLIPProcessor) -> torch.Tensor:
    """What the image processor makes of pictures that have the right size already."""
    import torch

    mean, std = (
        torch.tensor(levels).view(3, 1, 1)
        for levels in (processor.image_processor.image_mean, processor.image_processor.image_std)
    )
    return (torch.from_numpy(pixels).float() / 255 - mean) / std


def _multiplies_bf16() -> bool:
    import torch

    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _text_rows(model: CLIPModel, processor: CLIPProcessor, texts: Sequence[str]) -> torch.Tensor:
    inputs = processor(text=list(texts), padding=True, truncation=True, return_tensors="pt")
    return _unit(model.get_text_features(**inputs))


def _unit(features: Any) -> torch.Tensor:
    """The embeddings in what a CLIPModel returns, float32, scaled to length 1."""
    from torch.nn import functional

    return functional.normalize(features.pooler_output.float(), dim=-1)


def _hits(
    model: CLIPModel,
    processor: CLIPProcessor,
    images: torch.Tensor,
    shown: Sequence[Drawing],
    names: Sequence[str],
) -> float:
    """The part of the images whose most similar label, of those for the fields `names`, is true of them."""
    choices = combinations(names)
    texts = [PROMPT_TEMPLATE.format(label=label(choice)) for choice in choices]
    picked = (images @ _text_rows(model, processor, texts).T).argmax(dim=1).tolist()
    right = sum(choices[place].fits(drawing) for place, drawing in zip(picked, shown, strict=True))
    return right / len(shown)


def _uploaded(picture: PIL.Image.Image, jpeg: bool) -> PIL.Image.Image:
    """The picture, as it comes back from a JPEG file if `jpeg`."""
    if not jpeg:
        return picture
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=90)
    with PIL.Image.open(stored) as reopened:
        return reopened.convert("RGB")


def save(model: CLIPModel, processor: CLIPProcessor, folder: Path) -> None:
    """Writes a folder as the hub has them, its weights rounded to 16 bits, which halves their size.

    The config says float32 all the same, so a model that is loaded without a word about it computes in that.
    Raises OSError if the folder can't be written.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
    # AutoProcessor reads the image processor from either file; tools that know only CLIP read this one.
    processor.image_processor.save_pretrained(folder)
    # transformers leaves the weights readable by their owner alone, and a site may run as another user.
    (folder / "model.safetensors").chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
