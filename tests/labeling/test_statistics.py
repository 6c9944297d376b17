"""How the work stands, against a plain count over what people did."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gallery.access import Role
from gallery.models import Project
from labeling import review
from labeling.label_sets import LabelSpec, change
from labeling.models import Annotation, LabelSet, Review
from labeling.review import Decision, Verdict
from labeling.statistics import Statistics
from labeling.templatetags.figures import duration
from tests.labeling import rows

NOW = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
IMAGES = 40


@pytest.fixture
def label_set(project: Project) -> LabelSet:
    """Forty images, of which 36 have a suggestion."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, IMAGES)[:36])
    return made


@pytest.fixture
def people(owner: User, member: Callable[[str], User]) -> list[User]:
    return [owner, member(Role.REVIEWER), member(Role.LABELER)]


def acted(label_set: LabelSet, people: list[User], seed: int, votes: int = 1) -> list[dict]:
    """A script of decisions, skips and undos over some hours; what stands of it, oldest first."""
    LabelSet.objects.filter(pk=label_set.pk).update(votes=votes)
    label_set.votes = votes
    rng, said = random.Random(seed), []
    images = list(label_set.project.images.order_by("pk"))
    suggested = dict(label_set.matches.values_list("image", "label"))
    labels = [label.pk for label in label_set.labels.all()]
    at = NOW - timedelta(hours=5)
    for _ in range(150):
        at += timedelta(seconds=rng.choice([3, 20, 50, 400]))
        user = rng.choice(people)
        own = [entry for entry in said if entry["user"] == user]
        if own and rng.random() < 0.2:
            taken = rng.choice(own)
            undone = review.undo(label_set, user, "owner", taken["batch"]).images
            said = [
                entry for entry in said if entry["batch"] != taken["batch"] or entry["image"] not in undone
            ]
        else:
            chosen = rng.sample(images, rng.choice([1, 1, 1, 3]))
            verdict = rng.choice(["corrected", "corrected", "none", "skipped"])
            label = rng.choice(labels) if verdict == "corrected" else None
            decisions = [Decision(image.pk, Verdict(verdict), label) for image in chosen]
            batch = review.decide(label_set, user, decisions)
            for image in chosen:
                same = verdict == "corrected" and label == suggested.get(image.pk)
                what = "accepted" if same else verdict
                said.append(
                    {
                        "user": user,
                        "image": image.pk,
                        "verdict": what,
                        "label": label,
                        "at": at,
                        "batch": batch,
                    }
                )
            Review.objects.filter(batch=batch).update(at=at)
    assert len(said) > 50
    return said


def plain(label_set: LabelSet, said: list[dict]) -> dict[str, object]:
    """The same figures by loops over what was said, one vote an image."""
    suggested = dict(label_set.matches.values_list("image", "label"))
    last, by_person = {}, {}
    for entry in said:
        if entry["verdict"] != "skipped":
            last[entry["image"]] = entry
            by_person[entry["user"], entry["image"]] = entry
    for entry in said:
        by_person.setdefault((entry["user"], entry["image"]), entry)
    labels = {}
    for label in label_set.labels.all():
        mine = [image for image, its in suggested.items() if its == label.pk]
        accepted = sum(image in last and last[image]["label"] == label.pk for image in mine)
        away = sum(image in last and last[image]["label"] != label.pk for image in mine)
        settled = sum(entry["label"] == label.pk for entry in last.values())
        labels[label.name] = (len(mine), accepted, away, settled - accepted, settled)
    people = defaultdict(Counter)
    minutes = defaultdict(set)
    for (user, _), entry in by_person.items():
        people[user.username][entry["verdict"]] += 1
        if entry["verdict"] != "skipped":
            minutes[user.username].add(entry["at"].replace(second=0))
            people[user.username]["last_hour"] += entry["at"] > NOW - timedelta(hours=1)
    return {
        "settled": len(last),
        "waiting": len(set(suggested) - set(last)),
        "unscored": IMAGES - len(set(suggested) | set(last)),
        "labels": labels,
        "people": {name: (dict(+counts), len(minutes[name])) for name, counts in people.items()},
    }


def told(statistics: Statistics) -> dict[str, object]:
    names = ("accepted", "corrected", "none", "skipped", "last_hour")
    return {
        "settled": statistics.settled,
        "waiting": statistics.waiting,
        "unscored": statistics.unscored,
        "labels": {
            of.label.name: (of.suggested, of.accepted, of.corrected_away, of.corrected_to, of.settled)
            for of in statistics.labels
        },
        "people": {
            person.username: (
                {name: getattr(person, name) for name in names if getattr(person, name)},
                person.minutes,
            )
            for person in statistics.people
        },
    }


