"""The door for actions on many images: in parts, safely repeated, stopped, taken back. On real rows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import OperationalError

from gallery.models import Image, Membership, Project
from labeling import batches, beat, label_sets, review
from labeling.label_sets import LabelSpec
from labeling.models import Annotation, Batch, BatchPart, Label, LabelSet, Review
from labeling.review import Decision, Verdict
from tests.labeling import rows
from tests.live import Site, wait_for

COUNT = 1000


@pytest.fixture
def many(project: Project) -> LabelSet:
    """A thousand images: cat, dog, cat, dog …"""
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, COUNT))
    return made


@pytest.fixture
def colleague(project: Project) -> User:
    user = User.objects.create_user("carla")
    Membership.objects.create(project=project, user=user, role="labeler")
    return user


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def cat(label_set: LabelSet) -> Label:
    return label_set.labels.get(name="cat")


def work_off() -> None:
    batches.carry_out_waiting(lambda: False)


def one_part() -> None:
    """Let a worker write one part, and be stopped."""
    before = BatchPart.objects.filter(done=True).count()
    batches.carry_out_waiting(lambda: BatchPart.objects.filter(done=True).count() > before)


def told(batch: Batch) -> tuple[str, int, int]:
    batch.refresh_from_db()
    return (batch.state, *batches.done(batch))


def answered(label_set: LabelSet) -> dict[str, int]:
    """How many images have which answer."""
    found: dict[str, int] = {}
    for status, name in label_set.annotations.values_list("status", "label__name"):
        key = f"{status} {name or ''}".strip()
        found[key] = found.get(key, 0) + 1
    return found


# Deciding


def test_a_few_are_written_at_once(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many)[:400], Verdict.ACCEPTED, None, "label:cat")
    assert told(batch) == ("done", 400, 0)
    assert (batch.query, batch.parts.count()) == ("label:cat", 0)
    assert answered(many) == {"accepted cat": 200, "accepted dog": 200}


def test_many_wait_for_a_worker_and_are_written_in_parts(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.CORRECTED, cat(many).pk)
    assert told(batch) == ("running", 0, 0) and not many.annotations.exists()
    one_part()
    assert told(batch) == ("running", 200, 0)
    assert answered(many) == {"accepted cat": 100, "corrected cat": 100}
    work_off()
    assert told(batch) == ("done", COUNT, 0)
    assert answered(many) == {"accepted cat": 500, "corrected cat": 500}
    assert many.reviews.filter(batch=batch).count() == COUNT


@pytest.mark.parametrize(
    ("count", "verdict", "label", "says"),
    [
        (0, "accepted", None, "no image"),
        (COUNT, "corrected", None, "Give a label"),
        (COUNT, "none", "cat", "none of these"),
        (COUNT, "skipped", None, "Many images at once"),
        (COUNT, "undone", None, "Many images at once"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_stored(
    many: LabelSet, owner: User, count: int, verdict: str, label: str | None, says: str
) -> None:
    label_id = cat(many).pk if label else None
    with pytest.raises(ValidationError, match=says):
        batches.decide_all(many, owner, ids(many)[:count], Verdict(verdict), label_id)
    assert not Batch.objects.exists()


def test_a_label_of_another_set_is_refused(many: LabelSet, owner: User) -> None:
    other = rows.label_set(many.project, "cat", "dog")
    with pytest.raises(ValidationError, match="no label"):
        batches.decide_all(many, owner, ids(many), Verdict.CORRECTED, cat(other).pk)


def test_images_of_another_project_are_left(many: LabelSet, owner: User) -> None:
    other = Project.objects.create(name="Other", slug="other")
    theirs = [image.pk for image in rows.images(other, 100)]
    batch = batches.decide_all(many, owner, [*ids(many)[:500], *theirs], Verdict.NONE)
    work_off()
    assert told(batch) == ("done", 600, 100)
    assert not Annotation.objects.filter(image__in=theirs).exists()


def test_the_bell_of_a_batch_is_answered_before_the_scoring(
    many: LabelSet, owner: User, django_capture_on_commit_callbacks: Callable
) -> None:
    with django_capture_on_commit_callbacks() as rung:
        batches.decide_all(many, owner, ids(many), Verdict.NONE)
    assert rung
    # The ring may be lost: the beat rings for what waits.
    with django_capture_on_commit_callbacks() as again:
        assert beat.ring_for_waiting()
    assert again
    work_off()
    assert not beat.ring_for_waiting()


def test_what_two_waited_for_goes_oldest_first(many: LabelSet, owner: User) -> None:
    first = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    second = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    work_off()
    assert told(first) == told(second) == ("done", COUNT, 0)
    assert answered(many) == {"accepted cat": 500, "accepted dog": 500}


# What happens half-way


def test_who_decides_half_way_is_left_and_counted(many: LabelSet, owner: User, colleague: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    one_part()
    review.decide(many, colleague, [Decision(image, Verdict.NONE) for image in ids(many)[195:205]])
    work_off()
    assert told(batch) == ("done", COUNT, 5)
    # Of those that were written before, carla's is the last word.
    assert answered(many)["none"] == 10
    batches.undo(many, owner, "owner", batch.pk)
    work_off()
    undoing = Batch.objects.get(kind="undo")
    assert told(undoing) == ("done", 995, 5)
    assert answered(many) == {"none": 10}


def test_who_decided_before_it_was_asked_for_is_overwritten(
    many: LabelSet, owner: User, colleague: User
) -> None:
    review.decide(many, colleague, [Decision(image, Verdict.NONE) for image in ids(many)[:10]])
    batch = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    work_off()
    assert told(batch) == ("done", COUNT, 0) and "none" not in answered(many)
    batches.undo(many, owner, "owner", batch.pk)
    work_off()
    assert answered(many) == {"none": 10}, "carla's stand again"


def test_images_that_are_deleted_half_way_are_left(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    one_part()
    Image.objects.filter(pk__in=ids(many)[190:210]).delete()
    work_off()
    assert told(batch) == ("done", COUNT, 10)
    assert answered(many) == {"none": COUNT - 20}
    batches.undo(many, owner, "owner", batch.pk)
    work_off()
    assert answered(many) == {}


def test_images_without_a_suggestion_are_left(many: LabelSet, owner: User) -> None:
    rows.images(many.project, 5, start=COUNT)
    batch = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    work_off()
    assert told(batch) == ("done", COUNT + 5, 5)


def test_a_label_that_is_deleted_ends_the_batch_and_says_why(many: LabelSet, owner: User) -> None:
    dog = many.labels.get(name="dog")
    batch = batches.decide_all(many, owner, ids(many), Verdict.CORRECTED, dog.pk)
    label_sets.change(many, owner, None, [LabelSpec("cat", [], cat(many).pk), LabelSpec("bird")], None)
    next_one = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    work_off()
    assert told(batch) == ("failed", 0, 0)
    assert batch.error == "The label dog was deleted in the meantime."
    assert told(next_one)[0] == "done", "the others go on"


def test_a_busy_database_is_tried_again_at_the_same_part(
    many: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    parts = 0

    def now_and_then(batch: Batch, image_ids: list[int]) -> int:
        nonlocal parts
        parts += 1
        left = review.decide_part(batch, image_ids)
        if parts == 2:
            raise OperationalError("database is locked")
        return left

    monkeypatch.setitem(batches.PARTS, "decide", now_and_then)
    with pytest.raises(OperationalError):
        work_off()
    assert told(batch) == ("running", 200, 0) and many.reviews.count() == 200
    work_off()
    assert told(batch) == ("done", COUNT, 0) and many.reviews.count() == COUNT


def test_one_that_can_not_go_on_does_not_keep_the_others_waiting(
    many: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    after = batches.ask_votes(many, owner, 2)
    monkeypatch.setitem(batches.PARTS, "decide", lambda batch, image_ids: 1 / 0)
    work_off()
    assert told(broken)[0] == "failed" and "log of the worker" in broken.error
    assert told(after)[0] == "done"


def test_the_same_part_again_writes_nothing(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    part = batch.parts.first()
    assert batches._write(batch, part) and batches._write(batch, part)
    assert many.reviews.count() == 200


# Stopping and taking back


def test_what_a_stopped_one_wrote_stays_and_is_undone(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    one_part()
    assert batches.cancel(batch) and not batches.cancel(batch)
    work_off()
    assert told(batch) == ("cancelled", 200, 0)
    assert answered(many) == {"none": 200}
    undoing = batches.undo(many, owner, "owner", batch.pk)
    assert told(undoing) == ("done", 200, 0) and answered(many) == {}


def test_undo_of_one_under_way_stops_it_first(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    one_part()
    batches.undo(many, owner, "owner", batch.pk)
    work_off()
    assert told(batch)[0] == "cancelled" and answered(many) == {}


def test_undo_and_its_undoing_and_theirs(many: LabelSet, owner: User) -> None:
    first = batches.decide_all(many, owner, ids(many)[:10], Verdict.NONE)
    last = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    work_off()
    decided = answered(many)
    for _ in range(2):
        undoing = batches.undo(many, owner, "owner", last.pk)
        work_off()
        assert told(undoing) == ("done", COUNT, 0) and answered(many) == {"none": 10}
        last = batches.undo(many, owner, "owner", undoing.pk)
        assert last.kind == "redo" and last.reverses == undoing
        work_off()
        assert told(last) == ("done", COUNT, 0) and answered(many) == decided
        assert batches.undo(many, owner, "owner", undoing.pk) is None, "it is redone already"
    assert batches.undo(many, owner, "owner", first.pk) is None, "all of it was decided about since"


def test_nothing_is_taken_back_twice(many: LabelSet, owner: User) -> None:
    batch = batches.decide_all(many, owner, ids(many)[:10], Verdict.NONE)
    assert batches.undo(many, owner, "owner", batch.pk).total == 10
    assert batches.undo(many, owner, "owner", batch.pk) is None
    assert Batch.objects.count() == 2


def test_another_persons_is_a_reviewers_to_take_back(many: LabelSet, owner: User, colleague: User) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    with pytest.raises(PermissionDenied):
        batches.undo(many, colleague, "labeler", batch.pk)
    assert told(batch)[0] == "running"
    work_off()
    batches.undo(many, colleague, "reviewer", batch.pk)
    work_off()
    assert answered(many) == {}


def test_votes_do_not_stand_in_each_others_way(many: LabelSet, owner: User, colleague: User) -> None:
    batches.ask_votes(many, owner, 2)
    mine = batches.decide_all(many, owner, ids(many), Verdict.ACCEPTED)
    one_part()
    theirs = batches.decide_all(many, colleague, ids(many)[:400], Verdict.ACCEPTED)
    work_off()
    assert told(mine) == ("done", COUNT, 0) and told(theirs) == ("done", 400, 0)
    assert answered(many) == {"accepted cat": 200, "accepted dog": 200}
    batches.undo(many, owner, "owner", mine.pk)
    work_off()
    assert answered(many) == {} and Review.objects.filter(undone_by=None, user=colleague).count() == 400


def test_asking_for_other_votes_settles_anew(many: LabelSet, owner: User, colleague: User) -> None:
    for user, verdict in ((owner, Verdict.ACCEPTED), (colleague, Verdict.NONE)):
        batches.decide_all(many, user, ids(many), verdict)
        work_off()
    batches.ask_votes(many, owner, 2)
    work_off()
    assert answered(many) == {"disputed": COUNT}
    assert batches.ask_votes(many, owner, 2) is None
    batches.ask_votes(many, owner, 1)
    work_off()
    assert answered(many) == {"none": COUNT}


# A worker that dies

MAKE = """
from django.contrib.auth.models import User
from gallery import projects
from labeling import batches
from tests.labeling import rows

