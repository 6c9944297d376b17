"""Actions on more images than one request can write: asked for here, carried out in parts by a worker."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import OperationalError, transaction
from django.db.models import Sum

from gallery.access import User, allowed
from gallery.models import Membership
from labeling import assignments, review, runs
from labeling.models import Batch, BatchPart, LabelSet
from labeling.review import AT_ONCE, Decision, Kind, State, Verdict

logger = logging.getLogger(__name__)
# What a request writes itself; more is a worker's.
IN_REQUEST = 400
# Between two parts SQLite is free for other people's writes, for longer than the last one took: who waits
# asks for it only now and then, and would else find it busy each time. In seconds, and in times of a part.
LEAST_PAUSE, LONGEST_PAUSE, PAUSES = 0.02, 0.12, 1.5


def decide_all(
    label_set: LabelSet,
    user: User,
    image_ids: Sequence[int],
    verdict: Verdict,
    label_id: int | None = None,
    query: str = "",
) -> Batch:
    """Say the same of many images, as one batch: at once, or by a worker where they are many.

    Raises ValidationError: no image, a label of another set, an image of another project, or no suggestion.
    """
    if not image_ids:
        raise ValidationError("There is no image to decide about.")
    if len(image_ids) <= IN_REQUEST:
        decisions = [Decision(image_id, verdict, label_id) for image_id in image_ids]
        batch = Batch.objects.get(pk=review.decide(label_set, user, decisions))
        Batch.objects.filter(pk=batch.pk).update(query=query)
        batch.query = query
        return batch
    label = label_set.labels.filter(pk=label_id).first() if label_id else None
    if label_id and label is None:
        raise ValidationError(f"There is no label {label_id} in this label set.")
    if verdict not in (Verdict.ACCEPTED, Verdict.CORRECTED, Verdict.NONE):
        raise ValidationError("Many images at once are accepted, given a label, or none of these.")
    if (verdict == Verdict.NONE and label) or (verdict == Verdict.CORRECTED and not label):
        raise ValidationError("Give a label, or say that it is none of these.")
    batch = Batch(label_set=label_set, user=user, verdict=verdict, label=label, query=query)
    batch.label_name = label.name if label else ""
    return start(batch, image_ids)


def undo(label_set: LabelSet, user: User, role: str, batch_id: uuid.UUID) -> Batch | None:
    """Take a batch back whole, by a worker where it is large; one that is under way is stopped first.

    Except where somebody decided after it. None where there is nothing to take back. Raises PermissionDenied
    for another person's batch, unless the role may undo for others.
    """
    batch = label_set.batches.filter(pk=batch_id).first()
    if batch is None:
        return None
    review.check_may_reverse(batch, user, role)
    if batch.kind == Kind.VOTES:
        return None
    cancel(batch)
    if batch.kind == Kind.ASSIGN:
        return assignments.take_back(batch, user)
    done = batch.reviews if batch.kind == Kind.UNDO else review.standing(batch)
    if done.count() <= IN_REQUEST:
        reverse = review.redo if batch.kind == Kind.UNDO else review.undo
        changed = reverse(label_set, user, role, batch.pk).images
        return batch.reversed_by.first() if changed else None
    kind = Kind.REDO if batch.kind == Kind.UNDO else Kind.UNDO
    if kind == Kind.REDO and batch.reversed_by.exists():
        return None
    ids = list(done.order_by("pk").values_list("image_id", flat=True))
    return start(Batch(label_set=label_set, user=user, kind=kind, reverses=batch), ids)


def is_large(label_set: LabelSet, batch_id: uuid.UUID) -> bool:
    """Whether taking this batch back is a worker's, or stops what a worker is at."""
    batch = label_set.batches.filter(pk=batch_id).first()
    if batch is None:
        return False
    return batch.state == State.RUNNING or review.standing(batch).count() > IN_REQUEST


def clear_all(label_set: LabelSet, user: User, role: str, image_ids: Sequence[int], query: str = "") -> Batch:
    """Take back what settled each of many images, whoever said it, as one batch.

    Raises ValidationError where there is no image, and PermissionDenied unless the role may undo for others.
    """
    if not image_ids:
        raise ValidationError("There is no image to decide about.")
    if "undo for others" not in allowed(role):
        raise PermissionDenied("Ask a reviewer of the project to take back what others decided.")
    return start(Batch(label_set=label_set, user=user, kind=Kind.UNDO, query=query), image_ids)


@transaction.atomic
def ask_votes(label_set: LabelSet, user: User, votes: int) -> Batch | None:
    """From now on `votes` people's answers settle an image; what was answered so far is settled anew.

    None where as many are asked for already. Raises ValidationError for fewer than 1 or more than 9.
    """
    if not 1 <= votes <= 9:
        raise ValidationError({"votes": "From 1 to 9 votes can be asked for."})
    if not LabelSet.objects.filter(pk=label_set.pk).exclude(votes=votes).update(votes=votes):
        return None
    label_set.votes = votes
    answered = label_set.reviews.order_by("image_id").values_list("image_id", flat=True).distinct()
    batch = Batch(label_set=label_set, user=user, kind=Kind.VOTES, votes=votes)
    return start(batch, list(answered))


