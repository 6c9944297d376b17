"""API v1 of label sets, runs, matches, reviews and exports."""

import csv
import io
import json
import uuid
import zipfile
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gallery import uploads
from gallery.models import Image, Membership, Project
from labeling import beat, clip, label_sets, review, runs, work
from labeling.label_sets import LabelSpec
from labeling.models import Annotation, Embedding, Label, LabelSet, Match, Review, ScoringRun
from labeling.review import Decision, Verdict
from tests.conftest import picture, pointers

JSON = "application/json"
Login = Callable[[User | None], Client]
Member = Callable[[str], User]


@pytest.fixture
def elsewhere(stranger: User) -> LabelSet:
    """A label set, with a match, of a project that the stranger owns."""
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stranger, role="owner")
    label_set = label_sets.create(other, stranger, "Theirs", [LabelSpec("a"), LabelSpec("b")])
    matched(label_set, [0.5])
    return label_set


def matched(label_set: LabelSet, probabilities: list[float]) -> list[Image]:
    """An image for each, with a match of that probability, and no file."""
    start = Image.objects.count()
    images = Image.objects.bulk_create(
        Image(
            project=label_set.project,
            name=f"{n}.png",
            sha256=f"{n:064x}",
            width=1,
            height=1,
            format="PNG",
            size=1,
        )
        for n in range(start, start + len(probabilities))
    )
    best, runner_up = label_set.labels.all()[:2]
    Match.objects.bulk_create(
        Match(
            image=image,
            label_set=label_set,
            run=label_set.runs.first(),
            label=best,
            runner_up=runner_up,
            similarity=0.25,
            probability=probability,
            margin=probability / 2,
        )
        for image, probability in zip(images, probabilities, strict=True)
    )
    return images


# Label sets


def test_a_label_set_is_made_and_its_images_are_scored(
    owner: User, project: Project, drawn: list[Image], login: Login
) -> None:
    client = login(owner)
    url = "/api/v1/projects/animals/label-sets/"
    labels = [{"name": "red circle"}, {"name": "star", "prompts": ["a yellow star", "a star"]}]
    answer = client.post(url, {"name": "Shapes", "labels": labels}, content_type=JSON)
    assert answer.status_code == 201
    made = answer.json()
    assert [(label["name"], label["prompts"]) for label in made["labels"]] == [
        ("red circle", []),
        ("star", ["a yellow star", "a star"]),
    ]
    assert made["templates"] == ["a photo of a {label}."]
    assert made["run"]["state"] == "queued"
    assert "@".join([made["model"]["name"], made["model"]["revision"]]) == clip.current().key
    assert client.get(url).json()["results"] == [made]
    work.until_none_is_left()
    done = client.get(f"/api/v1/label-sets/{made['id']}/").json()
    assert done == made | {"run": made["run"] | {"state": "done"}}
    assert Match.objects.filter(label_set=made["id"]).count() == 4


@pytest.mark.parametrize("starter", [True, False])
def test_the_starter_model_is_named_where_it_is_in_use(
    starter: bool, owner: User, scored: LabelSet, login: Login
) -> None:
    name = "clipsite/starter" if starter else "openai/clip"
    ScoringRun.objects.update(model=f"{name}@abc")
    run = scored.runs.get()
    for path in (f"label-sets/{scored.pk}/", f"runs/{run.pk}/"):
        model = login(owner).get(f"/api/v1/{path}").json()["model"]
        assert (model["name"], model["revision"], model["is_starter"]) == (name, "abc", starter)
        assert ("fetch_model" in model["note"]) is starter


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/labels"),
        ({"labels": [{"name": "a"}, {"name": "b"}]}, "/name"),
        ({"name": "x", "labels": [{"name": "a"}]}, "/labels"),
        ({"name": "x", "labels": [{"name": "a"}, {"name": "a"}]}, "/labels"),
        ({"name": "x", "labels": [{"name": "a"}, {}]}, "/labels/1/name"),
        ({"name": "x", "labels": [{"name": "a", "id": 1}, {"name": "b"}]}, "/labels"),
        ({"name": "x", "labels": [{"name": "a", "id": 2**70}, {"name": "b"}]}, "/labels/0/id"),
        ({"name": "x", "labels": [{"name": "a", "prompts": "text"}, {"name": "b"}]}, "/labels/0/prompts"),
        ({"name": "x", "labels": "a, b"}, "/labels"),
        ({"name": "x", "labels": [{"name": "a" * 201}, {"name": "b"}]}, "/labels/0/name"),
        ({"name": "x", "labels": [{"name": "a"}, {"name": "b"}], "templates": ["no place"]}, "/templates"),
        ({"name": "x" * 121, "labels": [{"name": "a"}, {"name": "b"}]}, "/name"),
    ],
)
def test_a_label_set_that_can_not_be_is_refused(
    body: dict, pointer: str, owner: User, project: Project, login: Login
) -> None:
    answer = login(owner).post("/api/v1/projects/animals/label-sets/", body, content_type=JSON)
    assert answer.status_code == 400
    assert pointers(answer) == [pointer]
    assert not LabelSet.objects.exists()


