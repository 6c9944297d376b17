"""Looking for unknowns with the real small model: drawn pictures that two labels do not cover."""

import io
import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery import uploads
from gallery.models import Image, Project
from labeling import batches, beat, label_sets, runs, tasks, unknown_groups, unknown_look, unknown_runs, work
from labeling.label_sets import LabelSpec
from labeling.models import LabelSet, UnknownGroup, UnknownsRun
from labeling.review import Decision, Verdict, decide
from labeling.starter import drawing
from labeling.unknown_runs import RunState
from tests.labeling import rows

JSON = "application/json"


def drawn(count: int, colour: str, shape: str, rng: random.Random) -> list[tuple[str, bytes]]:
    """So many pictures of one kind, of all patterns, sizes and backgrounds."""
    files = []
    for number in range(count):
        out = io.BytesIO()
        kind = (rng.choice(drawing.PATTERNS), 1, rng.choice(drawing.BACKGROUNDS), rng.choice(drawing.SIZES))
        drawing.draw(drawing.Drawing(colour, shape, *kind), rng, 96).save(out, "PNG")
        files.append((f"{colour} {shape} {number}.png", out.getvalue()))
    return files


@pytest.fixture
def shapes(project: Project, owner: User, add: Callable[..., list[Image]]) -> LabelSet:
    """Ten red circles, ten blue squares, and what no label fits: twenty green stars and one pink heart."""
    rng = random.Random(11)
    kinds = [(10, "red", "circle"), (10, "blue", "square"), (20, "green", "star"), (1, "pink", "heart")]
    add(*(file for count, *kind in kinds for file in drawn(count, *kind, rng)))
    made = label_sets.create(project, owner, "Shapes", [LabelSpec("red circle"), LabelSpec("blue square")])
    # On a busy machine the time of one task may be over once the model is loaded.
    while made.runs.first().state in runs.ACTIVE:
        work.until_none_is_left()
    # What people settled says what a label is like, though CLIP takes more stars than squares for squares.
    for label in made.labels.all():
        right = project.images.filter(name__startswith=label.name)[:5]
        decide(made, owner, [Decision(image.pk, Verdict.CORRECTED, label.pk) for image in right])
    return made


@pytest.fixture
def looked(shapes: LabelSet, owner: User) -> LabelSet:
    unknown_runs.start(shapes, owner)
    unknown_runs.find_waiting()
    return shapes


def names(ids: list[int]) -> list[str]:
    return [image.name.rpartition(" ")[0] for image in Image.objects.filter(pk__in=ids)]


def test_what_no_label_fits_comes_out_as_a_group_with_its_name(looked: LabelSet) -> None:
    found = unknown_groups.found(looked)
    assert (found.run.state, found.run.looked) == (RunState.DONE, 31)
    assert 21 <= found.run.unknown <= 23, "the stars, the heart, and an odd square at most"
    [shown] = found.groups
    assert names(shown.ids) == ["green star"] * 20
    assert shown.group.name == "green star", "of all the words of the vocabulary"
    assert len(shown.images) == unknown_groups.STRIP and shown.more == 8
    [outlier] = found.outliers
    assert outlier.image.name == "pink heart 0.png" and outlier.similarity < 0.3 and outlier.far > 3


