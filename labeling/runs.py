"""A scoring run's state machine: start, plan, claim a chunk, write, finish, cancel, retry.

The queue only rings; what there is to do stands in these rows, so a lost, repeated or killed task loses
nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, Sum, When
from django.utils import timezone
from django_q.tasks import async_task

from gallery import webhooks
from gallery.access import User
from gallery.models import Image, Project, set_aside_ids
from labeling import clip, embeddings, holder, looking
from labeling.models import ACTIVE, Embedding, ImageAttempt, LabelSet, Match, ScoringChunk, ScoringRun
from labeling.scoring import Rows, Scores

# Images that CLIP must see come in small chunks; those whose embedding is stored cost next to nothing.
CHUNK_TO_EMBED, CHUNK_TO_MATCH = 64, 200
# Longer than CLIP takes for one batch, on the slowest machine that we expect.
LEASE = timedelta(seconds=60)
STRIKES = 3
# After an error a chunk waits, so that its cause may pass: a full disk, a database that is away.
REST = timedelta(seconds=5)
# A chunk whose worker dies again and again with no image to blame: the model itself doesn't fit this machine.
DEATHS_WITH_NO_SUSPECT = 20
# Where nothing at all was scored, and so many pictures had all their tries, it is not the pictures.
VAIN_PICTURES = 10

NO_RETRY = "Only the newest run of a label set has images to try again, and only once it is done."

RunState, ChunkState = ScoringRun.State, ScoringChunk.State
OPEN = (ChunkState.PENDING, ChunkState.RUNNING)


class LeaseLost(Exception):
    """Somebody else has the chunk now, or its run was cancelled: nothing more may be written for it."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, counted in images."""

    total: int
    done: int
    failed: int

    @property
    def percent(self) -> int:
        return min(99, 100 * (self.done + self.failed) // self.total) if self.total else 0


# Start and end of a run


@transaction.atomic
def start(project: Project, label_set: LabelSet | None, user: User | None = None) -> ScoringRun:
    """Score every image of the project afresh, from stored embeddings where there are any.

    A run of the same label set that is under way is cancelled. Raises clip.ModelUnusable.
    """
    for run in ScoringRun.objects.filter(project=project, label_set=label_set, state__in=ACTIVE):
        cancel(run)
    run = ScoringRun.objects.create(
        project=project,
        label_set=label_set,
        model=clip.current().key,
        created_by=user,
        **_snapshot(label_set),
    )
    ring()
    return run


def _snapshot(label_set: LabelSet | None) -> dict[str, list]:
    if label_set is None:
        return {"templates": [], "labels": []}
    labels = [
        {"id": label.pk, "name": label.name, "prompts": label.prompts} for label in label_set.labels.all()
    ]
    return {"templates": label_set.templates, "labels": labels}


def follow(project: Project) -> None:
    """See to it that the project's newest images are embedded and matched with every label set.

    A run that was cancelled, or failed, waits for a person to start it again.
    """
    label_sets = list(project.label_sets.filter(labels__isnull=False).distinct())
    for label_set in label_sets or [None]:
        run = ScoringRun.objects.filter(project=project, label_set=label_set).first()
        if run is None:
            start(project, label_set)
        elif run.state in (RunState.CANCELLED, RunState.FAILED):
            continue
        elif is_outdated(run):
            start(project, label_set, run.created_by)
        else:
            extend(run)


def is_outdated(run: ScoringRun) -> bool:
    """Whether other labels, prompts or another model are in use than those that the run was made with."""
    return run.model != clip.current().key or asks_otherwise(run)


def asks_otherwise(run: ScoringRun) -> bool:
    """Whether the labels or prompts are others than those that the run was made with."""
    return any(getattr(run, key) != value for key, value in _snapshot(run.label_set).items())


@transaction.atomic
def cancel(run: ScoringRun) -> bool:
    """Stop a run; what it has written stays. False where it had ended already."""
    cancelled = ScoringRun.objects.filter(pk=run.pk, state__in=ACTIVE).update(
        state=RunState.CANCELLED, finished_at=timezone.now()
    )
    # Without its token a worker that is at it right now writes nothing more.
    run.chunks.filter(state__in=OPEN).update(state=ChunkState.CANCELLED, token="")
    if cancelled:
        _tell(run, RunState.CANCELLED)
    return bool(cancelled)


@transaction.atomic
def fail(run: ScoringRun, error: str) -> None:
    failed = ScoringRun.objects.filter(pk=run.pk, state__in=ACTIVE).update(
        state=RunState.FAILED, error=error, finished_at=timezone.now()
    )
    run.chunks.filter(state__in=OPEN).update(state=ChunkState.CANCELLED, token="")
    if failed:
        _tell(run, RunState.FAILED, error)


def _tell(run: ScoringRun, state: RunState, error: str = "") -> None:
    """Tell webhooks that the run has ended, in the transaction that ends it."""
    if webhooks.is_told(run.project_id, "run.finished"):
        data = {"run": run.pk, "label_set": run.label_set_id, "state": state, "error": error}
        webhooks.notify(run.project_id, "run.finished", data | asdict(progress(run)))


@transaction.atomic
def retry_failed(run: ScoringRun) -> bool:
    """Try a run's failed images again. False where it isn't done, or a newer one has taken its place."""
    run = ScoringRun.objects.select_for_update().get(pk=run.pk)
    if run.state != RunState.DONE or run != newest(run):
        return False
    failed = run.image_attempts.filter(failed=True)
    if image_ids := list(failed.values_list("image_id", flat=True)):
        failed.delete()
        _add_chunks(run, image_ids)
        _reopen(run)
    return True


def newest(run: ScoringRun) -> ScoringRun:
    """The run that stands for the label set of this one now."""
    return ScoringRun.objects.filter(project=run.project_id, label_set=run.label_set_id).first()


# From images to chunks


def plan(run: ScoringRun, label_vectors: Rows | None, engine: clip.Engine) -> None:
    """Cut a queued run into chunks. Where two workers plan at once, one of them does."""
    with transaction.atomic():
        planned = ScoringRun.objects.filter(pk=run.pk, state=RunState.QUEUED).update(
            state=RunState.RUNNING,
            precision=engine.precision,
            logit_scale=engine.logit_scale,
            logit_bias=engine.logit_bias,
            label_vectors=None if label_vectors is None else embeddings.to_bytes(label_vectors),
        )
        if planned:
            _add_chunks(run, _images_to_do(run))
    finish_run(run)


@transaction.atomic
def extend(run: ScoringRun) -> None:
    """Score images that came since the run ended. While it runs, its end sees to them."""
    run = ScoringRun.objects.select_for_update().get(pk=run.pk)
    if run.state == RunState.DONE and (image_ids := _images_to_do(run)):
        _add_chunks(run, image_ids)
        _reopen(run)


def _reopen(run: ScoringRun) -> None:
    ScoringRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING, finished_at=None)
    ring()


