"""Images given to members: by filter, count and share, nothing twice, taken back whole."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from gallery import members
from gallery.access import Role
from gallery.models import Image, Membership, Project
from labeling import assignments, batches, review
from labeling.assignments import Order, Plan, Split
from labeling.models import Assignment, Batch, LabelSet
from labeling.review import Decision, Verdict
from tests.labeling import rows

IMAGES = 20
JSON = "application/json"


@pytest.fixture
def label_set(project: Project) -> LabelSet:
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, IMAGES), [0.99 - number / 50 for number in range(IMAGES)])
    return made


@pytest.fixture
def team(label_set: LabelSet) -> dict[str, Membership]:
    """Anna, Ben and Eva label; Vera only looks."""
    return {
        name: Membership.objects.create(
            project=label_set.project, user=User.objects.create_user(name), role=role
        )
        for name, role in (
            ("anna", Role.LABELER),
            ("ben", Role.LABELER),
            ("eva", Role.REVIEWER),
            ("vera", Role.VIEWER),
        )
    }


def planned(label_set: LabelSet, *people: Membership, **options: object) -> Plan:
    return assignments.plan(label_set, label_set.images(), people, **options)


def give(label_set: LabelSet, owner: User, *people: Membership, **options: object) -> list[Batch]:
    return batches.assign(label_set, owner, planned(label_set, *people, **options).parts)


def sizes(plan: Plan) -> list[int]:
    return [len(image_ids) for _, image_ids in plan.parts]


def accept(label_set: LabelSet, user: User, *image_ids: int) -> None:
    review.decide(label_set, user, [Decision(image_id, Verdict.ACCEPTED) for image_id in image_ids])


# The plan


def test_equal_parts_come_to_all_and_nobody_gets_the_same(
    label_set: LabelSet, team: dict[str, Membership]
) -> None:
    plan = planned(label_set, team["anna"], team["ben"], team["eva"])
    assert (plan.matching, plan.free, plan.total, sizes(plan)) == (20, 20, 20, [7, 7, 6])
    given = [image_id for _, image_ids in plan.parts for image_id in image_ids]
    assert sorted(given) == sorted(label_set.images().values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("split", "amounts", "expected"),
    [
        (Split.PERCENT, [50, 50], [10, 10]),
        (Split.PERCENT, [33, 67], [7, 13]),
        (Split.PERCENT, [10, 20], [2, 4]),
        (Split.NUMBER, [3, 5], [3, 5]),
        (Split.NUMBER, [15, 15], [10, 10]),
        (Split.NUMBER, [100, 2], [19, 1]),
    ],
)
def test_shares_and_numbers(
    label_set: LabelSet, team: dict[str, Membership], split: str, amounts: list[float], expected: list[int]
) -> None:
    assert sizes(planned(label_set, team["anna"], team["ben"], split=split, amounts=amounts)) == expected


def test_no_more_than_all_is_divided(label_set: LabelSet, team: dict[str, Membership]) -> None:
    with pytest.raises(ValidationError, match="110 percent"):
        planned(label_set, team["anna"], team["ben"], split=Split.PERCENT, amounts=[60, 50])


def test_a_number_of_images_is_taken_in_the_order_that_was_asked_for(
    label_set: LabelSet, team: dict[str, Membership]
) -> None:
    ids = list(label_set.images().order_by("pk").values_list("pk", flat=True))
    newest = planned(label_set, team["anna"], count=3, order=Order.NEWEST)
    assert newest.parts[0][1] == ids[:-4:-1]
    least_certain = planned(label_set, team["anna"], count=3, order=Order.UNCERTAIN)
    assert least_certain.parts[0][1] == ids[:-4:-1]
    label_set.matches.filter(image=ids[0]).update(probability=0.01)
    assert planned(label_set, team["anna"], count=1, order=Order.UNCERTAIN).parts[0][1] == [ids[0]]
    some = planned(label_set, team["anna"], count=10, order=Order.RANDOM).parts[0][1]
    assert len(set(some)) == 10 and some != sorted(some) and some != sorted(some, reverse=True)


def test_least_certain_images_are_dealt_out_to_all(label_set: LabelSet, team: dict[str, Membership]) -> None:
    ids = list(label_set.images().order_by("-pk").values_list("pk", flat=True))
    plan = planned(label_set, team["anna"], team["ben"], count=4)
    assert [image_ids for _, image_ids in plan.parts] == [[ids[0], ids[2]], [ids[1], ids[3]]]
    plan = planned(label_set, team["anna"], team["ben"], split=Split.PERCENT, amounts=[70, 30], count=10)
    anna, ben = ([ids.index(image_id) for image_id in image_ids] for _, image_ids in plan.parts)
    assert len(ben) == 3 and max(ben) > 6 and max(anna) > 6 and min(ben) < 3


def test_what_is_settled_or_given_is_not_given_again(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    ids = list(label_set.images().values_list("pk", flat=True))
    accept(label_set, owner, *ids[:5])
    give(label_set, owner, team["anna"], count=4)
    plan = planned(label_set, team["ben"])
    assert (plan.matching, plan.free, sizes(plan)) == (20, 11, [11])
    again = planned(label_set, team["anna"])
    assert sizes(again) == [11]


# Giving


def test_each_member_gets_one_batch_that_is_taken_back_whole(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    made = give(label_set, owner, team["anna"], team["ben"])
    assert [(batch.kind, batch.assignee, batch.total, batch.state) for batch in made] == [
        ("assign", team["anna"].user, 10, "done"),
        ("assign", team["ben"].user, 10, "done"),
    ]
    accept(label_set, team["anna"].user, Assignment.objects.filter(user=team["anna"].user).first().image_id)
    assert batches.undo(label_set, owner, Role.OWNER, made[0].pk)
    assert Assignment.objects.filter(user=team["anna"].user).count() == 0
    assert Assignment.objects.filter(user=team["ben"].user).count() == 10
    assert label_set.annotations.count() == 1
    assert batches.undo(label_set, owner, Role.OWNER, made[0].pk) is None
    assert sizes(planned(label_set, team["eva"])) == [9]


def test_what_has_changed_since_the_plan_is_left(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    plan = planned(label_set, team["anna"])
    ids = plan.parts[0][1]
    accept(label_set, owner, ids[0])
    batches.assign(label_set, owner, [(team["ben"], ids[1:3])])
    Image.objects.filter(pk=ids[3]).delete()
    [batch] = batches.assign(label_set, owner, plan.parts)
    assert batches.done(batch) == (20, 4)
    assert set(batch.assignments.values_list("image", flat=True)) == set(ids[4:])


def test_a_large_one_is_a_workers_and_ends_where_it_is_taken_back(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    rows.match(label_set, rows.images(label_set.project, 500, start=IMAGES))
    first, second = give(label_set, owner, team["anna"]), planned(label_set, team["ben"])
    assert (first[0].state, Assignment.objects.count(), sizes(second)) == ("running", 0, [520])
    calls = iter([False, False, True])
    batches.carry_out_waiting(lambda: next(calls, True))
    assert Assignment.objects.count() == 200
    assert batches.undo(label_set, owner, Role.OWNER, first[0].pk)
    batches.carry_out_waiting(lambda: False)
    assert Assignment.objects.count() == 0
    # Planned at the same moment, the second finds what the first has given away.
    third = give(label_set, owner, team["anna"])
    late = batches.assign(label_set, owner, second.parts)
    batches.carry_out_waiting(lambda: False)
    assert batches.done(third[0]) == (520, 0) and batches.done(late[0]) == (520, 520)
    assert Assignment.objects.count() == Assignment.objects.filter(user=team["anna"].user).count() == 520


# Several votes


def test_with_several_votes_each_image_goes_to_as_many_people(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    batches.ask_votes(label_set, owner, 2)
    plan = planned(label_set, team["anna"], team["ben"], team["eva"])
    assert (plan.free, sizes(plan)) == (20, [14, 13, 13])
    batches.assign(label_set, owner, plan.parts)
    people = [
        set(Assignment.objects.filter(image=image_id).values_list("user", flat=True))
        for image_id in label_set.images().values_list("pk", flat=True)
    ]
    assert all(len(who) == 2 for who in people)
    assert planned(label_set, team["anna"], team["ben"], team["eva"]).free == 0


def test_who_has_voted_has_had_it(label_set: LabelSet, owner: User, team: dict[str, Membership]) -> None:
    batches.ask_votes(label_set, owner, 2)
    [first, second, *_] = label_set.images().order_by("pk").values_list("pk", flat=True)
    accept(label_set, team["anna"].user, first, second)
    anna, ben = planned(label_set, team["anna"], team["ben"]).parts
    assert not {first, second} & set(anna[1]) and {first, second} < set(ben[1])
    give(label_set, owner, team["ben"])
    assert first not in planned(label_set, team["eva"]).parts[0][1]


def test_of_one_member_each_image_once_however_many_votes(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    batches.ask_votes(label_set, owner, 3)
    give(label_set, owner, team["anna"])
    give(label_set, owner, team["anna"])
    assert Assignment.objects.count() == IMAGES
    assert sizes(planned(label_set, team["anna"], team["ben"])) == [0, 20]


# Members


def test_what_a_member_had_who_is_gone_is_free_again(
    label_set: LabelSet, owner: User, team: dict[str, Membership]
) -> None:
    give(label_set, owner, team["anna"])
    give(label_set, owner, team["ben"])
    assert planned(label_set, team["ben"]).free == 0
    members.remove(team["anna"])
    assert planned(label_set, team["ben"]).free == IMAGES
    give(label_set, owner, team["ben"], count=5)
    # Who comes back has only what nobody else was given meanwhile.
    Membership.objects.create(project=label_set.project, user=team["anna"].user, role=Role.LABELER)
    counts = {row.member.user.username: row.assigned for row in assignments.of_members(label_set)}
    assert counts == {"anna": 15, "ben": 5, "eva": 0, "olga": 0}


@pytest.mark.parametrize("way", ["viewer", "removed", "deactivated"])
def test_a_batch_under_way_gives_nothing_to_who_may_not_review(
    label_set: LabelSet, owner: User, team: dict[str, Membership], way: str
) -> None:
    plan = planned(label_set, team["anna"])
    if way == "viewer":
        members.change_role(team["anna"], Role.VIEWER)
    elif way == "removed":
        members.remove(team["anna"])
    else:
        User.objects.filter(pk=team["anna"].user_id).update(is_active=False)
    [batch] = batches.assign(label_set, owner, plan.parts)
    assert batches.done(batch) == (20, 20) and not Assignment.objects.exists()
    assert "anna" not in {row.member.user.username for row in assignments.of_members(label_set)}


@pytest.mark.parametrize("votes", [1, 2])
def test_done_is_what_is_settled_or_has_an_answer_of_ones_own(
    label_set: LabelSet, owner: User, team: dict[str, Membership], votes: int
) -> None:
    batches.ask_votes(label_set, owner, votes)
    give(label_set, owner, team["anna"], split=Split.NUMBER, amounts=[6])
    mine = list(Assignment.objects.values_list("image_id", flat=True))
    accept(label_set, team["anna"].user, *mine[:2])
    accept(label_set, owner, mine[2])
    undone = review.decide(label_set, team["anna"].user, [Decision(mine[3], Verdict.NONE)])
    review.undo(label_set, team["anna"].user, Role.LABELER, undone)
    review.decide(label_set, team["anna"].user, [Decision(mine[4], Verdict.SKIPPED)])
    [row] = [row for row in assignments.of_members(label_set) if row.member == team["anna"]]
    # With one vote the owner's word has settled the third one as well.
    assert (row.assigned, row.done) == (6, 3 if votes == 1 else 2)
    assert row.left == row.assigned - row.done


# The page


def page(label_set: LabelSet) -> str:
    return reverse("assignments", args=[label_set.pk])


def asked(*people: Membership, **more: object) -> dict[str, object]:
    chosen = {"member": [member.pk for member in people], "split": "equal", "order": "newest"}
    return chosen | more


def test_an_owner_looks_first_and_then_gives(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client = login(owner)
    accept(label_set, owner, label_set.images().first().pk)
    fields = asked(team["anna"], team["ben"])
    shown = client.get(page(label_set), fields)
    assert "20 images match, 19 are free to give; anna gets 10 images, ben 9." in shown.text
    assert "Give 19 images" in shown.text and not Assignment.objects.exists()
    answer = client.post(page(label_set), fields | {"expected": shown.context["expected"]}, follow=True)
    assert "anna gets 10 images, ben 9." in answer.text
    assert Assignment.objects.count() == 19
    fragment = client.get(page(label_set), fields, headers={"HX-Request": "true", "HX-Target": "plan"})
    assert "0 are free to give" in fragment.text and "<h1" not in fragment.text


def test_a_filter_chooses_the_images(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client, cat = login(owner), label_set.labels.get(name="cat")
    fields = asked(team["anna"], q="label:cat probability:<0.8 status:unreviewed")
    shown = client.get(page(label_set), fields)
    wanted = set(label_set.matches.filter(label=cat, probability__lt=0.8).values_list("image", flat=True))
    assert f"{len(wanted)} images match" in shown.text
    client.post(page(label_set), dict(shown.context["fields"]) | {"expected": str(len(wanted))})
    assert set(Assignment.objects.values_list("image", flat=True)) == wanted
    assert Batch.objects.get().query == "label:cat probability:<0.8 status:unreviewed"
    # As the gallery's address has it, before anybody is chosen.
    begun = client.get(page(label_set), {"q": "label:dog"})
    assert begun.context["form"]["q"].value() == "label:dog" and begun.context["plan"] is None


def test_what_differs_by_then_is_asked_again(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client, fields = login(owner), asked(team["anna"], expected="20")
    accept(label_set, owner, label_set.images().first().pk)
    answer = client.post(page(label_set), fields)
    assert answer.status_code == 409 and not Assignment.objects.exists()
    assert "Something has changed" in answer.text and "anna gets 19 images" in answer.text
    assert client.post(page(label_set), asked(team["anna"])).status_code == 409
    client.post(page(label_set), fields | {"expected": answer.context["expected"]})
    assert Assignment.objects.count() == 19


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"member": []}, "Choose who gets images."),
        ({"split": "percent"}, "Say how much anna gets."),
        ({"q": "status:nonsense"}, "status"),
        ({"q": "nonsense:cat"}, "nonsense"),
        ({"count": "0"}, "greater than or equal to 1"),
        ({"count": "x"}, "Enter a whole number"),
        ({"split": "percent", "amount_anna": "60", "amount_ben": "60"}, "120 percent"),
    ],
)
def test_what_makes_no_sense_is_said(
    label_set: LabelSet,
    owner: User,
    team: dict[str, Membership],
    login: Callable[[User], Client],
    fields: dict[str, str],
    words: str,
) -> None:
    named = {
        f"amount_{team[name[7:]].pk}" if name.startswith("amount_") else name: value
        for name, value in fields.items()
    }
    answer = login(owner).post(page(label_set), asked(team["anna"], team["ben"]) | named)
    assert answer.status_code == 400 and words in answer.text and not Assignment.objects.exists()


def test_a_viewer_or_a_stranger_is_given_nothing(
    label_set: LabelSet,
    owner: User,
    team: dict[str, Membership],
    project: Project,
    stranger: User,
    login: Callable[[User], Client],
) -> None:
    client = login(owner)
    elsewhere = Project.objects.create(name="Other", slug="other")
    other = Membership.objects.create(project=elsewhere, user=stranger, role=Role.OWNER)
    for membership in (team["vera"], other):
        answer = client.post(page(label_set), asked(membership, expected="20"))
        assert answer.status_code == 400
    assert not Assignment.objects.exists()


def test_a_member_sees_their_own_and_an_owner_all(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    give(label_set, owner, team["anna"], team["ben"])
    seen = login(team["ben"].user).get(page(label_set))
    assert [row.member.user.username for row in seen.context["assigned"]] == ["ben"]
    assert "Give images" not in seen.text and "What was given" not in seen.text and "anna" not in seen.text
    assert f'href="{reverse("review", args=[label_set.pk])}"' in seen.text
    seen = login(owner).get(page(label_set))
    assert [row.member.user.username for row in seen.context["assigned"]] == ["olga", "anna", "ben", "eva"]
    assert "Viewers are given no images" in login(team["vera"].user).get(page(label_set)).text


@pytest.mark.parametrize("who", ["anna", "eva", "vera"])
def test_only_an_owner_gives_and_takes_back(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client], who: str
) -> None:
    [batch] = give(label_set, owner, team["anna"], count=3)
    client = login(team[who].user)
    assert client.post(page(label_set), asked(team["ben"], expected="17")).status_code == 403
    undo = reverse("assignment_undo", args=[label_set.pk])
    assert client.post(undo, {"batch": batch.pk}).status_code == 403
    api = reverse("api-assignments", args=[label_set.pk])
    body = {"members": [{"username": "ben"}]}
    assert client.post(api, body, content_type=JSON).status_code == 403
    assert Assignment.objects.count() == 3


def test_a_stranger_finds_nothing(
    label_set: LabelSet, stranger: User, login: Callable[[User], Client]
) -> None:
    client = login(stranger)
    for name in ("assignments", "api-assignments"):
        address = reverse(name, args=[label_set.pk])
        assert client.get(address).status_code == client.post(address, {}).status_code == 404
    assert client.post(reverse("assignment_undo", args=[label_set.pk]), {}).status_code == 404


def test_what_was_given_is_taken_back_on_the_page(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client, undo = login(owner), reverse("assignment_undo", args=[label_set.pk])
    first, second = give(label_set, owner, team["anna"], team["ben"])
    assert client.get(page(label_set)).text.count("Take back") == 4  # and what each button does
    answer = client.post(undo, {"batch": first.pk}, follow=True)
    assert "Taken back." in answer.text and "taken back</span>" in answer.text
    assert set(Assignment.objects.values_list("user__username", flat=True)) == {"ben"}
    assert "nothing to take back" in client.post(undo, {"batch": first.pk}, follow=True).text
    decided = review.decide(label_set, owner, [Decision(label_set.images().first().pk, Verdict.ACCEPTED)])
    client.post(undo, {"batch": decided})
    client.post(undo, {"batch": "nonsense"})
    assert label_set.annotations.exists() and second.assignments.count() == 10


def test_one_under_way_asks_for_itself_again(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    rows.match(label_set, rows.images(label_set.project, 500, start=IMAGES))
    give(label_set, owner, team["anna"])
    client = login(owner)
    shown = client.get(page(label_set)).text
    assert 'hx-trigger="every 1s"' in shown and "0 of 520" in shown
    batches.carry_out_waiting(lambda: False)
    shown = client.get(page(label_set), headers={"HX-Request": "true", "HX-Target": "assigned"}).text
    assert "every 1s" not in shown and "<h1" not in shown and "520" in shown


def test_many_members_and_batches_cost_as_many_queries_as_few(
    label_set: LabelSet,
    owner: User,
    team: dict[str, Membership],
    login: Callable[[User], Client],
    django_assert_num_queries: Callable,
    django_assert_max_num_queries: Callable,
) -> None:
    client = login(owner)
    give(label_set, owner, team["anna"], count=1)
    with django_assert_max_num_queries(16) as first:
        client.get(page(label_set))
    people = [
        Membership.objects.create(
            project=label_set.project, user=User.objects.create_user(f"user {number}"), role=Role.LABELER
        )
        for number in range(15)
    ]
    give(label_set, owner, *people)
    with django_assert_num_queries(len(first)):
        client.get(page(label_set))
    api = reverse("api-assignments", args=[label_set.pk])
    with django_assert_num_queries(6):
        assert len(client.get(api).json()["members"]) == 19


# The API


def test_the_api_gives_and_tells(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client, address = login(owner), reverse("api-assignments", args=[label_set.pk])
    body = {
        "members": [{"username": "anna", "share": 70}, {"username": "ben", "share": 30}],
        "q": "label:cat",
        "expected": 10,
    }
    answer = client.post(address, body, content_type=JSON)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["matching"], made["free"]) == (10, 10)
    assert [(row["username"], row["total"], row["state"]) for row in made["batches"]] == [
        ("anna", 7, "done"),
        ("ben", 3, "done"),
    ]
    assert {row["username"]: row["assigned"] for row in client.get(address).json()["members"]} == {
        "anna": 7,
        "ben": 3,
        "eva": 0,
        "olga": 0,
    }
    own = login(team["ben"].user).get(address).json()
    assert own["members"] == [{"username": "ben", "role": "labeler", "assigned": 3, "done": 0, "left": 3}]
    assert login(team["vera"].user).get(address).json() == {"members": []}


def test_the_api_gives_the_images_that_are_named(
    label_set: LabelSet, owner: User, team: dict[str, Membership], login: Callable[[User], Client]
) -> None:
    client, address = login(owner), reverse("api-assignments", args=[label_set.pk])
    ids = list(label_set.images().values_list("pk", flat=True)[:6])
    body = {"members": [{"username": "eva", "count": 4}], "images": [*ids, 10**9]}
    assert client.post(address, body, content_type=JSON).json()["batches"][0]["total"] == 4
    assert set(Assignment.objects.values_list("image", flat=True)) < set(ids)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"members": []}, 400, "may not be empty"),
        ({"members": [{"username": "vera"}]}, 400, "no member who may review"),
        ({"members": [{"username": "nobody"}]}, 400, "no member who may review"),
        ({"members": [{"username": "anna"}, {"username": "anna"}]}, 400, "stands twice"),
        ({"members": [{"username": "anna", "share": 5, "count": 5}]}, 400, "each a count, or none"),
        ({"members": [{"username": "anna", "share": 5}, {"username": "ben"}]}, 400, "each a count, or none"),
        ({"members": [{"username": "anna"}], "status": "x"}, 400, "valid choice"),
        ({"members": [{"username": "anna"}], "q": "status:x"}, 400, "status"),
        ({"members": [{"username": "anna"}], "expected": 19}, 409, "It would be 20 by now, not 19"),
    ],
)
def test_the_api_refuses_and_gives_nothing(
    label_set: LabelSet,
    owner: User,
    team: dict[str, Membership],
    login: Callable[[User], Client],
    body: dict,
    status: int,
    words: str,
) -> None:
    answer = login(owner).post(reverse("api-assignments", args=[label_set.pk]), body, content_type=JSON)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert not Assignment.objects.exists()
