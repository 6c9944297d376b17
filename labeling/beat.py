"""What a worker sees to at every beat, beside its work: say that it lives, and come to what was lost."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from gallery import idempotency
from gallery.models import Image, Project, Upload
from labeling import holder, layouts, runs
from labeling.models import (
    Batch,
    DuplicateSearch,
    LabelImport,
    MapLayout,
    ScoringChunk,
    ScoringRun,
    UnknownsRun,
    WorkerBeat,
)
from labeling.runs import OPEN, ChunkState, RunState

WORKER_SILENT = timedelta(seconds=30)


def free_what_the_dead_hold() -> None:
    """Let go of chunks, looks and maps whose process on this machine is dead, before their lease ends."""
    here = {"state": "running", "token__startswith": holder.here()}
    maps = MapLayout.objects.defer("image_ids", "points")
    leased = (ScoringChunk, UnknownsRun, DuplicateSearch, LabelImport)
    for rows in (*(model.objects for model in leased), maps):
        for held in rows.filter(**here):
            if holder.is_dead(held.token):
                rows.filter(pk=held.pk, token=held.token).update(leased_until=timezone.now())


def ring_for_waiting() -> bool:
    """Ring where work waits and nobody is at it: a ring may have been lost with its worker."""
    waiting = ScoringRun.objects.filter(
        Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, chunks__state__in=OPEN)
    )
    at_work = ScoringChunk.objects.filter(state=ChunkState.RUNNING, leased_until__gt=timezone.now())
    batches = Batch.objects.filter(state=Batch.State.RUNNING)
    looks = UnknownsRun.objects.filter(
        Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, leased_until__lte=timezone.now())
    )
    imports = LabelImport.objects.filter(
        Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, leased_until__lte=timezone.now())
    ).exclude(upload__state=Upload.State.OPEN)
    unattended = (
        batches.exists() or looks.exists() or imports.exists() or (waiting.exists() and not at_work.exists())
    )
    if unattended:
        runs.ring()
    if maps := layouts.waits():
        layouts.ring()
    return unattended or maps


def follow_forgotten() -> None:
    """Come to images and runs whose ring was lost: killed with its worker, or never rung."""
    for run in ScoringRun.objects.filter(state=RunState.RUNNING).exclude(chunks__state__in=OPEN):
        runs.finish_run(run)
    for project in Project.objects.filter(Exists(Image.objects.filter(project=OuterRef("pk")))):
        if any(map(_lacks_images, _newest_runs(project))):
            runs.follow(project)


def _newest_runs(project: Project) -> list[ScoringRun | None]:
    newest_first = project.runs.defer("label_vectors")
    label_sets = project.label_sets.filter(labels__isnull=False).distinct()
    return [newest_first.filter(label_set=label_set).first() for label_set in label_sets or [None]]


def _lacks_images(run: ScoringRun | None) -> bool:
    if run is None:
        return True
    reached = runs.progress(run)
    return run.state == RunState.DONE and reached.done + reached.failed < reached.total


def beat(worker: str) -> None:
    """Say that `worker` is alive, and take away what is past its time."""
    WorkerBeat.objects.update_or_create(worker=worker, defaults={"at": timezone.now()})
    WorkerBeat.objects.filter(at__lt=timezone.now() - timedelta(days=1)).delete()
    idempotency.prune()


def worker_is_online() -> bool:
    return WorkerBeat.objects.filter(at__gt=timezone.now() - WORKER_SILENT).exists()
