"""What votes come to, as tables of answers; who sees which; and how many are asked for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from gallery.models import Membership, Project
from labeling import batches, label_sets, review, votes
from labeling.label_sets import LabelSpec
from labeling.models import Batch, LabelSet, Review
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

START = datetime(2026, 1, 1, tzinfo=UTC)
CAT, DOG, NONE = 1, 2, None


def said(*answers: str) -> list[Review]:
    """Reviews as a table has them, oldest first: `anna:cat`, `bert:none`, `rita!dog` (it settles), `?:cat`.

    A question mark is somebody who left.
    """
    people = {"anna": 1, "bert": 2, "carl": 3, "rita": 4, "?": None}
    labels = {"cat": CAT, "dog": DOG, "none": NONE}
    reviews = []
    for number, answer in enumerate(answers, 1):
        settles = "!" in answer
        who, what = answer.split("!" if settles else ":")
        verdict = Verdict.NONE if what == "none" else Verdict.CORRECTED
        at = START + timedelta(seconds=number)
        reviews.append(
            Review(
                pk=number, user_id=people[who], label_id=labels[what], verdict=verdict, settles=settles, at=at
            )
        )
    return reviews


@pytest.mark.parametrize(
    ("answers", "asked", "expected"),
    [
        ([], 1, None),
        ([], 2, None),
        # One vote: the last word counts, whoever says it.
        (["anna:cat"], 1, "cat 1"),
        (["anna:cat", "bert:dog"], 1, "dog 2"),
        (["anna:cat", "bert:none"], 1, "none 2"),
        (["rita!cat", "anna:dog"], 1, "dog 2"),
        # Several: none is enough alone, however often it is given.
        (["anna:cat"], 2, None),
        (["anna:cat", "anna:cat", "anna:dog"], 2, None),
        (["anna:cat", "bert:cat"], 2, "cat 2"),
        (["anna:none", "bert:none"], 2, "none 2"),
        (["anna:cat", "bert:dog"], 2, "disputed 2"),
        (["anna:cat", "bert:none"], 2, "disputed 2"),
        (["anna:cat", "bert:cat"], 3, None),
        (["anna:cat", "bert:dog"], 3, None),
        (["anna:cat", "bert:cat", "carl:cat"], 3, "cat 3"),
        # No majority settles: that is for a reviewer.
        (["anna:cat", "bert:cat", "carl:dog"], 3, "disputed 3"),
        # More than were asked for all count.
        (["anna:cat", "bert:cat", "carl:dog"], 2, "disputed 3"),
        (["anna:cat", "bert:cat", "carl:cat"], 2, "cat 3"),
        # Who changes their mind has one vote, the last.
        (["anna:dog", "bert:cat", "anna:cat"], 2, "cat 3"),
        (["anna:cat", "bert:cat", "anna:dog"], 2, "disputed 3"),
        (["anna:cat", "bert:dog", "bert:cat"], 2, "cat 3"),
        # A reviewer's word stands over votes before it and after it; the last of several words.
        (["rita!cat"], 2, "cat 1"),
        (["anna:cat", "bert:dog", "rita!dog"], 2, "dog 3"),
        (["anna:cat", "bert:dog", "rita!none"], 2, "none 3"),
        (["rita!cat", "anna:dog", "bert:dog"], 2, "cat 1"),
        (["rita!cat", "rita!dog"], 2, "dog 2"),
        # Nothing tells people who left apart: none of their answers is lost.
        (["?:cat", "?:cat"], 2, "cat 2"),
        (["?:cat", "?:dog"], 2, "disputed 2"),
        (["?:cat", "anna:cat"], 2, "cat 2"),
    ],
)
def test_what_answers_come_to(answers: list[str], asked: int, expected: str | None) -> None:
    answer = votes.settled(said(*answers), asked)
    if expected is None:
        assert answer is None
        return
    what, number = expected.split()
    assert answer.at == START + timedelta(seconds=int(number)), "it is as old as the answer that made it so"
    if what == "disputed":
        assert answer[:3] == ("disputed", None, None), "nobody decided it"
    else:
        last = said(*answers)[int(number) - 1]
        assert answer[:3] == (last.verdict, {"cat": CAT, "dog": DOG, "none": NONE}[what], last.user_id)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], []),
        (["anna:cat", "bert:dog"], [1, 2]),
        (["anna:cat", "bert:dog", "anna:dog"], [2, 3]),
        (["anna:cat", "anna:dog", "anna:cat"], [3]),
        (["?:cat", "anna:cat", "?:cat"], [1, 2, 3]),
    ],
)
def test_each_person_has_one_vote_the_last(answers: list[str], expected: list[int]) -> None:
    assert [vote.pk for vote in votes.given(said(*answers))] == expected


# On rows


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images, matched cat, dog, bird, cat, dog, bird, that two votes settle."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6))
    made.votes = 2
    made.save()
    return made


@pytest.fixture
def anna(member: Callable[[str], User]) -> User:
    return member("labeler")


@pytest.fixture
def rita(member: Callable[[str], User]) -> User:
    return member("reviewer")


def vote(label_set: LabelSet, user: User, number: int, name: str, settles: bool = False) -> None:
    image = label_set.project.images.order_by("pk")[number]
    label = label_set.labels.get(name=name).pk if name != "none" else None
    verdict = Verdict.CORRECTED if label else Verdict.NONE
    decide(label_set, user, [Decision(image.pk, verdict, label)], settles=settles)


def answers(label_set: LabelSet) -> list[str]:
    """Of each image in turn: the label that is settled, none, disputed, or a dot where nothing is."""
    found = {row.image_id: row for row in label_set.annotations.select_related("label")}
    told = (found.get(pk) for pk in label_set.project.images.order_by("pk").values_list("pk", flat=True))
    return [(row.label.name if row.label else row.status) if row else "." for row in told]


def seen(label_set: LabelSet, user: User) -> list[tuple[int, str, str]]:
    """What this person may see: number of the image, who, what."""
    role = label_set.project.memberships.get(user=user).role
    first = label_set.project.images.order_by("pk").first().pk
    shown = votes.visible(label_set, user, role, label_set.reviews.order_by("pk"))
    return [(row.image_id - first, row.user.username, row.label_name or row.verdict) for row in shown]


def test_a_vote_is_seen_by_its_giver_alone_until_it_is_settled(
    animals: LabelSet, anna: User, rita: User, owner: User
) -> None:
    vote(animals, anna, 0, "cat")
    assert seen(animals, anna) == [(0, "labeler", "cat")]
    assert seen(animals, rita) == seen(animals, owner) == []
    vote(animals, rita, 0, "cat")
    both = [(0, "labeler", "cat"), (0, "reviewer", "cat")]
    assert seen(animals, anna) == seen(animals, rita) == seen(animals, owner) == both


def test_a_disputed_image_shows_its_votes_to_reviewers_and_to_those_who_voted(
    animals: LabelSet, anna: User, rita: User, owner: User, project: Project
) -> None:
    bert, vera = User.objects.create_user("bert"), User.objects.create_user("vera")
    Membership.objects.create(project=project, user=bert, role="labeler")
    Membership.objects.create(project=project, user=vera, role="viewer")
    vote(animals, anna, 0, "cat")
    vote(animals, bert, 0, "dog")
    both = [(0, "labeler", "cat"), (0, "bert", "dog")]
    assert seen(animals, anna) == seen(animals, bert) == seen(animals, rita) == seen(animals, owner) == both
    assert seen(animals, vera) == []
    carl = User.objects.create_user("carl")
    Membership.objects.create(project=project, user=carl, role="labeler")
    image = project.images.order_by("pk")[0]
    decide(animals, carl, [Decision(image.pk, Verdict.SKIPPED)])
    assert seen(animals, carl) == [(0, "carl", "skipped")], "who skipped it may still vote"
    vote(animals, rita, 0, "dog", settles=True)
    assert len(seen(animals, vera)) == len(seen(animals, carl)) == 4


def test_what_was_taken_back_stays_blind_but_for_ones_own(animals: LabelSet, anna: User, rita: User) -> None:
    vote(animals, anna, 0, "cat")
    review.undo(animals, rita, "reviewer", Review.objects.get().batch_id)
    assert seen(animals, anna) == [(0, "labeler", "cat"), (0, "reviewer", "cat")], "who took it back as well"
    assert seen(animals, rita) == [(0, "reviewer", "cat")], "what they took back, as they know"
    batch = Review.objects.order_by("pk").last().batch_id
    review.redo(animals, rita, "reviewer", batch)
    vote(animals, anna, 1, "cat")
    review.undo(animals, anna, "labeler", review.next_undo(animals, anna))
    assert all(number == 0 for number, *_ in seen(animals, rita))


def test_where_one_vote_settles_everything_is_seen(animals: LabelSet, anna: User, owner: User) -> None:
    vote(animals, anna, 0, "cat")
    animals.votes = 1
    assert seen(animals, owner) == [(0, "labeler", "cat")]


# How many are asked for


def test_a_change_settles_anew_what_was_answered(
    animals: LabelSet, anna: User, rita: User, owner: User
) -> None:
    batches.ask_votes(animals, owner, 1)
    for number, names in enumerate(["cat", "cat cat", "cat dog", "cat cat cat", "cat cat dog"]):
        for user, name in zip((anna, rita, owner), names.split(), strict=False):
            vote(animals, user, number, name)
    assert answers(animals) == ["cat", "cat", "dog", "cat", "dog", "."]
    batches.ask_votes(animals, owner, 2)
    assert answers(animals) == [".", "cat", "disputed", "cat", "disputed", "."]
    batches.ask_votes(animals, owner, 3)
    assert answers(animals) == [".", ".", ".", "cat", "disputed", "."]
    before = batches.ask_votes(animals, owner, 1)
    assert (before.kind, before.total, before.state) == ("votes", 5, "done")
    assert answers(animals) == ["cat", "cat", "dog", "cat", "dog", "."]
    assert batches.ask_votes(animals, owner, 1) is None
    assert Batch.objects.filter(kind="votes").count() == 4


def test_a_change_about_many_images_is_a_workers_and_comes_to_the_same(
    project: Project, owner: User, anna: User
) -> None:
    made = rows.label_set(project, "cat", "dog")
    images = rows.images(project, 450)
    rows.match(made, images)
    decide(made, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images])
    decide(made, anna, [Decision(image.pk, Verdict.ACCEPTED) for image in images[:100]])
    decide(made, anna, [Decision(image.pk, Verdict.NONE) for image in images[100:150]])
    for asked, agreed, disputed in ((2, 100, 50), (3, 0, 0), (2, 100, 50), (1, 400, 0)):
        batch = batches.ask_votes(made, owner, asked)
        assert batch.state == "running" and made.votes == asked
        batches.carry_out_waiting(lambda: False)
        batch.refresh_from_db()
        assert batch.state == "done" and batches.done(batch) == (450, 0)
        found = list(made.annotations.values_list("status", flat=True))
        assert (found.count("accepted"), found.count("disputed")) == (agreed, disputed)


@pytest.mark.parametrize("asked", [0, -1, 10])
def test_no_other_number_is_asked_for(animals: LabelSet, owner: User, asked: int) -> None:
    with pytest.raises(ValidationError, match="From 1 to 9"):
        batches.ask_votes(animals, owner, asked)
    assert votes.asked(animals) == 2 and not Batch.objects.exists()


def drop(label_set: LabelSet, user: User, name: str) -> None:
    kept = [LabelSpec(label.name, id=label.pk) for label in label_set.labels.exclude(name=name)]
    label_sets.change(label_set, user, labels=kept)


def test_a_label_that_is_voted_for_stays(animals: LabelSet, anna: User, rita: User, owner: User) -> None:
    vote(animals, anna, 0, "bird")
    with pytest.raises(ValidationError, match="“bird” is voted for on 1 image not settled yet"):
        drop(animals, owner, "bird")
    vote(animals, rita, 0, "cat")
    with pytest.raises(ValidationError, match="voted for"):
        drop(animals, owner, "bird")
    vote(animals, rita, 0, "cat", settles=True)
    drop(animals, owner, "bird")
    assert not animals.labels.filter(name="bird").exists()


def test_a_label_that_a_voter_thought_better_of_goes(animals: LabelSet, anna: User, owner: User) -> None:
    vote(animals, anna, 0, "bird")
    vote(animals, anna, 0, "cat")
    drop(animals, owner, "bird")
    assert not animals.labels.filter(name="bird").exists()


def test_a_change_of_the_labels_leaves_the_votes_that_were_asked_for_meanwhile(
    label_set: LabelSet, owner: User
) -> None:
    older = LabelSet.objects.get(pk=label_set.pk)
    batches.ask_votes(label_set, owner, 3)
    label_sets.change(older, owner, name="Other")
    assert votes.asked(label_set) == 3
