"""CLIP: images or texts in, unit float32 rows out. The only room that knows torch, loaded on first use."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from labeling.scoring import Rows, unit

if TYPE_CHECKING:
    import PIL.Image
    import torch
    from transformers import BaseImageProcessor, PreTrainedModel, ProcessorMixin

logger = logging.getLogger(__name__)

STARTER = Path(__file__).parent / "starter" / "model"
STARTER_NAME = "clipsite/starter"
# On two cores a little faster than 8, and no slower than 32.
BATCH = 16
KNOWN_TEXTS = 20_000
# A picture so many times as long as it is wide is a strip.
STRIP = 8
STARTER_NOTE = (
    "This is the small starter model that comes with clipsite. It knows drawn shapes, colours and patterns, "
    "and little of photographs. For the real CLIP, run “manage.py fetch_model” on the server."
)
REVISION_FILE = "clipsite-revision.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")


class ModelUnusable(RuntimeError):
    """The model can't be loaded; the message says what to do."""


@dataclass(frozen=True)
class ModelFolder:
    """A model's files on this disk."""

    name: str
    revision: str
    path: Path

    @property
    def key(self) -> str:
        """What embeddings, runs and matches are filed under."""
        return f"{self.name}@{self.revision}"

    @property
    def is_starter(self) -> bool:
        return self.name == STARTER_NAME


def model_dir(name: str) -> Path:
    """Where `fetch_model` puts the hub's model `name`: a folder named by its commit, and REVISION_FILE."""
    return settings.MODELS_DIR / name.replace("/", "--")


def is_folder(name: str) -> bool:
    """Whether CLIP_MODEL means a folder of one's own by this name, not a model of the hub."""
    return name.startswith(("/", ".", "~"))


def current() -> ModelFolder:
    """The model in use: CLIP_MODEL, or the starter model until the default one is fetched. Loads nothing.

    Raises ModelUnusable where CLIP_MODEL names another one that isn't here.
    """
    name = settings.CLIP_MODEL
    if is_folder(name):
        return _own_folder(Path(name).expanduser().resolve())
    fetched = model_dir(name) / REVISION_FILE
    if fetched.exists():
        revision = json.loads(fetched.read_text())["revision"]
        return ModelFolder(name, revision, fetched.parent / revision)
    if name != settings.DEFAULT_CLIP_MODEL:
        raise ModelUnusable(
            f"CLIP_MODEL names {name}, which is not here. Run “manage.py fetch_model {name}”. "
            "A folder's path begins with /, ./ or ~."
        )
    return ModelFolder(STARTER_NAME, _starter_revision(), STARTER)


def _own_folder(path: Path) -> ModelFolder:
    times = [weights.stat().st_mtime_ns for weights in path.glob("*.safetensors")]
    if not times:
        raise ModelUnusable(f"CLIP_MODEL names {path}, and there is no model.safetensors in that folder.")
    return ModelFolder(path.name, f"{max(times):x}", path)


@lru_cache(maxsize=1)
def _starter_revision() -> str:
    return hashlib.sha256((STARTER / "model.safetensors").read_bytes()).hexdigest()[:12]


