"""The one door for labels on their way in: read a file to show what it would do, then write it as one batch.

A person's decision stays unless the person who imports says otherwise; and the same file twice changes
nothing the second time.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from gallery import archives, intake, uploads, webhooks
from gallery.access import User
from gallery.models import Project, Upload
from labeling import batches, holder, import_plan, label_sets, runs, worker
from labeling.import_formats import detect
from labeling.import_plan import Choices, Plan
from labeling.import_sources import TEXTS, Source, check_size, labels_alone
from labeling.label_sets import LabelSpec
from labeling.models import ACTIVE, Batch, GroundTruth, LabelImport, LabelSet

logger = logging.getLogger(__name__)
State, Step = LabelImport.State, LabelImport.Step
# A file of so many bytes is read while its sender waits; a larger one by a worker.
READ_AT_ONCE = 2**20
LEASE, STRIKES = timedelta(minutes=10), 3
# What was read and is confirmed by nobody in this time is dropped, with its file.
UNCONFIRMED = timedelta(days=30)
NOT_SAVED = "The disk is full: the file was not saved. Free some space, then send it again."


# A person's side


def begin(
    project: Project,
    label_set: LabelSet | None,
    user: User,
    file: File,
    format: str = "",
    choices: Choices | None = None,
) -> LabelImport:
    """Take a file in, with the pictures that are in it, and read it, or have it read.

    Without a label set, the file's labels make one. With `choices` it is written as soon as it is read.
    Raises ValidationError where it can't be read at all, and intake.StorageFull.
    """
    intake.check_disk()
    name = (file.name or "labels")[-255:]
    texts, has_pictures = file, False
    if archives.is_zip(file):
        texts, has_pictures = labels_alone(file)
    else:
        check_size(file.size)
    row = LabelImport(project=project, label_set=label_set, user=user, name=name)
    row.format = format or detect(Source(File(texts, name), name), has_pictures)
    if row.format == "folders" and not has_pictures:
        raise ValidationError("There are no pictures in this file: folders are of a ZIP with pictures.")
    row.choices = choices.as_json() if choices else {}
    try:
        with intake.storage_full(NOT_SAVED):
            texts.seek(0)
            row.file.save("labels", File(texts, name), save=False)
        if has_pictures:
            file.seek(0)
            row.upload = uploads.add_images(project, user, [file])
        _set(row, _next_step(row))
        row.save()
    except Exception:
        if row.file:
            row.file.storage.delete(row.file.name)
        raise
    _go_on(row)
    return row


def begin_folders(label_set: LabelSet | None, upload: Upload, user: User) -> LabelImport:
    """Take the folders of an upload for labels."""
    row = LabelImport(
        project=upload.project,
        label_set=label_set,
        user=user,
        name=f"upload {upload.pk}",
        format="folders",
        upload=upload,
    )
    _set(row, _next_step(row))
    row.save()
    _go_on(row)
    return row


def confirm(row: LabelImport, choices: Choices) -> None:
    """Have it written as it was shown, with these choices.

    Raises ValidationError where it isn't read, and one by field where a label is mapped to none of the set's.
    """
    there = set(row.label_set.labels.values_list("name", flat=True)) if row.label_set else set()
    if strange := set(choices.map.values()) - there - {""}:
        raise ValidationError({"map": f"There is no label “{min(strange)}” in this label set."})
    asked = LabelImport.objects.filter(pk=row.pk, step=Step.READ, state=State.DONE)
    changed = {"step": Step.WRITE, "choices": choices.as_json(), "rows_read": 0} | _next_step(row)
    if not asked.update(**changed):
        raise ValidationError("This import isn't ready to be written, or it was written already.")
    row.refresh_from_db()
    _set(row, changed)  # not as a worker has it that has begun by now
    _go_on(row)


def _next_step(row: LabelImport) -> dict[str, Any]:
    """Who does the step that is next: this process, where it is short, before any worker sees it; or one."""
    waits = row.upload is not None and row.upload.state == Upload.State.OPEN
    if waits or _size(row) > READ_AT_ONCE:
        return {"state": State.QUEUED, "token": "", "attempts": 0}
    return _held(attempts=1)


def _size(row: LabelImport) -> int:
    try:
        return row.file.size if row.file else 0
    except FileNotFoundError:  # it was written, or dropped, a moment ago
        return 0


def _set(row: LabelImport, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _go_on(row: LabelImport) -> None:
    if row.state == State.RUNNING:
        _carry_out(row)
        row.refresh_from_db()
    else:
        runs.ring()


def _held(attempts: int) -> dict[str, Any]:
    until = timezone.now() + LEASE
    return {"state": State.RUNNING, "token": holder.token(), "attempts": attempts, "leased_until": until}


def cancel(row: LabelImport) -> bool:
    """Drop an import that isn't written. Pictures that came along stay. False where it is."""
    unwritten = Q(step=Step.READ, state__in=[*ACTIVE, State.DONE]) | Q(step=Step.WRITE, state=State.QUEUED)
    return _end(LabelImport.objects.filter(unwritten, pk=row.pk), State.CANCELLED)