def test_a_label_is_renamed_by_its_id(owner: User, scored: LabelSet, login: Login) -> None:
    client = login(owner)
    first, *others = client.get(f"/api/v1/label-sets/{scored.pk}/").json()["labels"]
    # The old name goes to a new label: it must not be taken for the renamed one.
    labels = [first | {"name": "crimson circle"}, *others, {"name": first["name"]}]
    answer = client.patch(f"/api/v1/label-sets/{scored.pk}/", {"labels": labels}, content_type=JSON)
    assert answer.status_code == 200
    changed = answer.json()
    assert [label["name"] for label in changed["labels"]] == [label["name"] for label in labels]
    assert [label["id"] for label in changed["labels"][:4]] == [
        first["id"],
        *(label["id"] for label in others),
    ]
    assert changed["run"]["state"] == "queued"


def test_what_a_change_does_not_mention_stays(owner: User, scored: LabelSet, login: Login) -> None:
    client = login(owner)
    url = f"/api/v1/label-sets/{scored.pk}/"
    Label.objects.filter(name="red circle").update(prompts=["something red and round"])
    runs.start(scored.project, scored)
    before = client.get(url).json()
    after = client.patch(url, {"name": "Renamed"}, content_type=JSON).json()
    assert after == before | {"name": "Renamed"}  # no new run either
    bare = [{"id": label["id"], "name": label["name"]} for label in before["labels"]]
    assert client.patch(url, {"labels": bare}, content_type=JSON).json() == after
    client.patch(url, {"labels": [*bare[1:], bare[0] | {"prompts": []}]}, content_type=JSON)
    assert Label.objects.get(name="red circle").prompts == []


def test_a_label_needs_its_name_also_where_the_rest_is_left_out(
    owner: User, scored: LabelSet, login: Login
) -> None:
    body = {"labels": [{"id": label.pk} for label in scored.labels.all()]}
    answer = login(owner).patch(f"/api/v1/label-sets/{scored.pk}/", body, content_type=JSON)
    assert (answer.status_code, pointers(answer)) == (400, ["/labels"])


def test_more_labels_than_are_compared_are_refused_at_once(
    owner: User, project: Project, login: Login
) -> None:
    body = {"name": "Many", "labels": [{"name": f"label {n}"} for n in range(40_000)]}
    answer = login(owner).post("/api/v1/projects/animals/label-sets/", body, content_type=JSON)
    assert (answer.status_code, pointers(answer)) == (400, ["/labels"])
    assert "no more than 1000" in answer.json()["detail"]


def test_labels_of_another_set_are_out_of_reach(
    owner: User, scored: LabelSet, elsewhere: LabelSet, login: Login
) -> None:
    theirs = elsewhere.labels.first()
    body = {
        "labels": [{"id": theirs.pk, "name": "mine"}, {"name": "b"}],
        "project": "other",
        "id": elsewhere.pk,
    }
    answer = login(owner).patch(f"/api/v1/label-sets/{scored.pk}/", body, content_type=JSON)
    assert answer.status_code == 400
    theirs.refresh_from_db()
    scored.refresh_from_db()
    assert (theirs.name, scored.project.slug) == ("a", "animals")
    twice = {"labels": [{"id": label.pk, "name": name} for name in "ab" for label in scored.labels.all()[:1]]}
    assert login(owner).patch(f"/api/v1/label-sets/{scored.pk}/", twice, content_type=JSON).status_code == 400


