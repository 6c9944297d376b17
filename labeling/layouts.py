"""The map of a project: start, lay out step by step in a worker, cancel, read.

The queue only rings. A killed worker loses the last few steps: the next one goes on from the stored points.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone
from django_q.tasks import async_task

from gallery.access import User
from gallery.models import Project
from labeling import clip, holder, projection, vectors
from labeling.models import ACTIVE, MapLayout, ScoringRun
from labeling.scoring import Rows

logger = logging.getLogger(__name__)

State = MapLayout.State
# Longer than it takes to find the neighbours of 100,000 images, while nothing is written.
LEASE = timedelta(minutes=3)
# A worker that dies so often at the same step will die at it again.
DEATHS = 3
# How long one task goes on: where runs wait, they have their turn soon.
TASK_SECONDS, TASK_SECONDS_ALONE = 20, 100
STEP = 10
# Their neighbours are found before the queue takes the task for hung.
MOST_IMAGES = 250_000
SAVE_SECONDS = 2


class Lost(Exception):
    """It was cancelled, or another worker has it."""


@dataclass
class Held:
    """What this process keeps of the layout that it is at, between two tasks."""

    token: str
    ids: np.ndarray
    moving: Any


# At most one: another one takes its place.
_held: dict[int, Held] = {}


def start(project: Project, user: User | None = None) -> MapLayout:
    """Draw the map of the project's images afresh; where that goes on already, that one.

    Raises clip.ModelUnusable, and ValidationError where there is nothing to draw.
    """
    count = project.images.count()
    if not count:
        raise ValidationError("There are no images to draw yet.")
    if count > MOST_IMAGES:
        raise ValidationError(f"A map shows up to {MOST_IMAGES:,} images.")
    model = clip.current().key
    try:
        with transaction.atomic():
            layout = MapLayout.objects.create(
                project=project, model=model, method=projection.METHOD, created_by=user
            )
            ring()
    except IntegrityError:  # two people pressed at once, or one twice
        return active(project) or start(project, user)
    return layout


def active(project: Project) -> MapLayout | None:
    return _light(project).filter(state__in=ACTIVE).first()


def newest(project: Project) -> MapLayout | None:
    """The one that was asked for last, however it ended."""
    return _light(project).first()


def shown(project: Project) -> MapLayout | None:
    """The one that the map shows: the newest that is done, or else one that is being drawn."""
    drawn = _light(project).exclude(points=None)
    return drawn.filter(state=State.DONE).first() or drawn.filter(state=State.RUNNING).first()


def _light(project: Project) -> Any:
    return project.layouts.defer("image_ids", "points")


def cancel(layout: MapLayout) -> bool:
    """Stop drawing; the map before it stays. False where it had ended."""
    ended = MapLayout.objects.filter(pk=layout.pk, state__in=ACTIVE)
    return bool(ended.update(state=State.CANCELLED, token="", finished_at=timezone.now()))


def read(layout: MapLayout) -> tuple[np.ndarray, Rows]:
    """(n,) int64 ids of images, some of which may be deleted by now, and their (n, 2) float32 places."""
    ids = np.frombuffer(layout.image_ids or b"", "<i8")
    return ids, np.frombuffer(layout.points or b"", "<f4").reshape(len(ids), 2)


def ring() -> None:
    """Tell the workers, once this transaction is committed, that a map is to be drawn."""
    transaction.on_commit(lambda: async_task("labeling.tasks.draw_maps"), robust=True)


# A worker's side


def draw_waiting(
    is_stopping: Callable[[], bool] = lambda: False, between: Callable[[], None] = lambda: None
) -> None:
    """Draw the maps that wait, oldest first, until the time is up. `between`: what goes before each step."""
    alone = not ScoringRun.objects.filter(state__in=ACTIVE).exists()
    until = time.monotonic() + (TASK_SECONDS_ALONE if alone else TASK_SECONDS)
    while time.monotonic() < until and not is_stopping():
        if (layout := _claim()) is None:
            return
        _draw(layout, lambda: time.monotonic() > until or is_stopping(), between)
    if not is_stopping() and MapLayout.objects.filter(state__in=ACTIVE).exists():
        ring()


def waits() -> bool:
    """Whether there is a map to draw that no worker holds."""
    return MapLayout.objects.filter(_free()).exists()


def _free() -> Q:
    free = (
        Q(token="") | Q(leased_until__lt=timezone.now()) | Q(token__in=[one.token for one in _held.values()])
    )
    return Q(state__in=ACTIVE) & free


def _claim() -> MapLayout | None:
    """A layout that nobody else holds, now held by this process."""
    while layout := MapLayout.objects.filter(_free()).order_by("pk").first():
        held = _held.get(layout.pk)
        is_ours = held is not None and held.token == layout.token
        token = layout.token if is_ours else holder.token()
        # A claim that none of our own steps followed counts as a death, until the next step.
        changes = {"token": token, "leased_until": timezone.now() + LEASE, "state": State.RUNNING}
        changes["attempts"] = layout.attempts if is_ours else layout.attempts + 1
        seen = {"pk": layout.pk, "token": layout.token, "attempts": layout.attempts, "state": layout.state}
        if MapLayout.objects.filter(**seen).update(**changes):
            layout.token, layout.attempts = token, changes["attempts"]
            return layout
    return None


def _draw(layout: MapLayout, is_over: Callable[[], bool], between: Callable[[], None]) -> None:
    """Move a claimed layout's points until they are in place, or `is_over`."""
    try:
        if layout.attempts > DEATHS:
            _end(layout, State.FAILED, f"The worker died {DEATHS} times at it.")
            return
        held = _begun(layout)
        while held.moving is not None and layout.iteration < projection.ITERATIONS:
            _some_steps(layout, held, between)
            if is_over():
                return
        _held.pop(layout.pk, None)
        _end(layout, State.DONE)
    except Lost:
        _held.pop(layout.pk, None)
    except OperationalError:  # the database is busy or away: the next ring goes on
        raise
    except Exception as error:
        logger.exception("the map of project %s could not be drawn", layout.project_id)
        _held.pop(layout.pk, None)
        _end(layout, State.FAILED, f"It could not be drawn: {error}")


