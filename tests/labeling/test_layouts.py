"""Drawing the map in a worker: what lies beside what, and what outlives repeats, kills and cancels."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from gallery import uploads
from gallery.models import Project
from labeling import beat, clip, embeddings, layouts, projection
from labeling.models import Embedding, MapLayout
from labeling.starter import drawing
from tests.labeling import rows

KINDS = [(colour, shape) for colour in ("red", "blue", "green") for shape in ("circle", "square", "star")]
EACH = 12


@pytest.fixture
def laid(project: Project) -> Callable[..., Project]:
    """`laid(vectors)`: the project with an image for each of the (n, d) rows, embedded."""

    def make(vectors: np.ndarray) -> Project:
        images = rows.images(project, len(vectors), start=project.images.count())
        Embedding.objects.bulk_create(
            Embedding(image=image, model=clip.current().key, vector=embeddings.to_bytes(vector))
            for image, vector in zip(images, vectors, strict=True)
        )
        return project

    return make


def some(count: int, seed: int = 1) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def kin(points: np.ndarray, kinds: np.ndarray, near: int = 5) -> float:
    """The share of each point's nearest others that are of its kind."""
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return float((kinds[np.argsort(far, axis=1)[:, :near]] == kinds[:, None]).mean())


def test_pictures_of_a_kind_lie_together(laid: Callable[..., Project]) -> None:
    rng = random.Random(4)
    kinds = np.repeat(np.arange(len(KINDS)), EACH)
    pictures = [
        drawing.draw(drawing.Drawing(*KINDS[kind], "solid", 1, "white", "large"), rng, 96) for kind in kinds
    ]
    project = laid(clip.engine().embed_images(pictures))
    layouts.start(project)
    layouts.draw_waiting()
    ids, points = layouts.read(layouts.shown(project))
    assert list(ids) == list(project.images.order_by("pk").values_list("pk", flat=True))
    chance = (EACH - 1) / (len(kinds) - 1)
    assert kin(points, kinds) > 0.9 > 5 * chance


def test_the_same_twice_is_the_same_map(laid: Callable[..., Project]) -> None:
    project = laid(some(40))
    for _ in range(2):
        layouts.start(project)
        layouts.draw_waiting()
        layouts.draw_waiting()
    [layout] = project.layouts.all()  # the older one is gone
    assert (layout.state, layout.iteration, layout.token) == ("done", projection.ITERATIONS, "")
    first = layouts.read(layout)[1]
    MapLayout.objects.update(state="queued", iteration=0, image_ids=None, points=None)
    layouts.draw_waiting()
    assert np.array_equal(first, layouts.read(project.layouts.get())[1])


def test_pressing_twice_starts_one(laid: Callable[..., Project]) -> None:
    project = laid(some(12))
    assert layouts.start(project) == layouts.start(project)
    assert project.layouts.count() == 1


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11])
def test_a_few_images_are_a_map_too(laid: Callable[..., Project], count: int) -> None:
    project = laid(some(count))
    layouts.start(project)
    layouts.draw_waiting()
    _, points = layouts.read(layouts.shown(project))
    assert points.shape == (count, 2) and np.isfinite(points).all()


def test_equal_pictures_are_a_map_too(laid: Callable[..., Project]) -> None:
    project = laid(np.repeat(some(1), 30, axis=0))
    layouts.start(project)
    layouts.draw_waiting()
    assert layouts.shown(project).state == "done"
    assert np.isfinite(layouts.read(layouts.shown(project))[1]).all()


