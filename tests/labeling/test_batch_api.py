"""API v1 of batches: many images at once, the history in pages, undo and stop."""

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gallery.models import Project
from labeling import batches, review
from labeling.models import Batch, LabelSet
from labeling.review import Decision, Verdict
from tests.labeling import rows

JSON = "application/json"
Login = Callable[[User | None], Client]


@pytest.fixture
def many(project: Project) -> LabelSet:
    """500 images: cat, dog, cat, dog …"""
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, 500))
    return made


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def post(client: Client, label_set: LabelSet, **body: object) -> HttpResponse:
    return client.post(f"/api/v1/label-sets/{label_set.pk}/batches/", body, content_type=JSON)


def work_off() -> None:
    batches.carry_out_waiting(lambda: False)


def test_a_few_images_are_done_at_once(many: LabelSet, owner: User, login: Login) -> None:
    cat = many.labels.get(name="cat").pk
    some = ids(many)[:3]
    answer = post(login(owner), many, images=[*some, some[0]], verdict="corrected", label=cat)
    assert answer.status_code == 201
    batch = answer.json()
    assert batch["what"] == "accepted 2 as cat, corrected 1 to cat"
    assert {name: batch[name] for name in ("kind", "state", "total", "done", "left", "undone", "user")} == {
        "kind": "decide",
        "state": "done",
        "total": 3,
        "done": 3,
        "left": 0,
        "undone": 0,
        "user": "olga",
    }
    assert many.annotations.filter(label=cat).count() == 3


def test_all_that_match_are_a_workers_and_taken_back(many: LabelSet, owner: User, login: Login) -> None:
    client = login(owner)
    answer = post(client, many, q="", count=500, verdict="accepted")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    address = f"/api/v1/batches/{answer.json()['id']}/"
    work_off()
    batch = client.get(address).json()
    assert (batch["state"], batch["done"], batch["may_undo"]) == ("done", 500, True)
    undoing = client.post(f"{address}undo/")
    assert (undoing.status_code, undoing.json()["reverses"]) == (202, batch["id"])
    work_off()
    assert not many.annotations.exists()
    assert client.get(address).json()["undone"] == 500
    again = client.post(f"{address}undo/")
    assert again.status_code == 409 and "nothing to take back" in again.json()["detail"]
    redoing = client.post(f"/api/v1/batches/{undoing.json()['id']}/undo/")
    assert (redoing.status_code, redoing.json()["kind"]) == (202, "redo")


def test_the_search_line_chooses_the_images(many: LabelSet, owner: User, login: Login) -> None:
    client = login(owner)
    answer = post(client, many, q="label:cat", count=250, verdict="none")
    assert (answer.status_code, answer.json()["query"]) == (201, "label:cat")
    assert many.annotations.count() == 250
    assert post(client, many, q="label:", count=250, verdict="none").status_code == 400
    assert post(client, many, q="label:bear", count=250, verdict="none").status_code == 400


def test_another_number_of_images_writes_nothing(many: LabelSet, owner: User, login: Login) -> None:
    answer = post(login(owner), many, q="", count=499, verdict="none")
    assert (answer.status_code, answer.json()["count"]) == (409, 500)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"verdict": "none"},
        {"images": [], "verdict": "none"},
        {"images": [1], "q": "", "count": 1, "verdict": "none"},
        {"q": "", "verdict": "none"},
        {"q": "", "count": 500, "verdict": "skipped"},
        {"q": "", "count": 500, "verdict": "corrected"},
        {"q": "", "count": 500, "verdict": "corrected", "label": 2**40},
        {"q": "", "count": "many", "verdict": "none"},
        {"images": [2**40], "verdict": "none"},
        {"images": ["x"], "verdict": "none"},
    ],
)
def test_what_makes_no_sense_is_refused(
    body: dict[str, object], many: LabelSet, owner: User, login: Login
) -> None:
    assert post(login(owner), many, **body).status_code == 400
    assert not Batch.objects.exists()


def test_one_under_way_is_stopped(many: LabelSet, owner: User, login: Login) -> None:
    client = login(owner)
    batch = post(client, many, q="", count=500, verdict="none").json()
    stopped = client.post(f"/api/v1/batches/{batch['id']}/stop/")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
    work_off()
    assert not many.annotations.exists()
    assert client.post(f"/api/v1/batches/{batch['id']}/stop/").json()["state"] == "cancelled"


