"""The page of the map and its API: points, roles, deleted and new images, and what is chosen on it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gallery import uploads
from gallery.models import Image, Project
from labeling import beat, clip, layouts, maps
from labeling.models import LabelSet, MapLayout, Pick
from labeling.review import Decision, decide
from tests.labeling import rows

Login = Callable[[User | None], Client]
API = "/api/v1/projects/animals/map/"
PAGE = "/projects/animals/map/"


@pytest.fixture
def images(scored: LabelSet) -> list[Image]:
    """Four drawn pictures with their matches."""
    return list(scored.project.images.order_by("pk"))


@pytest.fixture
def layout(project: Project, images: list[Image]) -> MapLayout:
    """Their map as it is drawn: in a row, the last twice as far away."""
    return MapLayout.objects.create(
        project=project,
        model=clip.current().key,
        method="t-SNE",
        state="done",
        iteration=500,
        finished_at=timezone.now(),
        image_ids=np.array([image.pk for image in images], "<i8").tobytes(),
        points=np.array([[0, 1], [1, 1], [2, 1], [4, 1]], "<f4").tobytes(),
    )


def asked(client: Client, query: str = "") -> dict:
    answer = client.get(API + query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_points_come_with_label_and_status(
    layout: MapLayout, images: list[Image], scored: LabelSet, owner: User, login: Login
) -> None:
    decide(scored, owner, [Decision(images[1].pk, "none")], settles=True)
    told = asked(login(owner))
    assert told["images"] == [image.pk for image in images]
    assert told["x"] == [0, round(maps.EXTENT / 4), round(maps.EXTENT / 2), maps.EXTENT]
    assert set(told["y"]) == {round(maps.EXTENT / 2)}
    names = [told["labels"][at]["name"] if at >= 0 else None for at in told["label"]]
    of = {image.pk: image.label_id for image in scored.images()}
    by_id = {label.pk: label.name for label in scored.labels.all()}
    assert names == [by_id.get(of[image.pk]) for image in images] and names[1] is None
    assert [told["statuses"][at]["value"] for at in told["status"]] == [
        "unreviewed",
        "none",
        "unreviewed",
        "unreviewed",
    ]
    assert (told["found"], told["missing"], told["unembedded"]) == (None, 0, 0)
    assert (told["map"]["state"], told["map"]["progress"]) == ("done", 100)


def test_the_search_line_says_which_are_found(
    layout: MapLayout, images: list[Image], owner: User, login: Login
) -> None:
    client = login(owner)
    assert asked(client, f"?q=id:{images[2].pk}")["found"] == [0, 0, 1, 0]
    answer = client.get(API, {"q": "label:nothing"})
    assert answer.status_code == 400 and "nothing" in answer.text


def test_deleted_images_are_gone_and_new_ones_are_counted(
    layout: MapLayout, images: list[Image], project: Project, owner: User, login: Login
) -> None:
    uploads.delete_image(images[3])
    rows.images(project, 2)  # no embedding yet
    layout.image_ids = layout.image_ids[8:]
    layout.points = layout.points[8:]
    layout.save()  # the first one came later
    told = asked(login(owner))
    assert told["images"] == [images[1].pk, images[2].pk]
    assert {len(told[name]) for name in ("x", "y", "label", "status")} == {2}
    assert (told["missing"], told["unembedded"]) == (1, 2)


def test_a_map_needs_no_labels(project: Project, layout: MapLayout, owner: User, login: Login) -> None:
    project.label_sets.all().delete()
    told = asked(login(owner), "?q=whatever")
    assert len(told["images"]) == 4 and told["label"] == told["status"] == told["labels"] == []
    page = login(owner).get(PAGE).text
    assert "Coloured by" not in page and 'name="q"' not in page


def test_nothing_is_drawn_yet(scored: LabelSet, owner: User, login: Login) -> None:
    told = asked(login(owner))
    assert told["map"] is None and told["images"] == [] and told["missing"] == 4
    assert "The map is not drawn yet" in login(owner).get(PAGE).text


def test_points_cost_as_many_queries_for_many(layout: MapLayout, owner: User, login: Login) -> None:
    client = login(owner)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            asked(client, "?q=status:unreviewed")
        return len(queries)

    rows.images(layout.project, 3)
    few = count()
    rows.match(layout.project.label_sets.get(), rows.images(layout.project, 300, start=10))
    assert count() == few <= 15


def test_a_reviewer_draws_it_by_page_and_api(
    scored: LabelSet, project: Project, member: Callable[[str], User], login: Login
) -> None:
    client = login(member("reviewer"))
    assert client.post(f"{PAGE}draw/").url == PAGE
    assert "The worker is offline" in client.get(PAGE).text
    beat.beat("here:1")
    assert "about to be drawn" in client.get(PAGE).text
    again = client.post(API)
    assert (again.status_code, again.json()["id"]) == (202, layouts.active(project).pk)
    layouts.draw_waiting()
    assert asked(client)["map"]["id"] == again.json()["id"]
    client.post(API)
    assert client.post(f"{API}cancel/").status_code == 204
    assert layouts.newest(project).state == "cancelled"
    client.post(API)
    assert client.post(f"{PAGE}cancel/").url == PAGE
    assert layouts.active(project) is None
    assert client.post(f"{API}cancel/").status_code == 204
    assert "Draw it again" in client.get(PAGE).text


@pytest.mark.parametrize("role", ["viewer", "labeler"])
def test_others_look_at_it_alone(
    role: str, layout: MapLayout, member: Callable[[str], User], login: Login
) -> None:
    client = login(member(role))
    assert len(asked(client)["images"]) == 4
    assert "Draw it again" not in client.get(PAGE).text
    changes = (f"{PAGE}draw/", f"{PAGE}cancel/", API, f"{API}cancel/")
    assert {client.post(address).status_code for address in changes} == {403}
    assert MapLayout.objects.count() == 1


def test_to_a_stranger_there_is_no_map(
    layout: MapLayout, images: list[Image], stranger: User, owner: User, login: Login
) -> None:
    client = login(stranger)
    pick = Pick.objects.create(project=layout.project, user=owner, image_ids=[images[0].pk])
    assert {client.get(address).status_code for address in (API, PAGE, f"/api/v1/picks/{pick.pk}/")} == {404}
    assert client.post(f"{PAGE}draw/").status_code == client.post(API).status_code == 404
    assert chosen(client, [images[0].pk]).status_code == 404


def test_an_empty_project_is_refused(project: Project, owner: User, login: Login) -> None:
    assert "no images to draw" in login(owner).post(API).text
    refused = login(owner).post(f"{PAGE}draw/")
    assert refused.status_code == 400 and "no images to draw" in refused.text
    page = login(owner).get(f"/projects/{project.slug}/map/").content.decode()
    assert "No images yet" in page and "Draw the map" not in page and "<canvas" not in page


def test_the_page_polls_for_its_state_and_says_when_points_changed(
    scored: LabelSet, project: Project, owner: User, login: Login
) -> None:
    client = login(owner)
    layouts.start(project, owner)
    before = maps.drawing(project).version
    fragment = client.get(f"{PAGE}?seen={before}", headers={"HX-Request": "true"})
    assert "HX-Trigger" not in fragment and "every" in fragment.text and "<html" not in fragment.text
    layouts.draw_waiting()
    fragment = client.get(f"{PAGE}?seen={before}", headers={"HX-Request": "true"})
    assert "map-changed" in fragment["HX-Trigger"] and "every" not in fragment.text


def chosen(client: Client, ids: object) -> HttpResponse:
    return client.post("/projects/animals/picks/", {"images": json.dumps(ids), "label_set": ""})


def test_what_is_chosen_is_the_gallerys(
    scored: LabelSet, images: list[Image], member: Callable[[str], User], login: Login
) -> None:
    client = login(member("viewer"))
    ids = [images[2].pk, images[0].pk]
    answer = chosen(client, [*ids, 10**9])
    pick = Pick.objects.get()
    assert answer.url == f"/projects/animals/?q=picked%3A{pick.pk}"
    assert list(client.get(answer.url).context["selection"].images.values_list("pk", flat=True)) == ids
    told = client.get(f"/api/v1/picks/{pick.pk}/").json()
    assert (told["count"], told["query"], told["images"]) == (2, f"picked:{pick.pk}", sorted(ids))
    made = client.post("/api/v1/projects/animals/picks/", {"images": ids}, content_type="application/json")
    assert made.status_code == 201 and made.json()["count"] == 2


@pytest.mark.parametrize("ids", [[], "x", {"a": 1}, [-1], ["1"], [True], [2**63], [10**9], None])
def test_a_choice_of_nothing_is_refused(ids: object, layout: MapLayout, owner: User, login: Login) -> None:
    assert chosen(login(owner), ids).status_code == 400
    assert not Pick.objects.exists()


def test_a_hundred_thousand_ids_fit_in_one_form(project: Project, owner: User, login: Login) -> None:
    [image] = rows.images(project, 1)
    many = [image.pk, *range(10**7, 10**7 + 99_998)]
    assert chosen(login(owner), many).status_code == 302
    assert Pick.objects.get().image_ids == [image.pk]