@pytest.mark.parametrize("seed", range(2))
def test_the_figures_are_what_a_plain_count_says(label_set: LabelSet, people: list[User], seed: int) -> None:
    said = acted(label_set, people, seed)
    statistics = Statistics(label_set, NOW)
    assert told(statistics) == plain(label_set, said)
    assert statistics.total == statistics.settled + statistics.waiting + statistics.unscored
    assert statistics.left == statistics.waiting
    for of in statistics.labels:
        decided = of.accepted + of.corrected_away
        assert of.precision == (of.accepted / decided if decided else None)
    precisions = [of.precision for of in statistics.weakest if of.precision is not None]
    assert all(weaker <= stronger for weaker, stronger in pairwise(precisions))


@pytest.mark.parametrize("seed", range(2))
def test_with_several_votes_each_is_counted_and_a_dispute_is_not_settled(
    label_set: LabelSet, people: list[User], seed: int
) -> None:
    said = acted(label_set, people, seed, votes=2)
    statistics = Statistics(label_set, NOW)
    voters, words = defaultdict(set), {}
    for entry in said:
        if entry["verdict"] != "skipped":
            voters[entry["image"]].add(entry["user"])
            words[entry["image"], entry["user"]] = entry["label"]
    disputed = {
        image
        for image, who in voters.items()
        if len(who) > 1 and len({words[image, user] for user in who}) > 1
    }
    voted = {image for image, who in voters.items() if len(who) > 1}
    suggested = set(label_set.matches.values_list("image", flat=True))
    waiting = suggested - voted
    assert (statistics.settled, statistics.disputed) == (len(voted - disputed), len(disputed)) and disputed
    assert statistics.waiting == len(waiting)
    assert statistics.votes_asked == 2 * IMAGES
    assert statistics.votes_given == sum(min(2, len(who)) for who in voters.values())
    assert statistics.left == sum(2 - len(voters[image]) for image in waiting)


def test_pace_is_by_the_minutes_in_which_people_decide(label_set: LabelSet, owner: User) -> None:
    """Six images in two minutes, two of them in the last hour; thirty wait."""
    images = list(label_set.project.images.order_by("pk")[:6])
    for number, image in enumerate(images):
        batch = review.decide(label_set, owner, [Decision(image.pk, Verdict.ACCEPTED)])
        ago = timedelta(minutes=90) if number < 4 else timedelta(minutes=10)
        Review.objects.filter(batch=batch).update(at=NOW - ago + timedelta(seconds=number))
    statistics = Statistics(label_set, NOW)
    assert (statistics.pace, statistics.last_hour, statistics.left) == (3, 2, 30)
    assert statistics.work_left == timedelta(minutes=10)
    assert statistics.time_left == timedelta(hours=15)
    assert Statistics(label_set, NOW + timedelta(days=1)).time_left is None


def test_what_is_undone_is_as_if_nobody_had_said_it(label_set: LabelSet, owner: User) -> None:
    before = told(Statistics(label_set))
    ids = list(label_set.matches.values_list("image", flat=True))
    batch = review.decide(label_set, owner, [Decision(pk, Verdict.ACCEPTED) for pk in ids])
    assert Statistics(label_set).settled == Statistics(label_set).last_hour == 36
    review.undo(label_set, owner, "owner", batch)
    assert told(Statistics(label_set)) == before
    [undoing] = label_set.batches.filter(kind="undo")
    review.redo(label_set, owner, "owner", undoing.pk)
    assert Statistics(label_set).people[0].accepted == 36


def test_people_and_labels_that_are_gone_spoil_nothing(
    label_set: LabelSet, owner: User, member: Callable[[str], User]
) -> None:
    labeler = member(Role.LABELER)
    first, second = label_set.matches.order_by("pk")[:2]
    review.decide(label_set, labeler, [Decision(first.image_id, Verdict.ACCEPTED)])
    batch = review.decide(label_set, owner, [Decision(second.image_id, Verdict.ACCEPTED)])
    review.undo(label_set, owner, "owner", batch)
    change(
        label_set, owner, labels=[LabelSpec("cat", id=label_set.labels.get(name="cat").pk), LabelSpec("x")]
    )
    labeler.delete()
    statistics = Statistics(LabelSet.objects.get(pk=label_set.pk))
    [person] = statistics.people
    assert (person.username, person.decided) == (None, 1)
    assert {of.label.name: of.settled for of in statistics.labels} == {"cat": 1, "x": 0}
    assert Annotation.objects.get().label.name == "cat"