def _images_to_do(run: ScoringRun) -> list[int]:
    if run.label_set_id:
        done = run.matches.values_list("image_id", flat=True)
    else:
        embedded = Embedding.objects.filter(image__project=run.project_id, model=run.model)
        done = embedded.values_list("image_id", flat=True)
    waiting = run.chunks.filter(state__in=OPEN).values_list("image_ids", flat=True)
    failed = run.image_attempts.filter(failed=True).values_list("image_id", flat=True)
    # Told apart here: as one query, SQLite compares every image with every match.
    taken = set(done).union(failed, *waiting)
    ids = run.project.images.order_by("pk").values_list("pk", flat=True)
    return [image_id for image_id in ids if image_id not in taken]


def _add_chunks(run: ScoringRun, image_ids: list[int]) -> None:
    known = embeddings.embedded(image_ids, run.model)
    stored = [image_id for image_id in image_ids if image_id in known]
    unseen = [image_id for image_id in image_ids if image_id not in known]
    parts = [*_cut(stored, CHUNK_TO_MATCH), *_cut(unseen, CHUNK_TO_EMBED)]
    ScoringChunk.objects.bulk_create(ScoringChunk(run=run, image_ids=part, size=len(part)) for part in parts)


def _cut(image_ids: list[int], size: int) -> list[list[int]]:
    return [image_ids[start : start + size] for start in range(0, len(image_ids), size)]


# A worker's side


def ring() -> None:
    """Tell the workers, once this transaction is committed, that there is work. Ringing twice is harmless."""
    # Robust: where the queue can't be reached, the work stands in rows all the same; the beat comes to it.
    transaction.on_commit(lambda: async_task("labeling.tasks.score"), robust=True)


