"""Search on pages and in the API: by a picture, over all projects, with a cut-off, and a label made of it."""

import random
from io import BytesIO

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery.models import Image, Membership, Project
from labeling import clip, embeddings
from labeling.models import LabelSet, Probe, ScoringRun
from labeling.probes import KEPT
from labeling.starter import drawing
from labeling.starter.drawing import Drawing
from tests.labeling import rows

pytestmark = pytest.mark.django_db
KINDS = [("red", "circle"), ("blue", "star"), ("green", "heart"), ("red", "square")]
EACH = 6


def picture(colour: str, shape: str, seed: int) -> SimpleUploadedFile:
    out = BytesIO()
    drawn = drawing.draw(Drawing(colour, shape, "solid", 1, "white", "large"), random.Random(seed), 96)
    drawn.save(out, "PNG")
    return SimpleUploadedFile(f"{colour} {shape}.png", out.getvalue(), "image/png")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    made = [
        drawing.draw(Drawing(colour, shape, "solid", 1, "white", "large"), random.Random(number), 96)
        for colour, shape in KINDS
        for number in range(EACH)
    ]
    return clip.engine().embed_images(made)


def fill(project: Project, vectors: np.ndarray) -> dict[int, tuple[str, str]]:
    """A project with images of each kind: what they show, by id."""
    images = rows.images(project, len(vectors))
    embeddings.save([image.pk for image in images], vectors, clip.current().key)
    return {image.pk: KINDS[number // EACH] for number, image in enumerate(images)}


@pytest.fixture
def shown(project: Project, vectors: np.ndarray) -> dict[int, tuple[str, str]]:
    return fill(project, vectors)


@pytest.fixture
def shapes(project: Project, shown: dict[int, tuple[str, str]]) -> LabelSet:
    return rows.label_set(project, "circle", "square")


@pytest.fixture
def client(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def kinds(shown: dict[int, tuple[str, str]], results: list[dict]) -> list[tuple[str, str]]:
    return [shown[result["image"]] for result in results]


def test_the_api_finds_by_words_and_what_is_taken_away(
    client: Client, project: Project, shown: dict[int, tuple[str, str]]
) -> None:
    where = reverse("api-project-search", args=[project.slug])
    found = client.get(where, {"q": "red - square"}).json()
    assert found["searched"] == len(shown)
    assert set(kinds(shown, found["results"])) == {("red", "circle")} and len(found["results"]) == EACH
    similarities = [result["similarity"] for result in found["results"]]
    assert similarities == sorted(similarities, reverse=True)
    assert len(client.get(where, {"q": "red", "limit": 3}).json()["results"]) == 3
    assert client.get(where).json()["results"] == []


def test_the_api_finds_like_an_image_and_like_both(
    client: Client, project: Project, shown: dict[int, tuple[str, str]]
) -> None:
    where = reverse("api-project-search", args=[project.slug])
    star = next(pk for pk, kind in shown.items() if kind[1] == "star")
    found = client.get(where, {"similar": star, "limit": EACH}).json()
    assert found["results"][0]["image"] == star and set(kinds(shown, found["results"])) == {("blue", "star")}
    both = client.get(where, {"similar": star, "q": "heart", "limit": 1}).json()
    assert both["query"] == f"similar:{star} + heart"


@pytest.mark.parametrize(
    "asked",
    [{"q": "red +"}, {"q": 1001 * "a"}, {"q": "label:cat"}, {"similar": 10**12}, {"limit": 0, "q": "red"}],
)
def test_what_cannot_be_searched_is_refused(
    client: Client, project: Project, shown: dict[int, tuple[str, str]], asked: dict
) -> None:
    assert client.get(reverse("api-project-search", args=[project.slug]), asked).status_code == 400


def test_a_picture_finds_its_kind_and_is_not_kept(
    client: Client, project: Project, shapes: LabelSet, shown: dict[int, tuple[str, str]]
) -> None:
    before = Image.objects.count()
    where = reverse("api-project-search", args=[project.slug])
    found = client.post(where, {"picture": picture("green", "heart", 99)}).json()
    assert set(kinds(shown, found["results"][:EACH])) == {("green", "heart")}
    again = client.get(where, {"q": found["query"]}).json()
    assert again["results"] == found["results"]
    assert Image.objects.count() == before
    page = client.post(
        reverse("search_picture", args=[project.slug]),
        {"picture": picture("green", "heart", 99), "label_set": shapes.pk},
        follow=True,
    )
    first = [image.pk for image in page.context["images"]][:EACH]
    assert {shown[pk] for pk in first} == {("green", "heart")}


def test_what_is_no_picture_or_too_large_is_refused_and_leaves_nothing(
    client: Client, project: Project, settings: object
) -> None:
    junk = SimpleUploadedFile("a.png", b"no picture at all")
    assert (
        client.post(reverse("api-project-search", args=[project.slug]), {"picture": junk}).status_code == 415
    )
    junk.seek(0)
    assert client.post(reverse("search_picture", args=[project.slug]), {"picture": junk}).status_code == 415
    assert client.post(reverse("search_picture", args=[project.slug])).status_code == 400
    settings.UPLOAD_MAX_BYTES = 10
    for name in ("api-project-search", "search_picture"):
        answer = client.post(reverse(name, args=[project.slug]), {"picture": picture("red", "circle", 1)})
        assert answer.status_code == 413 and "Too large" in answer.content.decode()
    assert not Probe.objects.exists()


def test_what_a_picture_was_like_is_forgotten_after_a_while(
    client: Client, project: Project, owner: User
) -> None:
    old = Probe.objects.create(project=project, model="m", vector=b"", at=timezone.now() - KEPT * 2)
    client.post(reverse("api-project-search", args=[project.slug]), {"picture": picture("red", "circle", 1)})
    assert not Probe.objects.filter(pk=old.pk).exists() and Probe.objects.count() == 1


def test_all_of_ones_projects_are_searched_and_no_other(
    client: Client, project: Project, owner: User, vectors: np.ndarray, shown: dict[int, tuple[str, str]]
) -> None:
    mine, theirs = (Project.objects.create(name=name, slug=name) for name in ("mine", "theirs"))
    Membership.objects.create(project=mine, user=owner, role="viewer")
    fill(mine, vectors), fill(theirs, vectors)
    found = client.get(reverse("api-search"), {"q": "blue star"}).json()
    assert {result["project"] for result in found["results"]} == {project.slug, "mine"}
    page = client.get(reverse("search"), {"q": "blue star"})
    assert {image.project.slug for image in page.context["answer"].images} == {project.slug, "mine"}
    assert found["found"] == len(found["results"]) == 2 * EACH
    fewer = client.get(reverse("api-search"), {"q": "blue star", "limit": 3}).json()
    assert fewer["found"] == 2 * EACH and len(fewer["results"]) == 3
    one = client.get(reverse("search"), {"q": "blue star", "project": "theirs"})
    assert not one.context["answer"].images
    assert "<mark>label:cat</mark>" in client.get(reverse("search"), {"q": "red label:cat"}).content.decode()


def test_many_projects_are_searched_in_as_many_queries_as_one(
    client: Client, project: Project, owner: User, vectors: np.ndarray, shown: dict[int, tuple[str, str]]
) -> None:
    where, counted = reverse("api-search"), []
    for number in (0, 3):
        for name in range(number):
            other = Project.objects.create(name=f"p{name}", slug=f"p{name}")
            Membership.objects.create(project=other, user=owner, role="viewer")
            fill(other, vectors)
        # The first search takes in what is new.
        found = [client.get(where, {"q": "blue star"}).json()["found"] for _ in "12"][0]
        with CaptureQueriesContext(connection) as asked:
            assert client.get(where, {"q": "blue star"}).json()["found"] == found == (1 + number) * EACH
        counted.append(len(asked))
    assert counted[0] == counted[1]


def test_the_histogram_and_its_handle(client: Client, shapes: LabelSet) -> None:
    where = reverse("gallery", args=[shapes.project.slug])
    page = client.get(where, {"q": "red", "cutoff": "0.1"})
    selection = page.context["selection"]
    assert selection.find.asked == 0.1 and str(selection.search) == "red cutoff:0.1"
    bars = selection.find.bars
    assert len(bars) == 60 and max(bar.height for bar in bars) == 100
    assert [bar.is_above for bar in bars] == sorted(bar.is_above for bar in bars)
    assert 'type="range"' in page.content.decode() and "suggested:" in page.content.decode()


def test_a_line_that_is_being_typed_changes_nothing_until_it_can_be_read(
    client: Client, shapes: LabelSet
) -> None:
    where, htmx = reverse("gallery", args=[shapes.project.slug]), {"HTTP_HX_REQUEST": "true"}
    assert client.get(where, {"q": "red +", "typing": "1"}, **htmx).status_code == 204
    page = client.get(where, {"q": "red", "typing": "1"}, **htmx)
    assert page["HX-Replace-Url"] == f"{where}?q=red" and 'id="find"' in page.content.decode()
    everywhere = reverse("search")
    assert client.get(everywhere, {"q": "red +", "typing": "1"}, **htmx).status_code == 204
    page = client.get(everywhere, {"q": "red", "typing": "1"}, **htmx)
    assert page["HX-Replace-Url"] == f"{everywhere}?q=red" and 'id="found"' in page.content.decode()


def test_a_card_says_how_similar_it_is_and_still_does_after_a_decision(
    client: Client, shapes: LabelSet
) -> None:
    where = reverse("gallery", args=[shapes.project.slug])
    page = client.get(where, {"q": "blue star"})
    image = page.context["images"][0]
    assert page.content.decode().count('class="tile-likeness"') == EACH
    assert 'class="tile-likeness"' not in client.get(where).content.decode()
    card = client.post(
        reverse("decide", args=[shapes.pk]),
        {"image": image.pk, "verdict": "none", "page": "gallery"},
        HTTP_HX_REQUEST="true",
        HTTP_HX_CURRENT_URL=f"http://testserver{where}?q=blue+star",
    )
    assert card.status_code == 200 and f"{image.likeness:.3f}" in card.content.decode()


def test_a_label_is_made_of_the_words(client: Client, shapes: LabelSet) -> None:
    where = reverse("gallery", args=[shapes.project.slug])
    assert "Make a label of it" in client.get(where, {"q": "a big star"}).content.decode()
    for line in ("circle", "star + red", "- red + star"):
        assert "Make a label of it" not in client.get(where, {"q": line}).content.decode()
    add = reverse("label_add", args=[shapes.pk])
    assert client.post(add, {"name": "star", "words": "a big star"}).status_code == 302
    label = shapes.labels.get(name="star")
    assert label.prompts == ["a big star"]
    assert ScoringRun.objects.filter(label_set=shapes, state="queued").exists(), (
        "the images are compared with it"
    )
    assert client.post(add, {"name": "Star", "words": "x"}).status_code == 400
