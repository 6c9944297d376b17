"""Search by CLIP, with the starter model on drawn pictures: what it finds is what they show."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from gallery.models import Project
from labeling import clip, cutoff, embeddings, search, terms
from labeling.models import Embedding, LabelSet, Probe
from labeling.selection import Selection
from labeling.starter import drawing
from labeling.starter.drawing import Drawing
from tests.labeling import rows

COUNT = 1200


@pytest.fixture(scope="session")
def drawn() -> tuple[list[Drawing], np.ndarray]:
    """Drawings of every kind, and what CLIP makes of their pictures."""
    rng = random.Random(11)
    drawings = [drawing.random_drawing(rng) for _ in range(COUNT)]
    pictures = [drawing.draw(each, rng, 96) for each in drawings]
    return drawings, clip.engine().embed_images(pictures)


@pytest.fixture
def drawings(project: Project, drawn: tuple[list[Drawing], np.ndarray]) -> dict[int, Drawing]:
    """A project of these pictures: what each image shows, by id."""
    images = rows.images(project, COUNT)
    embeddings.save([image.pk for image in images], drawn[1], clip.current().key)
    return dict(zip([image.pk for image in images], drawn[0], strict=True))


@pytest.fixture
def other_project() -> Project:
    return Project.objects.create(name="Others", slug="others")


@pytest.fixture
def shapes(project: Project, drawings: dict[int, Drawing]) -> LabelSet:
    return rows.label_set(project, "circle", "square")


def found(label_set: LabelSet, user: User, line: str, **params: str) -> list[int]:
    """The ids that the gallery shows for a line, in its order."""
    asked = QueryDict(mutable=True)
    asked.update({"q": line, **params})
    selection = Selection(label_set, asked, user)
    assert not selection.mistakes, selection.mistakes
    return selection.ranked if selection.ranked is not None else [image.pk for image in selection.images]


# At least twenty pictures of the drawn set fit each.
LINES: dict[str, Callable[[Drawing], bool]] = {
    "red": lambda each: each.colour == "red",
    "star": lambda each: each.shape == "star",
    "red - circle": lambda each: each.colour == "red" and each.shape != "circle",
    "circle - red": lambda each: each.colour != "red" and each.shape == "circle",
    "heart - red - pink": lambda each: each.shape == "heart" and each.colour not in ("red", "pink"),
    "- blue + star": lambda each: each.shape == "star" and each.colour != "blue",
    "2:moon - 0.5:yellow": lambda each: each.shape == "moon" and each.colour != "yellow",
}


@pytest.mark.django_db
@pytest.mark.parametrize("line", LINES)
def test_the_first_twenty_are_right(
    shapes: LabelSet, owner: User, drawings: dict[int, Drawing], line: str
) -> None:
    first = found(shapes, owner, line)[:20]
    assert len(first) == 20 and all(LINES[line](drawings[image_id]) for image_id in first)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("colour", "shape", "other"), [("red", "circle", "square"), ("blue", "star", "moon")]
)
def test_two_properties_less_a_third(
    shapes: LabelSet, owner: User, drawings: dict[int, Drawing], colour: str, shape: str, other: str
) -> None:
    fit = {pk for pk, each in drawings.items() if (each.colour, each.shape) == (colour, shape)}
    for line in (f"{colour} {shape} - {other}", f"{colour} + {shape} - {other}", f"{colour} {shape}"):
        assert set(found(shapes, owner, line)[: min(20, len(fit))]) <= fit, line


@pytest.mark.django_db
@pytest.mark.parametrize("line", ["red", "star", "black background", "red circle"])
def test_the_cut_off_that_is_suggested_parts_what_fits_from_what_does_not(
    shapes: LabelSet, owner: User, drawings: dict[int, Drawing], line: str
) -> None:
    fits = {"black background": lambda each: each.background == "black"} | LINES
    fits["red circle"] = lambda each: each.colour == "red" and each.shape == "circle"
    right = {pk for pk, each in drawings.items() if fits[line](each)}
    shown = set(found(shapes, owner, line))
    assert len(shown & right) >= 0.95 * len(right) and len(shown & right) >= 0.9 * len(shown)


@pytest.mark.django_db
def test_nothing_below_the_cut_off_is_a_find(shapes: LabelSet, owner: User) -> None:
    sought = search.read(terms.read("red"), [shapes.project_id])
    find = search.Find(shapes.project_id, sought)
    some = found(shapes, owner, "red cutoff:0.2")
    assert some == found(shapes, owner, "red cutoff:20%") != []
    assert min(find.similarity(some).values()) >= 0.2
    left = find.similarity(set(shapes.images().values_list("pk", flat=True)) - set(some))
    assert max(left.values()) < 0.2
    assert len(found(shapes, owner, "red cutoff:-1")) == COUNT and not found(shapes, owner, "red cutoff:1.1")
    assert sum(find.histogram) == find.searched == COUNT
    assert find.low <= find.cutoff <= find.high


@pytest.mark.django_db
def test_the_filters_of_the_line_hold_too_and_the_order_can_be_another(
    shapes: LabelSet, owner: User, drawings: dict[int, Drawing]
) -> None:
    red = found(shapes, owner, "red")
    assert set(found(shapes, owner, f"red id:{red[3]} id:{red[5]} status:unscored")) == {red[3], red[5]}
    assert found(shapes, owner, f"red -id:{red[0]}") == red[1:]
    assert found(shapes, owner, "red", ordering="id") == sorted(red)


@pytest.mark.django_db
def test_an_image_is_most_like_itself_and_then_like_its_kind(
    shapes: LabelSet, owner: User, drawings: dict[int, Drawing]
) -> None:
    star = next(pk for pk, each in drawings.items() if each.shape == "star")
    first = found(shapes, owner, f"similar:{star}")[:10]
    alike = [
        pk for pk in first if drawings[pk].colour == drawings[star].colour or drawings[pk].shape == "star"
    ]
    assert first[0] == star and len(alike) >= 9

    def of_its_colour(line: str) -> int:
        return sum(drawings[pk].colour == drawings[star].colour for pk in found(shapes, owner, line)[:10])

    line = f"similar:{star} cutoff:-1"
    assert of_its_colour(f"{line} - {drawings[star].colour}") < of_its_colour(line)


@pytest.mark.django_db
def test_pages_stay_the_same_while_images_come_in(
    project: Project, shapes: LabelSet, owner: User, drawn: tuple[list[Drawing], np.ndarray]
) -> None:
    before = found(shapes, owner, "red", among=str(COUNT))
    [new] = rows.images(project, 1, start=50_000)
    best = embeddings.load([before[0]], clip.current().key)[1]
    embeddings.save([new.pk], best, clip.current().key)
    assert found(shapes, owner, "red", among=str(COUNT)) == before
    assert new.pk in found(shapes, owner, "red")


@pytest.mark.django_db
def test_deleted_images_are_not_shown(
    project: Project, shapes: LabelSet, owner: User, client: Client
) -> None:
    client.force_login(owner)
    where = reverse("gallery", args=[project.slug])
    red = found(shapes, owner, "red")
    project.images.filter(pk=red[0]).delete()
    for shown in (red[1:60], red[1:61]):
        page = client.get(where, {"q": "red"})
        assert [image.pk for image in page.context["images"]] == shown, (
            "the next search knows that it is gone"
        )
        assert page.context["page"].paginator.count == len(red) - 1


@pytest.mark.django_db
def test_a_picture_is_searched_by_what_was_kept_of_it_in_its_project_alone(
    project: Project,
    other_project: Project,
    shapes: LabelSet,
    owner: User,
    drawn: tuple[list[Drawing], np.ndarray],
) -> None:
    vector = embeddings.to_bytes(drawn[1][7])
    here, there = (
        Probe.objects.create(project=each, model=clip.current().key, vector=vector)
        for each in (project, other_project)
    )
    assert found(shapes, owner, f"picture:{here.pk}")[0] == shapes.images().order_by("pk")[7].pk
    with pytest.raises(ValidationError):
        search.read(terms.read(f"picture:{there.pk}"), [project.pk])


@pytest.mark.django_db
def test_an_image_of_another_project_is_none_to_search_by(
    other_project: Project, shapes: LabelSet, drawn: tuple[list[Drawing], np.ndarray]
) -> None:
    [theirs] = rows.images(other_project, 1)
    embeddings.save([theirs.pk], drawn[1][:1], clip.current().key)
    with pytest.raises(ValidationError, match="There is no image"):
        search.read(terms.read(f"similar:{theirs.pk}"), [shapes.project_id])


@pytest.mark.django_db
def test_the_gallery_shows_the_find_and_asks_a_bounded_number_of_times(
    shapes: LabelSet, client: Client, owner: User, django_assert_max_num_queries: Callable
) -> None:
    client.force_login(owner)
    where = reverse("gallery", args=[shapes.project.slug])
    client.get(where, {"q": "red"})
    with django_assert_max_num_queries(22):
        page = client.get(where, {"q": "red"})
    assert page.status_code == 200
    shown = [image.pk for image in page.context["images"]]
    assert shown == found(shapes, owner, "red")[:60]
    assert "Most like it" in page.content.decode()


# The arithmetic alone


def test_the_valley_between_two_hills_is_the_cut_off() -> None:
    rng = np.random.default_rng(1)
    chance, finds = rng.normal(0.2, 0.02, 5000), rng.normal(0.4, 0.02, 200)
    assert chance.max() < cutoff.stands_out(np.concatenate([chance, finds])) < finds.min() + 0.01


@pytest.mark.parametrize("finds", [20, 500, 1500, 2500])
def test_most_of_the_images_can_be_finds(finds: int) -> None:
    rng = np.random.default_rng(3)
    chance, found_too = rng.normal(0.2, 0.02, 1000), rng.normal(0.4, 0.02, finds)
    least = cutoff.stands_out(np.concatenate([chance, found_too]))
    assert (chance >= least).mean() < 0.01 and (found_too >= least).mean() > 0.99


def test_without_a_second_hill_few_stand_out() -> None:
    chance = np.random.default_rng(2).normal(0.2, 0.02, 20_000)
    assert (chance >= cutoff.stands_out(chance)).mean() < 0.02


def test_what_is_taken_away_costs_only_those_that_are_like_it() -> None:
    images = np.eye(3, dtype=np.float32)
    sought = search.Sought("m", images[0], np.array([1], np.float32), images[1:2])
    assert search.similarities(images, sought).tolist() == [1, -1, 0]


def test_few_images_have_a_cut_off_too() -> None:
    for few in ([0.3], [0.1, 0.2], [0.2] * 5):
        assert min(few) <= cutoff.stands_out(np.array(few)) <= max(few)


def test_no_embedding_no_find(db: None, project: Project) -> None:
    sought = search.read(terms.read("red"), [project.pk])
    find = search.Find(project.pk, sought)
    assert (find.ids, find.searched, find.histogram, find.cutoff) == ([], 0, [], 0.0)
    assert not Embedding.objects.exists()
