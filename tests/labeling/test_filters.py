"""The gallery's filters, counts and order, on rows alone."""

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict

from gallery.models import Image, Project
from labeling.filters import ORDERINGS, Counts, Selection
from labeling.models import LabelSet
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows


@pytest.fixture
def animals(project: Project, owner: User) -> LabelSet:
    """Eight images: six matched cat, dog, bird, cat, dog, bird; four decided, the last two unscored."""
    made = rows.label_set(project, "cat", "dog", "bird")
    images = rows.images(project, 8)
    rows.match(made, images[:6], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    label = {each.name: each.pk for each in made.labels.all()}
    decide(
        made,
        owner,
        [
            Decision(images[0].pk, Verdict.ACCEPTED),
            Decision(images[1].pk, Verdict.CORRECTED, label["cat"]),
            Decision(images[2].pk, Verdict.NONE),
            Decision(images[3].pk, Verdict.SKIPPED),
        ],
    )
    return made


def selected(label_set: LabelSet, query: str) -> Selection:
    return Selection(label_set, QueryDict(query))


def numbers(label_set: LabelSet, query: str) -> list[int]:
    return [int(image.name[6:11]) for image in selected(label_set, query).images]


def test_a_label_is_the_settled_one_or_else_the_suggested(animals: LabelSet) -> None:
    cat, dog, bird = (label.pk for label in animals.labels.all())
    assert numbers(animals, f"label={cat}&ordering=id") == [0, 1, 3]
    assert numbers(animals, f"label={dog}") == [4], "the one that was corrected is a dog no more"
    assert numbers(animals, f"label={bird}") == [5], "none of these is no bird"
    assert numbers(animals, f"label={cat}&status=unreviewed") == [3]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("unscored", [6, 7]),
        ("unreviewed", [3, 4, 5]),
        ("accepted", [0]),
        ("corrected", [1]),
        ("none", [2]),
        ("disputed", []),
    ],
)
def test_each_status_has_its_images(animals: LabelSet, status: str, expected: list[int]) -> None:
    assert numbers(animals, f"status={status}&ordering=id") == expected
    assert selected(animals, f"status={status}").number() == len(expected)


def test_certainty_filters(animals: LabelSet) -> None:
    assert numbers(animals, "probability__lt=0.55&ordering=id") == [0, 1]
    assert numbers(animals, "probability__gt=0.75&ordering=id") == [4, 5]
    assert numbers(animals, "margin__gt=0.4&ordering=id") == [5]
    assert selected(animals, "probability__lt=0.55").number() == 2


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("-id", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("id", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("-probability", [5, 4, 3, 2, 1, 0, 6, 7]),
        ("probability", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("-margin", [5, 4, 3, 2, 1, 0, 6, 7]),
        ("margin", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("no such order", [7, 6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_orders_with_unscored_images_last(animals: LabelSet, ordering: str, expected: list[int]) -> None:
    assert numbers(animals, f"ordering={ordering}") == expected


def test_nonsense_filters_nothing(animals: LabelSet) -> None:
    assert len(numbers(animals, "label=cat&status=odd&probability__lt=much&page=x")) == 8
    assert numbers(animals, f"label={10**9}") == []


@pytest.mark.parametrize("label", ["1.5", "1e300", "9" * 40, "NaN", "-1", "-1e7000000", "0x1", "١"])
def test_an_odd_label_breaks_nothing(animals: LabelSet, label: str) -> None:
    selection = selected(animals, f"label={label}")
    assert len(selection.images) == selection.number()


def test_counts_are_one_query_and_fit_the_lists(animals: LabelSet, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(1):
        counts = Counts(animals)
        statuses, labels = counts.by_status(), counts.by_label()
    cat, dog, bird = (label.pk for label in animals.labels.all())
    assert statuses == {"accepted": 1, "corrected": 1, "none": 1, "unreviewed": 3, "unscored": 2}
    assert labels == {cat: 3, dog: 1, bird: 1, None: 3}
    assert counts.by_status(cat) == {"accepted": 1, "corrected": 1, "unreviewed": 1}
    assert counts.by_label("unreviewed") == {cat: 1, dog: 1, bird: 1}


def test_what_the_toolbar_says(animals: LabelSet) -> None:
    cat = animals.labels.first()
    selection = selected(animals, f"label={cat.pk}&ordering=id&page=3&junk=1")
    assert selection.is_filtered and not selected(animals, "ordering=id").is_filtered
    assert selection.total == 8 and selection.left == 3 and selection.settled == 2
    assert [(value, number) for value, _, number, _ in selection.statuses()] == [
        ("", 3),
        ("unreviewed", 1),
        ("accepted", 1),
        ("corrected", 1),
    ]
    assert [(label.name, number) for label, number in selection.labels()] == [
        ("cat", 3),
        ("dog", 1),
        ("bird", 1),
    ]
    assert selection.query(status="none") == f"label_set={animals.pk}&label={cat.pk}&ordering=id&status=none"
    assert selection.query(label=None) == f"label_set={animals.pk}&ordering=id"


@pytest.mark.parametrize("ordering", ["", *(value for value, _ in ORDERINGS)])
@pytest.mark.parametrize("filters", ["", "status=unreviewed", "probability__gt=0.45"])
def test_neighbours_follow_the_list_in_every_order(animals: LabelSet, ordering: str, filters: str) -> None:
    selection = selected(animals, f"{filters}&ordering={ordering}")
    images = list(selection.images)
    for at, image in enumerate(images):
        place = selection.place(animals.images().get(pk=image.pk))
        assert place.position == at
        assert place.previous == (images[at - 1].pk if at else None)
        assert place.next == (images[at + 1].pk if at + 1 < len(images) else None)


def test_neighbours_of_equals_and_of_one_that_left_the_list(project: Project, owner: User) -> None:
    same = rows.label_set(project, "cat", "dog")
    images = rows.images(project, 4)
    rows.match(same, images, [0.5] * 4)
    decide(same, owner, [Decision(images[1].pk, Verdict.NONE)])
    selection = selected(same, "status=unreviewed&ordering=probability")
    place = selection.place(same.images().get(pk=images[1].pk))
    assert (place.previous, place.next, place.position) == (images[0].pk, images[2].pk, 1)


def test_another_project_and_another_label_set_stay_out(animals: LabelSet, owner: User) -> None:
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    theirs = rows.label_set(elsewhere, "cat", "dog")
    rows.match(theirs, rows.images(elsewhere, 3))
    other = rows.label_set(animals.project, "indoors", "outdoors")
    assert {image.project_id for image in animals.images()} == {animals.project_id}
    assert Image.objects.count() == 11 and animals.images().count() == 8
    assert Counts(other).by_status() == {"unscored": 8}, "nothing of one label set shows in another"