def take_back_truth(row: LabelImport) -> int:
    """Forget the ground truth that a file brought; that of an earlier file counts again."""
    return GroundTruth.everything.filter(source=row).delete()[0]


# A worker's side


class _LetGo(Exception):
    """It was cancelled meanwhile, another process has it, or this one is to stop."""


def carry_out_waiting(between: Callable[[Callable[[], bool]], None] = lambda is_stopping: None) -> None:
    """Read and write what waits, oldest first, and drop what was forgotten."""
    forgotten = Q(step=Step.READ, state=State.DONE, finished_at__lt=timezone.now() - UNCONFIRMED)
    for pk in LabelImport.objects.filter(forgotten).values_list("pk", flat=True):
        _end(LabelImport.objects.filter(forgotten, pk=pk), State.CANCELLED)
    while not worker.is_stopping() and (row := _claim(waiting())):
        _carry_out(row)
        between(worker.is_stopping)


def waiting() -> QuerySet[LabelImport]:
    """Imports that nobody is at, and whose pictures are in."""
    now = timezone.now()
    free = Q(state=State.QUEUED) | Q(state=State.RUNNING, leased_until__lt=now)
    return LabelImport.objects.filter(free).exclude(upload__state=Upload.State.OPEN)


def _claim(rows: QuerySet[LabelImport]) -> LabelImport | None:
    """One of these, now held by this process."""
    while row := rows.select_related("project", "label_set", "upload", "user").order_by("id").first():
        seen = {"pk": row.pk, "state": row.state, "token": row.token, "attempts": row.attempts}
        if row.attempts >= STRIKES:
            _end(LabelImport.objects.filter(**seen), State.FAILED, f"The worker died {STRIKES} times at it.")
            continue
        held = _held(row.attempts + 1)
        if LabelImport.objects.filter(**seen).update(**held):
            _set(row, held)
            return row
    return None


def _carry_out(row: LabelImport) -> None:
    mine = LabelImport.objects.filter(pk=row.pk, token=row.token, state=State.RUNNING)
    try:
        if row.step == Step.READ:
            _read(row, mine)
        else:
            _write(row, mine)
    except _LetGo:
        logger.info("import %s was let go of", row.pk)
    except OperationalError:  # the database is busy or away: it is claimed again when its lease is over
        raise
    except ValidationError as error:
        _end(mine, State.FAILED, " ".join(error.messages))
    except Exception as error:
        logger.exception("import %s failed", row.pk)
        _end(mine, State.FAILED, f"It could not be finished: {error}")


def _holds(mine: QuerySet[LabelImport]) -> Callable[[int], None]:
    """To be called while its file is gone through, with how many rows that are: keeps the lease.

    It raises _LetGo where somebody else ends it or has it, or where this worker stops: it waits then.
    """

    def go_on(rows: int) -> None:
        if worker.is_stopping():
            mine.update(state=State.QUEUED, token="", attempts=F("attempts") - 1)
            raise _LetGo
        if not mine.update(leased_until=timezone.now() + LEASE, rows_read=rows):
            raise _LetGo

    return go_on


