"""The files of a project's vectors: they follow the rows, whoever is killed, and whoever else is at it."""

import itertools
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gallery import disk, uploads
from gallery.models import Image, Project
from labeling import embeddings, vector_files, vector_sync, vectors, work
from labeling.models import Embedding, LabelSet
from labeling.scoring import unit
from tests.labeling import rows
from tests.live import Site

OTHER = "other@2"
WIDTH = 8
STARTS = itertools.count(10_000, 1000)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows take several blocks, steps and growths of the files."""
    monkeypatch.setattr(vector_sync, "BLOCK", 7)
    monkeypatch.setattr(vector_sync, "IDS", 20)
    monkeypatch.setattr(vector_files, "ROOM", 4)


def embed(images: list[Image], model: str = rows.MODEL, seed: int = 1) -> np.ndarray:
    made = unit(np.random.default_rng((seed, images[0].pk)).normal(size=(len(images), WIDTH)))
    embeddings.save([image.pk for image in images], made, model)
    return made


def new(project: Project, count: int, model: str = rows.MODEL) -> list[Image]:
    images = rows.images(project, count, start=next(STARTS))
    embed(images, model)
    return images


def elsewhere() -> Project:
    return Project.objects.create(name="Elsewhere", slug="elsewhere")


def stored(project: Project, model: str = rows.MODEL) -> tuple[list[int], np.ndarray]:
    """Read plainly from the database."""
    found = Embedding.objects.filter(model=model, image__project=project).order_by("pk")
    pairs = list(found.values_list("image_id", "vector"))
    vectors_ = [np.frombuffer(bytes(vector), "<f4") for _, vector in pairs]
    return [image_id for image_id, _ in pairs], np.array(vectors_, np.float32).reshape(len(pairs), WIDTH)


def agrees(project: Project, model: str = rows.MODEL) -> bool:
    """Whether the matrix is what the database has, in this process and in one that opens the files anew."""
    ids, expected = stored(project, model)
    for _ in range(2):
        matrix = vectors.of(project.pk, model)
        if matrix.ids.tolist() != ids or not np.array_equal(matrix.rows.reshape(-1, WIDTH), expected):
            return False
        vectors._open.clear()
    return True


def folder(project: Project, model: str = rows.MODEL) -> Path:
    return vector_sync.Source(project.pk, model).folder


def files(project: Project) -> set[str]:
    return {path.name for path in folder(project).iterdir()}


def generation(project: Project) -> str:
    return json.loads((folder(project) / "head.json").read_text())["head"]["generation"]


def test_of_a_project_without_embeddings_it_is_empty(project: Project) -> None:
    new(elsewhere(), 5)
    matrix = vectors.of(project.pk, rows.MODEL)
    assert len(matrix.ids) == len(matrix.rows) == 0
    assert not len(matrix.positions(np.array([1])))
    new(project, 3)
    assert agrees(project)


def test_it_grows_as_embeddings_arrive_and_earlier_ones_stay_valid(project: Project) -> None:
    seen = []
    for count in (1, 3, 30, 2, 50, 1):
        new(project, count)
        matrix = vectors.of(project.pk, rows.MODEL)
        seen.append((matrix, matrix.ids.copy(), matrix.rows.copy()))
        assert agrees(project)
    for matrix, ids, vectors_ in seen:
        assert np.array_equal(matrix.ids, ids) and np.array_equal(matrix.rows, vectors_)
    assert len(files(project)) == 5, "of one generation, head and lock"


def test_rows_of_other_projects_and_models_are_not_in_it_and_are_walked_once(project: Project) -> None:
    other = elsewhere()
    for count in (5, 25, 1):
        new(other, count)
        embed(new(project, count), OTHER)
    assert agrees(project) and agrees(other) and agrees(project, OTHER)
    vectors.of(project.pk, rows.MODEL)
    new(other, 50)
    with CaptureQueriesContext(connection) as first:
        vectors.of(project.pk, rows.MODEL)
    with CaptureQueriesContext(connection) as second:
        vectors.of(project.pk, rows.MODEL)
    assert len(first) > 3 and len(second) == 1


def test_a_call_with_nothing_new_gives_the_same_matrix_after_one_look(project: Project) -> None:
    images = new(project, 30)
    matrix = vectors.of(project.pk, rows.MODEL)
    with CaptureQueriesContext(connection) as queries:
        assert vectors.of(project.pk, rows.MODEL) is matrix
    assert len(queries) == 1 and "vector" not in queries[0]["sql"].replace("vectors", "")
    assert matrix.order is matrix.order
    assert matrix.positions([images[4].pk, 0, images[2].pk]).tolist() == [4, 2]


def test_what_was_deleted_goes_at_the_next_look_and_the_old_matrix_stays_valid(project: Project) -> None:
    images = new(project, 40)
    before = vectors.of(project.pk, rows.MODEL)
    ids, vectors_ = before.ids.copy(), before.rows.copy()
    for image in images[3:9]:
        uploads.delete_image(image)
    assert vectors.of(project.pk, rows.MODEL) is before, "no look is due"
    vectors.forget(project.pk, rows.MODEL)
    with CaptureQueriesContext(connection) as queries:
        assert len(vectors.of(project.pk, rows.MODEL).ids) == 34
    read = [query["sql"] for query in queries if '"vector"' in query["sql"]]
    # The sample, twice; the block that lost some comes out of the files like all others.
    assert len(read) <= 2
    assert agrees(project)
    assert np.array_equal(before.ids, ids) and np.array_equal(before.rows, vectors_)
    assert len(files(project)) == 5


def test_the_newest_deleted_is_seen_at_once(project: Project) -> None:
    images = new(project, 10)
    vectors.of(project.pk, rows.MODEL)
    uploads.delete_image(images[-1])
    assert agrees(project)


def test_all_deleted_leaves_nothing(project: Project) -> None:
    new(project, 10)
    vectors.of(project.pk, rows.MODEL)
    Image.objects.filter(project=project).delete()
    assert agrees(project)
    new(project, 2)
    assert agrees(project)


def test_an_image_embedded_again_is_in_it_once_with_its_new_vector(project: Project) -> None:
    images = new(project, 25)
    vectors.of(project.pk, rows.MODEL)
    Embedding.objects.filter(image=images[3]).delete()
    embed([images[3]], seed=2)
    assert len(set(vectors.of(project.pk, rows.MODEL).ids.tolist())) == 25
    assert agrees(project)


def test_deletions_in_another_project_leave_the_files_as_they_are(project: Project) -> None:
    new(project, 25)
    others = new(elsewhere(), 10)
    vectors.of(project.pk, rows.MODEL)
    before = generation(project)
    uploads.delete_image(others[2])
    vectors.forget(project.pk, rows.MODEL)
    assert agrees(project) and generation(project) == before


def test_a_row_that_comes_late_with_an_older_id_is_found(project: Project) -> None:
    """As on Postgres, where two transactions may end in another order than they began."""
    images = rows.images(project, 3)
    embed([images[0]]), embed([images[2]])
    last = Embedding.objects.order_by("pk").last()
    Embedding.objects.filter(pk=last.pk).update(id=last.pk + 5)
    vectors.of(project.pk, rows.MODEL)
    embed([images[1]])
    Embedding.objects.filter(image=images[1]).update(id=last.pk + 1)
    vectors.forget(project.pk, rows.MODEL)
    assert agrees(project)


def test_the_files_of_another_database_are_not_trusted(project: Project) -> None:
    """A database put in place by hand: the same ids, other vectors."""
    images = new(project, 30)
    vectors.of(project.pk, rows.MODEL)
    before = list(Embedding.objects.order_by("pk").values_list("pk", flat=True))
    Embedding.objects.all().delete()
    made = unit(np.random.default_rng(9).normal(size=(30, WIDTH)))
    Embedding.objects.bulk_create(
        Embedding(pk=pk, image=image, model=rows.MODEL, vector=embeddings.to_bytes(row))
        for pk, image, row in zip(before, images, made, strict=True)
    )
    vectors._open.clear()
    assert agrees(project)
    assert np.array_equal(vectors.of(project.pk, rows.MODEL).rows, made)


@pytest.mark.parametrize("harm", ["head", "cut", "gone", "format", "folder"])
def test_files_that_are_damaged_are_made_anew(project: Project, harm: str) -> None:
    new(project, 30)
    vectors.of(project.pk, rows.MODEL)
    vectors._open.clear()
    head = folder(project) / "head.json"
    vectors_file = folder(project) / f"{generation(project)}.vectors"
    if harm == "head":
        head.write_text("{")
    elif harm == "cut":
        os.truncate(vectors_file, 40)
    elif harm == "gone":
        vectors_file.unlink()
    elif harm == "format":
        head.write_text(head.read_text().replace('"format": 1', '"format": 0'))
    else:
        for path in folder(project).iterdir():
            path.unlink()
        folder(project).rmdir()
    assert agrees(project) and len(files(project)) == 5


def test_a_vector_of_another_length_is_left_out(project: Project) -> None:
    images = rows.images(project, 3)
    embed(images[:2])
    vectors.of(project.pk, rows.MODEL)
    embeddings.save([images[2].pk], np.ones((1, WIDTH + 1), np.float32), rows.MODEL)
    for _ in range(2):
        assert vectors.of(project.pk, rows.MODEL).ids.tolist() == [images[0].pk, images[1].pk]
        vectors._open.clear()


def test_on_a_full_disk_the_old_one_answers_and_without_one_the_disk_is_full(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(project, 10)
    monkeypatch.setattr(disk, "is_low", lambda: True)
    with pytest.raises(OSError, match="No space left"):
        vectors.of(project.pk, rows.MODEL)
    monkeypatch.setattr(disk, "is_low", lambda: False)
    before = vectors.of(project.pk, rows.MODEL)
    new(project, 30)
    lows = iter([False, False, True])
    monkeypatch.setattr(disk, "is_low", lambda: next(lows))
    assert vectors.of(project.pk, rows.MODEL).ids.tolist() == before.ids.tolist()
    monkeypatch.setattr(disk, "is_low", lambda: False)
    assert agrees(project)


def test_threads_that_read_while_rows_come_and_go_see_whole_matrices(project: Project) -> None:
    """Each thread has what the files had at one time: every id beside its own vector."""
    new(project, 60)
    known = dict(zip(*stored(project), strict=True))
    source = vector_sync.Source(project.pk, rows.MODEL)
    vectors.of(project.pk, rows.MODEL)
    wrong, ended = [], threading.Event()

    def read() -> None:
        while not ended.is_set():
            matrix = (vectors._open.get(source.folder) or vectors._opened(source)).matrix
            ids, found = matrix.ids.tolist(), np.array(matrix.rows)
            wrong.extend(at for at, image in enumerate(ids) if not np.array_equal(known[image], found[at]))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for step in range(12):
        images = rows.images(project, 5, start=5000 + 5 * step)
        known |= dict(zip([image.pk for image in images], embed(images), strict=True))
        vectors.of(project.pk, rows.MODEL)
        if step % 3 == 2:
            Image.objects.filter(pk__in=[image.pk for image in images[:2]]).delete()
            vectors.forget(project.pk, rows.MODEL)
            vectors.of(project.pk, rows.MODEL)
    ended.set()
    for reader in readers:
        reader.join()
    assert not wrong and agrees(project)


def test_similar_images_are_never_deleted_ones_and_as_many_as_asked_for(project: Project) -> None:
    images = new(project, 40)
    near = [image_id for image_id, _ in vectors.nearest(images[0], 12)]
    gone = [image for image in images if image.pk in near[:8]]
    for image in gone:
        uploads.delete_image(image)
    found = [image_id for image_id, _ in vectors.nearest(images[0], 12)]
    assert len(found) == 12 and not {image.pk for image in gone} & set(found) and found[:4] == near[8:]


def test_the_vectors_of_a_project_go_with_it(
    project: Project, django_capture_on_commit_callbacks: Callable
) -> None:
    other = elsewhere()
    for each in (project, other):
        new(each, 5)
        vectors.of(each.pk, rows.MODEL)
    there, kept = folder(project), folder(other)
    with django_capture_on_commit_callbacks(execute=True):
        uploads.delete_project(project)
        assert there.exists(), "not before it is committed"
    assert not there.exists() and kept.exists()


@pytest.mark.parametrize("where", ["append", "commit"])
def test_what_ends_in_the_middle_is_mended_by_the_next_call(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    new(project, 30)
    before = vectors.of(project.pk, rows.MODEL)
    new(project, 30)
    real = getattr(vector_files, where)

    def fail(*args: object, **options: object) -> object:
        real(*args, **options) if where == "append" else None
        raise KeyboardInterrupt

    monkeypatch.setattr(vector_files, where, fail)
    with pytest.raises(KeyboardInterrupt):
        vectors.of(project.pk, rows.MODEL)
    monkeypatch.setattr(vector_files, where, real)
    assert len(before.ids) == 30
    assert agrees(project) and len(files(project)) == 5


def test_the_worker_keeps_the_files_up_to_date(scored: LabelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scored.runs.get().model
    head = vector_files.read(folder(scored.project, model))
    assert head.rows == 4 and head.last == Embedding.objects.latest("pk").pk
    monkeypatch.setattr(disk, "is_low", lambda: True)
    new(scored.project, 3, model)
    vectors._open.clear()
    work.keep_vectors(scored.runs.get())
    assert vector_files.read(folder(scored.project, model)).rows == 4, "left for later, and the work goes on"


def test_processes_that_are_killed_and_processes_at_once(tmp_path: Path) -> None:
    """Real ones, on a real SQLite file, each killed at another step of building, growing, rebuilding."""
    code = "from tests.labeling import vector_processes; vector_processes.main()"
    said = Site(tmp_path).manage("shell", "-v0", "-c", code)
    assert said.splitlines()[-1] == "18 killed, 8 at once"