owner = User.objects.create_user("olga", password="olga-secret-1")
project = projects.create(owner, "Many")
label_set = rows.label_set(project, "cat", "dog")
images = rows.images(project, {count})
rows.match(label_set, images)
batches.decide_all(label_set, owner, [image.pk for image in images], "none")
"""
# A process that is killed inside the third part, which it has written and not committed.
DIE = """
import os, signal
from labeling import batches, review
parts = []
def dying(batch, image_ids):
    left = review.decide_part(batch, image_ids)
    parts.append(left)
    if len(parts) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return left
batches.PARTS["decide"] = dying
batches.carry_out_waiting(lambda: False)
"""
CARRY_OUT = "from labeling import batches; batches.carry_out_waiting(lambda: False)"
UNDO = """
from labeling import batches
from labeling.models import Batch
batch = Batch.objects.get()
batches.undo(batch.label_set, batch.user, "owner", batch.pk)
"""


def test_what_a_killed_worker_wrote_stays_and_others_go_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.manage("migrate", "-v0")
    site.manage("shell", "-v0", "-c", MAKE.format(count=COUNT))
    assert site.run("shell", "-v0", "-c", DIE).returncode == -9
    done = "SELECT coalesce(sum(size), 0) FROM labeling_batchpart WHERE done"
    reviews, answers = (f"SELECT count(*) FROM labeling_{table}" for table in ("review", "annotation"))
    assert [site.value(sql) for sql in (done, reviews, answers)] == [400, 400, 400]
    states = "SELECT count(*) FROM labeling_batch WHERE state <> 'done'"
    try:
        site.start("worker")
        wait_for(lambda: site.value(states) == 0, 60, "the worker does not go on")
        assert [site.value(sql) for sql in (done, reviews, answers)] == [COUNT] * 3
        site.kill_everything()
        # Taken back by three at once, each image once.
        site.manage("shell", "-v0", "-c", UNDO)
        workers = [site.start("shell", "-v0", "-c", CARRY_OUT) for _ in range(3)]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]
        assert [site.value(sql) for sql in (states, reviews, answers)] == [0, 2 * COUNT, 0]
    finally:
        site.kill_everything()