# Page and API


def test_the_page_says_it_to_every_member(
    label_set: LabelSet, people: list[User], member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    acted(label_set, people, 1)
    address, counted = reverse("statistics", args=[label_set.pk]), Statistics(label_set)
    shown = login(member(Role.VIEWER)).get(address).text
    assert f"{counted.settled} of {IMAGES} images settled" in shown
    assert "reviewer" in shown and "labeler" in shown and "you" not in shown[shown.index("People") :]
    assert 'aria-current="page">Progress' in shown and "votes given" not in shown
    assert "badge" in login(people[0]).get(address).text
    weakest = login(people[0]).get(address, {"order": "weakest"}).context["labels"]
    assert [of.label for of in weakest] == [of.label for of in counted.weakest]


def test_the_page_tells_votes_where_there_are_several(
    label_set: LabelSet, people: list[User], login: Callable[[User], Client]
) -> None:
    acted(label_set, people, 1, votes=3)
    shown = login(people[0]).get(reverse("statistics", args=[label_set.pk])).text
    assert f"votes given of {3 * IMAGES} asked" in shown


def test_an_empty_project_has_a_page_too(
    project: Project, owner: User, login: Callable[[User], Client]
) -> None:
    label_set = rows.label_set(project, "cat", "dog")
    shown = login(owner).get(reverse("statistics", args=[label_set.pk])).text
    assert "0 of 0 images settled" in shown and "Nobody has decided anything yet" in shown
    answer = login(owner).get(reverse("api-statistics", args=[label_set.pk])).json()
    assert (answer["total"], answer["people"], answer["work_left"]) == (0, [], None)


def test_the_api_says_what_the_page_says(
    label_set: LabelSet, people: list[User], login: Callable[[User], Client]
) -> None:
    acted(label_set, people, 2)
    counted = Statistics(label_set)
    answer = login(people[0]).get(reverse("api-statistics", args=[label_set.pk])).json()
    for name in ("total", "settled", "waiting", "unscored", "disputed", "votes_given", "votes_asked", "left"):
        assert answer[name] == getattr(counted, name), name
    assert [row["precision"] for row in answer["labels"]] == [of.precision for of in counted.labels]
    assert [(row["username"], row["decided"], row["images_a_minute"]) for row in answer["people"]] == [
        (person.username, person.decided, person.pace) for person in counted.people
    ]
    assert answer["work_left"] == pytest.approx(counted.work_left.total_seconds())


@pytest.mark.parametrize("name", ["statistics", "api-statistics"])
def test_a_stranger_finds_nothing(
    name: str, label_set: LabelSet, stranger: User, login: Callable[[User | None], Client]
) -> None:
    address = reverse(name, args=[label_set.pk])
    assert login(stranger).get(address).status_code == 404
    assert login(None).get(address).status_code in (302, 401)


def test_many_rows_cost_as_many_queries_as_few(
    project: Project,
    label_set: LabelSet,
    owner: User,
    login: Callable[[User], Client],
    django_assert_num_queries: Callable,
    django_assert_max_num_queries: Callable,
) -> None:
    client, address = login(owner), reverse("statistics", args=[label_set.pk])
    review.decide(label_set, owner, [Decision(label_set.matches.first().image_id, Verdict.ACCEPTED)])
    with django_assert_max_num_queries(15) as few:
        client.get(address)
    for number in range(20):
        user = User.objects.create_user(f"user {number}")
        image = label_set.matches.all()[number].image_id
        review.decide(label_set, user, [Decision(image, Verdict.ACCEPTED)])
    with django_assert_num_queries(len(few)):
        client.get(address)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.2, "less than a minute"), (40, "40 min"), (200, "3 h 20 min"), (120, "2 h"), (2000 * 60, "83 days")],
)
def test_a_duration_is_as_exact_as_helps(minutes: float, words: str) -> None:
    assert duration(timedelta(minutes=minutes)) == words


def test_a_project_without_a_decision_has_no_pace(label_set: LabelSet) -> None:
    statistics = Statistics(label_set, timezone.now())
    assert (statistics.pace, statistics.work_left, statistics.people) == (None, None, [])
    assert all(of.precision is None for of in statistics.labels)
