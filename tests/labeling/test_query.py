"""The search line: what each key finds, what a mistake says and where, and that no text breaks it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from gallery.models import Comment, Image, Membership, Project
from labeling import export_helper, exports, query, terms
from labeling.export_native import csv_text
from labeling.models import Annotation, Assignment, Batch, LabelSet, Pick
from labeling.query import KEYS, parse
from labeling.review import Decision, Verdict, decide
from labeling.terms import LONGEST, MOST_TERMS, Term
from tests.labeling import rows

DOCS = Path(__file__).parent.parent.parent / "docs" / "search.md"


@pytest.fixture
def anna(project: Project) -> User:
    return person(project, "anna")


def person(project: Project, name: str, role: str = "labeler") -> User:
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=role)
    return user


@pytest.fixture
def animals(project: Project, owner: User, anna: User) -> LabelSet:
    """Eight images: 0 to 5 suggested cat, red bird, dog in turn, 6 and 7 not scored.

    0 accepted by olga, 1 corrected to cat by anna, 2 none of these by anna; of 3 to 5 nobody has decided.
    """
    made = rows.label_set(project, "cat", "red bird", "dog")
    images = rows.images(project, 8)
    rows.match(made, images[:6], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    cat = made.labels.get(name="cat")
    decide(made, owner, [Decision(images[0].pk, Verdict.ACCEPTED)])
    decide(made, anna, [Decision(images[1].pk, Verdict.CORRECTED, cat.pk)])
    decide(made, anna, [Decision(images[2].pk, Verdict.NONE)])
    made.annotations.filter(image=images[0]).update(decided_at=datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    made.annotations.filter(image=images[1]).update(decided_at=datetime(2026, 2, 1, 0, 0, tzinfo=UTC))
    made.annotations.filter(image=images[2]).update(decided_at=datetime(2026, 2, 2, 12, 0, tzinfo=UTC))
    for number, image in enumerate(images):
        image.uploaded_at = datetime(2026, 1, 1 + number, tzinfo=UTC)
        image.uploaded_by = [owner, anna, None][number % 3]
        image.width, image.height, image.size = 100 * number, 50, 1024 * number
    Image.objects.bulk_update(images, ["uploaded_at", "uploaded_by", "width", "height", "size"])
    batch = Batch.objects.create(label_set=made, user=owner, kind="assign")
    for number, user in ((3, anna), (4, owner), (4, anna)):
        Assignment.objects.create(label_set=made, image=images[number], user=user, batch=batch)
    comment = Comment.objects.create(image=images[5], user=owner, text="@anna: a fox?")
    comment.mentions.add(anna)
    Comment.objects.create(image=images[6], user=anna, text="Blurred.", resolved_at=timezone.now())
    Pick.objects.create(pk=12, project=project, user=anna, image_ids=[images[7].pk, images[0].pk, 10**9])
    return made


def numbers(label_set: LabelSet, user: User, line: str) -> list[int]:
    found = parse(line, label_set, user).filter(label_set.images()).order_by("pk")
    return [int(image.name[6:11]) for image in found]


def mistakes(label_set: LabelSet, user: User, line: str) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        parse(line, label_set, user)
    return raised.value.messages


ALL = {*range(8)}
FINDS = {
    "": ALL,
    "label:cat": {0, 1, 3},
    "label:CAT": {0, 1, 3},
    'label:"red bird"': {4},
    "suggested:cat": {0, 3},
    "runner:dog": {1, 4},
    "status:unscored": {6, 7},
    "status:unreviewed": {3, 4, 5},
    "status:accepted": {0},
    "status:corrected": {1},
    "status:none": {2},
    "status:disputed": set(),
    "status:Reviewed": {0, 1, 2},
    "probability:<0.5": {0},
    "probability:<=0.5": {0, 1},
    "probability:<50%": {0},
    "probability:>0.8": {5},
    "probability:>=0.8": {4, 5},
    "probability:0.5..0.7": {1, 2, 3},
    "probability:0.8..": {4, 5},
    "probability:..0.5": {0, 1},
    "margin:<0.22": {0},
    "similarity:>0.2": {0, 1, 2, 3, 4, 5},
    "similarity:>-1": {0, 1, 2, 3, 4, 5},
    "by:olga": {0},
    "by:Anna": {1, 2},
    "by:me": {0},
    "decided:2026": {0, 1, 2},
    "decided:2026-01": {0},
    "decided:2026-02-01": {1},
    "decided:>2026-01": {1, 2},
    "decided:>=2026-02-02": {2},
    "decided:<2026-02": {0},
    "decided:<=2026-02-01": {0, 1},
    "decided:2026-01..2026-02-01": {0, 1},
    "uploader:olga": {0, 3, 6},
    "uploader:me": {0, 3, 6},
    "uploaded:>2026-01-06": {6, 7},
    "uploaded:2026-01-03..2026-01-04": {2, 3},
    "uploaded:2027": set(),
    "name:00003": {3},
    "name:IMAGE": ALL,
    'name:"image 00004.j"': {4},
    "name:%": set(),
    "assigned:anna": {3, 4},
    "assigned:me": {4},
    "assigned:nobody": {0, 1, 2, 5, 6, 7},
    "comments:open": {5},
    "comments:any": {5, 6},
    "mentions:anna": {5},
    "mentions:me": set(),
    "picked:12": {0, 7},
    "width:>=600": {6, 7},
    "width:300": {3},
    "height:50": ALL,
    "size:>5KB": {6, 7},
    "size:<=1024": {0, 1},
    "size:1.5kb..3KB": {2, 3},
    "size:>999999999MB": set(),
    "id:0": set(),
    "id:<999999999999999": ALL,
    # Several parts hold together; a key that is said twice means either, comparisons mean both.
    "label:cat status:unreviewed": {3},
    'label:cat label:"red bird"': {0, 1, 3, 4},
    "status:accepted status:none": {0, 2},
    "by:anna by:olga": {0, 1, 2},
    "probability:>0.4 probability:<0.7": {1, 2},
    "width:100 width:300": {1, 3},
    "-label:cat -label:dog": {2, 4, 6, 7},
    "label:cat -status:accepted": {1, 3},
    "  label:cat \t status:none  ": set(),
}
# What is not there differs from everything.
NEVER_BOTH = [line for line in FINDS if line and " " not in line]


def test_another_process_can_be_told_what_a_line_asks_for(animals: LabelSet, anna: User) -> None:
    for line in FINDS:
        export, *_ = exports.asked_for(animals, anna, QueryDict(f"q={quote(line)}"), animals.reviews.all())
        told, _ = export_helper.unpacked(export_helper.packed(export, csv_text))
        assert list(told.images) == list(export.images), line


@pytest.mark.parametrize("line", FINDS)
def test_each_key_finds_its_images(animals: LabelSet, owner: User, line: str) -> None:
    assert numbers(animals, owner, line) == sorted(FINDS[line])


@pytest.mark.parametrize("line", NEVER_BOTH)
def test_a_minus_finds_all_the_others_those_without_the_field_too(
    animals: LabelSet, owner: User, line: str
) -> None:
    assert numbers(animals, owner, f"-{line}") == sorted(ALL - FINDS[line])


def test_every_key_is_tried_above() -> None:
    assert {re.match(r"\w+", line)[0] for line in NEVER_BOTH} == set(KEYS)


def test_an_image_is_found_by_its_id(animals: LabelSet, owner: User) -> None:
    third, fourth = animals.images().order_by("pk")[2:4]
    assert numbers(animals, owner, f"id:{third.pk}") == [2]
    assert numbers(animals, owner, f"id:{third.pk} id:{fourth.pk}") == [2, 3]
    assert numbers(animals, owner, f"id:{third.pk}..{fourth.pk}") == [2, 3]


def test_a_runner_up_that_is_gone_is_no_dog(animals: LabelSet, owner: User) -> None:
    animals.matches.filter(image__name="image 00001.jpg").update(runner_up=None)
    assert numbers(animals, owner, "-runner:dog") == [0, 1, 2, 3, 5, 6, 7]


def test_labels_that_differ_in_capitals_alone_are_told_apart(project: Project, owner: User) -> None:
    made = rows.label_set(project, "Cat", "cat", "DOG")
    rows.match(made, rows.images(project, 3))
    assert numbers(made, owner, "label:Cat") == [0] and numbers(made, owner, "label:cat") == [1]
    assert numbers(made, owner, "label:CAT") == [0, 1] and numbers(made, owner, "label:dog") == [2]


def test_an_accent_is_one_however_it_is_written(project: Project, owner: User) -> None:
    made = rows.label_set(project, "café", "dog")
    images = rows.images(project, 2)
    rows.match(made, images)
    Image.objects.filter(pk=images[0].pk).update(name="image 00000 cafe\u0301.jpg")
    assert numbers(made, owner, "label:cafe\u0301") == [0]
    assert numbers(made, owner, "name:café") == numbers(made, owner, "name:cafe\u0301") == [0]


def test_quotes_make_a_name_of_a_word(animals: LabelSet, owner: User, project: Project) -> None:
    me = person(project, "me")
    Image.objects.filter(name="image 00007.jpg").update(uploaded_by=me)
    assert numbers(animals, owner, 'uploader:"me"') == [7]
    assert numbers(animals, me, "uploader:me") == [7]
    assert numbers(animals, owner, "uploader:me") == [0, 3, 6]


def test_another_label_set_and_another_project_stay_out(animals: LabelSet, owner: User) -> None:
    other = rows.label_set(animals.project, "cat", "indoors")
    for line in ("label:cat", "by:olga", "status:reviewed", "assigned:anna", "probability:>0"):
        assert numbers(other, owner, line) == [], line
    assert numbers(other, owner, "assigned:nobody") == sorted(ALL)
    elsewhere = rows.label_set(Project.objects.create(name="E", slug="e"), "cat")
    assert numbers(elsewhere, owner, "name:image") == []


# People, and what nobody may learn


def test_people_outside_are_not_told_from_people_who_are_not_there(
    animals: LabelSet, owner: User, stranger: User
) -> None:
    for key in ("by", "uploader", "assigned", "mentions"):
        there = mistakes(animals, owner, f"{key}:sven")
        assert there == ["There is no member “sven” here."]
        assert mistakes(animals, owner, f"{key}:svem") == ["There is no member “svem” here."]
    assert mistakes(animals, owner, "by:ana") == ["There is no member “ana” here. Did you mean “anna”?"]


def test_who_has_left_is_found_by_what_they_left(animals: LabelSet, owner: User, anna: User) -> None:
    anna.memberships.all().delete()
    assert numbers(animals, owner, "by:anna") == [1, 2]
    assert numbers(animals, owner, "uploader:ANNA") == [1, 4, 7]
    assert mistakes(animals, owner, "assigned:anna"), "nobody can be assigned who has left"
    animals.annotations.all().delete()
    assert mistakes(animals, owner, "by:anna") == ["There is no member “anna” here."]


def test_a_vote_is_nobody_elses_business_until_it_settles(project: Project, owner: User, anna: User) -> None:
    made = rows.label_set(project, "cat", "dog")
    LabelSet.objects.filter(pk=made.pk).update(votes=2)
    [image] = rows.images(project, 1)
    rows.match(made, [image])
    decide(made, anna, [Decision(image.pk, Verdict.NONE)])
    for line in ("by:anna", "decided:>2020", "status:reviewed", "-label:cat", "-status:unreviewed"):
        assert numbers(made, owner, line) == [], line
    anna.memberships.all().delete()
    assert mistakes(made, owner, "by:anna"), "nor that there is one by somebody who left"


# Mistakes


@pytest.mark.parametrize(
    ("line", "words", "place"),
    [
        ('red "bird"', "Put a + or a - before it.", '"bird"'),
        ("red label:cat bird", "Put a + or a - before it.", "bird"),
        ('label:cat ""', '“""” alone says nothing.', '""'),
        ("- label:cat", "After “-” comes what to look for in the pictures.", "-"),
        ("+ cat", "There is nothing before this “+”.", "+"),
        ("cat - + dog", "There is nothing before this “+”.", "+"),
        ("cat +", "Nothing follows this “+”.", "+"),
        ("cat - -dog", "Two signs follow each other.", "- -"),
        ("label:cat -dog", "Say also what to look for, not only what not.", "-dog"),
        ("0:cat", "A weight is a number up to 100, as in 2:beach.", "0:cat"),
        ("cat + 101:dog", "A weight is a number up to 100, as in 2:beach.", "101:dog"),
        ("2:label:cat", "“label:” takes no weight.", "2:label:cat"),
        ("similar:x", "“x” is no number: write similar:12.", "similar:x"),
        ("cat - similar:123456789", "There is no image 123456789 here.", "similar:123456789"),
        ("picture:9", "That picture is not remembered any more: show it again.", "picture:9"),
        ("cutoff:0.2", "A cut-off goes with what to look for: red car cutoff:0.25.", "cutoff:0.2"),
        ("cat cutoff:much", "Write the least similarity of a find, as in cutoff:0.25.", "cutoff:much"),
        ("cat -cutoff:0.2", "Write the least similarity of a find, as in cutoff:0.25.", "-cutoff:0.2"),
        ("cat cutoff:0.2 cutoff:0.3", "There is one cut-off already.", "cutoff:0.3"),
        ("labl:cat", "“labl” is nothing to search by. Did you mean label:?", "labl:cat"),
        ("label:cta", "There is no label “cta” here. Did you mean “cat”?", "label:cta"),
        ("-label:zebra", "There is no label “zebra” here.", "-label:zebra"),
        ("label: cat", "“label:” needs a value right behind it, as in label:cat.", "label:"),
        ('label:""', "“label:” needs a value right behind it, as in label:cat.", 'label:""'),
        ("status:acepted", "“acepted” is no status. Did you mean “accepted”?", "status:acepted"),
        ("by:olgo", "There is no member “olgo” here. Did you mean “olga”?", "by:olgo"),
        ("probability:<a", "“a” is no number: write it as in probability:<0.6.", "probability:<a"),
        ("probability:<1e999999", "“1e999999” is no number: write it as in probability:<0.6.", None),
        ("margin:>-1e7000000", "“-1e7000000” is no number: write it as in margin:<0.6.", None),
        ("margin:<Infinity", "“Infinity” is no number: write it as in margin:<0.6.", None),
        ("margin:<nan", "“nan” is no number: write it as in margin:<0.6.", None),
        ("margin:<", "“” is no number: write it as in margin:<0.6.", None),
        ("margin:0.5", "Say more or less, as in margin:<0.6 or margin:>0.5.", None),
        ("margin:..", "A range needs a beginning or an end, as in margin:<0.6.", None),
        ("width:1.5", "“1.5” is no whole number: write it as in width:>1000.", None),
        ("id:١", "“١” is no whole number: write it as in id:12.", None),
        ("size:>5TB", "“5TB” is no number: write it as in size:>2MB.", None),
        ("uploaded:>2026-02-30", "“2026-02-30” is no date: write 2026-01-31, 2026-01 or 2026.", None),
        ("decided:yesterday", "“yesterday” is no date: write 2026-01-31, 2026-01 or 2026.", None),
        ("decided:0001", "“0001” is no date: write 2026-01-31, 2026-01 or 2026.", None),
        ("comments:closed", "Write comments:open or comments:any.", None),
        ('name:"a b', "A quote is opened here and never closed.", '"a b'),
        ('name:"a"b', "After a closing quote comes a space.", None),
        ("name:a\0b", "There is a character in it that no text has.", "\0"),
        ("name:\ud83d", "There is a character in it that no text has.", "\ud83d"),
    ],
)
def test_a_mistake_is_said_in_words_and_pointed_at(
    animals: LabelSet, owner: User, line: str, words: str, place: str | None
) -> None:
    with pytest.raises(ValidationError) as raised:
        parse(line, animals, owner)
    assert raised.value.messages[0] == words
    if place:
        wrong = next(piece for piece in query.pieces(line, raised.value) if piece.is_wrong)
        assert wrong.text == place
    assert "".join(piece.text for piece in query.pieces(line, raised.value)) == line


def test_every_mistake_is_said_at_once(animals: LabelSet, owner: User) -> None:
    assert len(mistakes(animals, owner, "labl:cat status:odd label:cat margin:<x")) == 3
    assert len(mistakes(animals, owner, 'cat "bird" label: "dog')) == 3
    assert len(mistakes(animals, owner, "similar:7777777 - picture:8 label:cow")) == 3


def test_a_line_has_its_limits(animals: LabelSet, owner: User) -> None:
    most = " ".join(["label:cat"] * MOST_TERMS)
    assert numbers(animals, owner, most) == [0, 1, 3]
    assert mistakes(animals, owner, f"{most} label:dog") == ["The search line takes up to 20 parts."]
    assert numbers(animals, owner, f"name:{'x' * (LONGEST - 5)}") == []
    assert mistakes(animals, owner, f"name:{'x' * LONGEST}") == [
        "The search line takes up to 1,000 characters."
    ]


def test_a_thousand_labels_make_no_mistake_slow(project: Project, owner: User) -> None:
    many = rows.label_set(project, *(f"label {'of a long name ' * 8}{number}" for number in range(1000)))
    line = " ".join(f"label:lable{number}" for number in range(MOST_TERMS))
    with CaptureQueriesContext(connection) as asked:
        assert len(mistakes(many, owner, line)) == MOST_TERMS
    assert len(asked) == 1


# The text and back


def test_terms_know_where_they_stand() -> None:
    [first, second] = terms.read('label:cat  -name:"a b"')
    assert (first.start, first.end, second.start, second.end) == (0, 9, 11, 22)
    assert second == Term("name", "a b", negated=True, quoted=True)


def test_a_quote_in_a_value_is_doubled() -> None:
    [term] = terms.read('name:"5"" nails"')
    assert term.value == '5" nails' and str(term) == 'name:"5"" nails"'


def test_a_line_changes_by_its_terms(animals: LabelSet, owner: User) -> None:
    found = parse('label:cat -by:anna status:none label:"red bird"', animals, owner)
    assert found.without(found.terms[0]) == '-by:anna status:none label:"red bird"'
    assert found.with_("label", "red bird") == f'{found} label:"red bird"'
    assert found.replaced("label", "dog") == "label:dog -by:anna status:none"
    assert found.replaced("status", None) == 'label:cat -by:anna label:"red bird"'
    assert found.replaced("margin", "<0.1") == f"{found} margin:<0.1"


@pytest.mark.parametrize(
    ("line", "settled"),
    [
        ("", False),
        ("label:cat", False),
        ("status:unreviewed", False),
        ("-status:accepted", False),
        ("-by:anna", False),
        ("status:disputed", True),
        ("status:reviewed", True),
        ("status:unreviewed status:none", True),
        ("by:me", True),
        ("decided:>2026", True),
    ],
)
def test_it_is_told_whether_settled_images_are_asked_for(
    animals: LabelSet, owner: User, line: str, settled: bool
) -> None:
    assert parse(line, animals, owner).names_settled is settled


KNOWN = [f"{sign}{key}:" for sign in ("", "-") for key in KEYS]
VALUES = [
    "cat",
    '"red bird"',
    "me",
    "anna",
    "<0.5",
    "1e999999",
    "0.1..0.2",
    "2026-01",
    "..",
    "reviewed",
    '"',
    '""',
]
TEXT = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from([*KNOWN, *VALUES, " ", "-", ":", "\0", "\ud800"]), max_size=12).map("".join),
    st.lists(
        st.tuples(st.sampled_from(KNOWN), st.one_of(st.sampled_from(VALUES), st.text(max_size=12))).map(
            "".join
        ),
        max_size=6,
    ).map(" ".join),
)


@given(TEXT)
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_the_same_again_or_refused(text: str) -> None:
    try:
        found = terms.read(text)
    except ValidationError as error:
        assert error.messages and "".join(piece.text for piece in query.pieces(text, error)) == text
        return
    for term in found:
        if not term.is_sought:
            sign = "-" if term.negated else ""
            assert text[term.start : term.end].lower().startswith(f"{sign}{term.key}:")
    assert terms.read(query.line(found)) == found


@given(st.text(min_size=1, max_size=40).filter(lambda text: not terms.UNFIT.search(text)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_value_survives_the_line(value: str, negated: bool) -> None:
    [term] = terms.read(str(Term("name", value, negated)))
    assert (term.value, term.negated) == (value, negated)


@pytest.mark.django_db
def test_any_text_finds_images_or_is_refused(animals: LabelSet, owner: User) -> None:
    # One data set for all examples, which only read it.
    @given(TEXT)
    @settings(max_examples=300, deadline=None)
    def holds(text: str) -> None:
        try:
            found = parse(text, animals, owner)
        except ValidationError as error:
            assert error.messages
            return
        here = list(found.filter(animals.images()))
        again = parse(str(found), animals, owner)
        assert again.terms == found.terms and list(again.filter(animals.images())) == here
        for key in ("label", "status"):
            only = [term for term in found.terms if term.key == key]
            part = parse(query.line(only), animals, owner)
            wanted = [
                each for each in animals.images() if part.fits(key, getattr(each, f"{key}_id", each.status))
            ]
            assert list(part.filter(animals.images())) == wanted, "counted as it is filtered"

    holds()


# Costs


def test_a_line_asks_for_labels_and_people_once(animals: LabelSet, owner: User) -> None:
    line = "label:cat suggested:dog runner:dog by:anna uploader:anna assigned:me mentions:anna status:none"
    with CaptureQueriesContext(connection) as asked:
        list(
            parse(line, LabelSet.objects.select_related("project").get(pk=animals.pk), owner).filter(
                animals.images()
            )
        )
    assert len(asked) <= 4


def test_no_image_is_found_twice(animals: LabelSet, owner: User) -> None:
    image = animals.images().get(name="image 00005.jpg")
    for _ in range(3):
        comment = Comment.objects.create(image=image, user=owner, text="Again.")
        comment.mentions.add(owner)
    assert numbers(animals, owner, "comments:open mentions:me") == [5]
    assert Annotation.objects.count() == 3


# What is written about it


def examples() -> list[str]:
    """Every line of the documentation's table and text that stands in code."""
    return re.findall(r"`(-?\w+:[^`]+)`", DOCS.read_text().replace(r"\|", "|"))


def test_every_key_is_documented() -> None:
    text = DOCS.read_text()
    for name, key in KEYS.items():
        assert f"`{name}:" in text, name
        assert all(f"`{example}`" in text for example in key.examples), name


def test_every_example_is_a_line_that_works(
    animals: LabelSet, owner: User, member: Callable[[str], User]
) -> None:
    found = [*examples(), *(example for key in KEYS.values() for example in key.examples)]
    rows.label_set(animals.project)
    for position, name in enumerate(("red circle", "fox"), start=3):
        animals.labels.create(name=name, position=position)
    assert len(found) > 40
    for line in found:
        parse(line, animals, owner)


def test_the_clock_is_the_sites(animals: LabelSet, owner: User) -> None:
    start, end = terms.period("2026-12")
    assert start == datetime(2026, 12, 1, tzinfo=UTC) and end == datetime(2027, 1, 1, tzinfo=UTC)
    assert terms.period("2024-02-29")[1] - terms.period("2024-02-29")[0] == timedelta(days=1)
    assert terms.period("2026")[1] == datetime(2027, 1, 1, tzinfo=UTC)
    assert terms.period("2999")[1].year == 3000
