"""What reviewing one by one has at hand besides deciding: redo, clear, similar images, why."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery.models import Image, Membership, Project
from labeling import embeddings, review, vector_sync, vectors
from labeling.models import Annotation, Embedding, LabelSet, Review
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

HTMX = {"headers": {"HX-Request": "true"}}


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images, matched cat, dog, bird, cat, dog, bird, the least certain first."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6), [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    return made


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def settled(label_set: LabelSet) -> list[int]:
    return list(Annotation.objects.filter(label_set=label_set).values_list("image", flat=True))


def post(client: Client, name: str, label_set: LabelSet, **values: object) -> object:
    return client.post(reverse(name, args=[label_set.pk]), {"page": "review"} | values, **HTMX)


# Redo


def test_redo_brings_back_what_undo_took_and_goes_on(animals: LabelSet, client: Client) -> None:
    first, second, *_ = ids(animals)
    post(client, "decide", animals, image=first, verdict="none")
    assert post(client, "undo", animals).context["image"].pk == first
    assert settled(animals) == []
    answer = post(client, "redo", animals)
    assert settled(animals) == [first] and answer.context["image"].pk == second
    assert "Redone: image 00000.jpg" in answer.text
    assert "There is nothing to redo." in post(client, "redo", animals).text
    assert settled(animals) == [first]


def test_redo_is_offered_only_where_there_is_something_to_redo(animals: LabelSet, client: Client) -> None:
    first, second, *_ = ids(animals)
    assert not client.get(reverse("review", args=[animals.pk])).context["can_redo"]
    post(client, "decide", animals, image=first, verdict="none")
    assert post(client, "undo", animals).context["can_redo"]
    assert not post(client, "decide", animals, image=second, verdict="none").context["can_redo"]


def test_redo_of_another_persons_batch_by_the_api(
    animals: LabelSet, client: Client, owner: User, member: Callable, login: Callable
) -> None:
    batch = decide(animals, owner, [Decision(ids(animals)[0], Verdict.NONE)])
    review.undo(animals, owner, "owner", batch)
    undoing = {"batch": str(animals.batches.get(reverses=batch).pk)}
    address = reverse("api-redo", args=[animals.pk])
    for role, status in (("viewer", 403), ("labeler", 403)):
        assert login(member(role)).post(address, undoing, "application/json").status_code == status
    assert settled(animals) == []
    assert client.post(address, undoing, "application/json").json() == {
        "undone": ids(animals)[:1],
        "kept": [],
    }
    assert settled(animals) == ids(animals)[:1]


# Clear


def test_clear_takes_back_the_answer_of_the_image_that_is_shown(
    animals: LabelSet, client: Client, owner: User
) -> None:
    first, second, *_ = ids(animals)
    decide(animals, owner, [Decision(image, Verdict.ACCEPTED) for image in (first, second)])
    answer = post(client, "clear", animals, image=first)
    assert settled(animals) == [second], "the batch keeps its other image"
    assert answer.context["image"].pk == first and "Cleared: image 00000.jpg" in answer.text
    assert "This image has no answer to clear." in post(client, "clear", animals, image=first).text
    assert post(client, "clear", animals, image="x").status_code == 400
    assert post(client, "clear", animals).status_code == 400


def test_an_answer_that_nobody_has_seen_is_not_cleared(
    animals: LabelSet, client: Client, owner: User
) -> None:
    first = ids(animals)[0]
    decide(animals, owner, [Decision(first, Verdict.ACCEPTED)])
    seen = review.version(animals.annotations.get(image=first))
    decide(animals, owner, [Decision(first, Verdict.NONE)])
    answer = post(client, "clear", animals, image=first, seen=seen)
    assert answer.status_code == 409 and "olga decided in the meantime" in answer.text
    api = reverse("api-clear", args=[animals.pk])
    assert client.post(api, {"image": first, "seen": seen}, "application/json").status_code == 409
    assert settled(animals) == [first]
    assert client.post(api, {"image": first}, "application/json").json()["undone"] == [first]


def test_a_labeler_clears_their_own_answer_alone(
    animals: LabelSet, owner: User, member: Callable, login: Callable, stranger: User
) -> None:
    first, second, *_ = ids(animals)
    labeler = member("labeler")
    decide(animals, labeler, [Decision(first, Verdict.ACCEPTED)])
    decide(animals, owner, [Decision(second, Verdict.ACCEPTED)])
    theirs = login(labeler)
    assert post(theirs, "clear", animals, image=second).status_code == 403
    assert post(login(stranger), "clear", animals, image=first).status_code == 404
    assert post(login(member("viewer")), "clear", animals, image=first).status_code == 403
    assert sorted(settled(animals)) == [first, second]
    assert post(theirs, "clear", animals, image=first).status_code == 200
    assert settled(animals) == [second]


def test_a_vote_that_settles_nothing_yet_can_be_cleared(
    animals: LabelSet, client: Client, owner: User
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    first = ids(animals)[0]
    page = {"image": first}
    assert not client.get(reverse("review", args=[animals.pk]), page).context["can_clear"]
    decide(animals, owner, [Decision(first, Verdict.ACCEPTED)])
    assert client.get(reverse("review", args=[animals.pk]), page).context["can_clear"]
    post(client, "clear", animals, image=first)
    assert not review.effective(animals, [first])[first]


# Similar images


def embed(images: list[Image], vectors: list[list[float]], model: str = rows.MODEL) -> None:
    Embedding.objects.filter(image__in=images, model=model).delete()
    unit = [np.array(vector, np.float32) / np.linalg.norm(vector) for vector in vectors]
    embeddings.save([image.pk for image in images], np.stack(unit), model)


def test_the_most_similar_come_first_of_this_project_and_model_alone(
    animals: LabelSet, client: Client, stranger: User
) -> None:
    images = list(animals.project.images.order_by("pk"))
    embed(images, [[1, 0, 0], [0, 1, 0], [3, 1, 0], [9, 1, 0], [1, 1, 0], [-1, 0, 0]])
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    embed(rows.images(elsewhere, 1), [[1, 0, 0]])
    page = client.get(reverse("similar", args=[images[0].pk]), {"label_set": animals.pk})
    found = page.context["similar"]
    assert [image.pk for image in found] == [images[n].pk for n in (3, 2, 4, 1, 5)]
    assert found[0].likeness == pytest.approx(9 / np.sqrt(82))
    api = client.get(reverse("api-image-similar", args=[images[0].pk]), {"label_set": animals.pk}).json()
    assert [row["image"] for row in api["similar"]] == [image.pk for image in found]
    assert api["similar"][0] | {"similarity": 0} == {
        "image": images[3].pk,
        "file_name": "image 00003.jpg",
        "similarity": 0,
        "status": "unreviewed",
        "label": animals.labels.get(name="cat").pk,
    }


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_best_of_many_blocks_are_those_of_all_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(vector_sync, "BLOCK", 7)
    images = rows.images(project, 50)
    numbers = np.random.default_rng(3).normal(size=(50, 8))
    numbers[20:30] = numbers[10]  # equals, over more than one block
    embed(images, numbers.tolist())
    units = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    cosines = units.astype(np.float32) @ units[0].astype(np.float32)
    expected = sorted(range(1, 50), key=lambda number: (-round(float(cosines[number]), 5), number))[:count]
    found = vectors.nearest(images[0], count)
    assert [image_id for image_id, _ in found] == [images[number].pk for number in expected]
    assert [cosine for _, cosine in found] == pytest.approx(
        [cosines[number] for number in expected], abs=1e-5
    )


def test_memory_does_not_grow_with_the_number_of_images(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_sync, "BLOCK", 500)

    def peak(first: Image) -> int:
        tracemalloc.start()
        vectors.nearest(first, 12)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    rng = np.random.default_rng(1)

    def more(count: int, start: int) -> list[Image]:
        images = rows.images(project, count, start=start)
        embeddings.save(
            [image.pk for image in images], rng.normal(size=(count, 512)).astype("<f4"), rows.MODEL
        )
        return images

    [first, *_] = more(2000, 0)
    few = peak(first)
    more(4000, 2000)
    assert peak(first) < few * 1.3


def test_an_image_that_is_not_embedded_is_like_none(animals: LabelSet, client: Client) -> None:
    [bare] = rows.images(animals.project, 1, start=50)
    page = client.get(reverse("similar", args=[bare.pk]), {"label_set": animals.pk})
    assert page.context["similar"] == [] and "not seen enough" in page.text


def test_similar_shows_what_is_settled_and_nobodys_single_vote(
    animals: LabelSet, client: Client, owner: User, member: Callable
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(votes=2)
    first, second, third, *_ = ids(animals)
    bird = animals.labels.get(name="bird")
    decide(animals, owner, [Decision(second, Verdict.CORRECTED, bird.pk)])
    both = [member("labeler"), member("reviewer")]
    for user in both:
        decide(animals, user, [Decision(third, Verdict.CORRECTED, animals.labels.get(name="cat").pk)])
    page = client.get(reverse("similar", args=[first]), {"label_set": animals.pk}, **HTMX)
    shown = {image.pk: (image.status, image.label.name) for image in page.context["similar"]}
    assert shown[second] == ("unreviewed", "dog"), "CLIP's suggestion, and not the vote"
    assert shown[third] == ("corrected", "cat")


# Why


def test_why_tells_every_figure_and_what_clip_was_asked(scored: LabelSet, client: Client) -> None:
    image = scored.images().first()
    page = client.get(reverse("why", args=[image.pk]), {"label_set": scored.pk})
    labels = page.context["why"].labels
    assert [score.name for score, _ in labels][0] == image.name.removesuffix(".png") and len(labels) == 4
    match = scored.matches.get(image=image)
    assert labels[0][0].probability == pytest.approx(match.probability, abs=1e-4)
    for words in ("“a photo of a red circle.”", match.run.model, match.runner_up.name, "Margin"):
        assert words in page.text


def test_why_says_the_prompts_of_the_run_though_they_are_others_now(
    animals: LabelSet, client: Client
) -> None:
    LabelSet.objects.filter(pk=animals.pk).update(templates=["another {label}"])
    page = client.get(reverse("why", args=[ids(animals)[0]]), {"label_set": animals.pk}, **HTMX)
    assert "“a photo of a cat.”" in page.text and "another" not in page.text
    assert "<html" not in page.text, "a script gets the part that it asked for"


def test_why_of_an_image_that_waits_says_so(animals: LabelSet, client: Client) -> None:
    [bare] = rows.images(animals.project, 1, start=50)
    animals.matches.all().delete()
    page = client.get(reverse("why", args=[bare.pk]), {"label_set": animals.pk})
    assert "waits to be scored" in page.text


@pytest.mark.parametrize("name", ["similar", "why"])
def test_a_closer_look_is_for_members(
    name: str, animals: LabelSet, member: Callable, stranger: User, login: Callable
) -> None:
    address = reverse(name, args=[ids(animals)[0]])
    assert login(member("viewer")).get(address).status_code == 200
    assert login(stranger).get(address).status_code == 404
    assert login(None).get(address).status_code == 302
    assert login(stranger).post(address).status_code == 405


@pytest.mark.parametrize("name", ["similar", "why", "review"])
def test_it_asks_as_often_for_many_images_and_labels(
    name: str, project: Project, client: Client, owner: User
) -> None:
    def queries(label_set: LabelSet) -> int:
        image = label_set.images().first()
        address = reverse(name, args=[label_set.pk if name == "review" else image.pk])
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address, {"label_set": label_set.pk}).status_code == 200
        return len(asked)

    few = rows.label_set(project, "a", "b")
    rows.match(few, rows.images(project, 3))
    client.get(reverse("keys"))
    asked = queries(few)
    large = Project.objects.create(name="Large", slug="large")
    Membership.objects.create(project=large, user=owner, role="owner")
    many = rows.label_set(large, *(f"label {number}" for number in range(40)))
    rows.match(many, rows.images(large, 30))
    decide(many, owner, [Decision(image.pk, Verdict.NONE) for image in many.images()[3:20]])
    assert Review.objects.count() == 17
    assert queries(many) == asked <= 40