def _end(rows: QuerySet[LabelImport], state: State, error: str = "") -> bool:
    ended = list(rows)
    done = rows.update(state=state, error=error[:300], token="", finished_at=timezone.now())
    for row in ended if done else ():
        row.refresh_from_db()
        if row.state in (State.FAILED, State.CANCELLED) or row.step == Step.WRITE:
            _drop_file(row)
            _tell(row)
    return bool(done)


def _tell(row: LabelImport) -> None:
    said = {"import": row.pk, "state": row.state, "error": row.error, "label_set": row.label_set_id}
    counts = {"rows": row.report.get("rows", 0), "written": row.report.get("written", 0)}
    webhooks.notify(
        row.project_id, "import.done", said | counts | {"batch": row.batch_id and str(row.batch_id)}
    )


def _drop_file(row: LabelImport) -> None:
    if row.file:
        name, storage = row.file.name, row.file.storage
        LabelImport.objects.filter(pk=row.pk).update(file="")
        storage.delete(name)


def _read(row: LabelImport, mine: QuerySet[LabelImport]) -> None:
    """What the file would do, as the row's report."""
    if row.upload:
        # They are no pictures, and nobody takes them for such.
        texts = Q(*(Q(name__iendswith=suffix) for suffix in TEXTS), _connector=Q.OR)
        row.upload.entries.filter(texts, outcome="refused").delete()
    report = import_plan.report(Plan(row, Choices(), _holds(mine)))
    mine.update(report=report)
    if _end(mine, State.DONE) and row.choices:
        confirm(row, Choices(**row.choices))


def _write(row: LabelImport, mine: QuerySet[LabelImport]) -> None:
    choices = Choices(**row.choices)
    row.label_set = row.label_set or _label_set(row)
    _make_labels(row, row.label_set, choices)
    plan = Plan(row, choices, _holds(mine))
    written = _write_truth(row, plan) if choices.truth else _write_batch(row, mine, plan)
    mine.update(report=row.report | {"written": written})
    _end(mine, State.DONE)


def _write_batch(row: LabelImport, mine: QuerySet[LabelImport], plan: Plan) -> int:
    """Returns how many images get an answer."""
    batch = Batch(label_set=row.label_set, user=row.user, kind=Batch.Kind.IMPORT)
    parts, batch.total = import_plan.parts(plan, batches.AT_ONCE)
    with transaction.atomic():
        # Once, whoever else is at it.
        if batch.total and mine.filter(batch=None).select_for_update(no_key=True).exists():
            mine.update(batch=batches.start_import(batch, parts))
    return batch.total


def _label_set(row: LabelImport) -> LabelSet:
    """A new one, of the file's own labels. Raises ValidationError where they are fewer than two."""
    specs = [LabelSpec(each["label"]) for each in row.report["labels"]]
    name = row.name.rpartition(".")[0][:120] or "Labels"
    made = label_sets.create(row.project, row.user, name, specs)
    LabelImport.objects.filter(pk=row.pk).update(label_set=made)
    return made


def _make_labels(row: LabelImport, label_set: LabelSet, choices: Choices) -> None:
    """Those of the file's labels that are to become labels here."""
    there = list(label_set.labels.all())
    names = {label.name for label in there}
    asked = [each["label"] for each in row.report["labels"]]
    wanted = [name for name in asked if choices.makes(name) and name not in names]
    if wanted:
        kept = [LabelSpec(label.name, label.prompts, label.pk) for label in there]
        label_sets.change(label_set, row.user, labels=[*kept, *map(LabelSpec, wanted)])


def _write_truth(row: LabelImport, plan: Plan) -> int:
    """Returns of how many images the truth is known now by this file."""
    for rows in import_plan.in_parts(plan.rows()):
        known = (each for each in rows if each.is_written)
        GroundTruth.objects.bulk_create(
            (
                GroundTruth(
                    image_id=each.image_id, label_set=row.label_set, label_id=each.label_id, source=row
                )
                for each in known
            ),
            ignore_conflicts=True,
        )
    return row.ground_truths(manager="everything").count()
