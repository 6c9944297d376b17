"""A worker's hands: prepare a run, decode, embed and score its chunks."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import PIL.Image
from django.db import OperationalError

from gallery import decoding
from gallery.decoding import BadPicture
from gallery.models import Image
from labeling import clip, embeddings, runs, scoring, vectors, worker
from labeling.models import ScoringChunk, ScoringRun
from labeling.scoring import Rows, Scores

logger = logging.getLogger(__name__)
T = TypeVar("T")

# How long one task goes on claiming chunks before the queue's next task has its turn.
TASK_SECONDS = 20
DECODERS = 2
# Images that are written together: progress moves this often, and a killed worker loses no more.
STEP = 16
TEXTS_AT_ONCE = 64
# Between two bulk writes, so that people's writes come in between.
PAUSE = 0.02


class Stopping(Exception):
    """The site is being stopped: what is begun is put down."""


def until_none_is_left(between: Callable[[Callable[[], bool]], None] = lambda is_stopping: None) -> None:
    """Plan runs and score chunks until there are none, the time is up, or the site is stopped.

    `between`: what goes before each of them, told how to ask whether the site is being stopped.
    """
    until = time.monotonic() + TASK_SECONDS
    while time.monotonic() < until:
        between(worker.is_stopping)
        if worker.is_stopping():
            return
        if run := ScoringRun.objects.filter(state=runs.RunState.QUEUED).order_by("attempts", "id").first():
            prepare(run, until)
        elif chunk := runs.claim():
            work_on(chunk)
            keep_vectors(chunk.run)
        else:
            return
    runs.ring()


def prepare(run: ScoringRun, until: float = math.inf) -> None:
    """Embed a run's prompts and cut it into chunks; or, where there are too many for now, go on later."""
    if not runs.try_to_prepare(run):
        return
    try:
        engine = clip.engine()
        if run.model != engine.folder.key:
            runs.start(run.project, run.label_set, run.created_by)
        elif embed_prompts(run, engine, until):
            runs.plan(run, label_vectors(run, engine) if run.labels else None, engine)
        else:
            runs.put_off(run)
    except OperationalError:
        raise
    except Exception as error:
        logger.exception("run %s could not be prepared", run.pk)
        runs.fail(run, f"The run could not be prepared: {error}")


def embed_prompts(run: ScoringRun, engine: clip.Engine, until: float) -> bool:
    """Have the engine know all prompts of the run. False where time is up before that."""
    texts = [text for texts in label_prompts(run) for text in texts]
    for some in _steps(texts, TEXTS_AT_ONCE):
        if time.monotonic() > until or worker.is_stopping():
            return False
        engine.embed_texts(some)
    return True


def label_vectors(run: ScoringRun, engine: clip.Engine) -> Rows:
    """(k, d): one unit row for each label of the run's snapshot, its prompts ensembled."""
    return np.stack([scoring.ensemble(engine.embed_texts(texts)) for texts in label_prompts(run)])


def label_prompts(run: ScoringRun) -> list[list[str]]:
    """The prompts of each label of the run's snapshot."""
    return [scoring.label_prompts(label["name"], label["prompts"], run.templates) for label in run.labels]


def work_on(chunk: ScoringChunk) -> None:
    """Score what is left of a claimed chunk. A second try goes image by image, to find the one that kills."""
    run = chunk.run
    try:
        if run.model != clip.current().key:
            runs.start(run.project, run.label_set, run.created_by)
        elif why := runs.hopeless(chunk):
            runs.fail(run, why)
        else:
            _score_stored(chunk)
            _score_unseen(chunk, alone=chunk.attempts > 1)
            runs.finish_chunk(chunk)
    except Stopping:
        runs.put_down(chunk)
    except runs.LeaseLost as lost:
        logger.info("%s", lost)
    except clip.ModelUnusable as error:
        runs.fail(run, str(error))
    # SystemExit: a library that would end the process, or the queue's time-out.
    except (Exception, SystemExit) as error:
        logger.exception("%s stopped and will be tried image by image", chunk)
        runs.release(chunk, error)


def keep_vectors(run: ScoringRun) -> None:
    """Have what was embedded in the files that are searched, so that nobody waits for it later."""
    try:
        vectors.of(run.project_id, run.model)
    except (OSError, OperationalError) as error:
        # Who searches brings them up to date himself.
        logger.warning("vectors of project %s are left for later: %s", run.project_id, error)


def _score_stored(chunk: ScoringChunk) -> None:
    """Match the images whose embedding is there: a matrix product, no picture is decoded."""
    ids, rows = embeddings.load(runs.unfinished(chunk), chunk.run.model)
    if ids and chunk.run.label_set_id:
        runs.write(chunk, ids, None, scores(chunk.run, rows))
        time.sleep(PAUSE)


def _score_unseen(chunk: ScoringChunk, alone: bool) -> None:
    image_ids = runs.unfinished(chunk)
    if not image_ids:
        return
    engine = clip.engine()
    if engine.folder.key != chunk.run.model:  # another one was fetched a moment ago
        runs.start(chunk.run.project, chunk.run.label_set, chunk.run.created_by)
        return
    files = Image.objects.only("file").in_bulk(image_ids)
    for ids in _steps(image_ids, 1 if alone else STEP):
        if worker.is_stopping():
            raise Stopping
        if alone and not runs.strike(chunk, ids[0]):
            continue
        pictures = _decoded(chunk, [files[image_id] for image_id in ids if image_id in files], engine.side)
        if pictures:
            rows = engine.embed_images(list(pictures.values()))
            runs.write(chunk, list(pictures), rows, scores(chunk.run, rows))


def _steps(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def scores(run: ScoringRun, rows: Rows) -> Scores | None:
    """The figures of (n, d) image rows against the run's labels; None for a run that only embeds."""
    if not run.labels:
        return None
    labels = embeddings.from_bytes(run.label_vectors, rows=len(run.labels))
    return scoring.score(rows, labels, run.logit_scale, run.logit_bias)


def _decoded(chunk: ScoringChunk, images: Sequence[Image], side: int) -> dict[int, PIL.Image.Image]:
    """The pictures that could be decoded, by image id; the others are failed, with the reason."""
    pictures: dict[int, PIL.Image.Image] = {}
    with ThreadPoolExecutor(DECODERS) as threads:
        tries = [(image, threads.submit(_decode, image, side)) for image in images]
    for image, attempt in tries:
        try:
            pictures[image.pk] = attempt.result()
        except (BadPicture, OSError) as error:
            reason = str(error) if isinstance(error, BadPicture) else "The file is missing or can't be read."
            runs.fail_image(chunk, image.pk, reason)
    return pictures


def _decode(image: Image, side: int) -> PIL.Image.Image:
    """An image with its shortest side at `side` pixels: the size that the model will cut from it."""
    with image.file.open("rb") as file:
        picture = decoding.rgb(file, side)
    scale = side / min(picture.size)
    if scale >= 1:
        return picture
    size = (max(side, round(picture.width * scale)), max(side, round(picture.height * scale)))
    return picture.resize(size, PIL.Image.Resampling.BICUBIC, reducing_gap=3.0)
