"""What each person is to review, and that nobody else is shown it meanwhile."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery.access import Role
from gallery.models import Membership, Project
from labeling import embeddings, leases, review, sampling, scoring
from labeling.models import Assignment, Batch, Embedding, LabelSet, Lease, Match
from labeling.queue import ORDERS, Place, Queue, fill, place, standing, with_others
from labeling.review import Decision, Verdict, decide, undo
from tests.conftest import pointers
from tests.labeling import rows

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images of which CLIP is ever surer: cat, dog, bird, cat, dog, bird."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6), [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    return made


@pytest.fixture
def many(project: Project) -> LabelSet:
    """Two hundred images in forty clusters of five that look alike, the clusters ever surer."""
    return clustered(project, 40, 5)


def clustered(project: Project, clusters: int, each: int) -> LabelSet:
    made = rows.label_set(project, "cat", "dog")
    pictures = rows.images(project, clusters * each)
    rng = np.random.default_rng(5)
    centres = np.repeat(rng.normal(size=(clusters, 32)), each, axis=0)
    vectors = scoring.unit(centres + rng.normal(size=centres.shape) * 0.02)
    embeddings.save([picture.pk for picture in pictures], vectors, rows.MODEL)
    run = rows.match(made, pictures, [0.2 + number / 1000 for number in range(len(pictures))])
    made.runs.filter(pk=run.pk).update(label_vectors=embeddings.to_bytes(np.eye(2, 32, dtype=np.float32)))
    return made


@pytest.fixture
def colleague(project: Project) -> User:
    return join(project, "carla")


def join(project: Project, name: str) -> User:
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=Role.LABELER)
    return user


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def held(user: User) -> list[int]:
    return list(Lease.objects.filter(user=user).values_list("image", flat=True))


def walk(label_set: LabelSet, user: User, most: int = 1000, **which: Any) -> Iterator[int]:
    """What a person is shown who accepts one image after the other, to the end."""
    for _ in range(most):
        here = place(label_set, user, **which)
        if here is None:
            return
        yield here.image.pk
        decide(label_set, user, [Decision(here.image.pk, Verdict.ACCEPTED)])


def say(label_set: LabelSet, user: User, image_id: int, verdict: str = "accepted") -> Any:
    return decide(label_set, user, [Decision(image_id, Verdict(verdict))])


def skip_to(label_set: LabelSet, user: User, image_id: int) -> Place | None:
    say(label_set, user, image_id, "skipped")
    return place(label_set, user, order="uncertain")


def steps(numbers: list[int]) -> set[int]:
    return {later - earlier for earlier, later in pairwise(numbers)}


# Orders


def test_least_certain_first_and_what_was_skipped_last(animals: LabelSet, owner: User) -> None:
    six = ids(animals)
    say(animals, owner, six[0], "skipped")
    say(animals, owner, six[2])
    assert list(walk(animals, owner, order="uncertain")) == [six[1], *six[3:], six[0]]


def test_what_was_skipped_longest_ago_comes_back_first(animals: LabelSet, owner: User) -> None:
    six = ids(animals)
    for number in (4, 0, 2, 5, 1, 3):
        say(animals, owner, six[number], "skipped")
    assert list(walk(animals, owner)) == [six[number] for number in (4, 0, 2, 5, 1, 3)]


def test_the_newest_come_first(many: LabelSet, owner: User) -> None:
    assert list(walk(many, owner, 60, order="newest")) == ids(many)[:-61:-1]


def test_random_is_another_order_for_each_person_and_everything_comes(
    many: LabelSet, owner: User, colleague: User
) -> None:
    theirs = fill(Queue(many, colleague, "random"))[0]
    leases.leave(many, colleague)
    mine = fill(Queue(many, owner, "random"))[0]
    assert len(mine) == len(theirs) == 20 and mine != theirs
    assert not any(steps(each) <= {1, 2, 3, -1, -2, -3} for each in (mine, theirs))
    assert fill(Queue(many, owner, "random"))[0] == mine, "stable while it lasts"
    assert sorted(walk(many, owner, order="random")) == ids(many)


def test_among_the_next_twenty_no_two_look_alike(many: LabelSet, owner: User) -> None:
    next_ones = fill(Queue(many, owner))[0]
    assert len(next_ones) == 20
    _, vectors = embeddings.load(next_ones, rows.MODEL)
    assert (vectors @ vectors.T - np.eye(20)).max() < sampling.NEAR
    assert next_ones[0] == ids(many)[0], "the least certain is the first"


def test_what_looks_like_what_was_just_decided_waits(many: LabelSet, owner: User) -> None:
    order = ids(many)
    cluster = {image_id: number // 5 for number, image_id in enumerate(order)}
    shown = list(walk(many, owner, 40))
    for at in range(20):
        among = [cluster[image_id] for image_id in shown[at : at + 20]]
        assert len(set(among)) == 20
    assert sorted([*shown, *walk(many, owner)]) == order, "in the end everything comes"


def test_few_kinds_give_a_list_of_few(project: Project, owner: User) -> None:
    few = clustered(project, 3, 50)
    assert len(fill(Queue(few, owner))[0]) == 3
    shown = list(walk(few, owner))
    assert sorted(shown) == ids(few)


def test_images_without_an_embedding_come_in_the_end(many: LabelSet, owner: User) -> None:
    bare = ids(many)[:30]
    Embedding.objects.filter(image__in=bare).delete()
    assert not set(bare) & set(fill(Queue(many, owner))[0])
    assert sorted(walk(many, owner)) == ids(many)


def test_unscored_images_wait_outside_the_queue(animals: LabelSet, owner: User) -> None:
    [bare] = rows.images(animals.project, 1, start=50)
    assert bare.pk not in list(walk(animals, owner))


# Places


def test_a_place_knows_its_neighbours(many: LabelSet, owner: User) -> None:
    order = ids(many)
    first = place(many, owner, order="uncertain")
    assert (first.image.pk, first.previous, first.next) == (order[0], None, order[1])
    middle = place(many, owner, order[3], order="uncertain")
    assert (middle.previous, middle.next) == (order[2], order[4])


def test_looking_ahead_lets_the_list_grow_and_after_its_end_comes_the_first(
    many: LabelSet, owner: User
) -> None:
    order, seen = ids(many), [place(many, owner, order="uncertain").image.pk]
    while (following := place(many, owner, seen[-1], order="uncertain").next) != seen[0]:
        seen.append(following)
    assert seen == order[: len(seen)] and 40 < len(seen) <= 80
    assert place(many, owner, seen[-1], order="uncertain").previous == seen[-2]


def test_before_the_list_stands_what_one_has_decided(animals: LabelSet, owner: User, colleague: User) -> None:
    six = ids(animals)

    def at(image_id: int | None = None) -> Place:
        return place(animals, owner, image_id, order="uncertain")

    say(animals, colleague, six[2], "none")
    for number in (4, 1, 3):
        say(animals, owner, six[number])
    assert at().previous == six[3]
    assert (at(six[3]).previous, at(six[3]).next) == (six[1], six[0])
    assert (at(six[1]).previous, at(six[1]).next) == (six[4], six[3])
    assert at(six[4]).previous is None
    undo(animals, owner, "labeler", review.next_undo(animals, owner))
    assert at().previous == six[1]


def test_decisions_of_one_moment_are_told_apart(animals: LabelSet, owner: User) -> None:
    six = ids(animals)
    decide(animals, owner, [Decision(image_id, Verdict.NONE) for image_id in six[:3]])
    animals.reviews.update(at=timezone.now())
    middle = place(animals, owner, six[1])
    assert (middle.previous, middle.next) == (six[0], six[2])


def test_from_outside_of_the_list_the_way_leads_into_it(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    six = ids(animals)
    say(animals, colleague, six[3])
    say(animals, owner, six[5])
    decided = place(animals, owner, six[3], order="uncertain")
    assert (decided.previous, decided.next) == (six[5], six[0])
    [bare] = rows.images(animals.project, 1, start=50)
    assert place(animals, owner, bare.pk, order="uncertain").next == six[0]


def test_an_image_that_is_asked_for_comes_to_the_front_and_is_held(many: LabelSet, owner: User) -> None:
    order = ids(many)
    place(many, owner, order="uncertain")
    asked = place(many, owner, order[150], order="uncertain")
    assert (asked.image.pk, asked.next, asked.held_by) == (order[150], order[0], "")
    assert held(owner)[:2] == [order[150], order[0]]


def test_what_is_undone_is_held_again(many: LabelSet, owner: User, colleague: User) -> None:
    [first] = walk(many, owner, 1)
    place(many, colleague)
    undo(many, owner, "labeler", review.next_undo(many, owner))
    again = place(many, owner, first)
    assert again.image.pk == held(owner)[0] == first


def test_equally_certain_images_are_told_apart(project: Project, owner: User) -> None:
    same = rows.label_set(project, "cat", "dog")
    pictures = rows.images(project, 5)
    rows.match(same, pictures, [0.5] * 5)
    assert list(walk(same, owner, order="uncertain")) == [picture.pk for picture in pictures]


def test_the_last_image_has_no_neighbour_and_then_there_is_no_place(project: Project, owner: User) -> None:
    lonely = rows.label_set(project, "cat", "dog")
    rows.match(lonely, rows.images(project, 1))
    only = place(lonely, owner)
    assert only.previous is None and only.next is None
    assert skip_to(lonely, owner, only.image.pk).image == only.image, "skipped, and nothing else is there"
    say(lonely, owner, only.image.pk)
    assert place(lonely, owner) is None


def test_an_image_of_another_project_has_no_place(animals: LabelSet, owner: User) -> None:
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    [theirs] = rows.images(elsewhere, 1)
    assert place(animals, owner, theirs.pk) is None
    assert not Lease.objects.filter(image=theirs).exists()


# Several people


@pytest.mark.parametrize("order", ORDERS)
def test_two_people_never_see_the_same_image(
    many: LabelSet, owner: User, colleague: User, order: str
) -> None:
    shown: dict[User, list[int]] = {owner: [], colleague: []}
    rng = random.Random(1)
    ended: set[User] = set()
    while len(ended) < 2:
        user = rng.choice([owner, colleague])
        here = place(many, user, order=order)
        assert not set(held(owner)) & set(held(colleague))
        if here is None:
            ended.add(user)
            continue
        assert here.next is None or here.next in held(user), "what is loaded ahead is one's own"
        shown[user].append(here.image.pk)
        say(many, user, here.image.pk, rng.choice(["accepted", "none"]))
    assert sorted(shown[owner] + shown[colleague]) == ids(many)
    assert min(map(len, shown.values())) > 50


def test_near_the_end_each_has_something_to_do(animals: LabelSet, owner: User, colleague: User) -> None:
    place(animals, owner)
    place(animals, colleague)
    assert len(held(owner)) == len(held(colleague)) == 2


def test_who_asks_for_an_image_that_somebody_is_at_is_told_so(
    animals: LabelSet, owner: User, colleague: User, login: Callable
) -> None:
    theirs = place(animals, colleague).image.pk
    page = login(owner).get(reverse("review", args=[animals.pk]), {"image": theirs})
    assert page.context["image"].pk == theirs and page.context["held_by"] == "carla"
    assert "carla is at this one now." in page.content.decode()
    assert theirs in held(colleague) and theirs not in held(owner)
    own = login(colleague).get(reverse("review", args=[animals.pk]), {"image": theirs})
    assert "is at this one now" not in own.content.decode()


def test_when_others_are_at_all_that_is_left_the_end_says_so(
    animals: LabelSet, owner: User, colleague: User, login: Callable
) -> None:
    leases.hold(animals, colleague, "their queue", last=ids(animals)[:3])
    leases.hold(animals, join(animals.project, "ben"), "their queue", last=ids(animals)[3:4])
    for image_id in ids(animals)[4:]:
        say(animals, owner, image_id)
    assert with_others(Queue(animals, owner)) == [("ben", 1), ("carla", 3)]
    page = login(owner).get(reverse("review", args=[animals.pk])).content.decode()
    assert "1 image is with ben now, 3 images are with carla now." in page
    assert "images are reviewed" not in page
    decide(animals, colleague, [Decision(image_id, Verdict.NONE) for image_id in ids(animals)[:4]])
    assert (
        "All 6 images are reviewed" in login(owner).get(reverse("review", args=[animals.pk])).content.decode()
    )


def move_clock(monkeypatch: pytest.MonkeyPatch, **by: float) -> None:
    then = timezone.now() + timedelta(**by)
    monkeypatch.setattr(timezone, "now", lambda: then)


def test_what_is_not_gone_on_with_is_free_after_some_minutes(
    animals: LabelSet, owner: User, colleague: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.hold(animals, colleague, Queue(animals, colleague).key, last=ids(animals))
    move_clock(monkeypatch, minutes=4)
    assert place(animals, owner) is None
    place(animals, colleague)
    move_clock(monkeypatch, minutes=4)
    assert place(animals, owner) is None, "held longer when the person went on"
    move_clock(monkeypatch, minutes=2)
    mine = place(animals, owner)
    assert mine is not None and held(colleague) == []
    assert place(animals, colleague).image != mine.image


def test_who_comes_back_late_goes_on_where_nobody_came_between(
    many: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place(many, owner).image
    move_clock(monkeypatch, hours=3)
    assert place(many, owner).image == first


def test_who_leaves_frees_the_images_for_others(
    animals: LabelSet, owner: User, colleague: User, login: Callable
) -> None:
    queue = Queue(animals, colleague)
    leases.hold(animals, colleague, queue.key, last=ids(animals))
    client = login(colleague)
    page = client.get(reverse("review", args=[animals.pk]))
    assert place(animals, owner) is None
    left = {"queue": queue.key, "until": page.context["place"].until.isoformat()}
    assert f'data-queue="{queue.key}" data-until="{left["until"]}"' in page.content.decode()
    assert client.post(reverse("leave", args=[animals.pk]), left).status_code == 204
    assert held(colleague) == [] and place(animals, owner) is not None


def test_a_page_that_is_left_takes_nothing_from_one_that_was_opened_after_it(
    animals: LabelSet, colleague: User, login: Callable
) -> None:
    client, address = login(colleague), reverse("review", args=[animals.pk])
    first = client.get(address).context["place"]
    client.get(address)
    mine = held(colleague)
    left = {"queue": first.queue.key, "until": first.until.isoformat()}
    client.post(reverse("leave", args=[animals.pk]), left)
    assert held(colleague) == mine != []
    assert client.post(reverse("leave", args=[animals.pk]), {"until": "soon"}).status_code == 400
    assert client.post(reverse("leave", args=[animals.pk]), {}).status_code == 400


def test_nobody_leaves_for_another(
    animals: LabelSet, owner: User, colleague: User, stranger: User, member: Callable, login: Callable
) -> None:
    place(animals, colleague)
    before = held(colleague)
    left = {"queue": Queue(animals, colleague).key, "until": "2099-01-01T00:00:00Z"}
    for user, status in ((owner, 204), (member("viewer"), 403), (stranger, 404)):
        assert login(user).post(reverse("leave", args=[animals.pk]), left).status_code == status
        assert held(colleague) == before


def test_another_queue_of_ones_own_takes_images_over(many: LabelSet, owner: User) -> None:
    place(many, owner, order="uncertain")
    first = ids(many)[0]
    asked = place(many, owner, first, order="newest")
    assert asked.image.pk == first and asked.held_by == ""
    assert Lease.objects.get(image=first).queue == Queue(many, owner, "newest").key


def test_what_is_settled_elsewhere_leaves_the_list(many: LabelSet, owner: User, colleague: User) -> None:
    first, second = fill(Queue(many, owner))[0][:2]
    say(many, colleague, first, "none")
    assert place(many, owner).image.pk == second
    assert not Lease.objects.filter(image=first).exists()


# Votes, assignments, search lines


def test_with_several_votes_an_image_comes_to_each_person_once(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    animals.refresh_from_db()
    assert sorted(walk(animals, owner)) == ids(animals)
    assert place(animals, owner) is None
    assert sorted(walk(animals, colleague)) == ids(animals)
    assert place(animals, join(animals.project, "third")) is None, "two votes settle them"


def test_a_vote_that_was_taken_back_is_asked_for_again(animals: LabelSet, owner: User) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    animals.refresh_from_db()
    shown = list(walk(animals, owner))
    undo(animals, owner, "labeler", review.next_undo(animals, owner))
    assert place(animals, owner).image.pk == shown[-1]


def test_who_has_voted_everywhere_is_told_that_others_have_not(
    animals: LabelSet, owner: User, login: Callable
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    animals.refresh_from_db()
    assert len(list(walk(animals, owner))) == 6
    page = login(owner).get(reverse("review", args=[animals.pk])).content.decode()
    assert "Nothing waits for you" in page and "6 images wait for other people’s answers" in page


def assign(label_set: LabelSet, user: User, image_ids: list[int]) -> None:
    batch = Batch.objects.create(label_set=label_set, user=user, kind="assign", assignee=user)
    for image_id in image_ids:
        Assignment.objects.create(label_set=label_set, image_id=image_id, user=user, batch=batch)


def test_ones_assigned_images_come_first_and_those_of_others_not_at_all(
    many: LabelSet, owner: User, colleague: User
) -> None:
    order = ids(many)
    assign(many, owner, order[100:110])
    assign(many, colleague, order[:20])
    mine = list(walk(many, owner))
    assert sorted(mine[:10]) == order[100:110]
    assert sorted(mine) == order[20:]
    assert sorted(walk(many, colleague)) == order[:20]


def test_an_image_assigned_to_several_comes_to_each_of_them(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    assign(animals, owner, ids(animals))
    assign(animals, colleague, ids(animals))
    assert {*fill(Queue(animals, owner))[0], *fill(Queue(animals, colleague))[0]} <= {*ids(animals)}
    leases.leave(animals, colleague)
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    animals.refresh_from_db()
    assert sorted(walk(animals, owner)) == sorted(walk(animals, colleague)) == ids(animals)


def test_a_queue_is_narrowed_to_some_images(many: LabelSet, owner: User) -> None:
    some = ids(many)[50:80]
    narrowed = many.images().filter(pk__in=some, status="unreviewed")
    assert sorted(walk(many, owner, query="these", images=narrowed)) == some
    assert standing(many).left == 170


def test_what_is_settled_is_reviewed_once_more_where_that_is_asked_for(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    six = ids(animals)
    say(animals, colleague, six[0])
    say(animals, owner, six[1])
    assign(animals, colleague, six[:1])
    began = timezone.now().timestamp()
    which = {"images": animals.images().filter(pk__in=six[:3]), "settled": True, "since": began}
    assert sorted(walk(animals, owner, **which)) == six[:3]
    assert place(animals, owner, **which) is None
    undo(animals, owner, "labeler", review.next_undo(animals, owner))
    assert place(animals, owner, **which) is not None


# Counts


def test_counts_follow_what_is_there(animals: LabelSet, owner: User) -> None:
    first, second, *_ = ids(animals)
    [bare, _] = rows.images(animals.project, 2, start=50)
    say(animals, owner, first)
    cat = animals.labels.get(name="cat").pk
    decide(animals, owner, [Decision(bare.pk, Verdict.CORRECTED, cat), Decision(second, Verdict.SKIPPED)])
    assert standing(animals)._asdict() == {"total": 8, "left": 5, "unscored": 1, "reviewed": 2}


# The page


def test_the_order_is_chosen_on_the_page_and_goes_along(many: LabelSet, owner: User, login: Callable) -> None:
    client, address = login(owner), reverse("review", args=[many.pk])
    page = client.get(address, {"order": "newest", "since": "12.5", "q": "name:image"})
    shown = page.content.decode()
    assert '<option value="newest" selected>Newest</option>' in shown
    assert (
        f"?image={page.context['place'].next}&amp;q=name%3Aimage&amp;order=newest&amp;since=12.500000"
        in shown
    )
    for field in (
        'name="order" value="newest"',
        'name="q" value="name:image"',
        'name="since" value="12.500000"',
    ):
        assert field in shown
    data = {"image": page.context["image"].pk, "verdict": "accepted", "page": "review"}
    kept = {"order": "newest", "q": "name:image", "since": "12.500000"}
    answer = client.post(reverse("decide", args=[many.pk]), data | kept)
    following = ids(many)[-2]
    assert answer.url == f"{address}?image={following}&q=name%3Aimage&order=newest&since=12.500000"
    answer = client.post(reverse("undo", args=[many.pk]), {"page": "review"} | kept, **HTMX)
    assert (
        answer["HX-Replace-Url"]
        == f"{address}?image={ids(many)[-1]}&q=name%3Aimage&order=newest&since=12.500000"
    )


@pytest.mark.parametrize("since", ["x", "-1", "1e300", "9" * 30, "٣", "1.1.1", "inf"])
def test_nonsense_in_the_address_is_the_usual_queue(
    animals: LabelSet, owner: User, login: Callable, since: str
) -> None:
    page = login(owner).get(reverse("review", args=[animals.pk]), {"order": "x", "since": since})
    assert page.status_code == 200
    assert (page.context["queue"].order, page.context["queue"].since) == ("teaches", 0)


def test_what_comes_next_is_told_by_the_list(many: LabelSet, owner: User, login: Callable) -> None:
    client, shown = login(owner), []
    page = client.get(reverse("review", args=[many.pk]))
    for _ in range(25):
        shown.append(page.context["image"].pk)
        following = page.context["place"].next
        data = {"image": shown[-1], "verdict": "accepted", "page": "review"}
        page = client.post(reverse("decide", args=[many.pk]), data, **HTMX)
        assert page.context["image"].pk == following, "the one that was loaded ahead"
    assert len(set(shown)) == 25


def test_a_page_that_is_looked_at_asks_as_often_for_many_as_for_few(
    project: Project, owner: User, login: Callable
) -> None:
    client, counted = login(owner), []
    for clusters in (10, 60):
        label_set = clustered(Project.objects.create(name="P", slug=f"p{clusters}"), clusters, 10)
        Membership.objects.create(project=label_set.project, user=owner, role=Role.OWNER)
        for image_id in ids(label_set)[::2]:
            say(label_set, owner, image_id)
        for _ in ("opened", "looked at again"):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(reverse("review", args=[label_set.pk])).status_code == 200
            counted.append(len(asked))
        data = {"image": held(owner)[0], "verdict": "none", "page": "review"}
        with CaptureQueriesContext(connection) as asked:
            assert client.post(reverse("decide", args=[label_set.pk]), data, **HTMX).status_code == 200
        counted.append(len(asked))
        leases.leave(label_set, owner)
    assert counted[:3] == counted[3:] and max(counted) < 45


# The API


def test_the_api_gives_ones_next_images_and_takes_them_back(
    many: LabelSet, owner: User, colleague: User, login: Callable
) -> None:
    client, address = login(owner), reverse("api-queue", args=[many.pk])
    [first, second] = client.get(address, {"order": "uncertain", "limit": 2}).json()["results"]
    match = Match.objects.get(image=ids(many)[0])
    assert first | {"until": ""} == {
        "image": match.image_id,
        "file_name": "image 00000.jpg",
        "label": match.label_id,
        "probability": match.probability,
        "margin": match.margin,
        "seen": "",
        "until": "",
    }
    assert second["image"] == ids(many)[1]
    left = datetime.fromisoformat(first["until"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    theirs = login(colleague).get(address, {"order": "uncertain", "limit": 20}).json()["results"]
    assert len(theirs) == 20 and not {each["image"] for each in theirs} & set(held(owner))
    assert client.delete(address).status_code == 204
    assert held(owner) == [] and held(colleague) != []


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 21}, {"limit": "x"}, {"order": "best"}, {"q": 501 * "a "}]
)
def test_the_api_refuses_what_there_is_not(
    animals: LabelSet, owner: User, login: Callable, asked: dict
) -> None:
    answer = login(owner).get(reverse("api-queue", args=[animals.pk]), asked)
    assert answer.status_code == 400 and pointers(answer) == [f"/{name}" for name in asked]
    assert not Lease.objects.exists()


def test_the_api_asks_as_often_for_twenty_as_for_one(many: LabelSet, owner: User, login: Callable) -> None:
    client, counted = login(owner), []
    for limit in (1, 20):
        with CaptureQueriesContext(connection) as asked:
            answer = client.get(reverse("api-queue", args=[many.pk]), {"limit": limit})
        counted.append(len(asked))
        assert len(answer.json()["results"]) == limit
        leases.leave(many, owner)
    assert counted[0] == counted[1]


def test_a_look_that_comes_after_the_page_was_left_holds_nothing(
    animals: LabelSet, owner: User, login: Callable
) -> None:
    client, address = login(owner), reverse("review", args=[animals.pk])
    following = client.get(address).context["place"].next
    client.delete(reverse("api-queue", args=[animals.pk]))
    assert client.get(address, {"image": following}, **HTMX).context["image"].pk == following
    assert held(owner) == []


def test_on_a_full_disk_one_can_still_look(
    many: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place(many, owner).image
    leases.leave(many, owner)

    def full(*args: Any, **options: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(leases, "hold", full)
    assert place(many, owner).image == first and not held(owner)