def test_a_label_that_people_gave_is_not_removed(owner: User, scored: LabelSet, login: Login) -> None:
    image = scored.images().first()
    review.decide(scored, owner, [Decision(image.pk, Verdict.ACCEPTED)])
    given = Annotation.objects.get().label
    rest = [{"id": label.pk, "name": label.name} for label in scored.labels.exclude(pk=given.pk)]
    answer = login(owner).patch(f"/api/v1/label-sets/{scored.pk}/", {"labels": rest}, content_type=JSON)
    assert answer.status_code == 400
    assert "was given to 1 image" in answer.json()["detail"]
    assert pointers(answer) == ["/labels"]


def test_a_label_set_with_decisions_is_an_owners_to_delete(
    owner: User, scored: LabelSet, member: Member, login: Login
) -> None:
    review.decide(scored, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in scored.images()])
    answer = login(member("reviewer")).delete(f"/api/v1/label-sets/{scored.pk}/")
    assert answer.status_code == 403
    assert "People labelled 4 images" in answer.json()["detail"]
    assert login(owner).delete(f"/api/v1/label-sets/{scored.pk}/").status_code == 204
    assert not LabelSet.objects.exists()
    assert Image.objects.count() == 4


def test_a_label_set_without_decisions_a_reviewer_deletes(
    label_set: LabelSet, member: Member, login: Login
) -> None:
    assert login(member("reviewer")).delete(f"/api/v1/label-sets/{label_set.pk}/").status_code == 204
    assert not LabelSet.objects.exists()


# Runs


def test_a_run_is_started_watched_and_cancelled(owner: User, scored: LabelSet, login: Login) -> None:
    client = login(owner)
    answer = client.post(f"/api/v1/label-sets/{scored.pk}/runs/")
    assert answer.status_code == 202
    started = answer.json()
    assert started["state"] == "queued"
    url = f"/api/v1/runs/{started['id']}/"
    waiting = client.get(url).json()
    assert (waiting["state"], waiting["total"], waiting["done"], waiting["percent"]) == ("queued", 4, 0, 0)
    assert waiting["worker_online"] is False
    beat.beat("here:1")
    work.until_none_is_left()
    done = client.get(url).json()
    assert (
        done
        | {
            "project": "animals",
            "label_set": scored.pk,
            "state": "done",
            "total": 4,
            "done": 4,
            "failed": 0,
            "percent": 100,
            "error": "",
            "failures": [],
            "worker_online": True,
        }
        == done
    )
    assert done["precision"] in ("fp32", "bf16")
    assert done["finished_at"] > done["created_at"]
    # What has ended stays as it is.
    assert client.post(f"{url}cancel/").json() == {"id": started["id"], "state": "done"}
    again = client.post(f"/api/v1/label-sets/{scored.pk}/runs/").json()
    cancelled = client.post(f"/api/v1/runs/{again['id']}/cancel/")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert client.post(f"/api/v1/runs/{again['id']}/retry/").status_code == 409


def test_failed_images_are_named_and_tried_again(
    owner: User, project: Project, label_set: LabelSet, login: Login
) -> None:
    client = login(owner)
    [broken] = uploads.add_images(project, owner, [ContentFile(picture("pink"), "pink.png")]).fresh
    content = broken.image.file.storage.path(broken.image.file.name)
    with open(content, "wb") as file:
        file.write(b"broken")
    work.until_none_is_left()
    run = label_set.runs.get()
    report = client.get(f"/api/v1/runs/{run.pk}/").json()
    assert (report["state"], report["total"], report["done"], report["failed"]) == ("done", 5, 4, 1)
    [failure] = report["failures"]
    assert (failure["image"], failure["name"]) == (broken.image.pk, "pink.png")
    assert "Not an image" in failure["reason"]
    with open(content, "wb") as file:
        file.write(picture("pink"))
    answer = client.post(f"/api/v1/runs/{run.pk}/retry/")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    work.until_none_is_left()
    report = client.get(f"/api/v1/runs/{run.pk}/").json()
    assert (report["state"], report["done"], report["failed"], report["failures"]) == ("done", 5, 0, [])


