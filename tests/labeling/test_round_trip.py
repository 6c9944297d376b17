"""Out, into an empty project, and out again: the same bytes, or what a format is said to lose."""

import io
import json
import zipfile
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction
from django.http import QueryDict
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gallery import projects
from gallery.models import Image, Project
from labeling import exports, imports, label_sets
from labeling.import_plan import Choices
from labeling.label_sets import LabelSpec
from labeling.models import Label, LabelImport, LabelSet
from labeling.review import Decision, Verdict, decide
from tests.conftest import picture

NAMES = ["cat.png", "my dog.png", "über (1).png", "猫.png", "last.png"]
SHADES = ["red", "green", "blue", "black", "white"]
LABELS = ["cat", "a “dog” & <co>", "قطة", "=1+1"]


@pytest.fixture
def labelled(project: Project, owner: User, add: Callable[..., list[Image]]) -> LabelSet:
    """Five pictures: four with a label each, and one that is none of these."""
    images = add(*((name, picture(shade)) for name, shade in zip(NAMES, SHADES, strict=True)))
    made = label_sets.create(project, owner, "Animals", [LabelSpec(name) for name in LABELS])
    ids = [label.pk for label in made.labels.all()]
    said = [Decision(image.pk, Verdict.CORRECTED, pk) for image, pk in zip(images, ids, strict=False)]
    decide(made, owner, [*said, Decision(images[4].pk, Verdict.NONE)])
    return made


def exported(label_set: LabelSet, user: User, query: str) -> bytes:
    response = exports.download(label_set, user, QueryDict(query), label_set.reviews.all())
    return b"".join(response.streaming_content)


def imported(project: Project, user: User, content: bytes, name: str, **choices: object) -> LabelImport:
    row = imports.begin(project, None, user, ContentFile(content, name), choices=Choices(**choices))
    assert (row.state, row.step) == ("done", "write"), (row.error, row.report)
    return row


WHOLE = [
    "format=csv&images=1&columns=file_name,sha256,width,height,label,status,split&split=60/20/20",
    "format=jsonl&images=1&columns=file_name,sha256,width,height,label,status",
    "format=label-studio&images=1",
    "format=hugging-face&columns=status,sha256",
    "format=hugging-face&columns=status&split=50/50",
    "format=imagefolder",
    "format=imagefolder&split=40/30/30",
    "format=fiftyone&images=1",
    "format=cvat&images=1",
    "format=datumaro&images=1",
    "format=coco&images=1",
]


@pytest.mark.parametrize("query", WHOLE)
def test_an_empty_project_gives_the_same_bytes(labelled: LabelSet, owner: User, query: str) -> None:
    if "imagefolder" in query:  # which folders can hold
        labelled.labels.filter(name=LABELS[1]).update(name="a dog")
    first = exported(labelled, owner, query)
    empty = projects.create(owner, labelled.project.name)
    row = imported(empty, owner, first, "set.zip", none=True)
    again = exported(row.label_set, owner, query)
    if first != again:
        one, two = (zipfile.ZipFile(io.BytesIO(content)) for content in (first, again))
        assert one.namelist() == two.namelist()
        for name in one.namelist():
            assert one.read(name) == two.read(name), name
    assert first == again


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)


@given(one=TEXT, two=TEXT)
@example(one="a/b", two='say "cat"')
@example(one="=1+1", two="'=1+1")
@example(one="🐈" * 200, two="قطة")
@example(one="a,b;c|d\\e", two="<a> & b")
@example(one="Cat", two="cat")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("query", [query for query in WHOLE if "imagefolder" not in query])
def test_any_label_comes_back_whole(labelled: LabelSet, owner: User, query: str, one: str, two: str) -> None:
    """Or the export is refused; what a folder can't be called is another format's."""
    one, two = one.strip(), two.strip()
    if not one or not two or len({one, two, *LABELS}) < len(LABELS) + 2:
        return
    with transaction.atomic():
        for number, name in enumerate((one, two)):
            assert Label.objects.filter(label_set=labelled, position=number).update(name=name) == 1
        try:
            first = exported(labelled, owner, query)
        except ValidationError as refusal:
            assert any(name in " ".join(refusal.messages) for name in (one, two))
        else:
            empty = projects.create(owner, labelled.project.name)
            row = imported(empty, owner, first, "set.zip", none=True)
            assert exported(row.label_set, owner, query) == first
        transaction.set_rollback(True)


def test_imagenet_lists_lose_what_has_no_label(labelled: LabelSet, owner: User) -> None:
    first = exported(labelled, owner, "format=imagenet&images=1")
    row = imported(projects.create(owner, "Empty"), owner, first, "set.zip")
    assert row.report["counts"] == {"new": 4}
    again = exported(row.label_set, owner, "format=imagenet")
    with zipfile.ZipFile(io.BytesIO(first)) as one, zipfile.ZipFile(io.BytesIO(again)) as two:
        assert [two.read(name) for name in two.namelist()] == [one.read(name) for name in two.namelist()]


def test_the_same_file_twice_changes_nothing(labelled: LabelSet, owner: User) -> None:
    table = exported(labelled, owner, "format=csv")
    before = list(labelled.annotations.order_by("pk").values())
    row = imports.begin(
        labelled.project, labelled, owner, ContentFile(table, "labels.csv"), choices=Choices()
    )
    assert row.report["counts"] == {"same": 5} and row.batch is None
    assert list(labelled.annotations.order_by("pk").values()) == before
    assert json.dumps(row.report)