def test_the_old_undo_leaves_large_ones_to_a_worker(many: LabelSet, owner: User, login: Login) -> None:
    client = login(owner)
    batch = post(client, many, q="", count=500, verdict="none").json()["id"]
    work_off()
    address = f"/api/v1/label-sets/{many.pk}/reviews/undo/"
    answer = client.post(address, {"batch": batch}, content_type=JSON)
    assert answer.status_code == 409 and f"batches/{batch}/undo/" in answer.json()["detail"]
    assert many.annotations.count() == 500


def test_the_history_comes_in_pages_each_batch_once(many: LabelSet, owner: User, login: Login) -> None:
    made = [str(review.decide(many, owner, [Decision(image, Verdict.NONE)])) for image in ids(many)[:7]]
    # Of the same moment, two come one after the other all the same.
    Batch.objects.filter(pk__in=made[:4]).update(at=Batch.objects.get(pk=made[0]).at)
    client, found = login(owner), []
    address = f"/api/v1/label-sets/{many.pk}/batches/?page_size=2"
    while address:
        page = client.get(address).json()
        found += [batch["id"] for batch in page["results"]]
        address, before = page["next"], page["previous"]
    assert sorted(found) == sorted(made) and found[:3] == made[:3:-1]
    assert [batch["id"] for batch in client.get(before).json()["results"]] == found[-3:-1]


@pytest.mark.parametrize("cursor", ["WzAsICJ4IiwgIngiXQ==", "WzAsIDEsIDJd", "WzAsMV0=", "x"])
def test_a_cursor_of_nothing_is_not_found(cursor: str, many: LabelSet, owner: User, login: Login) -> None:
    assert login(owner).get(f"/api/v1/label-sets/{many.pk}/batches/?cursor={cursor}").status_code == 404


def test_votes_of_others_are_not_told(
    many: LabelSet, owner: User, member: Callable[[str], User], login: Login
) -> None:
    LabelSet.objects.update(votes=2)
    some = [Decision(image, Verdict.ACCEPTED) for image in ids(many)[:2]]
    batch = review.decide(many, owner, [Decision(ids(many)[0], Verdict.NONE)])
    review.decide(many, owner, some)
    Batch.objects.update(query="label:cat")
    labeler = login(member("labeler"))
    for told in labeler.get(f"/api/v1/label-sets/{many.pk}/batches/").json()["results"]:
        assert (told["verdict"], told["label"], told["query"]) == ("", None, "") and "gave" in told["what"]
    assert labeler.get(f"/api/v1/batches/{batch}/").json()["what"] == "gave 1 vote"
    assert login(owner).get(f"/api/v1/batches/{batch}/").json()["verdict"] == "none"


def test_who_may_do_what(
    many: LabelSet, owner: User, stranger: User, member: Callable[[str], User], login: Login
) -> None:
    batch = review.decide(many, owner, [Decision(ids(many)[0], Verdict.NONE)])
    people = {role: login(member(role)) for role in ("viewer", "labeler", "reviewer")}
    people |= {"stranger": login(stranger), "nobody": login(None)}
    body = {"images": ids(many)[:1], "verdict": "accepted"}
    statuses = {
        who: (
            client.get(f"/api/v1/label-sets/{many.pk}/batches/").status_code,
            client.get(f"/api/v1/batches/{batch}/").status_code,
            post(client, many, **body).status_code,
            client.post(f"/api/v1/batches/{batch}/stop/").status_code,
        )
        for who, client in people.items()
    }
    assert statuses == {
        "viewer": (200, 200, 403, 403),
        "labeler": (200, 200, 201, 403),
        "reviewer": (200, 200, 201, 200),
        "stranger": (404, 404, 404, 404),
        "nobody": (401, 401, 401, 401),
    }
    assert people["reviewer"].get(f"/api/v1/batches/{uuid.uuid4()}/").status_code == 404


def test_a_long_history_costs_as_many_queries_as_a_short_one(
    many: LabelSet, owner: User, login: Login
) -> None:
    def act(times: int) -> None:
        for image in ids(many)[:times]:
            batch = review.decide(many, owner, [Decision(image, Verdict.NONE)])
            review.undo(many, owner, "owner", batch)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            login(owner).get(f"/api/v1/label-sets/{many.pk}/batches/")
        return len(queries)

    act(1)
    few = cost()
    act(12)
    assert cost() == few