def test_without_words_for_coloured_shapes_it_is_still_a_star(
    shapes: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words are those that no one wrote for the starter model's sake."""
    kinds = (*drawing.COLOURS, *drawing.PATTERNS)
    words = [word for word in unknown_look.vocabulary() if not word.startswith(kinds)]
    assert len(words) > 1500
    monkeypatch.setattr(unknown_look, "vocabulary", lambda: words)
    unknown_runs.start(shapes, owner)
    unknown_runs.find_waiting()
    [shown] = unknown_groups.found(shapes).groups
    assert shown.group.name == "star"


def test_making_a_label_labels_the_group_in_one_batch_and_undo_takes_the_answers_back(
    looked: LabelSet, owner: User
) -> None:
    [shown] = unknown_groups.found(looked).groups
    before = looked.annotations.count()
    label, batch = unknown_groups.make_label(shown.group, looked, owner, shown.group.name)
    assert [each.name for each in looked.labels.all()] == ["red circle", "blue square", "green star"]
    given = looked.annotations.filter(label=label)
    assert set(given.values_list("image_id", flat=True)) == set(shown.ids)
    assert set(given.values_list("image__reviews__batch", flat=True)) == {batch.pk}
    assert [each["name"] for each in looked.runs.first().labels][-1] == "green star", "it is scored again"
    after = unknown_groups.found(looked)
    assert not after.groups and [group.label for group in after.labelled] == [label]
    with pytest.raises(ValidationError, match="already"):
        unknown_groups.make_label(shown.group, looked, owner, "another")
    batches.undo(looked, owner, "owner", batch.pk)
    assert looked.annotations.count() == before and not looked.annotations.filter(label=label).exists()


def test_a_label_alone_gives_nothing_to_the_images(looked: LabelSet, owner: User) -> None:
    [shown] = unknown_groups.found(looked).groups
    before = looked.annotations.count()
    label, batch = unknown_groups.make_label(shown.group, looked, owner, "  asterisk ", sets=False)
    assert (label.name, batch, looked.annotations.count()) == ("asterisk", None, before)


@pytest.mark.parametrize(
    ("name", "why"), [("Red Circle", "a label already"), ("  ", "Give the label a name")]
)
def test_a_name_that_is_taken_or_none_changes_nothing(
    name: str, why: str, looked: LabelSet, owner: User
) -> None:
    [shown] = unknown_groups.found(looked).groups
    with pytest.raises(ValidationError, match=why):
        unknown_groups.make_label(shown.group, looked, owner, name)
    assert looked.labels.count() == 2 and looked.annotations.count() == 10
    assert UnknownGroup.objects.get().label is None


def test_settled_and_deleted_images_are_no_unknowns(looked: LabelSet, owner: User) -> None:
    [shown] = unknown_groups.found(looked).groups
    settled, deleted = shown.ids[0], shown.ids[1]
    decide(looked, owner, [Decision(settled, Verdict.NONE)])
    uploads.delete_image(Image.objects.get(pk=deleted))
    [now] = unknown_groups.found(looked).groups
    assert now.ids == shown.ids[2:] and not {settled, deleted} & {image.pk for image in now.images}
    decide(looked, owner, [Decision(pk, Verdict.NONE) for pk in now.ids])
    assert not unknown_groups.found(looked).groups
    with pytest.raises(ValidationError, match="None of the images"):
        unknown_groups.make_label(shown.group, looked, owner, "star")
    unknown_runs.start(looked, owner)
    unknown_runs.find_waiting()
    again = unknown_groups.found(looked)
    assert again.run.looked == 11 and not again.groups and len(again.outliers) == 1


def test_a_word_that_is_a_label_is_not_proposed() -> None:
    words = ["cat", "Dog", "fox", "cow", "owl"]
    assert unknown_look.proposed(words, ["dog"]) == (["cat", "fox", "cow", "owl"], "")
    assert unknown_look.proposed(words, ["Cat", "dog", "cow"]) == (["fox", "owl"], "Cat")


def test_the_vocabulary_is_a_plain_list() -> None:
    words = unknown_look.vocabulary()
    assert len(words) == len(set(words)) >= 1500 and sorted(words) == words
    assert all(word == word.strip().lower() and word for word in words)
    assert {*drawing.SHAPES, *drawing.COLOURS, "striped star", "green star", "beach"} <= set(words)


# The run's states


def test_one_look_at_a_time(shapes: LabelSet, owner: User) -> None:
    run = unknown_runs.start(shapes, owner)
    assert unknown_runs.start(shapes, owner) == run and UnknownsRun.objects.count() == 1


def test_a_look_asks_for_something_to_look_at(project: Project, owner: User) -> None:
    with pytest.raises(ValidationError, match="embedded"):
        unknown_runs.start(rows.label_set(project, "a", "b"), owner)


def test_the_bell_leads_to_it(shapes: LabelSet, owner: User) -> None:
    run = unknown_runs.start(shapes, owner)
    assert beat.ring_for_waiting(), "also where its own ring was lost"
    tasks.score()
    run.refresh_from_db()
    assert (run.state, run.percent) == (RunState.DONE, 100)
    assert not beat.ring_for_waiting()


def test_cancelled_on_the_way_it_writes_nothing_and_the_findings_of_before_stay(
    looked: LabelSet, owner: User
) -> None:
    before = UnknownsRun.objects.get()
    run = unknown_runs.start(looked, owner)
    steps = []

    def between(is_stopping: Callable[[], bool]) -> None:
        steps.append(1)
        if len(steps) == 4:
            assert unknown_runs.cancel(run)

    unknown_runs.find_waiting(between)
    run.refresh_from_db()
    assert (len(steps), run.state, run.groups.count()) == (4, RunState.CANCELLED, 0)
    assert unknown_groups.found(looked).run == before and len(unknown_groups.found(looked).groups) == 1
    assert not unknown_runs.cancel(run), "it had ended"


def test_a_new_look_takes_the_place_of_the_one_before(looked: LabelSet, owner: User) -> None:
    old = unknown_groups.found(looked).groups[0].group
    run = unknown_runs.start(looked, owner)
    unknown_runs.find_waiting()
    assert UnknownsRun.objects.get() == run
    [shown] = unknown_groups.found(looked).groups
    assert (shown.group.pk != old.pk, shown.ids) == (True, old.image_ids), "and finds the same"


def test_killed_it_is_done_again_from_the_start(
    shapes: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unknown_runs.start(shapes, owner)
    held = unknown_runs.claim()
    assert held == run and unknown_runs.claim() is None, "while its lease lasts nobody else takes it"
    # The process that held it is dead: no process has this number.
    UnknownsRun.objects.update(token=held.token.replace(f":{held.token.split(':')[-2]}:", ":4194999:"))
    beat.free_what_the_dead_hold()
    assert beat.ring_for_waiting()
    unknown_runs.find_waiting()
    run.refresh_from_db()
    assert (run.state, run.attempts, run.groups.count()) == (RunState.DONE, 2, 1)
    unknown_runs.carry_out(held)
    assert UnknownGroup.objects.count() == 1, "who wakes up late writes nothing"


def test_a_look_that_kills_its_worker_again_and_again_is_given_up(shapes: LabelSet, owner: User) -> None:
    run = unknown_runs.start(shapes, owner)
    for _ in range(unknown_runs.STRIKES):
        assert unknown_runs.claim() == run
        UnknownsRun.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert unknown_runs.claim() is None
    run.refresh_from_db()
    assert run.state == RunState.FAILED and "died 3 times" in run.error


def test_where_the_site_is_stopped_it_is_put_down(
    shapes: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unknown_runs.start(shapes, owner)
    held = unknown_runs.claim()
    monkeypatch.setattr("labeling.worker.is_stopping", lambda: True)
    unknown_runs.carry_out(held)
    run.refresh_from_db()
    assert (run.state, run.attempts, run.token) == (RunState.QUEUED, 0, "")


def test_what_goes_wrong_stands_in_the_run(
    shapes: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unknown_runs.start(shapes, owner)
    monkeypatch.setattr("labeling.unknowns.best", lambda *_: 1 / 0)
    unknown_runs.find_waiting()
    run.refresh_from_db()
    assert run.state == RunState.FAILED and "division" in run.error


# Pages and API


def test_the_page_shows_groups_and_outliers_in_words(
    looked: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    page = login(owner).get(reverse("unknowns", args=[looked.pk])).text
    assert 'value="green star"' in page and "20 images" in page and "and 8 more" in page
    assert "Far from every label: most like" in page and "nearest neighbour" in page
    assert "starter model" in page


def test_the_page_in_every_state(
    shapes: LabelSet, owner: User, project: Project, login: Callable[[User], Client]
) -> None:
    client, address = login(owner), reverse("unknowns", args=[shapes.pk])
    state = reverse("unknowns_state", args=[shapes.pk])
    assert "Nobody has looked yet" in client.get(address).text
    assert client.post(address).status_code == 302
    assert "Cancel" in client.get(address).text and "every " in client.get(state).text
    assert client.post(reverse("unknowns_cancel", args=[shapes.pk])).status_code == 302
    assert "was cancelled" in client.get(address).text
    client.post(address)
    unknown_runs.find_waiting()
    assert client.get(state)["HX-Refresh"] == "true", "the first findings are shown at once"
    seen = UnknownsRun.objects.get().pk
    assert "hx-get" not in client.get(f"{state}?seen={seen}").text
    assert "Show what it found" in client.get(f"{state}?seen={seen + 1}").text
    empty = rows.label_set(Project.objects.create(name="E", slug="e"), "a", "b")
    empty.project.memberships.create(user=owner, role="owner")
    page = client.get(reverse("unknowns", args=[empty.pk])).text
    assert "Nothing is embedded yet" in page and "Look for unknowns</button>" not in page
    assert client.post(reverse("unknowns", args=[empty.pk])).status_code == 400


def test_where_everything_is_near_it_says_so(
    label_set: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    work.until_none_is_left()
    unknown_runs.start(label_set, owner)
    unknown_runs.find_waiting()
    page = login(owner).get(reverse("unknowns", args=[label_set.pk])).text
    assert "Everything is near a label" in page


def test_a_group_is_shown_in_the_gallery_labelled_and_dismissed_by_page(
    looked: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client, [shown] = login(owner), unknown_groups.found(looked).groups
    at = [looked.pk, shown.group.pk]
    answer = client.post(reverse("unknown_show", args=at))
    assert answer.status_code == 302
    page = client.get(answer.url)
    assert page.status_code == 200 and "20" in page.text and "green star" in page.text
    assert client.post(reverse("unknown_label", args=at), {"name": "red circle"}).status_code == 400
    page = client.post(reverse("unknown_label", args=at), {"name": "star", "set": "yes"}, follow=True).text
    assert "“star” is a label now, and 20 images have it" in page
    assert client.post(reverse("unknown_dismiss", args=at)).status_code == 302
    assert not unknown_groups.found(looked).labelled


def test_the_same_by_the_api(looked: LabelSet, owner: User, login: Callable[[User], Client]) -> None:
    client, api = login(owner), f"/api/v1/label-sets/{looked.pk}/unknowns/"
    told = client.get(api).json()
    assert (told["run"]["state"], told["found"]["looked"]) == ("done", 31)
    [group], [outlier] = told["groups"], told["outliers"]
    assert (group["name"], group["size"], len(group["images"])) == ("green star", 20, 20)
    assert outlier["name"] == "pink heart 0.png" and outlier["label"] in ("red circle", "blue square")
    made = client.post(f"{api}groups/{group['id']}/label/", {"name": "red circle"}, JSON)
    assert made.status_code == 400 and "a label already" in made.text
    assert client.post(f"{api}groups/{group['id']}/label/", {}, JSON).status_code == 400
    made = client.post(f"{api}groups/{group['id']}/label/", {"name": "star"}, JSON)
    assert made.status_code == 201 and looked.annotations.filter(label=made.json()["id"]).count() == 20
    assert client.post(f"{api}groups/{group['id']}/label/", {"name": "x"}, JSON).status_code == 409
    assert client.post(f"/api/v1/batches/{made.json()['batch']}/undo/").status_code == 201
    assert not looked.annotations.filter(label=made.json()["id"]).exists()
    assert client.delete(f"{api}groups/{group['id']}/").status_code == 204
    assert client.post(api).status_code == 202
    assert client.post(f"{api}cancel/").json()["run"]["state"] == "cancelled"


def test_a_group_under_another_label_set_is_not_there(
    looked: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    other, group = rows.label_set(looked.project, "a", "b"), UnknownGroup.objects.get()
    for name in ("unknown_label", "unknown_dismiss", "unknown_show"):
        assert login(owner).post(reverse(name, args=[other.pk, group.pk])).status_code == 404


def test_many_groups_cost_as_many_queries_as_one(
    looked: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client, group = login(owner), UnknownGroup.objects.get()
    address, api = (reverse(name, args=[looked.pk]) for name in ("unknowns", "api-unknowns"))
    client.get(address)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as page:
            client.get(address)
        with CaptureQueriesContext(connection) as told:
            client.get(api)
        counts.append((len(page), len(told)))
        for position in range(1, 20):
            UnknownGroup.objects.create(
                run=group.run, position=position, name="x", similarity=0.5, image_ids=group.image_ids[:5]
            )
    assert counts[0] == counts[1] and counts[0][0] <= 18 and counts[0][1] <= 10, counts