def claim() -> ScoringChunk | None:
    """A chunk that nobody holds, now held by this process, or None."""
    now = timezone.now()
    free = Q(state=ChunkState.PENDING) | Q(state=ChunkState.RUNNING, leased_until__lt=now)
    due = ScoringChunk.objects.filter(free, run__state=RunState.RUNNING, queued_at__lte=now)
    # What failed before comes last; but where nothing was scored yet, it is first found out why.
    unproven = Q(attempts__gt=0) & ~Exists(Match.objects.filter(run=OuterRef("run")))
    waiting = due.order_by(
        Case(When(unproven, then=0), default=F("attempts"), output_field=IntegerField()), "id"
    )
    while chunk := waiting.select_related("run").first():
        seen = {"pk": chunk.pk, "state": chunk.state, "token": chunk.token, "attempts": chunk.attempts}
        chunk.token = holder.token()
        chunk.state, chunk.attempts = ChunkState.RUNNING, chunk.attempts + 1
        if ScoringChunk.objects.filter(**seen).update(
            state=chunk.state, token=chunk.token, attempts=chunk.attempts, leased_until=now + LEASE
        ):
            return chunk
    return None


def renew(chunk: ScoringChunk) -> None:
    """Hold the chunk for another lease. Inside a transaction, what follows is written only by its holder.

    Raises LeaseLost.
    """
    if not ScoringChunk.objects.filter(pk=chunk.pk, token=chunk.token).update(
        leased_until=timezone.now() + LEASE
    ):
        raise LeaseLost(f"{chunk} is not ours any more")


def release(chunk: ScoringChunk, error: Exception) -> None:
    """Give the chunk back: to be tried image by image at once, and from then on after a while."""
    ScoringChunk.objects.filter(pk=chunk.pk, token=chunk.token).update(
        state=ChunkState.PENDING,
        token="",
        error=f"{type(error).__name__}: {error}"[:300],
        queued_at=timezone.now() + (REST if chunk.attempts > 1 else timedelta()),
    )
    ring()


def put_down(chunk: ScoringChunk) -> None:
    """Give the chunk back as if this attempt had not been: nothing failed, the site is only stopped."""
    ScoringChunk.objects.filter(pk=chunk.pk, token=chunk.token).update(
        state=ChunkState.PENDING, token="", attempts=chunk.attempts - 1
    )


def unfinished(chunk: ScoringChunk) -> list[int]:
    """The chunk's images that its run has neither scored nor given up."""
    run, ids = chunk.run, chunk.image_ids
    if run.label_set_id:
        done = Match.objects.filter(run=run, image__in=ids).values_list("image_id", flat=True)
    else:
        done = embeddings.embedded(ids, run.model)
    failed = run.image_attempts.filter(failed=True, image__in=ids).values_list("image_id", flat=True)
    alive = Image.objects.filter(pk__in=ids).values_list("pk", flat=True)
    return sorted(set(alive) - set(done) - set(failed))


def strike(chunk: ScoringChunk, image_id: int) -> bool:
    """Write down that this image is tried alone now. False where it has had its tries and is failed."""
    with transaction.atomic():
        renew(chunk)
        attempt, _ = ImageAttempt.objects.get_or_create(run=chunk.run, image_id=image_id)
        if attempt.attempts >= STRIKES:
            attempt.failed = True
            attempt.reason = _in_vain(chunk, f"{attempt.attempts} times at this picture")
        else:
            attempt.attempts += 1
        attempt.save()
    return not attempt.failed


@transaction.atomic
def fail_image(chunk: ScoringChunk, image_id: int, reason: str) -> None:
    """Give an image up; the page shows why, and it can be tried again."""
    renew(chunk)
    if Image.objects.filter(pk=image_id).exists():
        ImageAttempt.objects.update_or_create(
            run=chunk.run, image_id=image_id, defaults={"failed": True, "reason": reason[:300]}
        )


@transaction.atomic
def write(chunk: ScoringChunk, image_ids: Sequence[int], rows: Rows | None, scores: Scores | None) -> None:
    """Store embeddings (`rows`, where they are new) and matches of images of the chunk, in one transaction.

    Raises LeaseLost, and then nothing is written.
    """
    renew(chunk)
    alive = set(Image.objects.filter(pk__in=image_ids).values_list("pk", flat=True))
    keep = [index for index, image_id in enumerate(image_ids) if image_id in alive]
    if rows is not None:
        embeddings.save([image_ids[index] for index in keep], rows[keep], chunk.run.model)
    if scores is not None:
        Match.objects.bulk_create(
            [_match(chunk.run, image_ids[index], scores, index) for index in keep],
            update_conflicts=True,
            unique_fields=["image", "label_set"],
            update_fields=["label", "similarity", "probability", "margin", "runner_up", "run"],
        )


