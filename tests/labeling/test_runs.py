"""The run's state machine, on real rows, with the real model where pictures are scored."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.utils import timezone

from gallery import uploads
from gallery.models import Image, Project
from labeling import beat, clip, embeddings, label_sets, runs, work
from labeling.label_sets import LabelSpec
from labeling.models import Annotation, Embedding, ImageAttempt, LabelSet, Match, ScoringChunk, ScoringRun
from labeling.review import Decision, decide
from labeling.runs import ChunkState, RunState
from tests.conftest import picture


def bulk_images(project: Project, count: int) -> list[Image]:
    """Rows of images with no file: for what is scored from stored embeddings alone."""
    return Image.objects.bulk_create(
        Image(project=project, name=f"{n}.jpg", sha256=f"{n:064}", width=1, height=1, format="JPEG", size=1)
        for n in range(count)
    )


def embed_at_random(images: list[Image]) -> None:
    engine = clip.engine()
    rng = np.random.default_rng(0)
    width = engine.embed_texts(["x"]).shape[1]
    rows = rng.standard_normal((len(images), width)).astype(np.float32)
    Embedding.objects.bulk_create(
        Embedding(image=image, model=engine.folder.key, vector=embeddings.to_bytes(row))
        for image, row in zip(images, rows, strict=True)
    )


def test_pictures_get_the_label_that_was_drawn(scored: LabelSet) -> None:
    assert scored.images().count() == 4
    for name, label in scored.images().values_list("name", "match__label__name"):
        assert name == f"{label}.png"


def test_a_run_ends_as_done_and_counts_its_images(scored: LabelSet) -> None:
    run = scored.runs.get()
    assert run.state == RunState.DONE and run.finished_at
    assert runs.progress(run) == runs.Progress(total=4, done=4, failed=0)
    assert run.model == clip.current().key and run.precision in ("fp32", "bf16")


def test_figures_of_a_match(scored: LabelSet) -> None:
    for match in Match.objects.filter(label_set=scored):
        assert -1 <= match.similarity <= 1
        assert 0 < match.margin <= match.probability <= 1
        assert match.runner_up_id not in (None, match.label_id)


def test_other_labels_score_again_without_decoding_a_picture(
    scored: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gallery.decoding.rgb", lambda *_: pytest.fail("a picture was decoded"))
    before = Embedding.objects.count()
    label_sets.change(scored, owner, labels=[LabelSpec("something red"), LabelSpec("something blue")])
    work.until_none_is_left()
    found = dict(scored.images().values_list("name", "match__label__name"))
    assert found["red circle.png"] == "something red" and found["blue square.png"] == "something blue"
    assert Embedding.objects.count() == before == 4
    assert scored.runs.first().state == RunState.DONE


def test_the_same_labels_again_start_no_run(scored: LabelSet, owner: User) -> None:
    specs = [LabelSpec(label.name) for label in scored.labels.all()]
    label_sets.change(scored, owner, name="Renamed", labels=specs)
    assert scored.runs.count() == 1


def test_new_images_extend_the_run(scored: LabelSet, add: Callable) -> None:
    run = scored.runs.get()
    add(("more.png", picture("blue")))
    runs.follow(scored.project)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    work.until_none_is_left()
    run.refresh_from_db()
    assert run.state == RunState.DONE and runs.progress(run).done == 5
    assert scored.runs.count() == 1


def test_following_twice_plans_no_image_twice(scored: LabelSet, add: Callable) -> None:
    add(("more.png", picture("blue")))
    runs.follow(scored.project)
    runs.follow(scored.project)
    planned = [
        image_id for ids in ScoringChunk.objects.values_list("image_ids", flat=True) for image_id in ids
    ]
    assert len(planned) == len(set(planned)) == 5


def test_a_project_without_labels_is_embedded_only(project: Project, drawn: list[Image]) -> None:
    runs.follow(project)
    work.until_none_is_left()
    run = project.runs.get()
    assert run.label_set is None and run.state == RunState.DONE
    assert Embedding.objects.count() == runs.progress(run).done == 4
    assert not Match.objects.exists()


def test_labels_that_come_later_use_the_stored_embeddings(
    project: Project, owner: User, drawn: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.follow(project)
    work.until_none_is_left()
    monkeypatch.setattr("gallery.decoding.rgb", lambda *_: pytest.fail("a picture was decoded"))
    label_sets.create(project, owner, "Late", [LabelSpec("red circle"), LabelSpec("blue square")])
    work.until_none_is_left()
    assert Match.objects.count() == 4


def test_an_image_that_cannot_be_read_fails_alone_and_can_be_retried(label_set: LabelSet) -> None:
    broken = label_set.project.images.get(name="blue square.png")
    content = broken.file.read()
    broken.file.storage.delete(broken.file.name)
    work.until_none_is_left()
    run = label_set.runs.get()
    assert run.state == RunState.DONE
    assert runs.progress(run) == runs.Progress(total=4, done=3, failed=1)
    assert run.image_attempts.get().reason == "The file is missing or can't be read."
    with broken.file.storage.open(broken.file.name, "wb") as file:
        file.write(content)
    assert runs.retry_failed(run) == 1
    work.until_none_is_left()
    run.refresh_from_db()
    assert run.state == RunState.DONE and not run.image_attempts.exists()
    assert Match.objects.filter(image=broken).exists()


def test_what_a_person_decided_is_not_changed_by_scoring_again(scored: LabelSet, owner: User) -> None:
    image = scored.project.images.get(name="red circle.png")
    wrong = scored.labels.get(name="yellow star")
    decide(scored, owner, [Decision(image.pk, "corrected", wrong.pk)])
    before = Annotation.objects.values().get()
    runs.start(scored.project, scored, owner)
    work.until_none_is_left()
    assert Annotation.objects.values().get() == before
    assert Match.objects.get(image=image).label.name == "red circle"


# Leases, tokens, strikes


def queued_run(label_set: LabelSet) -> ScoringRun:
    run = label_set.runs.get()
    work.prepare(run)
    run.refresh_from_db()
    return run


def expire(chunk: ScoringChunk) -> None:
    ScoringChunk.objects.filter(pk=chunk.pk).update(leased_until=timezone.now() - timedelta(seconds=1))


def test_a_chunk_has_one_holder(label_set: LabelSet) -> None:
    queued_run(label_set)
    assert runs.claim() is not None
    assert runs.claim() is None


def test_an_expired_chunk_is_claimed_again_and_the_first_holder_writes_nothing(label_set: LabelSet) -> None:
    queued_run(label_set)
    first = runs.claim()
    expire(first)
    second = runs.claim()
    assert second.pk == first.pk and second.attempts == 2
    work.work_on(first)
    assert not Match.objects.exists() and not Embedding.objects.exists()
    work.work_on(second)
    assert Match.objects.count() == 4
    assert label_set.runs.get().state == RunState.DONE


def test_a_chunk_delivered_again_when_it_is_done_changes_nothing(label_set: LabelSet) -> None:
    queued_run(label_set)
    chunk = runs.claim()
    work.work_on(chunk)
    before = list(Match.objects.order_by("pk").values())
    work.work_on(chunk)
    assert list(Match.objects.order_by("pk").values()) == before


def test_a_chunk_of_a_dead_process_is_free_at_once(label_set: LabelSet) -> None:
    queued_run(label_set)
    chunk = runs.claim()
    beat.free_what_the_dead_hold()
    assert runs.claim() is None, "this process lives, so its chunk is held"
    host, _, nonce = chunk.token.split(":")
    ScoringChunk.objects.filter(pk=chunk.pk).update(token=f"{host}:4194305:{nonce}")
    beat.free_what_the_dead_hold()
    assert runs.claim().pk == chunk.pk


def test_an_image_that_kills_its_worker_fails_after_three_strikes_and_the_others_are_scored(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The death is played by an exception that nothing catches, as SIGKILL leaves things."""
    poison = label_set.project.images.get(name="green triangle.png")
    decode = work._decode

    class Death(BaseException):
        pass

    def deadly(image: Image, side: int) -> object:
        if image.pk == poison.pk:
            raise Death
        return decode(image, side)

    monkeypatch.setattr(work, "_decode", deadly)
    queued_run(label_set)
    for _ in range(10):
        chunk = runs.claim()
        if chunk is None:
            break
        try:
            work.work_on(chunk)
        except Death:
            expire(chunk)
    run = label_set.runs.get()
    assert run.state == RunState.DONE
    assert runs.progress(run) == runs.Progress(total=4, done=3, failed=1)
    attempt = ImageAttempt.objects.get(failed=True)
    assert attempt.image_id == poison.pk and attempt.attempts == runs.STRIKES


