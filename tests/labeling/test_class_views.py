"""Reviewing a class at a time: who may, what is shown and held, and what one press of a button writes."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from gallery.models import Image, Project
from labeling import leases, review
from labeling.models import Annotation, Batch, Label, LabelSet, Lease, Match, Review
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Twelve images, matched cat, dog, bird in turn; of each class the first is the least certain."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 12), [0.4 + number / 100 for number in range(12)])
    return made


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


@pytest.fixture
def colleague(member: Callable[[str], User]) -> User:
    return member("labeler")


def label(label_set: LabelSet, name: str = "cat") -> Label:
    return label_set.labels.get(name=name)


def proposed(label_set: LabelSet, name: str = "cat") -> list[int]:
    rows_of = label_set.matches.filter(label__name=name).order_by("margin")
    return list(rows_of.values_list("image_id", flat=True))


def open_class(client: Client, label_set: LabelSet, name: str = "cat", **more: object) -> HttpResponse:
    query = urlencode({"label": label(label_set, name).pk} | more)
    return client.get(f"{reverse('classes', args=[label_set.pk])}?{query}")


def shown(answer: HttpResponse) -> list[int]:
    return [match.image_id for match in answer.context["matches"]]


def settle(
    client: Client, label_set: LabelSet, ids: list[int], wrong: dict[int, object], **more: object
) -> HttpResponse:
    """What the form sends that shows these images, the wrong ones ticked. Leads to the next page."""
    corrections = {f"correction-{image_id}": value for image_id, value in wrong.items()}
    sent = {"label": label(label_set).pk, "image": ids, "wrong": list(wrong)} | corrections | more
    return client.post(reverse("classes", args=[label_set.pk]), sent, follow=True)


def said(answer: HttpResponse) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def answers(label_set: LabelSet) -> dict[int, tuple[str, str]]:
    return {
        each.image_id: (each.status, each.label.name if each.label else "")
        for each in label_set.annotations.select_related("label")
    }


# What is shown


def test_all_labels_are_listed_with_how_many_wait(animals: LabelSet, client: Client, owner: User) -> None:
    decide(animals, owner, [Decision(image_id, Verdict.ACCEPTED) for image_id in proposed(animals)[:3]])
    answer = client.get(reverse("classes", args=[animals.pk]))
    found = [(each.label.name, each.waiting, each.total) for each in answer.context["classes"]]
    assert found == [("dog", 4, 4), ("bird", 4, 4), ("cat", 1, 4)]
    assert "9 suggestions wait" in answer.text
    assert f"?label={label(animals).pk}" in answer.text


def test_a_class_shows_what_is_proposed_least_certain_first(animals: LabelSet, client: Client) -> None:
    answer = open_class(client, animals)
    assert shown(answer) == proposed(animals)
    assert len(shown(answer)) == 4 and "Proposed as cat" in answer.text
    match = animals.matches.get(image=proposed(animals)[0])
    assert f'<option value="{match.runner_up_id}">dog</option>' in answer.text, "the runner-up is offered"


def test_what_is_decided_is_not_shown_and_what_was_skipped_comes_last(
    animals: LabelSet, client: Client, owner: User
) -> None:
    first, second, third, fourth = proposed(animals)
    decide(animals, owner, [Decision(first, Verdict.SKIPPED), Decision(third, Verdict.NONE)])
    assert shown(open_class(client, animals)) == [second, fourth, first]


def test_no_more_than_two_hundred_on_a_page(project: Project, client: Client) -> None:
    many = rows.label_set(project, "cat", "dog")
    rows.match(many, rows.images(project, 420))
    first = open_class(client, many)
    assert len(shown(first)) == 200 and "of 210 that wait" in first.text
    answer = settle(client, many, shown(first), {})
    assert len(shown(answer)) == 10, "the rest of the class follows"
    answer = settle(client, many, shown(answer), {})
    assert shown(answer) == [] and "This class is settled" in answer.text
    assert "Next: dog" in answer.text


def test_where_votes_are_asked_for_ones_own_is_asked_for_once(
    animals: LabelSet, client: Client, owner: User, colleague: User, login: Callable
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    first, *others = proposed(animals)
    decide(animals, owner, [Decision(first, Verdict.ACCEPTED)])
    assert not animals.annotations.exists()
    assert shown(open_class(client, animals)) == others
    client.get(reverse("classes", args=[animals.pk]))
    assert shown(open_class(login(colleague), animals)) == [first, *others]


def test_a_thousand_labels_are_listed_once_and_not_with_each_image(project: Project, client: Client) -> None:
    many = rows.label_set(project, *(f"label {number}" for number in range(1000)))
    images = rows.images(project, 60)
    rows.match(many, images)
    Match.objects.update(label=label(many, "label 0"))
    answer = open_class(client, many, "label 0")
    assert len(shown(answer)) == 60
    assert answer.text.count("<option") <= 60 * 4
    assert answer.text.count("label 777") == 1 + answer.text.count('data-words="label 777"')


@pytest.mark.parametrize(("asked", "across"), [("12", 12), ("99", 12), ("1", 4), ("-3", 8), ("x", 8)])
def test_how_many_in_a_row_is_asked_for_by_address(
    animals: LabelSet, client: Client, asked: str, across: int
) -> None:
    assert f'data-across="{across}"' in open_class(client, animals, across=asked).text


@pytest.mark.parametrize("wanted", ["x", "-1", "9" * 30, "0"])
def test_a_label_that_is_not_there_is_not_found(animals: LabelSet, client: Client, wanted: str) -> None:
    address = reverse("classes", args=[animals.pk])
    assert client.get(f"{address}?label={wanted}").status_code == 404
    assert client.post(address, {"label": wanted, "image": proposed(animals)}).status_code in (400, 404)
    assert not Review.objects.exists()


def test_names_are_shown_as_text(project: Project, client: Client) -> None:
    bold = rows.label_set(project, "<b>cat</b>", "<i>dog</i>")
    rows.match(bold, rows.images(project, 2))
    Image.objects.update(name='"><u>name</u>')
    for answer in (client.get(reverse("classes", args=[bold.pk])), open_class(client, bold, "<b>cat</b>")):
        assert "&lt;b&gt;cat" in answer.text
        assert not any(tag in answer.text for tag in ("<b>", "<i>", "<u>"))


def test_a_page_of_many_asks_no_more_than_a_page_of_a_few(project: Project, client: Client) -> None:
    def queries(count: int, *names: str) -> int:
        made = rows.label_set(project, *names)
        rows.match(made, rows.images(project, count, start=Image.objects.count()))
        with CaptureQueriesContext(connection) as asked:
            assert open_class(client, made, names[0]).status_code == 200
            assert client.get(reverse("classes", args=[made.pk])).status_code == 200
        return len(asked)

    few = queries(4, "cat", "dog")
    assert queries(300, "cat", "dog") == few
    assert queries(300, "cat", "dog", *(f"label {number}" for number in range(100))) == few


# Who may, and who holds what


def test_strangers_find_nothing_and_viewers_may_not(
    animals: LabelSet, stranger: User, member: Callable, login: Callable
) -> None:
    for user, status in ((stranger, 404), (member("viewer"), 403)):
        client = login(user)
        assert open_class(client, animals).status_code == status
        assert settle(client, animals, proposed(animals), {}).status_code == status
        assert client.post(reverse("class_undo", args=[animals.pk])).status_code == status
    assert not Lease.objects.exists() and not Review.objects.exists()


def test_nobody_else_is_shown_what_one_person_holds(
    animals: LabelSet, client: Client, colleague: User, login: Callable
) -> None:
    other = login(colleague)
    held = shown(open_class(client, animals))
    assert len(held) == 4
    answer = open_class(other, animals)
    assert shown(answer) == [] and "Others are at it" in answer.text
    assert shown(open_class(client, animals)) == held, "a reload shows the same"
    client.get(reverse("classes", args=[animals.pk]))
    assert shown(open_class(other, animals)) == held, "who leaves gives them back"
    assert shown(open_class(client, animals)) == []
    assert len(shown(open_class(client, animals, "dog"))) == 4


def test_what_is_held_too_long_is_anybodys(
    animals: LabelSet, client: Client, colleague: User, login: Callable
) -> None:
    held = shown(open_class(client, animals))
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert shown(open_class(login(colleague), animals)) == held
    assert set(Lease.objects.values_list("user", flat=True)) == {colleague.pk}


def test_only_what_is_free_can_be_held(animals: LabelSet, owner: User, colleague: User) -> None:
    first, second, third, _ = proposed(animals)
    assert leases.hold_class(animals, colleague, [first], "review") == {first}
    assert leases.hold_class(animals, owner, [first, second], "class-1") == {second}
    Lease.objects.filter(image=second).update(until=timezone.now() + timedelta(seconds=1))
    assert leases.hold_class(animals, owner, [second, third], "class-1") == {second, third}
    assert Lease.objects.get(image=second).until > timezone.now() + timedelta(minutes=5), "held anew"
    assert leases.hold_class(animals, owner, [], "class-1") == set()
    assert leases.hold_class(animals, owner, [10**6], "class-1") == set(), "one that is deleted"


# What is written


def test_the_marked_are_corrected_and_the_rest_is_accepted_as_one_batch(
    animals: LabelSet, client: Client
) -> None:
    first, second, third, fourth = ids = shown(open_class(client, animals))
    answer = settle(client, animals, ids, {first: label(animals, "bird").pk, second: "none", third: "skip"})
    assert answers(animals) == {
        first: ("corrected", "bird"),
        second: ("none", ""),
        fourth: ("accepted", "cat"),
    }
    batch = Batch.objects.get()
    assert batch.reviews.count() == 4
    assert batch.reviews.get(image=third).verdict == "skipped"
    assert said(answer) == "Accepted 1 as cat, corrected 1, 1 is none of these, left out 1."
    assert shown(answer) == [third]


def test_a_decision_is_about_the_label_that_was_seen(animals: LabelSet, client: Client) -> None:
    first, *_ = ids = shown(open_class(client, animals))
    Match.objects.filter(image=first).update(label=label(animals, "dog"))
    settle(client, animals, ids, {})
    assert answers(animals)[first] == ("corrected", "cat")


def test_what_somebody_decided_in_the_meantime_is_left_and_said(
    animals: LabelSet, client: Client, colleague: User
) -> None:
    first, second, *others = ids = shown(open_class(client, animals))
    decide(animals, colleague, [Decision(first, Verdict.NONE)])
    answer = settle(client, animals, ids, {second: label(animals, "dog").pk})
    assert answers(animals)[first] == ("none", "")
    assert Annotation.objects.get(image=first).decided_by == colleague
    assert Review.objects.filter(image=first).count() == 1
    assert answers(animals)[others[0]] == ("accepted", "cat")
    assert "Accepted 2 as cat, corrected 1." in said(answer)
    assert f"1 was left, since somebody decided in the meantime: {Image.objects.get(pk=first)}" in said(
        answer
    )


def test_where_somebody_decided_about_all_of_it_no_batch_is_written(
    animals: LabelSet, client: Client, colleague: User
) -> None:
    ids = shown(open_class(client, animals))
    decide(animals, colleague, [Decision(image_id, Verdict.NONE) for image_id in ids])
    answer = settle(client, animals, ids, {})
    assert "labeler decided in the meantime" in said(answer)
    assert Batch.objects.count() == 1 and answers(animals)[ids[0]] == ("none", "")


def test_an_image_that_was_deleted_is_said_and_stops_nothing(animals: LabelSet, client: Client) -> None:
    first, second, *_ = ids = shown(open_class(client, animals))
    Image.objects.filter(pk=first).delete()
    answer = settle(client, animals, ids, {first: "none", second: "none"})
    assert said(answer) == "Accepted 2 as cat, 1 is none of these. 1 was deleted in the meantime."
    Image.objects.all().delete()
    assert "None of these images is there any more." in said(settle(client, animals, ids, {}))


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"image": []}, "no image to decide about"),
        ({"image": ["x"]}, "“x” is no id of an image"),
        ({"wrong": ["x"]}, "“x” is no id of an image"),
        ({"wrong": [10**9], f"correction-{10**9}": "none"}, "marked wrong, and yet was not shown"),
        ({"correction": None}, "say what it is instead"),
        ({"correction": "cat"}, "“cat” is no label"),
        ({"correction": "999999999"}, "There is no label 999999999"),
        ({"label": ""}, "Say which label"),
        ({"image": list(range(1, 202))}, "At most 200 images"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    animals: LabelSet, client: Client, sent: dict[str, object], sentence: str
) -> None:
    ids = proposed(animals)
    if "correction" in sent:
        sent = {"wrong": ids[:1]} | (
            {f"correction-{ids[0]}": sent["correction"]} if sent["correction"] else {}
        )
    answer = client.post(
        reverse("classes", args=[animals.pk]), {"label": label(animals).pk, "image": ids} | sent
    )
    assert answer.status_code == 400 and sentence in answer.text
    assert not Review.objects.exists() and not Batch.objects.exists()


def test_images_of_another_project_are_none_of_ours(animals: LabelSet, client: Client) -> None:
    other = Project.objects.create(name="Other", slug="other")
    theirs = rows.images(other, 2)
    ids = proposed(animals)
    settle(client, animals, [*ids, theirs[0].pk, theirs[1].pk], {theirs[1].pk: "none"})
    assert set(Review.objects.values_list("image", flat=True)) == set(ids)


# Undo and redo


def history(label_set: LabelSet) -> list[dict[str, object]]:
    return list(label_set.reviews.order_by("pk").values())


def settled_rows(label_set: LabelSet) -> list[dict[str, object]]:
    return list(label_set.annotations.order_by("image").values("image", "label", "status", "decided_at"))


def test_one_undo_brings_every_row_back_as_it_was_and_shows_the_marks_again(
    animals: LabelSet, client: Client, colleague: User
) -> None:
    first, second, third, fourth = ids = proposed(animals)
    undone_before = decide(animals, colleague, [Decision(first, Verdict.NONE)])
    review.undo(animals, colleague, "labeler", undone_before)
    dogs = proposed(animals, "dog")
    decide(animals, colleague, [Decision(image_id, Verdict.ACCEPTED) for image_id in dogs])
    before, answered = history(animals), settled_rows(animals)

    bird = label(animals, "bird").pk
    settle(client, animals, shown(open_class(client, animals)), {second: bird, third: "none"})
    assert len(settled_rows(animals)) == len(answered) + 4
    answer = client.post(
        reverse("class_undo", args=[animals.pk]), {"label": label(animals).pk, "across": 6}, follow=True
    )

    assert settled_rows(animals) == answered
    after = history(animals)
    assert after[: len(before)] == before, "what was there before is as it was"
    assert [row["verdict"] for row in after[len(before) + 4 :]] == ["undone"] * 4
    assert "4 images taken back." in said(answer)
    assert shown(answer) == ids and 'data-across="6"' in answer.text
    marks = {match.image_id: match.said for match in answer.context["matches"]}
    assert marks == {first: "", second: str(bird), third: "none", fourth: ""}
    assert answer.text.count(" checked") == 2

    answer = client.post(reverse("class_undo", args=[animals.pk]), {"redo": "yes"}, follow=True)
    assert answers(animals)[second] == ("corrected", "bird") and answers(animals)[first] == (
        "accepted",
        "cat",
    )
    assert "4 images done again." in said(answer) and shown(answer) == []


def test_undo_leaves_what_somebody_decided_later(animals: LabelSet, client: Client, colleague: User) -> None:
    ids = shown(open_class(client, animals))
    settle(client, animals, ids, {})
    decide(animals, colleague, [Decision(ids[0], Verdict.NONE)])
    answer = client.post(reverse("class_undo", args=[animals.pk]), follow=True)
    assert answers(animals) == {ids[0]: ("none", "")}
    assert "3 images taken back. 1 stays as it is: somebody decided later." in said(answer)


def test_nothing_to_undo_or_redo_is_no_error(animals: LabelSet, client: Client, colleague: User) -> None:
    decide(animals, colleague, [Decision(proposed(animals)[0], Verdict.NONE)])
    for sent, words in (({}, "nothing to undo"), ({"redo": "yes"}, "nothing to redo")):
        answer = client.post(reverse("class_undo", args=[animals.pk]), sent, follow=True)
        assert answer.status_code == 200 and words in said(answer)
    assert Annotation.objects.get().decided_by == colleague, "undo is about one's own"


def test_marks_of_another_person_or_of_nonsense_are_not_shown(
    animals: LabelSet, client: Client, colleague: User
) -> None:
    batch = decide(animals, colleague, [Decision(proposed(animals)[0], Verdict.NONE)])
    review.undo(animals, colleague, "labeler", batch)
    for again in (batch, "x", ""):
        assert " checked" not in open_class(client, animals, again=again).text


# The API


def test_two_hundred_decisions_by_api_are_one_batch_that_leaves_what_is_stale(
    project: Project, client: Client, colleague: User
) -> None:
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, 400))
    ids = proposed(made)[:200]
    decide(made, colleague, [Decision(ids[0], Verdict.NONE)])
    dog = label(made, "dog").pk
    reviews = [
        {"image": image_id, "verdict": "accepted", "seen": ""}
        if number % 20
        else {"image": image_id, "verdict": "corrected", "label": dog, "seen": ""}
        for number, image_id in enumerate(ids)
    ]
    address = f"/api/v1/label-sets/{made.pk}/reviews/"
    answer = client.post(address, {"reviews": reviews}, content_type="application/json")
    assert answer.status_code == 409 and made.annotations.count() == 1

    sent = {"reviews": reviews, "leave_stale": True}
    answer = client.post(address, sent, content_type="application/json")
    assert answer.status_code == 201 and answer.json()["left"] == [ids[0]]
    assert len(answer.json()["decided"]) == 199
    batch = Batch.objects.get(pk=answer.json()["batch"])
    assert batch.reviews.count() == 199 == batch.total
    assert made.annotations.filter(status="corrected").count() == 9

    answer = client.post(address, sent, content_type="application/json")
    assert answer.status_code == 409 and Batch.objects.count() == 2, "nothing is left to write"