def test_a_model_that_can_not_be_used_is_said(
    owner: User, scored: LabelSet, login: Login, settings: object
) -> None:
    settings.CLIP_MODEL = "/nowhere"
    answer = login(owner).post(f"/api/v1/label-sets/{scored.pk}/runs/")
    assert answer.status_code == 503
    assert "CLIP_MODEL names /nowhere" in answer.json()["detail"]


# Scores and matches


def test_every_label_of_an_image_has_its_figures(owner: User, scored: LabelSet, login: Login) -> None:
    match = Match.objects.first()
    url = f"/api/v1/images/{match.image_id}/scores/?label_set={scored.pk}"
    answer = login(owner).get(url).json()
    assert (answer["image"], answer["label_set"]) == (match.image_id, scored.pk)
    scores = answer["scores"]
    assert {score["label"]: score["name"] for score in scores} == dict(
        scored.labels.values_list("pk", "name")
    )
    assert scores == sorted(scores, key=lambda score: -score["similarity"])
    assert sum(score["probability"] for score in scores) == pytest.approx(1)
    assert (scores[0]["label"], scores[1]["label"]) == (match.label_id, match.runner_up_id)
    assert scores[0]["similarity"] == pytest.approx(match.similarity, abs=1e-6)
    assert scores[0]["probability"] == pytest.approx(match.probability, abs=1e-6)
    Embedding.objects.all().delete()
    assert login(owner).get(url).json()["scores"] == []


def test_scores_are_of_a_label_set_of_the_same_project(
    owner: User, scored: LabelSet, elsewhere: LabelSet, login: Login
) -> None:
    url = f"/api/v1/images/{Match.objects.filter(label_set=scored).first().image_id}/scores/"
    assert login(owner).get(f"{url}?label_set={elsewhere.pk}").status_code == 404
    for query in ("", "?label_set=", "?label_set=x", f"?label_set={2**80}"):
        answer = login(owner).get(url + query)
        assert (answer.status_code, pointers(answer)) == (400, ["/label_set"])


def test_a_match_names_what_people_say_and_what_clip_says(
    owner: User, scored: LabelSet, login: Login
) -> None:
    match = Match.objects.order_by("-image_id").first()
    other = scored.labels.exclude(pk=match.label_id).first()
    url = f"/api/v1/label-sets/{scored.pk}/matches/"
    [row, *rest] = login(owner).get(url).json()["results"]
    assert len(rest) == 3
    assert row == {
        "image": match.image_id,
        "file_name": match.image.name,
        "label": match.label_id,
        "seen": "",
        "similarity": match.similarity,
        "probability": match.probability,
        "margin": match.margin,
        "runner_up": match.runner_up_id,
        "status": "unreviewed",
        "settled": None,
    }
    review.decide(scored, owner, [Decision(match.image_id, Verdict.CORRECTED, other.pk)])
    corrected = login(owner).get(url).json()["results"][0]
    seen = scored.annotations.get(image=match.image_id).decided_at.isoformat()
    assert corrected == row | {"settled": other.pk, "status": "corrected", "seen": seen}
    review.decide(scored, owner, [Decision(match.image_id, Verdict.NONE)])
    none = login(owner).get(url).json()["results"][0]
    assert none == row | {"settled": None, "status": "none", "seen": none["seen"]} and none["seen"] > seen