class Engine:
    """A loaded model. Safe to share between threads: one call computes at a time."""

    def __init__(self, folder: ModelFolder, precision: str) -> None:
        """Raises ModelUnusable."""
        import_libraries()
        import torch

        self.folder = folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = precision if precision != "auto" else _fast_precision(self.device)
        self.model = _model(folder).to(self.device)
        if self.precision == "bf16":
            _halve(self.model)
        self.processor = _processor(folder)
        self.logit_scale = float(self.model.logit_scale.detach().exp())
        bias = getattr(self.model, "logit_bias", None)
        self.logit_bias = None if bias is None else float(bias.detach())
        # SigLIP was trained on texts padded to full length, padding seen; CLIP never looks past the end.
        self.text_options = {} if bias is None else {"padding": "max_length", "return_attention_mask": False}
        self.side = _side(self.processor.image_processor)
        self._known_texts: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def embed_images(self, images: Sequence[PIL.Image.Image]) -> Rows:
        """(n, d) unit rows of n RGB images."""
        return self._in_batches(images, self._image_rows)

    def embed_texts(self, texts: Sequence[str]) -> Rows:
        """(n, d) unit rows of n texts, each cut at the length that the model reads. Remembers them."""
        # Another thread may start an empty memory in the meantime; this call keeps to its own.
        known = self._known_texts
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if len(known) + len(new) > KNOWN_TEXTS:
            known, new = {}, list(dict.fromkeys(texts))
            self._known_texts = known
        if new:
            known.update(zip(new, self._in_batches(new, self._text_rows), strict=True))
        return np.stack([known[text] for text in texts])

    def _in_batches(self, items: Sequence, rows_of: Callable[[Sequence], torch.Tensor]) -> Rows:
        import torch

        parts = []
        for start in range(0, len(items), BATCH):
            inputs = items[start : start + BATCH]
            with self._lock, torch.inference_mode(), self._autocast():
                parts.append(rows_of(inputs).float().cpu().numpy())
        return unit(np.concatenate(parts))

    def _image_rows(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        inputs = self.processor.image_processor(images=[*map(self._middle, images)], return_tensors="pt")
        return self.model.get_image_features(**inputs.to(self.device)).pooler_output

    def _middle(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """Of a strip, the part around the middle square that the processor cuts out.

        It would enlarge the whole of it before it cuts: 16,384 × 1 pixels to eight gigabytes.
        """
        if not getattr(self.processor.image_processor, "do_center_crop", False):
            return image
        width, height = (min(side, STRIP * min(image.size)) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    def _text_rows(self, texts: Sequence[str]) -> torch.Tensor:
        length = self.model.config.text_config.max_position_embeddings
        options = {"padding": "longest", "truncation": True, "max_length": length} | self.text_options
        inputs = self.processor.tokenizer(list(texts), return_tensors="pt", **options)
        return self.model.get_text_features(**inputs.to(self.device)).pooler_output

    def _autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def _model(folder: ModelFolder) -> PreTrainedModel:
    import torch
    from transformers import AutoModel

    # What is missing or doesn't fit is made up at random by transformers: it is reported, and refused here.
    report_all = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, report = _read(folder, AutoModel, dtype=torch.float32, use_safetensors=True, **report_all)
    if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
        raise ModelUnusable(f"{folder.name} is no model with an image and a text tower.")
    wrong = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if wrong:
        some = f"{len(wrong)} of its weights are missing or don't fit, {min(wrong)} is one"
        raise ModelUnusable(f"{folder.name} can't be used: {some}.")
    return model.eval()


def _halve(model: PreTrainedModel) -> None:
    """Hold the weights of products in bf16. Autocast would make the same of them, anew for every batch."""
    import torch

    for part in model.modules():
        if isinstance(part, torch.nn.Linear | torch.nn.Conv2d):
            part.to(torch.bfloat16)


def _processor(folder: ModelFolder) -> ProcessorMixin:
    from transformers import AutoProcessor

    # Without a tokenizer's files transformers would make one that knows no word.
    if not any(list(folder.path.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise ModelUnusable(f"{folder.name} can't be used: there is no tokenizer in {folder.path}.")
    return _read(folder, AutoProcessor, backend="pil")


def _read(folder: ModelFolder, kind: type, **options: Any) -> Any:
    """What transformers makes of the folder's files, quietly, with no code from them run."""
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    try:
        return kind.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # files of any kind can fail in any way
        reason = str(error).strip().partition("\n")[0]
        raise ModelUnusable(f"The model in {folder.path} can't be loaded: {reason}") from error


def import_libraries() -> None:
    """torch and transformers, which take seconds. No thread is begun, so that a process may fork after it."""
    collects = gc.isenabled()
    # A quarter of the time would go into looking for garbage among a million objects that all stay.
    gc.disable()
    try:
        from transformers import AutoModel, AutoProcessor  # noqa: F401
    finally:
        if collects:
            gc.enable()


@lru_cache(maxsize=1)
def _load(folder: ModelFolder, precision: str) -> Engine:
    logger.debug("loading %s from %s", folder.name, folder.path)
    return Engine(folder, precision)


_loading = threading.Lock()


def engine() -> Engine:
    """The current model, loaded on the first call in each process. Raises ModelUnusable."""
    with _loading:
        return _load(current(), settings.CLIP_PRECISION)


def _fast_precision(device: torch.device) -> str:
    """bf16 where the processor multiplies it natively: three times as fast, cosine to fp32 0.99999."""
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"


def _side(image_processor: BaseImageProcessor) -> int:
    """The shortest side, in pixels, that a picture needs so that the image tower loses nothing."""
    size = getattr(image_processor, "crop_size", None) or image_processor.size
    if size is None:  # SigLIP 2 takes any shape, up to a number of patches
        return image_processor.patch_size * math.isqrt(image_processor.max_num_patches)
    return size.shortest_edge or max(size.height, size.width)