def test_a_killed_worker_goes_on_where_the_points_are(
    laid: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = laid(some(40))
    layouts.start(project)
    monkeypatch.setattr(layouts, "SAVE_SECONDS", 0)

    class Killed(BaseException):
        pass

    steps = []

    def between() -> None:
        steps.append(1)
        if len(steps) == 30:
            raise Killed

    with pytest.raises(Killed):
        layouts.draw_waiting(between=between)
    layouts._held.clear()  # what the process knew died with it
    layout = layouts.active(project)
    reached, places = layout.iteration, layouts.read(layout)[1]
    assert 0 < reached < projection.ITERATIONS
    layouts.draw_waiting()
    assert layouts.active(project), "it is held, until its lease ends or its process is seen to be dead"
    nobody = f"{layout.token.split(':')[0]}:{2**22 + 5}:x"
    MapLayout.objects.update(token=nobody)
    beat.free_what_the_dead_hold()
    assert layouts.waits()
    begun = []
    real = projection.begin
    monkeypatch.setattr(
        projection, "begin", lambda found, points: begun.append(points) or real(found, points)
    )
    layouts.draw_waiting()
    assert np.array_equal(begun[0], places)
    assert layouts.shown(project).state == "done"


def test_what_kills_every_worker_ends(laid: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project = laid(some(40))
    layouts.start(project)

    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    monkeypatch.setattr(projection, "begin", kill)
    for _ in range(layouts.DEATHS):
        with pytest.raises(Killed):
            layouts.draw_waiting()
        MapLayout.objects.update(leased_until=timezone.now())
    layouts.draw_waiting()
    layout = layouts.newest(project)
    assert (layout.state, layout.error) == ("failed", "The worker died 3 times at it.")


def test_a_time_that_is_up_goes_on_in_the_next_task(
    laid: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = laid(some(40))
    layouts.start(project)
    monkeypatch.setattr(layouts, "SAVE_SECONDS", 0)
    monkeypatch.setattr(layouts, "TASK_SECONDS_ALONE", 0.02)
    begun = []
    real = projection.begin
    monkeypatch.setattr(projection, "begin", lambda *args: begun.append(1) or real(*args))
    tasks = 0
    while layouts.active(project):
        layouts.draw_waiting()
        tasks += 1
    assert tasks > 2 and len(begun) == 1
    assert layouts.shown(project).iteration == projection.ITERATIONS


def test_a_site_that_is_stopped_begins_nothing(laid: Callable[..., Project]) -> None:
    project = laid(some(12))
    layouts.start(project)
    layouts.draw_waiting(is_stopping=lambda: True)
    assert layouts.active(project).state == "queued"


def test_cancelling_leaves_the_map_before_it(
    laid: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = laid(some(40))
    layouts.start(project)
    layouts.draw_waiting()
    before = layouts.shown(project)
    monkeypatch.setattr(layouts, "SAVE_SECONDS", 0)
    again = layouts.start(project)
    steps = []
    layouts.draw_waiting(between=lambda: steps.append(1) or len(steps) == 4 and layouts.cancel(again))
    assert len(steps) == 4, "it stopped at the step in which it was cancelled"
    assert layouts.shown(project) == before and layouts.newest(project).state == "cancelled"
    assert not layouts.cancel(again)
    layouts.start(project)
    layouts.draw_waiting()
    assert project.layouts.get().state == "done"


def test_what_can_not_be_drawn_says_why(project: Project) -> None:
    with pytest.raises(ValidationError, match="no images"):
        layouts.start(project)
    rows.images(project, 3)
    layouts.start(project)
    layouts.draw_waiting()
    layout = layouts.newest(project)
    assert layout.state == "failed" and "no image is embedded yet" in layout.error


def test_a_project_that_is_deleted_takes_its_map_along(laid: Callable[..., Project], owner: User) -> None:
    project = laid(some(12))
    layouts.start(project)
    uploads.delete_project(project)
    layouts.draw_waiting()
    assert not MapLayout.objects.exists()


def test_the_beat_rings_for_a_map_that_waits(laid: Callable[..., Project]) -> None:
    assert not beat.ring_for_waiting()
    project = laid(some(12))
    layouts.start(project)
    assert beat.ring_for_waiting()
    layouts.draw_waiting()
    assert not beat.ring_for_waiting()


def test_principal_components_by_slices_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = some(500)
    monkeypatch.setattr(projection, "SLICE", 64)
    exact = np.linalg.svd(found - found.mean(axis=0), full_matrices=False)
    ours = projection.principal(found, 3)
    assert np.allclose(np.abs(ours), np.abs(exact[0] * exact[1])[:, :3], atol=1e-4)