def _match(run: ScoringRun, image_id: int, scores: Scores, index: int) -> Match:
    best, runner_up = scores.best[index], scores.runner_up[index]
    return Match(
        image_id=image_id,
        label_set_id=run.label_set_id,
        run=run,
        label_id=run.labels[best]["id"],
        runner_up_id=run.labels[runner_up]["id"] if runner_up != best else None,
        similarity=float(scores.similarities[index, best]),
        probability=float(scores.probabilities[index, best]),
        margin=float(scores.margin[index]),
    )


@transaction.atomic
def finish_chunk(chunk: ScoringChunk) -> None:
    ScoringChunk.objects.filter(pk=chunk.pk, token=chunk.token).update(state=ChunkState.DONE, token="")
    finish_run(chunk.run)


@transaction.atomic
def finish_run(run: ScoringRun) -> None:
    """Where no chunk of the run is open: plan the images that came in the meantime, or else end it."""
    if ScoringChunk.objects.filter(run=run, state__in=OPEN).exists():
        return
    run = ScoringRun.objects.select_for_update().get(pk=run.pk)
    if run.state == RunState.RUNNING:
        if image_ids := _images_to_do(run):
            _add_chunks(run, image_ids)
        else:
            run.state, run.finished_at = RunState.DONE, timezone.now()
            run.save(update_fields=["state", "finished_at"])
            _tell(run, RunState.DONE)
            looking.follow(run.project_id)


def _in_vain(chunk: ScoringChunk, how_often: str) -> str:
    """Why something was given up: the error, or the death of a worker that left no word."""
    said = f"It failed {how_often}: {chunk.error}" if chunk.error else f"The worker died {how_often}."
    return said[:300]


def hopeless(chunk: ScoringChunk) -> str:
    """Why the chunk's run can't go on: no attempt reaches a picture, or none gets over one. Else empty."""
    if why := _all_in_vain(chunk):
        return why
    tries = ImageAttempt.objects.filter(run=chunk.run, image__in=chunk.image_ids)
    suspected = tries.aggregate(sum=Sum("attempts"))["sum"] or 0
    if chunk.attempts <= DEATHS_WITH_NO_SUSPECT + suspected:
        return ""
    said = _in_vain(chunk, "several times before its first picture")
    return said if chunk.error else f"{said} Is the memory too small?"


def _all_in_vain(chunk: ScoringChunk) -> str:
    given_up = chunk.run.image_attempts.filter(failed=True, attempts__gte=STRIKES)
    if given_up.count() < VAIN_PICTURES or progress(chunk.run).done:
        return ""
    return f"Not one picture could be scored. {given_up.latest('pk').reason}"[:300]


def try_to_prepare(run: ScoringRun) -> bool:
    """Write an attempt down before it is made. False where the worker died in each: then the run failed."""
    ScoringRun.objects.filter(pk=run.pk).update(attempts=F("attempts") + 1)
    # One death takes all workers along, and each may have been at it.
    if run.attempts < DEATHS_WITH_NO_SUSPECT * settings.Q_CLUSTER["workers"]:
        return True
    fail(run, f"The worker died {run.attempts} times while it loaded the model. Is the memory too small?")
    return False


def put_off(run: ScoringRun) -> None:
    """Leave a run that got on, but is not prepared yet, for the next task."""
    ScoringRun.objects.filter(pk=run.pk).update(attempts=0)


def progress(run: ScoringRun, images: int | None = None) -> Progress:
    """Counts of what is stored: nothing is incremented, so nothing can drift.

    `images`: how many the project has, where that was counted before.
    """
    if run.label_set_id:
        done = run.matches.count()
    else:
        embedded = Embedding.objects.filter(image__project=run.project_id, model=run.model)
        done = embedded.exclude(image__in=set_aside_ids()).count()
    failed = run.image_attempts.filter(failed=True).exclude(image__in=set_aside_ids()).count()
    images = run.project.images.count() if images is None else images
    return Progress(total=max(images, done + failed), done=done, failed=failed)
