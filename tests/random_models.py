"""Tiny models with random weights, saved as the hub's repositories are."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Siglip2Config,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    SiglipTokenizer,
    ViTConfig,
    ViTModel,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

SIDE, PATCH, LENGTH = 32, 16, 40
WORDS = [
    "a",
    "the",
    "of",
    "photo",
    "cat",
    "dog",
    "red",
    "blue",
    "green",
    "circle",
    "square",
    "star",
    ".",
    ",",
]
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = LAYERS | {"image_size": SIDE, "patch_size": PATCH}
TEXT = LAYERS | {"max_position_embeddings": LENGTH}
WORD_TEXT = TEXT | {"vocab_size": 32, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def clip(folder: Path) -> Path:
    """CLIP, with a tokenizer like its own that knows single characters only."""
    tokenizer = _characters()
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = CLIPConfig(
        text_config=TEXT | special | {"vocab_size": len(tokenizer)}, vision_config=VISION, projection_dim=16
    )
    return _save(folder, CLIPModel, config, CLIPProcessor(_clip_pictures(), tokenizer))


def clip_of_2021(folder: Path) -> Path:
    """The same CLIP, with the files that OpenAI's repositories on the hub still have."""
    clip(folder)
    (folder / "processor_config.json").unlink()
    pictures = {
        "crop_size": SIDE,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": SIDE,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def siglip(folder: Path) -> Path:
    config = SiglipConfig(text_config=WORD_TEXT | {"projection_size": 32}, vision_config=VISION)
    pictures = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _save(folder, SiglipModel, config, SiglipProcessor(pictures, _pieces()))


def siglip2(folder: Path) -> Path:
    """SigLIP 2 for pictures of any shape (NaFlex)."""
    vision = LAYERS | {"patch_size": PATCH, "num_patches": 16}
    config = Siglip2Config(text_config=WORD_TEXT | {"projection_size": 32}, vision_config=vision)
    pictures = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=16)
    return _save(folder, Siglip2Model, config, Siglip2Processor(pictures, _words()))


def metaclip2(folder: Path) -> Path:
    config = MetaClip2Config(text_config=WORD_TEXT, vision_config=VISION, projection_dim=16)
    return _save(folder, MetaClip2Model, config, CLIPProcessor(_clip_pictures(), _words()))


def vit(folder: Path) -> Path:
    """A model with no text tower."""
    pictures = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _save(folder, ViTModel, ViTConfig(**VISION), pictures)


def _save(folder: Path, kind: type[PreTrainedModel], config: Any, processor: ProcessorMixin) -> Path:
    torch.manual_seed(0)
    model = kind(config)
    if hasattr(model, "logit_bias"):
        model.logit_scale.data.fill_(4.75)
        model.logit_bias.data.fill_(-16.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip_pictures() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _characters() -> CLIPTokenizer:
    inside = list(bytes_to_unicode().values())
    names = [*inside, *(f"{character}</w>" for character in inside), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=LENGTH)


def _pieces() -> SiglipTokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{one} {other}" for one in WORDS for other in WORDS]),
        model_writer=model,
        vocab_size=WORD_TEXT["vocab_size"],
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=-1,
        eos_id=WORD_TEXT["eos_token_id"],
        pad_id=1,
        minloglevel=2,
    )
    with tempfile.NamedTemporaryFile(suffix="spiece.model") as file:
        file.write(model.getvalue())
        file.flush()
        return SiglipTokenizer(file.name, model_max_length=LENGTH, model_input_names=["input_ids"])


def _words() -> PreTrainedTokenizerFast:
    names = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=LENGTH,
        padding_side="right",
    )