def _begun(layout: MapLayout) -> Held:
    """What this process keeps of the layout; made, or after a kill made again, where it keeps nothing."""
    held = _held.get(layout.pk)
    if held is not None and held.token == layout.token:
        return held
    _held.clear()
    found = vectors.of(layout.project_id, layout.model)
    if not len(found.ids):
        raise ValidationError("no image is embedded yet. Draw it again once some are.")
    ids, points = read(layout)
    if not np.array_equal(ids, found.ids):  # images came since it was begun, or it is new
        layout.iteration, points = 0, None
    places, moving = projection.begin(found.rows, points)
    _save(layout, places, image_ids=found.ids.astype("<i8").tobytes())
    held = _held[layout.pk] = Held(layout.token, found.ids, moving)
    return held


def _some_steps(layout: MapLayout, held: Held, between: Callable[[], None]) -> None:
    """Move the points for a while, and write down where they are."""
    until = time.monotonic() + SAVE_SECONDS
    while layout.iteration < projection.ITERATIONS:
        between()
        layout.iteration = projection.move(held.moving, layout.iteration, STEP)
        if time.monotonic() > until:
            break
    _save(layout, projection.places(held.moving), attempts=0)
    layout.attempts = 0


def _save(layout: MapLayout, points: Rows, **more: Any) -> None:
    """Write points and progress, where the layout is still held. Raises Lost."""
    mine = MapLayout.objects.filter(pk=layout.pk, token=layout.token, state=State.RUNNING)
    if not mine.update(
        points=points.astype("<f4").tobytes(),
        iteration=layout.iteration,
        leased_until=timezone.now() + LEASE,
        **more,
    ):
        raise Lost


@transaction.atomic
def _end(layout: MapLayout, state: State, error: str = "") -> None:
    ended = MapLayout.objects.filter(pk=layout.pk, token=layout.token, state=State.RUNNING)
    if ended.update(state=state, error=error[:300], token="", finished_at=timezone.now()):
        # Of each project the newest map is kept, and what became of the last attempt.
        older = MapLayout.objects.filter(project=layout.project_id, pk__lt=layout.pk)
        (older if state == State.DONE else older.exclude(state=State.DONE)).delete()