def test_matches_are_filtered_as_in_the_gallery(owner: User, label_set: LabelSet, login: Login) -> None:
    images = matched(label_set, [0.2, 0.5, 0.9])
    best = label_set.labels.first()
    review.decide(label_set, owner, [Decision(images[0].pk, Verdict.NONE)])
    expected = {
        "status=none": [0],
        "status=unreviewed": [1, 2],
        "status=unscored": [],
        f"label={best.pk}": [1, 2],
        "probability__lt=0.6": [0, 1],
        "probability__gt=0.6": [2],
        "margin__lt=0.3": [0, 1],
        "margin__gt=0.3": [2],
        "status=unreviewed&probability__lt=0.6": [1],
        "q=status:none": [0],
        "q=-status:none probability:<0.6": [1],
        "q=by:me": [0],
        "q=probability:>0.4&status=unreviewed&probability__lt=0.6": [1],
        "q=": [0, 1, 2],
        "": [0, 1, 2],
    }
    for query, indexes in expected.items():
        rows = login(owner).get(f"/api/v1/label-sets/{label_set.pk}/matches/?{query}").json()["results"]
        assert sorted(row["image"] for row in rows) == [images[index].pk for index in indexes], query


@pytest.mark.parametrize(
    "query",
    [
        "ordering=sha256",
        "label=-1",
        f"label={10**30}",
        "label=-1e7000000",
        "ordering=uploaded_by__password",
        "status=lost",
        "label=x",
        "probability__lt=much",
        "label=1e99",
        "q=cat %2B",
        "q=label:",
        "q=by:sven",
        "q=margin:<-1e7000000",
        "q=name:%00",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    query: str, owner: User, label_set: LabelSet, login: Login
) -> None:
    answer = login(owner).get(f"/api/v1/label-sets/{label_set.pk}/matches/?{query}")
    assert (answer.status_code, pointers(answer)) == (400, ["/" + query.split("=")[0]])


def test_every_mistake_of_a_search_line_is_said(owner: User, label_set: LabelSet, login: Login) -> None:
    url = f"/api/v1/label-sets/{label_set.pk}/matches/"
    for where in (url, url.replace("matches", "images"), url.replace("matches", "export")):
        answer = login(owner).get(where, {"q": 'label:"red circel" status:unreviewd'})
        mistakes = [
            "There is no label “red circel” here. Did you mean “red circle”?",
            "“unreviewd” is no status. Did you mean “unreviewed”?",
        ]
        told = [{"pointer": "/q", "detail": each} for each in mistakes]
        assert (answer.status_code, answer.json()["errors"]) == (400, told), where
        assert answer.json()["detail"] == " ".join(mistakes)


def test_a_search_goes_on_over_pages(owner: User, label_set: LabelSet, login: Login) -> None:
    images = matched(label_set, [0.1] * 5 + [0.9] * 5)
    client, seen = login(owner), []
    url = f"/api/v1/label-sets/{label_set.pk}/matches/?q=-probability:<0.5&ordering=probability&page_size=2"
    while url:
        page = client.get(url).json()
        seen, url = seen + [row["image"] for row in page["results"]], page["next"]
    assert seen == [image.pk for image in images[5:]]


def test_images_of_a_label_set_are_listed_scored_or_not(
    owner: User, label_set: LabelSet, login: Login, django_assert_max_num_queries: object
) -> None:
    images = matched(label_set, [0.2, 0.5, 0.9])
    review.decide(label_set, owner, [Decision(images[0].pk, Verdict.NONE)])
    best, client = label_set.labels.first().pk, login(owner)
    url = f"/api/v1/label-sets/{label_set.pk}/images/"
    drawn = label_set.project.images.count() - 3
    with django_assert_max_num_queries(8):
        rows = client.get(url).json()["results"]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    found = {row["id"]: (row["status"], row["label"]) for row in rows}
    assert [found[image.pk] for image in images] == [
        ("none", None),
        ("unreviewed", best),
        ("unreviewed", best),
    ]
    assert sorted(status for status, _ in found.values()).count("unscored") == drawn
    [row] = client.get(url, {"q": "probability:>0.6"}).json()["results"]
    assert row["id"] == images[2].pk and row["thumbnail"].endswith(f"/images/{row['id']}/thumbnail/")
    assert len(client.get(url, {"q": "status:unscored"}).json()["results"]) == drawn


def test_relations_can_not_be_asked_about(owner: User, label_set: LabelSet, login: Login) -> None:
    matched(label_set, [0.5, 0.6])
    url = f"/api/v1/label-sets/{label_set.pk}/matches/"
    rows = login(owner).get(url).json()["results"]
    for query in ("uploaded_by__password__startswith=p", "match__run__created_by=0", "project=0"):
        assert login(owner).get(f"{url}?{query}").json()["results"] == rows


@pytest.mark.parametrize("ordering", ["-id", "id", "-probability", "probability", "-margin", "margin"])
def test_pages_hold_each_match_once_however_many_are_alike(
    ordering: str, owner: User, label_set: LabelSet, login: Login
) -> None:
    images = matched(label_set, [0.1] * 100 + [0.9] * 120 + [1 / 3] * 30)
    client, seen = login(owner), []
    url = f"/api/v1/label-sets/{label_set.pk}/matches/?ordering={ordering}&page_size=40"
    while url:
        page = client.get(url).json()
        seen += page["results"]
        last, url = url, page["next"]
    assert sorted(row["image"] for row in seen) == [image.pk for image in images]
    if ordering[-2:] != "id":
        field = ordering.lstrip("-")
        assert [row[field] for row in seen] == sorted(
            (row[field] for row in seen), reverse=ordering[0] == "-"
        )
    back, url = [], client.get(last).json()["previous"]
    while url:
        page = client.get(url).json()
        back = page["results"] + back
        url = page["previous"]
    assert back == seen[:240]


@pytest.mark.parametrize("path", ["projects/animals/label-sets/", "label-sets/{pk}/matches/"])
def test_a_list_asks_no_question_for_each_row(
    path: str,
    owner: User,
    label_set: LabelSet,
    login: Login,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    client = login(owner)
    url = f"/api/v1/{path.format(pk=label_set.pk)}"
    matched(label_set, [0.5])
    number = 5 if "animals" in path else 4
    with django_assert_num_queries(number):
        assert len(client.get(url).json()["results"]) == 1
    matched(label_set, [0.5] * 20)
    for n in range(20):
        label_sets.create(label_set.project, owner, f"Set {n}", [LabelSpec("a"), LabelSpec("b")])
    with django_assert_num_queries(number):
        assert len(client.get(url).json()["results"]) == 21


def test_a_run_is_reported_with_few_questions(
    owner: User, label_set: LabelSet, login: Login, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    images, run = matched(label_set, [0.5] * 20), label_set.runs.get()
    run.image_attempts.bulk_create(
        run.image_attempts.model(run=run, image=image, failed=True, reason="No.") for image in images
    )
    client = login(owner)
    with django_assert_max_num_queries(9):
        assert len(client.get(f"/api/v1/runs/{run.pk}/").json()["failures"]) == 20


# Reviews


def test_decisions_are_written_and_taken_back(owner: User, scored: LabelSet, login: Login) -> None:
    client = login(owner)
    first, second, third, fourth = Match.objects.order_by("image_id")
    other = scored.labels.exclude(pk=second.label_id).first()
    reviews = [
        {"image": first.image_id, "verdict": "accepted"},
        {"image": second.image_id, "verdict": "corrected", "label": other.pk},
        {"image": third.image_id, "verdict": "none", "label": None},
        {"image": fourth.image_id, "verdict": "skipped"},
    ]
    answer = client.post(f"/api/v1/label-sets/{scored.pk}/reviews/", {"reviews": reviews}, content_type=JSON)
    assert answer.status_code == 201
    batch = answer.json()["batch"]
    assert answer.json()["decided"] == [
        {"image": first.image_id, "label": first.label_id, "verdict": "accepted"},
        {"image": second.image_id, "label": other.pk, "verdict": "corrected"},
        {"image": third.image_id, "label": None, "verdict": "none"},
        {"image": fourth.image_id, "label": None, "verdict": "skipped"},
    ]
    assert Annotation.objects.count() == 3
    later = [{"image": first.image_id, "verdict": "none"}]
    client.post(f"/api/v1/label-sets/{scored.pk}/reviews/", {"reviews": later}, content_type=JSON)
    answer = client.post(f"/api/v1/label-sets/{scored.pk}/reviews/undo/", {"batch": batch}, content_type=JSON)
    assert answer.status_code == 200
    assert answer.json() == {
        "undone": [second.image_id, third.image_id, fourth.image_id],
        "kept": [first.image_id],
    }
    assert Annotation.objects.get().image_id == first.image_id


@pytest.mark.parametrize(
    "reviews",
    [
        [],
        None,
        "accepted",
        [{"verdict": "accepted"}],
        [{"image": "{image}"}],
        [{"image": "{image}", "verdict": "undone"}],
        [{"image": "{image}", "verdict": "corrected"}],
        [{"image": "{image}", "verdict": "accepted"}] * 2,
        [{"image": "{image}", "verdict": "accepted"}, {"image": "{foreign image}", "verdict": "none"}],
        [{"image": "{image}", "verdict": "corrected", "label": "{foreign label}"}],
        [{"image": "{image}", "verdict": "none", "label": "{label}"}],
        [{"image": 2**70, "verdict": "none"}],
        [{"image": -1, "verdict": "none"}],
        [{"image": n, "verdict": "none"} for n in range(1, 1002)],
    ],
)
def test_of_reviews_that_can_not_be_none_is_written(
    reviews: object, owner: User, scored: LabelSet, elsewhere: LabelSet, login: Login
) -> None:
    names = {
        "{image}": scored.images().first().pk,
        "{foreign image}": elsewhere.images().first().pk,
        "{label}": scored.labels.first().pk,
        "{foreign label}": elsewhere.labels.first().pk,
    }
    if isinstance(reviews, list):
        reviews = [{key: names.get(value, value) for key, value in each.items()} for each in reviews]
    body = {"reviews": reviews}
    answer = login(owner).post(f"/api/v1/label-sets/{scored.pk}/reviews/", body, content_type=JSON)
    assert answer.status_code == 400
    assert answer.json()
    assert not Review.objects.exists()


def test_who_reviews_is_who_is_logged_in(owner: User, scored: LabelSet, member: Member, login: Login) -> None:
    labeler, image = member("labeler"), scored.images().first()
    body = {"reviews": [{"image": image.pk, "verdict": "none", "user": owner.pk, "batch": str(uuid.uuid4())}]}
    login(labeler).post(f"/api/v1/label-sets/{scored.pk}/reviews/", body, content_type=JSON)
    assert Review.objects.get().user == labeler


def test_only_a_reviewer_takes_back_what_others_decided(
    owner: User, scored: LabelSet, member: Member, login: Login
) -> None:
    batch = review.decide(scored, owner, [Decision(scored.images().first().pk, Verdict.NONE)])
    url = f"/api/v1/label-sets/{scored.pk}/reviews/undo/"
    body = {"batch": str(batch)}
    assert login(member("labeler")).post(url, body, content_type=JSON).status_code == 403
    assert login(member("reviewer")).post(url, body, content_type=JSON).status_code == 200
    assert not Annotation.objects.exists()


def test_a_batch_of_another_label_set_is_left_alone(
    owner: User, stranger: User, scored: LabelSet, elsewhere: LabelSet, login: Login
) -> None:
    batch = review.decide(elsewhere, stranger, [Decision(elsewhere.images().first().pk, Verdict.NONE)])
    url = f"/api/v1/label-sets/{scored.pk}/reviews/undo/"
    answer = login(owner).post(url, {"batch": str(batch)}, content_type=JSON)
    assert answer.json() == {"undone": [], "kept": []}
    assert Annotation.objects.count() == 1
    for body in ({}, {"batch": "x"}):
        assert login(owner).post(url, body, content_type=JSON).status_code == 400


# Exports


@pytest.fixture
def decided(owner: User, scored: LabelSet) -> LabelSet:
    """Three of four images are settled: accepted, corrected, none of these."""
    first, second, third, _ = Match.objects.order_by("image_id")
    other = scored.labels.exclude(pk=second.label_id).first()
    decisions = [
        Decision(first.image_id, Verdict.ACCEPTED),
        Decision(second.image_id, Verdict.CORRECTED, other.pk),
        Decision(third.image_id, Verdict.NONE),
    ]
    review.decide(scored, owner, decisions)
    return scored


def test_settled_images_are_exported_as_csv(decided: LabelSet, member: Member, login: Login) -> None:
    answer = login(member("viewer")).get(
        f"/api/v1/label-sets/{decided.pk}/export/", headers={"Accept": "text/csv"}
    )
    assert answer.status_code == 200
    assert answer.streaming
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="animals-shapes.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert [row["status"] for row in rows] == ["accepted", "corrected", "none"]
    assert [row["file_name"] for row in rows] == ["red circle.png", "blue square.png", "green triangle.png"]
    assert {row["decided_by"] for row in rows} == {"olga"}


def test_suggestions_and_filters_and_jsonl(owner: User, decided: LabelSet, login: Login) -> None:
    client = login(owner)
    url = f"/api/v1/label-sets/{decided.pk}/export/?format=jsonl"
    rows = [json.loads(line) for line in client.get(f"{url}&include=suggested").getvalue().splitlines()]
    assert [row["status"] for row in rows] == ["accepted", "corrected", "none", "unreviewed"]
    assert set(rows[0]["scores"]) == {label.name for label in decided.labels.all()}
    assert [row["verdict"] for row in rows[1]["reviews"]] == ["corrected"]
    [row] = client.get(f"{url}&status=none&images=0").getvalue().splitlines()
    assert json.loads(row)["label"] is None


def test_an_export_with_pictures_is_a_zip(owner: User, decided: LabelSet, login: Login) -> None:
    Image.objects.filter(name="blue square.png").update(name="folder/red circle.png")
    answer = login(owner).get(f"/api/v1/label-sets/{decided.pk}/export/?images=1&include=suggested")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="animals-shapes.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
        assert {f"images/{row['file_name']}" for row in rows} | {"labels.csv"} == set(archive.namelist())
        assert len(set(archive.namelist())) == 5
        for row in rows:
            image = Image.objects.get(pk=row["id"])
            assert archive.read(f"images/{row['file_name']}") == image.file.read()


def test_an_export_goes_without_a_picture_that_is_gone(owner: User, decided: LabelSet, login: Login) -> None:
    image = Image.objects.get(name="red circle.png")
    image.file.storage.delete(image.file.name)
    answer = login(owner).get(f"/api/v1/label-sets/{decided.pk}/export/?images=1")
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert sorted(archive.namelist()) == [
            "images/blue square.png",
            "images/green triangle.png",
            "labels.csv",
        ]


def test_cells_that_a_spreadsheet_would_run_are_quoted(owner: User, decided: LabelSet, login: Login) -> None:
    Image.objects.filter(name="red circle.png").update(name="=1+1")
    url = f"/api/v1/label-sets/{decided.pk}/export/"
    assert "'=1+1" in login(owner).get(url).getvalue().decode()
    assert "'=1+1" not in login(owner).get(f"{url}?raw=1").getvalue().decode()


@pytest.mark.parametrize("query", ["format=xml", "format=__class__", "include=all", "status=lost", "label=x"])
def test_an_export_that_can_not_be_is_refused(
    query: str, owner: User, scored: LabelSet, login: Login
) -> None:
    answer = login(owner).get(f"/api/v1/label-sets/{scored.pk}/export/?{query}")
    assert (answer.status_code, pointers(answer)) == (400, ["/" + query.split("=")[0]])


def test_an_export_of_many_asks_few_questions(
    owner: User, label_set: LabelSet, login: Login, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    matched(label_set, [0.5] * 600)
    client = login(owner)
    with django_assert_max_num_queries(7):
        answer = client.get(f"/api/v1/label-sets/{label_set.pk}/export/?include=suggested")
        assert len(answer.getvalue().splitlines()) == 601
