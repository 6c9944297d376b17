"""A worker's hands for near-duplicates: fingerprints of all images, and new ones compared with all others."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
from django.db import transaction

from gallery.models import Image
from labeling import clip, fingerprints, looking, vectors, worker
from labeling.fingerprints import Figures, Looks, Pair
from labeling.models import DuplicateSearch, Fingerprint, NearDuplicate

logger = logging.getLogger(__name__)

# How long one task goes on before the queue's next task has its turn.
TASK_SECONDS = 20
DECODERS = 2
# Images whose fingerprints are written together; images that are compared with all others at once.
STEP, BLOCK = 64, 512
# Rows in a transaction, and the pause after it, so that people's writes come in between.
AT_ONCE, PAUSE = 200, 0.02
UNREADABLE = Figures(0, b"", 0.0)


def look(project_id: int, between: Callable[[Callable[[], bool]], None] = lambda _: None) -> None:
    """Go on with a project's search until it is done, the time is up, or the site is stopped.

    `between`: what goes before each step, told how to ask whether the site is being stopped.
    """
    until = time.monotonic() + TASK_SECONDS

    def is_over() -> bool:
        between(worker.is_stopping)
        return worker.is_stopping() or time.monotonic() > until

    search = looking.claim(project_id)
    if search is None:
        return
    try:
        if not _work(search, is_over):
            looking.put_down(search)
    except looking.LeaseLost as lost:
        logger.info("%s", lost)
    except clip.ModelUnusable as error:
        looking.fail(search, str(error))
    # SystemExit: a library that would end the process, or the queue's time-out.
    except (Exception, SystemExit) as error:
        logger.exception("%s was interrupted and will be tried again", search)
        looking.release(search, error)


def _work(search: DuplicateSearch, is_over: Callable[[], bool]) -> bool:
    """Do what there is to do. False where that is for a later task."""
    while True:
        search.refresh_from_db(fields=["asked_at"])
        while images := _unseen(search.project_id):
            if is_over():
                return False
            _write_fingerprints(search, images)
        key = clip.current().key
        looks, compared = _load(search.project_id, key)
        for start in range(compared, len(looks.ids), BLOCK):
            if is_over():
                return False
            fresh = looks[start : start + BLOCK]
            # Those that come later will be compared with these.
            near = fingerprints.pairs(fresh, looks[:start])
            _write_pairs(search, key, fresh.ids.tolist(), near)
        if looking.finish(search):
            return True


def _unseen(project_id: int) -> list[Image]:
    # Those that are set aside as well: when they are brought back, all is done.
    rows = Image.everything.filter(project=project_id, fingerprint=None).order_by("pk")
    return list(rows.only("thumbnail")[:STEP])


def _write_fingerprints(search: DuplicateSearch, images: Sequence[Image]) -> None:
    with ThreadPoolExecutor(DECODERS) as threads:
        found = list(threads.map(_figures, images))
    with transaction.atomic():
        looking.renew(search)
        alive = _alive([image.pk for image in images])
        Fingerprint.objects.bulk_create(
            (
                Fingerprint(image=image, hash=its.hash, windows=its.windows, sharpness=its.sharpness)
                for image, its in zip(images, found, strict=True)
                if image.pk in alive
            ),
            ignore_conflicts=True,
        )
    time.sleep(PAUSE)


def _figures(image: Image) -> Figures:
    """Of the thumbnail, which is small, and of our own making. None where it is missing or broken."""
    try:
        with image.thumbnail.open("rb") as file, PIL.Image.open(file) as picture:
            return fingerprints.figures(picture)
    except (OSError, ValueError):
        logger.warning("the thumbnail of image %s can't be read", image.pk)
        return UNREADABLE


def _alive(image_ids: Sequence[int]) -> set[int]:
    return set(Image.everything.filter(pk__in=image_ids).values_list("pk", flat=True))


def _load(project_id: int, key: str) -> tuple[Looks, int]:
    """All images that can be compared, and how many of them were: those come first."""
    prints = Fingerprint.objects.filter(image__project=project_id).exclude(windows=b"").order_by("image_id")
    rows = list(prints.values_list("image_id", "hash", "windows", "compared"))
    stored = vectors.of(project_id, key)
    # The place of each in the matrix. A matrix may still have images that are gone.
    order = np.argsort(stored.ids, kind="stable")
    ids = np.array([row[0] for row in rows], np.int64)
    at = np.minimum(np.searchsorted(stored.ids[order], ids), len(order) - 1)
    there = stored.ids[order[at]] == ids if len(order) else np.zeros(len(ids), bool)
    fresh = np.array([row[3] != key for row in rows], bool)
    chosen = np.concatenate([np.flatnonzero(there & ~fresh), np.flatnonzero(there & fresh)])
    if not len(chosen):
        empty = np.empty(0, np.int64)
        return Looks(empty, np.empty((0, 0), np.float32), empty.view(np.uint64), empty), 0
    looks = Looks(
        ids[chosen],
        stored.rows[order[at[chosen]]],
        fingerprints.hashes_of([rows[place][1] for place in chosen]),
        fingerprints.windows_of([bytes(rows[place][2]) for place in chosen]),
    )
    return looks, int((there & ~fresh).sum())


def _write_pairs(search: DuplicateSearch, key: str, image_ids: Sequence[int], pairs: Sequence[Pair]) -> None:
    """Store new pairs, then that these images are compared. A pair that is there stays as it is: decided
    about, it is not opened again. Raises LeaseLost."""
    for start in range(0, len(pairs), AT_ONCE):
        with transaction.atomic():
            looking.renew(search)
            _store(search.project_id, pairs[start : start + AT_ONCE])
        time.sleep(PAUSE)
    for start in range(0, len(image_ids), AT_ONCE):
        with transaction.atomic():
            looking.renew(search)
            seen = Fingerprint.objects.filter(image__in=image_ids[start : start + AT_ONCE])
            seen.update(compared=key)
        time.sleep(PAUSE)


def _store(project_id: int, pairs: Sequence[Pair]) -> None:
    alive = _alive([image_id for pair in pairs for image_id in (pair.first, pair.second)])
    NearDuplicate.objects.bulk_create(
        (
            NearDuplicate(
                project_id=project_id,
                first_id=pair.first,
                second_id=pair.second,
                cosine=pair.cosine,
                distance=pair.distance,
            )
            for pair in pairs
            if {pair.first, pair.second} <= alive
        ),
        ignore_conflicts=True,
    )
