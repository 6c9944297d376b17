"""A look for images that no label fits: start, cancel, claim, find, as the rows of one run.

The queue only rings: a run that is killed is claimed again once its lease is over, and begins afresh.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from gallery.access import User
from labeling import clip, holder, runs, worker
from labeling.models import ACTIVE, Embedding, LabelSet, UnknownGroup, UnknownsRun
from labeling.unknown_look import Findings, Look

logger = logging.getLogger(__name__)
RunState = UnknownsRun.State
Between = Callable[[Callable[[], bool]], None]
LEASE = timedelta(seconds=60)
STRIKES = 3


class Stopped(Exception):
    """Somebody cancelled the run, or another worker has it now: nothing more is written."""


class Stopping(Exception):
    """The site is being stopped: the run is put down."""


# Start and end


@transaction.atomic
def start(label_set: LabelSet, user: User) -> UnknownsRun:
    """Look for unknowns of the label set; where somebody does so already, theirs.

    Raises clip.ModelUnusable, and ValidationError where nothing is embedded that could be looked at.
    """
    LabelSet.objects.select_for_update(no_key=True).filter(pk=label_set.pk).first()
    if active := label_set.unknowns_runs.filter(state__in=ACTIVE).first():
        return active
    if not is_possible(label_set):
        raise ValidationError("No image of this project is embedded yet, so there is nothing to look at.")
    run = UnknownsRun.objects.create(label_set=label_set, model=clip.current().key, created_by=user)
    runs.ring()
    return run


def is_possible(label_set: LabelSet) -> bool:
    """Whether there are labels, and an image that the present model has embedded. Raises ModelUnusable."""
    embedded = Embedding.objects.filter(image__project=label_set.project_id, model=clip.current().key)
    return embedded.exists() and label_set.labels.exists()


def cancel(run: UnknownsRun) -> bool:
    """Stop it; what the one before has found stays. False where it had ended already."""
    return _end(UnknownsRun.objects.filter(pk=run.pk), RunState.CANCELLED)


def _end(found: QuerySet[UnknownsRun], state: RunState, error: str = "") -> bool:
    ended = {"state": state, "error": error[:300], "token": "", "finished_at": timezone.now()}
    return bool(found.filter(state__in=ACTIVE).update(**ended))


# A worker's side


def find_waiting(between: Between = lambda is_stopping: None) -> None:
    """Carry out the runs that wait, one after another. `between`: what goes before each step of them."""
    while not worker.is_stopping() and (run := claim()):
        carry_out(run, between)


def claim() -> UnknownsRun | None:
    """A run that nobody is at, now held by this process, or None."""
    now = timezone.now()
    free = UnknownsRun.objects.filter(
        Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, leased_until__lt=now)
    )
    while run := free.select_related("label_set__project").order_by("id").first():
        seen = {"pk": run.pk, "state": run.state, "token": run.token, "attempts": run.attempts}
        if run.attempts >= STRIKES:
            _end(
                UnknownsRun.objects.filter(**seen), RunState.FAILED, f"The worker died {STRIKES} times at it."
            )
            continue
        run.token = holder.token()
        run.state, run.attempts = RunState.RUNNING, run.attempts + 1
        held = {"state": run.state, "token": run.token, "attempts": run.attempts}
        if UnknownsRun.objects.filter(**seen).update(leased_until=now + LEASE, **held):
            return run
    return None


def carry_out(run: UnknownsRun, between: Between = lambda is_stopping: None) -> None:
    """Find the unknowns of a claimed run, and write them down in one go."""
    mine = UnknownsRun.objects.filter(pk=run.pk, token=run.token)
    try:
        _write(run, Look(run.label_set, lambda percent: go_on(run, percent, between)).find())
    except Stopping:
        mine.update(state=RunState.QUEUED, token="", attempts=run.attempts - 1)
    except Stopped:
        logger.info("%s was stopped", run)
    except OperationalError:  # the database is busy or away: it is claimed again when its lease is over
        raise
    except clip.ModelUnusable as error:
        _end(mine, RunState.FAILED, str(error))
    except Exception as error:
        logger.exception("%s failed", run)
        _end(mine, RunState.FAILED, f"It could not be finished: {error}")


def go_on(run: UnknownsRun, percent: int, between: Between) -> None:
    """Before each step: others' work first, then the lease is renewed. Raises Stopped and Stopping."""
    between(worker.is_stopping)
    if worker.is_stopping():
        raise Stopping
    renewed = {"percent": percent, "leased_until": timezone.now() + LEASE}
    if not UnknownsRun.objects.filter(pk=run.pk, token=run.token).update(**renewed):
        raise Stopped


@transaction.atomic
def _write(run: UnknownsRun, found: Findings) -> None:
    """Store what was found and drop what was found before. Raises Stopped where the run is not ours."""
    done = {"state": RunState.DONE, "percent": 100, "token": "", "finished_at": timezone.now()}
    counted = {"looked": found.looked, "unknown": found.unknown, "outliers": found.outliers}
    if not UnknownsRun.objects.filter(pk=run.pk, token=run.token).update(**done, **counted):
        raise Stopped
    for group in found.groups:
        group.run = run
    UnknownGroup.objects.bulk_create(found.groups)
    UnknownsRun.objects.filter(label_set=run.label_set_id, pk__lt=run.pk).delete()