def assign(
    label_set: LabelSet, user: User, parts: Sequence[tuple[Membership, Sequence[int]]], query: str = ""
) -> list[Batch]:
    """Give each member their images, as one batch each; none to who would get no image."""
    return [
        start(
            Batch(label_set=label_set, user=user, kind=Kind.ASSIGN, assignee_id=member.user_id, query=query),
            image_ids,
        )
        for member, image_ids in parts
        if image_ids
    ]


def start(batch: Batch, image_ids: Sequence[int]) -> Batch:
    """Store a batch with its parts, and carry it out at once where it is small."""
    batch.total = len(image_ids)
    batch.state = State.RUNNING if image_ids else State.DONE
    with transaction.atomic():
        batch.save(force_insert=True)
        BatchPart.objects.bulk_create(
            [BatchPart(batch=batch, image_ids=list(ids), size=len(ids)) for ids in _slices(image_ids)],
            batch_size=AT_ONCE,
        )
        if len(image_ids) > IN_REQUEST:
            runs.ring()
    if len(image_ids) <= IN_REQUEST:
        _carry_out(batch)
        batch.refresh_from_db(fields=["state", "error"])
    return batch


def start_import(batch: Batch, parts: Iterable[tuple[list[int], list[Any]]]) -> Batch:
    """Store an import of `batch.total` images with its parts, each some images and what is said of them, and
    carry it out as `start`."""
    batch.state = State.RUNNING
    with transaction.atomic():
        batch.save(force_insert=True)
        BatchPart.objects.bulk_create(
            (BatchPart(batch=batch, image_ids=ids, said=said, size=len(ids)) for ids, said in parts),
            batch_size=AT_ONCE,
        )
        if batch.total > IN_REQUEST:
            runs.ring()
    if batch.total <= IN_REQUEST:
        _carry_out(batch)
        batch.refresh_from_db(fields=["state", "error"])
    return batch


def _slices(image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (image_ids[start : start + AT_ONCE] for start in range(0, len(image_ids), AT_ONCE))


PARTS: dict[str, Callable[[Batch, Sequence[int]], int]] = {
    Kind.DECIDE: review.decide_part,
    Kind.UNDO: review.undo_part,
    Kind.REDO: review.redo_part,
    Kind.VOTES: review.settle_part,
    Kind.ASSIGN: assignments.assign_part,
}


def carry_out_waiting(is_stopping: Callable[[], bool]) -> None:
    """Carry out all that waits, oldest first; what is stopped in between goes on at the same part."""
    while not is_stopping():
        batch = Batch.objects.filter(state=State.RUNNING).order_by("at").first()
        if batch is None:
            return
        _carry_out(batch, is_stopping)


def _carry_out(batch: Batch, is_stopping: Callable[[], bool] = lambda: False) -> None:
    try:
        while not is_stopping() and (part := batch.parts.filter(done=False).first()):
            began = time.monotonic()
            if not _write(batch, part):
                break
            time.sleep(min(LONGEST_PAUSE, max(LEAST_PAUSE, PAUSES * (time.monotonic() - began))))
    except ValidationError as error:  # its label was deleted in the meantime
        logger.info("batch %s ended: %s", batch.pk, error)
        _end(batch, State.FAILED, " ".join(error.messages))
    except OperationalError:  # the database is busy or away: the next ring goes on at the same part
        raise
    except Exception:  # it would come again at every ring, and all the others wait for it
        logger.exception("batch %s stopped", batch.pk)
        _end(batch, State.FAILED, "It could not go on; the log of the worker says why.")
    if not batch.parts.filter(done=False).exists():
        _end(batch, State.DONE)


@transaction.atomic
def _write(batch: Batch, part: BatchPart) -> bool:
    """Write one part, once, whoever else is at it. False where the batch was stopped."""
    # Read anew, since its label may be gone; and held, so that who stops it sees all that it wrote.
    running = Batch.objects.select_for_update(no_key=True).filter(pk=batch.pk, state=State.RUNNING).first()
    if running is None:
        return False
    if BatchPart.objects.filter(pk=part.pk, done=False).update(done=True):
        running.label_set = batch.label_set
        if running.kind == Kind.IMPORT:
            left = review.import_part(running, part)
        else:
            left = PARTS[running.kind](running, part.image_ids)
        BatchPart.objects.filter(pk=part.pk).update(left=left)
    return True


def _end(batch: Batch, state: State, error: str = "") -> None:
    Batch.objects.filter(pk=batch.pk, state=State.RUNNING).update(state=state, error=error[:300])


def cancel(batch: Batch) -> bool:
    """Stop a batch that is under way; what it has written stays, and can be undone. False: it had ended.

    Another number of votes is settled to the end: else some images would go by the number of before.
    """
    if batch.kind == Kind.VOTES:
        return False
    return bool(Batch.objects.filter(pk=batch.pk, state=State.RUNNING).update(state=State.CANCELLED))


def done(batch: Batch) -> tuple[int, int]:
    """How many of its images a batch has come to, and how many of them it left as they were."""
    if not batch.parts.exists():
        return batch.total, 0
    counted = batch.parts.filter(done=True).aggregate(done=Sum("size"), left=Sum("left"))
    return counted["done"] or 0, counted["left"] or 0
