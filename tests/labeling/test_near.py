"""The search for near-duplicates, as a worker goes about it: by the real model, on real files."""

import io
import random
from collections.abc import Callable
from datetime import timedelta

import PIL.Image
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from benchmarks.duplicates import ALTERED
from gallery import uploads
from gallery.models import Image, Project
from labeling import beat, clip, duplicates, looking, near, tasks, work
from labeling.models import DuplicateSearch, Fingerprint, LabelSet, NearDuplicate
from labeling.starter import drawing

State = DuplicateSearch.State
SEARCH = "/api/v1/projects/animals/duplicates/search/"


def content(picture: PIL.Image.Image, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    picture.save(out, format)
    return out.getvalue()


def add(project: Project, owner: User, pictures: dict[str, PIL.Image.Image]) -> None:
    """Upload, and embed, as a worker would."""
    files = [ContentFile(content(picture), f"{name}.png") for name, picture in pictures.items()]
    uploads.add_images(project, owner, files)
    tasks.embed_project(project.pk)
    work.until_none_is_left()


def drawn(seed: int) -> PIL.Image.Image:
    kind = drawing.Drawing("red", drawing.SHAPES[seed % 8], "solid", 1, "white", "large")
    return drawing.draw(kind, random.Random(seed), 200)


@pytest.fixture
def pictures(project: Project, owner: User) -> dict[str, PIL.Image.Image]:
    """A heart, a star, and a smaller heart, in the project and embedded."""
    heart = drawn(4)
    made = {
        "heart": heart,
        "star": drawn(3),
        "small heart": ALTERED["half as large"](heart, random.Random(1)),
    }
    add(project, owner, made)
    return made


def found(project: Project) -> list[set[str]]:
    return [
        set(Image.objects.filter(pk__in=ids).values_list("name", flat=True))
        for ids in duplicates.groups(project)
    ]


def search_of(project: Project) -> DuplicateSearch:
    return DuplicateSearch.objects.get(project=project)


def test_once_images_are_embedded_they_are_compared(pictures: dict, project: Project) -> None:
    """The end of the run asks for it, without anybody's doing."""
    assert search_of(project).state == State.QUEUED
    tasks.find_near_duplicates(project.pk)
    assert found(project) == [{"heart.png", "small heart.png"}]
    search = search_of(project)
    assert (search.state, search.token, search.leased_until) == (State.DONE, "", None)
    progress = looking.progress(project)
    assert (progress.total, progress.seen, progress.compared, progress.done) == (3, 3, 3, 1.0)
    [pair] = NearDuplicate.objects.all()
    assert pair.cosine > 0.8 and pair.distance <= 43 and pair.first_id < pair.second_id
    [group] = duplicates.described(duplicates.groups(project))
    assert group.best.name == "heart.png" and group.reason == "most pixels"


def test_a_new_image_is_compared_with_all_others(pictures: dict, project: Project, owner: User) -> None:
    near.look(project.pk)
    add(project, owner, {"another heart": ALTERED["5 % cropped"](pictures["heart"], random.Random(3))})
    assert search_of(project).state == State.QUEUED
    near.look(project.pk)
    assert found(project) == [{"heart.png", "small heart.png", "another heart.png"}]


def test_a_rerun_opens_nothing_again(pictures: dict, project: Project, owner: User) -> None:
    near.look(project.pk)
    [ids] = duplicates.groups(project)
    duplicates.decide(project, owner, ids, ids)
    Fingerprint.objects.update(compared="")  # as after a change of the model
    assert looking.start(project)
    near.look(project.pk)
    assert not duplicates.groups(project)
    assert NearDuplicate.objects.get().state == "kept"


def test_each_block_is_compared_with_those_before_it(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "BLOCK", 1)
    monkeypatch.setattr(near, "STEP", 1)
    near.look(project.pk)
    assert found(project) == [{"heart.png", "small heart.png"}]


def test_what_is_set_aside_is_compared_as_well(pictures: dict, project: Project, owner: User) -> None:
    image = project.images.get(name="small heart.png")
    duplicates.set_aside.set_aside(project, [image.pk], owner)
    near.look(project.pk)
    assert found(project) == []
    duplicates.set_aside.bring_back(project, [image.pk])
    assert found(project) == [{"heart.png", "small heart.png"}]


def test_a_missing_thumbnail_stops_nothing(pictures: dict, project: Project) -> None:
    star = project.images.get(name="star.png")
    star.thumbnail.storage.delete(star.thumbnail.name)
    near.look(project.pk)
    assert found(project) == [{"heart.png", "small heart.png"}]
    assert bytes(star.fingerprint.windows) == b"" and search_of(project).state == State.DONE


def test_killed_at_any_step_it_goes_on_where_it_was(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies leaves its lease; once that has ended another one goes on, and nothing is twice."""
    for dies_in in ("_store", "_write_fingerprints", "_load"):
        with monkeypatch.context() as patch:
            patch.setattr(near, dies_in, _die)
            with pytest.raises(KeyboardInterrupt):
                near.look(project.pk)
        assert looking.claim(project.pk) is None and search_of(project).state == State.RUNNING
        DuplicateSearch.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
        Fingerprint.objects.all().delete()
    near.look(project.pk)
    assert found(project) == [{"heart.png", "small heart.png"}] and search_of(project).state == State.DONE


def test_what_a_dead_process_held_is_free_at_once(pictures: dict, project: Project) -> None:
    held = looking.claim(project.pk)
    beat.free_what_the_dead_hold()
    assert looking.claim(project.pk) is None, "this process lives, so the search is held"
    host, _, nonce = held.token.split(":")
    DuplicateSearch.objects.update(token=f"{host}:4194305:{nonce}")
    beat.free_what_the_dead_hold()
    assert looking.claim(project.pk)


def _die(*args: object) -> None:
    raise KeyboardInterrupt


def test_what_fails_every_time_is_given_up_with_the_reason(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(near, "_load", fail)
    Fingerprint.objects.all().delete()
    near.look(project.pk)  # the fingerprints are written: it got on
    for _ in range(looking.STRIKES):
        DuplicateSearch.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
        near.look(project.pk)
    search = search_of(project)
    assert search.state == State.FAILED and "no luck" in search.error
    looking.follow(project.pk)
    assert search_of(project).state == State.FAILED  # it waits for a person
    assert looking.start(project) and search_of(project).error == ""


def test_stopped_it_writes_nothing_more(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = near.fingerprints.pairs

    def stop_meanwhile(*args: object) -> list:
        looking.stop(project)
        return compare(*args)

    monkeypatch.setattr(near.fingerprints, "pairs", stop_meanwhile)
    near.look(project.pk)
    assert not NearDuplicate.objects.exists() and search_of(project).state == State.CANCELLED
    looking.follow(project.pk)
    near.look(project.pk)
    assert search_of(project).state == State.CANCELLED and not NearDuplicate.objects.exists()
    assert not looking.stop(project)


def test_a_task_ends_in_time_and_rings_for_the_next(
    pictures: dict,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable,
) -> None:
    monkeypatch.setattr(near, "TASK_SECONDS", -1)
    OrmQ.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        near.look(project.pk)
    assert OrmQ.objects.count() == 1 and search_of(project).token == ""
    assert search_of(project).state == State.RUNNING


def test_people_wait_for_no_search(pictures: dict, project: Project) -> None:
    asked = []
    near.look(project.pk, between=lambda is_stopping: asked.append(is_stopping()))
    assert asked == [False, False]  # before the fingerprints, and before the comparison


def test_images_that_come_meanwhile_are_seen_before_it_ends(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, load = [], near._load

    def load_and_ask(*args: object) -> object:
        looks.append(1)
        if len(looks) == 1:
            looking.follow(project.pk)
        return load(*args)

    monkeypatch.setattr(near, "_load", load_and_ask)
    near.look(project.pk)
    assert len(looks) == 2 and search_of(project).state == State.DONE


def test_a_model_that_cannot_be_used_is_told(
    pictures: dict, project: Project, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CLIP_MODEL = "nobody/has-it"
    near.look(project.pk)
    assert search_of(project).state == State.FAILED and "fetch_model" in search_of(project).error
    assert looking.progress(project).total == 3


def test_another_model_compares_anew(
    pictures: dict, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    near.look(project.pk)
    monkeypatch.setattr(clip.ModelFolder, "key", "other@1")
    assert looking.progress(project).compared == 0
    looking.start(project)
    near.look(project.pk)  # by that model nothing is embedded yet
    assert search_of(project).state == State.DONE and len(found(project)) == 1


def test_projects_from_before_are_begun_by_themselves(
    pictures: dict, project: Project, django_capture_on_commit_callbacks: Callable
) -> None:
    DuplicateSearch.objects.all().delete()
    OrmQ.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        looking.begin_forgotten()
        looking.begin_forgotten()
    assert search_of(project).state == State.QUEUED and OrmQ.objects.count() == 1
    with django_capture_on_commit_callbacks(execute=True):
        looking.ring_for_waiting()
    assert OrmQ.objects.count() == 2


def test_deleted_images_take_their_pairs_along(pictures: dict, project: Project) -> None:
    near.look(project.pk)
    uploads.delete_image(project.images.get(name="heart.png"))
    assert not NearDuplicate.objects.exists() and Fingerprint.objects.count() == 2


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("labeler", False), ("reviewer", True), ("owner", True)]
)
def test_who_may_start_and_stop_it(
    role: str,
    may: bool,
    project: Project,
    owner: User,
    member: Callable[[str], User],
    login: Callable[[User], Client],
) -> None:
    client, page = login(owner if role == "owner" else member(role)), "/projects/animals/duplicates/search/"
    assert client.get(SEARCH).json()["state"] == "none"
    assert client.post(SEARCH).status_code == (202 if may else 403)
    assert client.get(SEARCH).json()["state"] == ("queued" if may else "none")
    assert client.delete(SEARCH).status_code == (200 if may else 403)
    assert client.post(page).status_code == (302 if may else 403)
    assert client.post(page, {"stop": "yes"}).status_code == (302 if may else 403)
    assert client.get(SEARCH).json()["state"] == ("cancelled" if may else "none")


def test_the_page_tells_how_far_it_is(
    label_set: LabelSet, project: Project, owner: User, login: Callable[[User], Client]
) -> None:
    client, page = login(owner), "/projects/animals/duplicates/"
    looking.start(project)
    assert "The worker is offline" in client.get(page).text
    looking.stop(project)
    assert "The search was stopped" in client.get(page).text
    looking.start(project)
    looking.fail(search_of(project), "No luck at all.")
    assert "No luck at all." in client.get(page).text
