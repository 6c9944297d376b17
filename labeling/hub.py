"""Models from the Hugging Face hub. Nothing else in the project downloads.

huggingface_hub's own download throws an unfinished file away; here it is kept, and gone on from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from labeling import clip

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

# Commits that hold safetensors, so that a name means the same weights tomorrow.
REVISIONS = {"openai/clip-vit-base-patch32": "c237dc49a33fc61debc9276459120b7eac67e7ef"}
# What a model must have, and the names that each may go by.
NEEDED = {
    "config.json": ["config.json"],
    "weights as safetensors": ["model.safetensors", "model-*.safetensors"],
    "a tokenizer": clip.TOKENIZER_FILES,
    "a processor's settings": ["preprocessor_config.json", "processor_config.json"],
}
OTHERS = ["model.safetensors.index.json", "*token*.json", "merges.txt", "added_tokens.json"]
# The hub is given up when it is silent for so many seconds, in so many tries one after the other.
PATIENCE, TRIES, PAUSE = 10, 3, 1


class CannotFetch(RuntimeError):
    """The model can't be had; the message says why, and what to do."""


def fetch(name: str, revision: str | None = None) -> clip.ModelFolder:
    """Bring the model `name` into MODELS_DIR and make it the one that its name means.

    `revision`: a commit or branch; by default the commit that is known to be good, or the newest. Nothing
    changes until all of it is here and was loaded once. Raises CannotFetch or clip.ModelUnusable.
    """
    _open_the_hub()
    revision = revision or REVISIONS.get(name) or "main"
    with _in_words(name, revision):
        listing = _listing(name, revision)
        folder = clip.model_dir(name) / listing.sha
        _download(listing, _wanted(listing), folder)
    model = clip.ModelFolder(name, listing.sha, folder)
    clip.Engine(model, "fp32")
    _put_in_use(model)
    return model


def _open_the_hub() -> None:
    """settings.py closes the hub for every other process and command."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False
    constants.HF_HUB_DISABLE_TELEMETRY = True


@contextmanager
def _in_words(name: str, revision: str) -> Iterator[None]:
    """Turn the library's errors into sentences for whoever sits at the terminal."""
    import httpx2
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.HFValidationError as error:
        raise CannotFetch(f"“{name}” can't be the name of a model on the Hugging Face hub.") from error
    except errors.RevisionNotFoundError as error:
        raise CannotFetch(f"{name} has no revision {revision}.") from error
    except errors.GatedRepoError as error:
        raise CannotFetch(
            f"{name} is given only to those who agreed to its terms: do so on {constants.ENDPOINT}/{name}, "
            "and set HF_TOKEN to a token of your account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CannotFetch(f"There is no model {name} on {constants.ENDPOINT}, or it is private.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        later = " Run the command again later." if status >= 500 or status == 429 else ""
        raise CannotFetch(f"{constants.ENDPOINT} answered {status} when asked for {name}.{later}") from error
    except httpx2.HTTPError as error:
        raise _unreachable() from error
    except OSError as error:
        raise CannotFetch(f"The files can't be written: {error}.") from error


def _unreachable() -> CannotFetch:
    from huggingface_hub import constants

    return CannotFetch(
        f"{constants.ENDPOINT} can't be reached, or broke off. Is there a network? What came so far is kept: "
        "run the command again to go on."
    )


def _listing(name: str, revision: str) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi().model_info(name, revision=revision, files_metadata=True, timeout=PATIENCE)


def _wanted(listing: ModelInfo) -> list[RepoSibling]:
    """The files to bring, the large ones last. Raises CannotFetch where one that is needed isn't there."""
    files = {file.rfilename: file for file in listing.siblings or []}
    missing = [what for what, names in NEEDED.items() if not any(_fits(file, names) for file in files)]
    if missing:
        raise CannotFetch(
            f"{listing.id} can't be used at {listing.sha}: what it lacks is {' and '.join(missing)}. "
            "Maybe another --revision has it."
        )
    if "model.safetensors" in files:  # then parts of it, if there are any, say the same again
        files = {name: file for name, file in files.items() if not name.startswith("model-")}
    patterns = [*OTHERS, *(name for names in NEEDED.values() for name in names)]
    return sorted((file for file in files.values() if _fits(file.rfilename, patterns)), key=_size)


def _fits(name: str, patterns: list[str]) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in patterns)


def _size(file: RepoSibling) -> int:
    return file.lfs["size"] if file.lfs else file.size


def _download(listing: ModelInfo, files: list[RepoSibling], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    here = sum(_arrived(folder, file) for file in files)
    total = sum(map(_size, files))
    if total - here > shutil.disk_usage(folder).free:
        raise CannotFetch(
            f"{(total - here) / 1e6:,.0f} MB are to come, and the disk has less room than that."
        )
    with tqdm(total=total, initial=here, desc=listing.id, unit="B", unit_scale=True) as bar:
        for file in files:
            if not (folder / file.rfilename).exists():
                _bring(listing, file, folder, bar)


def _part(folder: Path, file: RepoSibling) -> Path:
    return folder / f"{file.rfilename}.part"


def _arrived(folder: Path, file: RepoSibling) -> int:
    """How many bytes of the file are here."""
    if (folder / file.rfilename).exists():
        return _size(file)
    part = _part(folder, file)
    return part.stat().st_size if part.exists() else 0


def _bring(listing: ModelInfo, file: RepoSibling, folder: Path, bar: tqdm) -> None:
    """Bring one file to its end, over as many connections as it takes while each brings something."""
    import httpx2
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(listing.id, file.rfilename, revision=listing.sha)
    part, in_vain = _part(folder, file), 0
    part.touch()
    while (before := part.stat().st_size) < _size(file) and in_vain < TRIES:
        with suppress(httpx2.TransportError):
            _receive(url, part, bar)
        in_vain = 0 if part.stat().st_size > before else in_vain + 1
        time.sleep(PAUSE if in_vain else 0)
    if before < _size(file):
        raise _unreachable()
    if not _is_whole(part, file):
        part.unlink()
        raise CannotFetch(f"{file.rfilename} came damaged and was thrown away. Run the command again.")
    part.rename(folder / file.rfilename)


def _receive(url: str, part: Path, bar: tqdm) -> None:
    """Add to `part` what one connection brings."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    here = part.stat().st_size
    # A compressed answer would count its bytes otherwise than the file's.
    headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={here}-"}
    with get_session().stream("GET", url, headers=headers, timeout=PATIENCE) as answer:
        hf_raise_for_status(answer)
        goes_on = answer.status_code == 206
        if not goes_on:
            bar.update(-here)
        with part.open("ab" if goes_on else "wb") as out:
            for block in answer.iter_bytes():
                out.write(block)
                bar.update(len(block))


def _is_whole(part: Path, file: RepoSibling) -> bool:
    """Whether the bytes are those that the hub's listing promises."""
    with part.open("rb") as content:
        if file.lfs:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.lfs["sha256"]
        blob = hashlib.sha1(b"blob %d\0" % part.stat().st_size, usedforsecurity=False)
        blob.update(content.read())
        return blob.hexdigest() == file.blob_id


def _put_in_use(model: clip.ModelFolder) -> None:
    """Let the name mean this commit, in one step, and remove the commits that it meant before."""
    home = model.path.parent
    written = home / f"{clip.REVISION_FILE}.part"
    written.write_text(json.dumps({"name": model.name, "revision": model.revision}))
    os.replace(written, home / clip.REVISION_FILE)
    for other in home.iterdir():
        if other.is_dir() and other != model.path:
            shutil.rmtree(other)
