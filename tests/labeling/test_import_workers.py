"""Imports that a worker carries out: taken up, put down, dropped, and by one worker at a time."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.utils import timezone

from gallery import uploads
from gallery.models import Image, Project, Upload
from labeling import beat, import_plan, imports, tasks, worker
from labeling.import_plan import Choices
from labeling.models import LabelImport, LabelSet
from tests.conftest import picture
from tests.labeling import rows
from tests.labeling.test_imports import answers, begin, table, zipped

State = LabelImport.State


@pytest.fixture
def images(project: Project) -> list[Image]:
    return rows.images(project, 2)


@pytest.fixture
def animals(project: Project) -> LabelSet:
    return rows.label_set(project, "cat", "dog")


@pytest.fixture
def by_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is short enough to be read at once."""
    monkeypatch.setattr(imports, "READ_AT_ONCE", 0)


@pytest.mark.usefixtures("by_worker")
def test_a_large_file_is_read_and_written_by_a_worker(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    row = begin(animals, owner, table(f"{images[0].name},cat"))
    assert (row.state, row.report) == (State.QUEUED, {})
    tasks.score()
    row.refresh_from_db()
    assert (row.state, row.step, row.report["counts"]) == (State.DONE, "read", {"new": 1})
    imports.confirm(row, Choices())
    row.refresh_from_db()
    assert (row.state, row.step) == (State.QUEUED, "write") and not answers(animals)
    tasks.score()
    assert answers(animals) == {"0": "cat"}
    tasks.score()
    assert animals.reviews.count() == 1


def test_a_worker_never_comes_first_where_the_sender_waits(
    animals: LabelSet, images: list[Image], owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for work by itself, also between a person's yes and what follows from it at once."""
    go_on = imports._go_on

    def a_moment_later(row: LabelImport) -> None:
        tasks.score()
        assert row.state == State.RUNNING and not imports.waiting().exists()
        go_on(row)

    monkeypatch.setattr(imports, "_go_on", a_moment_later)
    row = begin(animals, owner, table(f"{images[0].name},cat"))
    assert (row.state, row.step, row.report["counts"]) == (State.DONE, "read", {"new": 1})
    imports.confirm(row, Choices())
    assert (row.state, row.step, row.report["written"]) == (State.DONE, "write", 1)
    assert answers(animals) == {"0": "cat"} and animals.reviews.count() == 1


@pytest.mark.usefixtures("by_worker")
def test_the_import_of_a_dead_worker_is_taken_up_and_given_up_in_the_end(
    animals: LabelSet, owner: User
) -> None:
    row = begin(animals, owner, table("x,cat"))

    def dies(over: bool) -> None:
        assert imports._claim(imports.waiting()).pk == row.pk
        assert imports._claim(imports.waiting()) is None, "it is held"
        if over:
            LabelImport.objects.update(leased_until=timezone.now() - timedelta(seconds=1))

    for _ in range(imports.STRIKES):
        dies(over=True)
    imports.carry_out_waiting()
    row.refresh_from_db()
    assert row.state == State.FAILED and "died 3 times" in row.error and not row.file
    again = begin(animals, owner, table("x,cat"))
    row = again
    dies(over=True)
    imports.carry_out_waiting()
    row.refresh_from_db()
    assert (row.state, row.attempts, row.token) == (State.DONE, 2, "")


@pytest.mark.usefixtures("by_worker")
def test_who_lost_the_lease_writes_nothing(animals: LabelSet, images: list[Image], owner: User) -> None:
    row = begin(animals, owner, table(f"{images[0].name},cat"), choices=Choices())
    imports.carry_out_waiting()  # read, confirmed, and written
    row.refresh_from_db()
    assert (row.step, row.state) == ("write", State.DONE)
    second = begin(animals, owner, table(f"{images[1].name},cat"))
    tasks.score()
    second.refresh_from_db()
    imports.confirm(second, Choices())
    late = imports._claim(imports.waiting())
    LabelImport.objects.filter(pk=second.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    other = imports._claim(imports.waiting())
    imports._carry_out(late)
    assert answers(animals) == {"0": "cat"}
    imports._carry_out(other)
    assert answers(animals) == {"0": "cat", "1": "cat"} and animals.reviews.count() == 2


@pytest.fixture
def held(
    animals: LabelSet, owner: User, by_worker: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[LabelImport], bool]], LabelImport]:
    """`held(look)` reads four rows one at a time, and asks `look(row)` before each whether to stop."""
    monkeypatch.setattr(import_plan, "AT_ONCE", 1)
    row = begin(animals, owner, table("a,cat", "b,cat", "c,dog", "d,dog"))

    def read(look: Callable[[LabelImport], bool]) -> LabelImport:
        claimed = imports._claim(imports.waiting())
        monkeypatch.setattr(worker, "is_stopping", lambda: look(LabelImport.objects.get(pk=row.pk)))
        imports._carry_out(claimed)
        row.refresh_from_db()
        return row

    return read


def test_who_reads_keeps_the_lease_and_says_how_far_it_is(
    held: Callable, owner: User, login: Callable
) -> None:
    seen, pages = [], []
    beat.beat("a worker")

    def look(row: LabelImport) -> bool:
        seen.append(row.rows_read)
        assert row.leased_until > timezone.now() + imports.LEASE / 2
        LabelImport.objects.update(leased_until=timezone.now() + timedelta(seconds=1))
        pages.append(login(owner).get(row.get_absolute_url()).content.decode())
        return False

    row = held(look)
    assert (row.state, row.report["rows"], seen) == (State.DONE, 4, [0, 0, 1, 2, 3])
    assert row.rows_read == 4
    assert "The file is being read: 2 rows" in pages[3]


def test_a_worker_that_stops_puts_the_file_down_for_the_next(held: Callable) -> None:
    row = held(lambda row: row.rows_read == 1)
    assert (row.state, row.token, row.attempts) == (State.QUEUED, "", 0)
    assert held(lambda row: False).state == State.DONE


def test_what_is_dropped_while_it_is_read_is_read_no_further(held: Callable) -> None:
    seen = []

    def look(row: LabelImport) -> bool:
        seen.append(row.rows_read)
        if row.rows_read == 1:
            imports.cancel(row)
        return False

    row = held(look)
    assert (row.state, row.report, len(seen)) == (State.CANCELLED, {}, 3) and not row.file


def test_what_nobody_confirms_is_dropped_in_the_end(animals: LabelSet, owner: User) -> None:
    first, _ = (begin(animals, owner, table("a,cat")) for _ in range(2))
    long_ago = timezone.now() - imports.UNCONFIRMED - timedelta(hours=1)
    LabelImport.objects.filter(pk=first.pk).update(finished_at=long_ago)
    imports.carry_out_waiting()
    old, new = LabelImport.objects.order_by("pk")
    assert (old.state, bool(old.file)) == (State.CANCELLED, False) and not Path(first.file.path).exists()
    assert (new.state, bool(new.file)) == (State.DONE, True)


@pytest.mark.usefixtures("by_worker")
def test_what_waits_can_be_dropped(animals: LabelSet, images: list[Image], owner: User) -> None:
    row = begin(animals, owner, table(f"{images[0].name},cat"))
    assert imports.cancel(row)
    tasks.score()
    row.refresh_from_db()
    assert row.state == State.CANCELLED and not row.file and not answers(animals)
    assert not imports.cancel(row)
    with pytest.raises(ValidationError, match="isn't ready"):
        imports.confirm(row, Choices())


def test_labels_wait_until_their_pictures_are_unpacked(
    project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "ZIP_AT_ONCE", 0)
    content = zipped(**{"a.png": picture("red"), "labels.csv": table("a.png,cat", "b.png,dog")})
    row = imports.begin(project, None, owner, ContentFile(content, "set.zip"), choices=Choices())
    assert row.state == State.QUEUED and row.upload.state == Upload.State.OPEN
    imports.carry_out_waiting()
    row.refresh_from_db()
    assert row.state == State.QUEUED, "the pictures are not in yet"
    uploads.expand(row.upload)
    imports.carry_out_waiting()
    row.refresh_from_db()
    assert (row.state, row.step) == (State.DONE, "write") and row.label_set.annotations.count() == 1
