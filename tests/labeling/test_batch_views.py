"""Acting on many images, the page of a batch, and the history: roles, words, and what is asked again."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery.models import Project
from labeling import batches, review
from labeling.models import Batch, BatchPart, LabelSet, WorkerBeat
from labeling.review import Decision, Verdict
from tests.labeling import rows

HTMX = {"HX-Request": "true"}


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images: cat, dog, bird, cat, dog, bird."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6))
    return made


@pytest.fixture
def many(project: Project) -> LabelSet:
    """More than a request writes: 500 images, half of them cats."""
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, 500))
    return made


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def post(client: Client, label_set: LabelSet, **body: object) -> HttpResponse:
    return client.post(reverse("bulk", args=[label_set.pk]), body)


def label(label_set: LabelSet, name: str) -> int:
    return label_set.labels.get(name=name).pk


def answers(label_set: LabelSet) -> list[tuple[str, str | None]]:
    found = label_set.annotations.order_by("image_id").values_list("status", "label__name")
    return list(found)


def work_off() -> None:
    batches.carry_out_waiting(lambda: False)


# Acting on many


def test_the_selected_get_a_label_as_one_batch(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    some = ids(animals)[:3]
    client = login(owner)
    answer = post(client, animals, image=some, what=label(animals, "cat"), next="/projects/animals/")
    assert (answer.status_code, answer.url) == (302, "/projects/animals/")
    assert "Accepted 1 as cat, corrected 2 to cat" in client.get(answer.url).text
    assert answers(animals) == [("accepted", "cat"), ("corrected", "cat"), ("corrected", "cat")]
    [batch] = Batch.objects.all()
    assert (batch.total, batch.state, batch.user) == (3, "done", owner)


def test_all_that_match_are_those_of_the_page(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    cat = label(animals, "cat")
    answer = post(login(owner), animals, all="1", label=cat, count=2, what="none")
    assert answer.status_code == 302
    assert answers(animals) == [("none", None), ("none", None)]
    assert Batch.objects.get().query == "label:cat"


def test_a_filter_that_is_not_understood_is_not_left_out(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    answer = post(login(owner), animals, all="1", status="wrong", count=6, what="none")
    assert answer.status_code == 400 and not animals.reviews.exists()


def test_a_number_that_differs_asks_again_and_writes_nothing(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    cat, client = label(animals, "cat"), login(owner)
    answer = post(client, animals, all="1", label=cat, count=3, what="accepted")
    assert answer.status_code == 409 and not animals.reviews.exists()
    assert "Accept the suggestions for all 2 matching" in answer.text
    assert "You saw 3; there are 2 now." in answer.text
    # The form that came back says yes to the new number.
    again = dict(answer.context["values"]) | {"count": 2, "overwrites": 0}
    assert post(client, animals, **again).status_code == 302
    assert answers(animals) == [("accepted", "cat")] * 2


def test_without_script_all_that_match_are_asked_about_first(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    answer = post(login(owner), animals, all="1", what=label(animals, "dog"))
    assert answer.status_code == 409 and "Set dog on all 6 matching" in answer.text
    assert "You saw" not in answer.text and not animals.reviews.exists()


def test_the_page_has_a_form_that_needs_no_script(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    page = login(owner).get(reverse("gallery", args=["animals"])).text
    assert page.count('form="bulk"') == 6 and "Apply to all 6 matching" in page
    assert page.count('<select name="what"') == 1
    assert 'form="bulk"' not in login(member("viewer")).get(reverse("gallery", args=["animals"])).text


def test_decisions_of_others_are_counted_before_they_are_overwritten(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    carla, some = member("labeler"), ids(animals)
    review.decide(animals, carla, [Decision(image, Verdict.NONE) for image in some[:2]])
    review.decide(animals, owner, [Decision(some[2], Verdict.NONE)])
    answer = post(login(owner), animals, image=some, what="accepted")
    assert answer.status_code == 409 and "2 of them were decided by others" in answer.text
    assert animals.reviews.count() == 3
    assert post(login(owner), animals, image=some, what="accepted", overwrites=2).status_code == 302
    assert {status for status, _ in answers(animals)} == {"accepted"}


def test_where_votes_are_counted_nobody_is_overwritten(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    carla, some = member("labeler"), ids(animals)
    LabelSet.objects.update(votes=2)
    review.decide(animals, carla, [Decision(image, Verdict.ACCEPTED) for image in some])
    assert post(login(owner), animals, image=some, what="accepted").status_code == 302
    assert {status for status, _ in answers(animals)} == {"accepted"}


def test_suggestions_are_accepted_where_there_are_any(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    [bare] = rows.images(animals.project, 1, start=50)
    assert post(login(owner), animals, image=ids(animals), what="accepted").status_code == 302
    assert animals.annotations.count() == 6
    answer = post(login(owner), animals, image=bare.pk, what="accepted")
    assert answer.status_code == 400 and "no suggestion for these images yet" in answer.text


@pytest.mark.parametrize(
    "body", [{"what": "none"}, {"image": "x", "what": "none"}, {"image": 1, "what": "skipped"}, {"all": "1"}]
)
def test_what_makes_no_sense_is_refused(
    body: dict[str, object], animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    assert post(login(owner), animals, **body).status_code == 400
    assert not animals.reviews.exists()


def test_images_and_labels_of_another_project_are_refused(
    animals: LabelSet, owner: User, stranger: User, login: Callable[[User], Client]
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    theirs = rows.label_set(other, "theirs-cat", "theirs-dog")
    [image] = rows.images(other, 1)
    assert post(login(owner), animals, image=image.pk, what="none").status_code == 400
    assert (
        post(login(owner), animals, image=ids(animals), what=label(theirs, "theirs-cat")).status_code == 400
    )
    assert not review.Review.objects.exists()


def test_roles(
    animals: LabelSet,
    stranger: User,
    member: Callable[[str], User],
    login: Callable[[User | None], Client],
) -> None:
    body = {"image": ids(animals), "what": "none"}
    assert post(login(None), animals, **body).status_code == 302 and not animals.reviews.exists()
    assert post(login(stranger), animals, **body).status_code == 404
    assert post(login(member("viewer")), animals, **body).status_code == 403
    assert not animals.reviews.exists()
    assert post(login(member("labeler")), animals, **body).status_code == 302
    assert animals.reviews.count() == 6


def test_by_script_the_grid_is_told_and_the_way_back_offered(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client = login(owner)
    body = {"image": ids(animals)[:1], "what": "none"}
    answer = client.post(reverse("bulk", args=[animals.pk]), body, headers=HTMX)
    assert "Said none of these of 1" in answer.text and "Undo" in answer.text
    assert set(json.loads(answer["HX-Trigger-After-Settle"])) == {
        "images-changed",
        "batches-changed",
        "bulk-done",
    }
    asked = client.post(
        reverse("bulk", args=[animals.pk]), {"all": 1, "count": 1, "what": "none"}, headers=HTMX
    )
    assert (asked.status_code, asked["HX-Retarget"]) == (409, "#bulk-ask")
    assert "<html" not in asked.text


# Large ones


def test_a_large_one_goes_to_a_worker_and_shows_how_far_it_is(
    many: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client = login(owner)
    answer = post(client, many, all="1", count=500, what=label(many, "cat"))
    batch = Batch.objects.get()
    assert answer.url == reverse("batch", args=[batch.pk])
    page = client.get(answer.url).text
    assert "0 of 500: set cat on 500" in page and "Stop" in page
    assert "The worker is offline" in page
    WorkerBeat.objects.create(worker="here")
    assert "The worker is offline" not in client.get(answer.url).text
    line = client.get(reverse("batches", args=[many.pk])).text
    assert "0 of 500" in line and "every 1s" in line
    assert "0 of 500" in client.get(reverse("gallery", args=["animals"])).text

    work_off()
    assert many.annotations.filter(label__name="cat").count() == 500
    seen = client.get(reverse("batches", args=[many.pk]), {"seen": f"{batch.pk} "})
    assert seen["HX-Trigger"] == '{"images-changed": {}}' and "every" not in seen.text
    page = client.get(answer.url).text
    assert "Set cat on 500" in page and "every" not in page and "Undo" in page


def test_a_large_one_is_stopped_and_what_it_wrote_undone(
    many: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client = login(owner)
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    one_part()
    client.post(reverse("batch_stop", args=[batch.pk]))
    work_off()
    assert many.annotations.count() == 200
    page = client.get(reverse("batch", args=[batch.pk])).text
    assert "stopped at 200 of 500" in page
    client.post(reverse("batch_undo", args=[batch.pk]))
    work_off()
    assert not many.annotations.exists()
    assert "undone" in client.get(reverse("batch", args=[batch.pk])).text


def one_part() -> None:
    """Let a worker write one part, and be stopped."""
    before = BatchPart.objects.filter(done=True).count()
    batches.carry_out_waiting(lambda: BatchPart.objects.filter(done=True).count() > before)


@pytest.mark.parametrize("page", ["gallery", "review", "image"])
def test_undo_of_a_large_one_is_a_workers(
    page: str, many: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    batches.decide_all(many, owner, ids(many), Verdict.NONE)
    work_off()
    client, address = login(owner), reverse("undo", args=[many.pk])
    answer = client.post(address, {"page": page}, headers=HTMX)
    undoing = Batch.objects.get(kind="undo")
    assert undoing.state == "running" and many.annotations.count() == 500
    if page == "gallery":
        assert "Undoing 500 images" in answer.text and "batches-changed" in answer["HX-Trigger"]
    else:
        assert answer["HX-Redirect"] == reverse("batch", args=[undoing.pk])
    work_off()
    assert not many.annotations.exists()
    assert client.post(address, {"page": page}).status_code == 302


def test_undo_of_one_under_way_stops_it(many: LabelSet, owner: User, login: Callable[[User], Client]) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    answer = login(owner).post(reverse("undo", args=[many.pk]), {"batch": batch.pk}, follow=True)
    assert "Stopped, before anything was changed." in answer.text
    work_off()
    assert not many.annotations.exists()


def test_who_may_stop_and_undo(
    many: LabelSet,
    owner: User,
    stranger: User,
    member: Callable[[str], User],
    login: Callable[[User], Client],
) -> None:
    batch = batches.decide_all(many, owner, ids(many), Verdict.NONE)
    for name in ("batch_stop", "batch_undo"):
        address = reverse(name, args=[batch.pk])
        assert login(stranger).post(address).status_code == 404
        for role in ("viewer", "labeler"):
            user = User.objects.filter(username=role).first() or member(role)
            assert login(user).post(address).status_code == 403
            page = login(user).get(reverse("batch", args=[batch.pk])).text
            assert address not in page
        assert login(owner).get(address).status_code == 405
    assert login(stranger).get(reverse("batch", args=[batch.pk])).status_code == 404
    batch.refresh_from_db()
    assert batch.state == "running"
    assert login(member("reviewer")).post(reverse("batch_stop", args=[batch.pk])).status_code == 302
    batch.refresh_from_db()
    assert batch.state == "cancelled"


# The history


def history(client: Client, label_set: LabelSet, **params: str) -> list[str]:
    answer = client.get(reverse("history", args=[label_set.pk]), params)
    assert answer.status_code == 200
    return [entry.what for entry in answer.context["entries"]]


def test_the_history_says_what_was_done_newest_first(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    some, carla, cat = ids(animals), member("labeler"), label(animals, "cat")
    review.decide(animals, owner, [Decision(image, Verdict.CORRECTED, cat) for image in some[:3]])
    review.decide(animals, carla, [Decision(image, Verdict.ACCEPTED) for image in some[3:]])
    batch = review.decide(
        animals, owner, [Decision(some[5], Verdict.NONE), Decision(some[4], Verdict.SKIPPED)]
    )
    review.undo(animals, owner, "owner", batch)
    review.clear(animals, owner, "owner", some[0])
    batches.ask_votes(animals, owner, 3)
    assigned = Batch(label_set=animals, user=owner, kind="assign", assignee=carla)
    batches.start(assigned, some)
    client = login(owner)
    assert history(client, animals) == [
        "assigned 3 to labeler",
        "asked for 3 votes",
        "undid 1 of: accepted 1 as cat, corrected 2 to cat",
        "undid: said none of these of 1, skipped 1",
        "said none of these of 1, skipped 1",
        "gave 3 votes",
        "accepted 1 as cat, corrected 2 to cat",
    ]
    assert history(client, animals, by="labeler") == ["gave 3 votes"]
    assert history(client, animals, kind="votes") == ["asked for 3 votes"]
    assert history(client, animals, kind="votes", by="labeler") == []
    assert len(history(client, animals, kind="password")) == 7


def test_undone_is_told_wholly_or_partly(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    some, client = ids(animals), login(owner)
    batch = review.decide(animals, owner, [Decision(image, Verdict.ACCEPTED) for image in some])
    review.decide(animals, member("labeler"), [Decision(image, Verdict.NONE) for image in some[:2]])
    client.post(reverse("batch_undo", args=[batch]), {"next": reverse("history", args=[animals.pk])})
    page = client.get(reverse("history", args=[animals.pk]))
    undoing, _, decided = page.context["entries"]
    assert (decided.undone, decided.stays, decided.is_undone) == (4, 2, False)
    assert undoing.what == "undid 4 of: accepted 6" and undoing.may_undo and undoing.undo_word == "Redo"
    assert "4 undone" in page.text and "2 stay" in page.text

    client.post(reverse("batch_undo", args=[undoing.batch.pk]))
    redone = client.get(reverse("history", args=[animals.pk])).context["entries"][0]
    assert redone.what == "redid 4 of: accepted 6"
    assert animals.annotations.count() == 6


def test_nothing_left_to_take_back_is_said(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    batch, client = review.decide(animals, owner, [Decision(ids(animals)[0], Verdict.NONE)]), login(owner)
    client.post(reverse("batch_undo", args=[batch]))
    answer = client.post(reverse("batch_undo", args=[batch]), follow=True)
    assert "There is nothing to take back" in answer.text
    assert Batch.objects.count() == 2


def test_votes_of_others_are_told_to_nobody(
    animals: LabelSet, owner: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    some, carla, vera = ids(animals), member("labeler"), member("reviewer")
    other = User.objects.create_user("olaf")
    animals.project.memberships.create(user=other, role="labeler")
    LabelSet.objects.update(votes=3)
    cat = label(animals, "cat")
    batch = review.decide(animals, carla, [Decision(image, Verdict.CORRECTED, cat) for image in some])
    Batch.objects.update(query="label:cat")
    review.undo(animals, carla, "labeler", batch)
    for user, told in (
        (other, ["undid: gave 6 votes", "gave 6 votes"]),
        (carla, ["undid: accepted 2 as cat, corrected 4 to cat", "accepted 2 as cat, corrected 4 to cat"]),
        (vera, ["undid: gave 6 votes", "gave 6 votes"]),
    ):
        assert history(login(user), animals) == told
    for name, args in (("history", [animals.pk]), ("batch", [batch])):
        page = login(other).get(reverse(name, args=args)).text
        assert "label:cat" not in page and "corrected" not in page.replace("Corrected", "").split("<main")[1]


def test_the_history_is_for_members(
    animals: LabelSet, stranger: User, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    batch = review.decide(animals, member("labeler"), [Decision(ids(animals)[0], Verdict.NONE)])
    for name, args in (("history", [animals.pk]), ("batch", [batch]), ("batches", [animals.pk])):
        assert login(stranger).get(reverse(name, args=args)).status_code == 404
        viewer = User.objects.filter(username="viewer").first() or member("viewer")
        page = login(viewer).get(reverse(name, args=args))
        assert page.status_code == 200 and reverse("batch_undo", args=[batch]) not in page.text


def test_a_long_history_costs_as_many_queries_as_a_short_one(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    def act(times: int) -> None:
        for _ in range(times):
            batch = review.decide(animals, owner, [Decision(ids(animals)[0], Verdict.NONE)])
            review.undo(animals, owner, "owner", batch)
            redone = review.redo(animals, owner, "owner", Batch.objects.first().pk)
            assert redone.images

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            history(login(owner), animals)
        return len(queries)

    act(1)
    few = cost()
    act(8)
    assert cost() == few


def test_undone_and_redone_again_and_again_stays_flat(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client = login(owner)
    review.decide(animals, owner, [Decision(ids(animals)[0], Verdict.NONE)])
    for number in range(1, 8):
        client.post(reverse("batch_undo", args=[Batch.objects.first().pk]))
        assert Batch.objects.count() == number + 1
    assert history(client, animals)[:4] == [
        "undid 1 of an earlier action",
        "redid 1 of an earlier action",
        "undid 1 of an earlier action",
        "redid 1 of an earlier action",
    ]
    assert not animals.annotations.exists()
