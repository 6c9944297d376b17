"""The gallery's filters, counts and order, on rows alone."""

import time
from urllib.parse import parse_qs, urlencode

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict

from gallery.models import Image, Project
from labeling.models import LabelSet
from labeling.paging import Counts
from labeling.review import Decision, Verdict, decide
from labeling.selection import ORDERINGS, Selection
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
    owner = label_set.project.memberships.get(role="owner").user
    return Selection(label_set, QueryDict(query), owner)


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


def test_nonsense_is_pointed_at_and_finds_nothing(animals: LabelSet) -> None:
    selection = selected(animals, "label=cow&status=odd&probability__lt=much&page=x")
    assert len(selection.mistakes.messages) == 3
    assert (
        list(selection.images) == [] and selection.number() == selection.to_review == selection.settled == 0
    )
    assert selection.total == 8, "the project is not empty"
    assert selection.line == "label:cow status:odd probability:<much", "kept, to be mended"
    assert [piece.text for piece in selection.pieces if not piece.is_wrong] == [" ", " "]
    assert numbers(animals, f"label={10**9}") == []


def test_addresses_from_before_the_line_become_one(animals: LabelSet) -> None:
    cat, dog, _ = (label.pk for label in animals.labels.all())
    animals.labels.filter(pk=dog).update(name="hot dog")
    old = f"label={dog}&status=unreviewed&probability__lt=0.9&probability__gt=0.1&margin__lt=0.5&margin__gt=0"
    line = 'label:"hot dog" status:unreviewed probability:<0.9 probability:>0.1 margin:<0.5 margin:>0'
    assert selected(animals, old).line == line
    assert selected(animals, f"q=margin:>0.1+label:bird+status:none&label={cat}").line == (
        "margin:>0.1 label:cat status:none"
    ), "what is chosen takes the place of what was"
    assert selected(animals, f"q=label:&label={cat}").line == "label:"


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
    assert selection.total == 8 and selection.left == selection.to_review == 1 and selection.settled == 2
    assert (selection.label, selection.status) == (cat.pk, "")
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
    assert selection.query() == f"label_set={animals.pk}&q=label%3Acat&ordering=id"
    assert selection.query(q=None) == f"label_set={animals.pk}&ordering=id"
    assert [(chip.words, chip.address) for chip in selection.chips] == [
        ("label:cat", f"label_set={animals.pk}&ordering=id")
    ]
    assert selection.line_for_label == ""


def test_each_status_leads_to_the_line_with_it(animals: LabelSet) -> None:
    selection = selected(animals, "q=status:none+margin:<0.4+label:cat+label:dog")
    assert selection.status == "none" and selection.label is None, "it is several labels"
    assert selection.line_for_label == "status:none margin:<0.4 label:cat label:dog"
    where = f"label_set={animals.pk}&q="
    assert [(value, number, address) for value, _, number, address in selection.statuses()] == [
        ("", 3, where + "margin%3A%3C0.4+label%3Acat+label%3Adog"),
        ("unreviewed", 1, where + "status%3Aunreviewed+margin%3A%3C0.4+label%3Acat+label%3Adog"),
        ("accepted", 1, where + "status%3Aaccepted+margin%3A%3C0.4+label%3Acat+label%3Adog"),
        ("corrected", 1, where + "status%3Acorrected+margin%3A%3C0.4+label%3Acat+label%3Adog"),
        ("none", 0, where + "status%3Anone+margin%3A%3C0.4+label%3Acat+label%3Adog"),
    ]
    assert [number for _, number in selected(animals, "q=status:unreviewed+margin:>0.4").labels()] == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("", 3),
        ("label:cat", 1),
        ("probability:>0.75", 2),
        ("probability:>0.75 -label:bird", 1),
        ("status:reviewed", 3),
        ("by:olga label:cat", 2),
        ("status:unscored", 0),
    ],
)
def test_so_many_are_to_review(animals: LabelSet, line: str, number: int) -> None:
    selection = selected(animals, urlencode({"q": line}))
    assert selection.to_review == number
    found = parse_qs(selection.review_query)
    assert found.get("q", [""]) == [line]
    assert not line or abs(int(found["since"][0]) - time.time()) < 60


@pytest.mark.parametrize(
    "line", ["", "label:cat", "status:none", "margin:<0.4 -label:cat", "by:olga comments:any"]
)
def test_a_line_costs_few_queries_and_counts_what_it_finds(
    animals: LabelSet, line: str, django_assert_max_num_queries: object
) -> None:
    owner = animals.project.memberships.get(role="owner").user
    fresh = LabelSet.objects.select_related("project").prefetch_related("labels").get(pk=animals.pk)
    with django_assert_max_num_queries(4):
        selection = Selection(fresh, QueryDict(urlencode({"q": line})), owner)
        number = selection.number(), selection.total, selection.statuses(), selection.labels()
    assert number[0] == selection.images.count() and number[1] == 8


@pytest.mark.parametrize("ordering", ["", *(value for value, _ in ORDERINGS)])
@pytest.mark.parametrize("filters", ["", "status=unreviewed", "probability__gt=0.45", "q=-label:cat+by:olga"])
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