def test_a_worker_that_dies_before_any_picture_fails_the_run_in_the_end(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued_run(label_set)
    for _ in range(runs.DEATHS_WITH_NO_SUSPECT):
        expire(runs.claim())
    work.work_on(runs.claim())
    run = label_set.runs.get()
    assert run.state == RunState.FAILED and "memory" in run.error


class Death(BaseException):
    """As SIGKILL leaves things: nothing catches it."""


def many_pictures(label_set: LabelSet, owner: User) -> None:
    files = [ContentFile(picture(side=20 + side), f"{side}.png") for side in range(8)]
    uploads.add_images(label_set.project, owner, files)


def test_a_scorer_that_always_dies_fails_the_run_soon(
    label_set: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_pictures(label_set, owner)

    def dies(*_: object) -> None:
        raise Death

    monkeypatch.setattr(runs, "VAIN_PICTURES", 5)
    monkeypatch.setattr(runs, "CHUNK_TO_EMBED", 2)
    monkeypatch.setattr(clip.engine(), "embed_images", dies)
    run = queued_run(label_set)
    deaths = 0
    while chunk := runs.claim():
        try:
            work.work_on(chunk)
        except Death:
            deaths += 1
            expire(chunk)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.error == "Not one picture could be scored. The worker died 3 times at this picture."
    # The first try of three chunks, three strikes for each of five pictures, and one for the sixth.
    assert deaths == 3 + 5 * runs.STRIKES + 1


def test_bad_pictures_beside_a_good_one_do_not_fail_the_run(
    label_set: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_pictures(label_set, owner)
    decode, good = work._decode, label_set.project.images.order_by("pk").first()

    def deadly(image: Image, side: int) -> object:
        if image.pk != good.pk:
            raise Death
        return decode(image, side)

    monkeypatch.setattr(work, "_decode", deadly)
    run = queued_run(label_set)
    while chunk := runs.claim():
        try:
            work.work_on(chunk)
        except Death:
            expire(chunk)
    run.refresh_from_db()
    assert run.state == RunState.DONE
    assert runs.progress(run) == runs.Progress(total=12, done=1, failed=11)


def test_a_scorer_that_would_end_its_process_is_told_and_tried_again(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaves(*_: object) -> None:
        raise SystemExit("the scorer left")

    monkeypatch.setattr(clip.engine(), "embed_images", leaves)
    queued_run(label_set)
    work.work_on(runs.claim())
    chunk = ScoringChunk.objects.get()
    assert (chunk.state, chunk.attempts) == (ChunkState.PENDING, 1)
    assert chunk.error == "SystemExit: the scorer left"


def test_an_error_while_scoring_is_tried_again_image_by_image(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = clip.engine()
    embed, calls = engine.embed_images, []

    def fails_in_batches(images: list) -> np.ndarray:
        calls.append(len(images))
        if len(images) > 1:
            raise RuntimeError("out of memory")
        return embed(images)

    monkeypatch.setattr(engine, "embed_images", fails_in_batches)
    work.until_none_is_left()
    assert calls == [4, 1, 1, 1, 1]
    assert label_set.runs.get().state == RunState.DONE


def test_a_site_that_is_stopped_puts_its_chunk_down_and_goes_on_later(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "STEP", 1)
    monkeypatch.setattr(work.worker, "is_stopping", lambda: Match.objects.count() >= 2)
    work.until_none_is_left()
    assert Match.objects.count() == 2
    chunk = ScoringChunk.objects.get()
    assert (chunk.state, chunk.token, chunk.attempts) == (ChunkState.PENDING, "", 0), "it did not fail"
    monkeypatch.undo()
    work.until_none_is_left()
    assert label_set.runs.get().state == RunState.DONE and Match.objects.count() == 4


def test_an_error_that_stays_is_told_and_not_called_a_death(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "write", full)
    run = label_set.runs.get()
    for _ in range(30):
        work.until_none_is_left()
        assert runs.claim() is None, "after the second try it rests for a while"
        ScoringChunk.objects.update(queued_at=timezone.now())
    failed = run.image_attempts.filter(failed=True)
    assert failed.count() == 4
    assert "No space left on device" in failed.first().reason and "died" not in failed.first().reason


def test_a_run_whose_preparation_kills_its_worker_fails_and_holds_nobody_up(
    label_set: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dies() -> None:
        raise Killed

    monkeypatch.setattr(clip, "engine", dies)
    for _ in range(runs.DEATHS_WITH_NO_SUSPECT):
        with pytest.raises(Killed):
            work.until_none_is_left()
    work.until_none_is_left()
    run = label_set.runs.get()
    assert (
        run.state == RunState.FAILED
        and f"died {runs.DEATHS_WITH_NO_SUSPECT} times while it loaded the model" in run.error
    )


def test_many_prompts_are_embedded_in_several_tasks(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "TEXTS_AT_ONCE", 1)
    engine, run = clip.engine(), label_set.runs.get()
    engine._known_texts.clear()
    with monkeypatch.context() as hours:
        # A clock that ticks with each text.
        hours.setattr(work, "time", SimpleNamespace(monotonic=lambda: len(engine._known_texts)))
        work.prepare(run, until=1)
    run.refresh_from_db()
    assert (run.state, run.attempts) == (RunState.QUEUED, 0), "it got on, and no attempt failed"
    assert len(engine._known_texts) == 2
    work.prepare(run)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


def test_an_older_run_is_not_retried(scored: LabelSet, owner: User) -> None:
    old = scored.runs.get()
    ImageAttempt.objects.create(run=old, image=scored.images().first(), failed=True)
    label_sets.change(scored, owner, templates=["a drawing of a {label}."])
    work.until_none_is_left()
    assert not runs.retry_failed(old)
    old.refresh_from_db()
    assert old.state == RunState.DONE and not Match.objects.filter(run=old).exists()


def test_images_whose_ring_was_lost_are_come_to(scored: LabelSet, add: Callable) -> None:
    add(("late.png", picture("purple")))
    work.until_none_is_left()
    assert Match.objects.count() == 4, "nobody has told the run"
    beat.follow_forgotten()
    work.until_none_is_left()
    assert Match.objects.count() == 5


def test_a_first_image_whose_ring_was_lost_is_embedded(project: Project, drawn: list[Image]) -> None:
    beat.follow_forgotten()
    work.until_none_is_left()
    assert Embedding.objects.count() == 4


def test_a_run_whose_worker_died_right_before_its_end_is_ended(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.until_none_is_left()
    ScoringRun.objects.update(state=RunState.RUNNING, finished_at=None)
    beat.follow_forgotten()
    run = label_set.runs.get()
    assert run.state == RunState.DONE and run.finished_at


def test_what_was_cancelled_or_is_whole_is_left_alone(scored: LabelSet, add: Callable) -> None:
    beat.follow_forgotten()
    assert ScoringRun.objects.count() == 1 and ScoringChunk.objects.count() == 1
    add(("late.png", picture("purple")))
    scored.runs.update(state=RunState.CANCELLED)
    beat.follow_forgotten()
    assert ScoringRun.objects.count() == 1 and ScoringChunk.objects.count() == 1


def test_another_model_that_was_fetched_under_way_writes_nothing_for_this_one(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued_run(label_set)
    chunk = runs.claim()
    engine = clip.engine()
    other = replace(engine.folder, revision="newer")
    monkeypatch.setattr(engine, "folder", other)
    work.work_on(chunk)
    assert not Embedding.objects.exists() and not Match.objects.exists()
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED and label_set.runs.first().state == RunState.QUEUED


def test_another_name_alone_starts_no_run(scored: LabelSet, owner: User) -> None:
    scored.runs.update(model="other@1")
    label_sets.change(scored, owner, name="Forms")
    assert scored.runs.count() == 1


def test_prompts_are_bounded_as_a_whole(scored: LabelSet, owner: User) -> None:
    labels = [LabelSpec(f"label {n}") for n in range(101)]
    with pytest.raises(ValidationError, match="10,100 prompts"):
        label_sets.change(scored, owner, labels=labels, templates=[f"{n} {{label}}" for n in range(100)])


def test_cancel_stops_a_run_and_its_worker_writes_nothing_more(label_set: LabelSet) -> None:
    run = queued_run(label_set)
    chunk = runs.claim()
    assert runs.cancel(run)
    work.work_on(chunk)
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED and not Match.objects.exists()
    assert not runs.cancel(run), "it had ended already"
    runs.follow(label_set.project)
    assert label_set.runs.count() == 1, "a cancelled run waits for a person"


def test_starting_again_cancels_the_run_under_way(label_set: LabelSet, owner: User) -> None:
    first = queued_run(label_set)
    second = runs.start(label_set.project, label_set, owner)
    first.refresh_from_db()
    assert first.state == RunState.CANCELLED and second.state == RunState.QUEUED


def test_a_run_that_cannot_be_prepared_says_why(label_set: LabelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable() -> None:
        raise clip.ModelUnusable("The model is gone.")

    monkeypatch.setattr(clip, "engine", unusable)
    work.until_none_is_left()
    run = label_set.runs.get()
    assert run.state == RunState.FAILED and "The model is gone." in run.error


def test_images_deleted_under_way_are_left_out(label_set: LabelSet) -> None:
    queued_run(label_set)
    label_set.project.images.get(name="yellow star.png").delete()
    work.until_none_is_left()
    assert label_set.runs.get().state == RunState.DONE and Match.objects.count() == 3


def test_many_images_are_cut_into_chunks_and_each_is_matched_once(project: Project, owner: User) -> None:
    images = bulk_images(project, 450)
    embed_at_random(images)
    label_set = label_sets.create(project, owner, "Two", [LabelSpec("a"), LabelSpec("b")])
    work.until_none_is_left()
    run = label_set.runs.get()
    assert [chunk.size for chunk in run.chunks.all()] == [200, 200, 50]
    assert runs.progress(run) == runs.Progress(total=450, done=450, failed=0)


def test_progress_never_falls_while_chunks_finish_in_any_order(project: Project, owner: User) -> None:
    embed_at_random(bulk_images(project, 450))
    label_set = label_sets.create(project, owner, "Two", [LabelSpec("a"), LabelSpec("b")])
    run = queued_run(label_set)
    chunks = [runs.claim() for _ in range(3)]
    random.Random(1).shuffle(chunks)
    seen = [runs.progress(run).done]
    for chunk in chunks:
        work.work_on(chunk)
        seen.append(runs.progress(run).done)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 450


def test_the_bell_rings_for_waiting_work_only(
    label_set: LabelSet, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable
) -> None:
    rung = []
    monkeypatch.setattr(runs, "async_task", lambda name, *_: rung.append(name))
    with django_capture_on_commit_callbacks(execute=True):
        beat.ring_for_waiting()
    assert rung == ["labeling.tasks.score"]
    queued_run(label_set)
    chunk = runs.claim()
    with django_capture_on_commit_callbacks(execute=True):
        beat.ring_for_waiting()
    assert len(rung) == 1, "somebody is at it"
    expire(chunk)
    with django_capture_on_commit_callbacks(execute=True):
        beat.ring_for_waiting()
    assert len(rung) == 2


@pytest.mark.django_db
def test_a_worker_is_online_for_thirty_seconds_after_its_beat() -> None:
    assert not beat.worker_is_online()
    beat.beat("here:1")
    assert beat.worker_is_online()
    beat.WorkerBeat.objects.update(at=timezone.now() - timedelta(seconds=31))
    assert not beat.worker_is_online()


def test_states_of_chunks_and_runs_are_what_the_api_says() -> None:
    assert set(RunState.values) == {"queued", "running", "done", "failed", "cancelled"}
    assert set(ChunkState.values) == {"pending", "running", "done", "cancelled"}
