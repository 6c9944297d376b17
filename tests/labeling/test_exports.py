"""CSV, JSONL and the archive, line by line as they are described."""

import csv
import io
import json
import time
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict

from gallery.models import Image, Project
from labeling import export_table, export_zip, exports
from labeling.models import Annotation, Label, LabelSet, Review
from labeling.review import Decision, Verdict, decide, undo
from tests.conftest import picture
from tests.labeling import rows

COLUMNS = (
    "id,file_name,sha256,width,height,label,status,source,decided_by,decided_at,suggested_label,similarity,"
    "probability,margin,runner_up,model,split"
)
AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def animals(project: Project, owner: User) -> LabelSet:
    """Five images, of which the first is accepted, the second corrected and the third none of these."""
    made = rows.label_set(project, "cat", "dog", "bird")
    images = rows.images(project, 5)
    rows.match(made, images[:4], [0.4, 0.5, 0.6, 0.7])
    cat = made.labels.get(name="cat")
    decisions = [
        Decision(images[0].pk, Verdict.ACCEPTED),
        Decision(images[1].pk, Verdict.CORRECTED, cat.pk),
        Decision(images[2].pk, Verdict.NONE),
    ]
    decide(made, owner, decisions)
    Review.objects.update(at=AT)
    Annotation.objects.update(decided_at=AT)
    return made


def downloaded(label_set: LabelSet, query: str = "") -> bytes:
    owner = label_set.project.memberships.get(role="owner").user
    response = exports.download(label_set, owner, QueryDict(query), label_set.reviews.all())
    assert response.streaming
    return b"".join(response.streaming_content)


def table(label_set: LabelSet, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(downloaded(label_set, query).decode())))


def lines(label_set: LabelSet, query: str = "") -> list[dict]:
    return [json.loads(line) for line in downloaded(label_set, f"format=jsonl&{query}").splitlines()]


# The native formats


def test_csv_to_the_letter(animals: LabelSet) -> None:
    first, second, third = (image.pk for image in Image.objects.order_by("pk")[:3])
    project, day = animals.project_id, "2026-05-04T03:02:01+00:00"
    expected = [
        COLUMNS,
        f"{first},image 00000.jpg,{project:032}{0:032},64,48,cat,accepted,human,olga,{day},"
        "cat,0.3,0.4,0.2,dog,rows@1,",
        f"{second},image 00001.jpg,{project:032}{1:032},64,48,cat,corrected,human,olga,{day},"
        "dog,0.3,0.5,0.25,bird,rows@1,",
        f"{third},image 00002.jpg,{project:032}{2:032},64,48,,none,human,olga,{day},"
        "bird,0.3,0.6,0.3,cat,rows@1,",
    ]
    assert downloaded(animals).decode() == "".join(f"{line}\r\n" for line in expected)


def test_jsonl_to_the_letter(animals: LabelSet) -> None:
    row = lines(animals)[1]
    second = Image.objects.order_by("pk")[1]
    assert ",".join(row) == f"{COLUMNS},scores,reviews"
    assert row == {
        "id": second.pk,
        "file_name": "image 00001.jpg",
        "sha256": second.sha256,
        "width": 64,
        "height": 48,
        "label": "cat",
        "status": "corrected",
        "source": "human",
        "decided_by": "olga",
        "decided_at": "2026-05-04T03:02:01+00:00",
        "suggested_label": "dog",
        "similarity": 0.3,
        "probability": 0.5,
        "margin": 0.25,
        "runner_up": "bird",
        "model": "rows@1",
        "split": None,
        "scores": {"cat": 0.0, "dog": 0.8, "bird": 0.6},
        "reviews": [
            {"user": "olga", "label": "cat", "verdict": "corrected", "at": "2026-05-04T03:02:01+00:00"}
        ],
    }


def test_an_undone_review_stands_in_the_history(animals: LabelSet, owner: User) -> None:
    third = Image.objects.order_by("pk")[2]
    batch = decide(animals, owner, [Decision(third.pk, Verdict.ACCEPTED)])
    undo(animals, owner, "owner", batch)
    row = next(row for row in lines(animals) if row["id"] == third.pk)
    assert row["status"] == "none"
    assert [review["verdict"] for review in row["reviews"]] == ["none", "accepted", "undone"]


def test_only_settled_images_unless_suggestions_are_asked_for(animals: LabelSet) -> None:
    assert [row["status"] for row in table(animals)] == ["accepted", "corrected", "none"]
    more = table(animals, "include=suggested")
    assert [row["status"] for row in more] == ["accepted", "corrected", "none", "unreviewed"]
    suggested = more[-1]
    assert (suggested["label"], suggested["source"], suggested["decided_by"]) == ("cat", "auto", "")
    assert len(lines(animals, "include=suggested")) == 4, "an unscored image is in no export"


def test_nothing_settled_is_a_header_and_no_line(project: Project) -> None:
    bare = rows.label_set(project, "cat", "dog")
    rows.match(bare, rows.images(project, 2))
    assert downloaded(bare).decode() == f"{COLUMNS}\r\n"
    assert downloaded(bare, "format=jsonl") == b""


def test_the_gallery_filters_apply(animals: LabelSet) -> None:
    cat = animals.labels.get(name="cat")
    assert [row["status"] for row in table(animals, f"label={cat.pk}")] == ["accepted", "corrected"]
    assert [row["status"] for row in table(animals, "status=none")] == ["none"]
    assert [row["probability"] for row in table(animals, "probability__lt=0.45")] == ["0.4"]
    assert table(animals, "status=unreviewed") == []
    assert len(table(animals, "status=unreviewed&include=suggested")) == 1


def test_an_export_holds_what_the_search_line_finds(animals: LabelSet) -> None:
    assert [row["status"] for row in table(animals, "q=label:CAT+by:me")] == ["accepted", "corrected"]
    assert [row["status"] for row in table(animals, "q=-label:cat+decided:2026")] == (
        ["none"] if AT.year == 2026 else []
    )
    assert [row["status"] for row in lines(animals, "q=status:none+-probability:<0.1")] == ["none"]
    assert table(animals, "q=status:unreviewed") == []
    with pytest.raises(ValidationError) as raised:
        downloaded(animals, "q=label:cow")
    assert raised.value.message_dict == {"q": ["There is no label “cow” here."]}


def test_rows_are_in_order_of_id_whatever_the_gallery_sorts_by(animals: LabelSet) -> None:
    ids = [int(row["id"]) for row in table(animals, "ordering=-probability")]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "query", ["format=xml", "format=json", "include=all", "status=odd", "label=cat", "q=cat %2B"]
)
def test_what_cannot_be_asked_for_is_refused(animals: LabelSet, owner: User, query: str) -> None:
    with pytest.raises(ValidationError):
        exports.download(animals, owner, QueryDict(query), animals.reviews.all())


@pytest.mark.parametrize("query", ["", "format=jsonl", "images=1", "images=1&format=jsonl"])
def test_two_exports_of_the_same_data_are_the_same_bytes(
    animals: LabelSet, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = downloaded(animals, query)
    later = time.time() + 90_000
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(
        time, "localtime", lambda at=None, real=time.localtime: real(later if at is None else at)
    )
    assert downloaded(animals, query) == first


# Cells


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(animals: LabelSet, start: str) -> None:
    Image.objects.filter(name="image 00000.jpg").update(name=f"{start}HYPERLINK(1)")
    Label.objects.filter(name="cat").update(name=f"{start}1+1")
    row = table(animals)[0]
    assert row["file_name"] == f"'{start}HYPERLINK(1)" and row["label"] == f"'{start}1+1"
    raw = list(csv.DictReader(io.StringIO(downloaded(animals, "raw=1").decode(), newline="")))[0]
    assert raw["file_name"] == f"{start}HYPERLINK(1)" and raw["label"] == f"{start}1+1"
    assert lines(animals)[0]["label"] == f"{start}1+1", "JSON runs nothing"


def test_commas_quotes_and_line_ends_come_back_as_they_were(animals: LabelSet) -> None:
    odd = 'a "cat", or\nnot; ünïcødé 猫'
    Label.objects.filter(name="cat").update(name=odd)
    text = io.StringIO(downloaded(animals).decode(), newline="")
    assert next(csv.DictReader(text))["label"] == odd
    assert lines(animals)[0]["label"] == odd


def test_names_are_composed_unicode(animals: LabelSet) -> None:
    decomposed = unicodedata.normalize("NFD", "é à.jpg")
    Image.objects.filter(name="image 00000.jpg").update(name=decomposed)
    assert table(animals)[0]["file_name"] == "é à.jpg" != decomposed


# The archive


def opened(label_set: LabelSet, query: str = "images=1") -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(downloaded(label_set, query)))
    assert archive.testzip() is None
    return archive


@pytest.fixture
def colours(project: Project, owner: User, add: Callable[..., list[Image]]) -> LabelSet:
    """Five real pictures, all of them settled."""
    names = ["a.png", "b.png", "c.png", "d.png", "e.png"]
    shades = ["red", "green", "blue", "black", "white"]
    images = add(*((name, picture(shade)) for name, shade in zip(names, shades, strict=True)))
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, images)
    decide(made, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images])
    return made


def test_the_archive_holds_the_pictures_and_the_table(colours: LabelSet) -> None:
    archive = opened(colours)
    assert archive.namelist() == ["labels.csv", *(f"images/{name}.png" for name in "abcde")]
    found = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
    for image, row in zip(colours.project.images.order_by("pk"), found, strict=True):
        assert row["sha256"] == image.sha256
        with image.file.open() as file:
            assert archive.read(f"images/{row['file_name']}") == file.read()


def test_the_archive_takes_the_filters_and_the_other_format(colours: LabelSet) -> None:
    dog = colours.labels.get(name="dog")
    archive = opened(colours, f"images=1&format=jsonl&label={dog.pk}")
    assert archive.namelist() == ["labels.jsonl", "images/b.png", "images/d.png"]
    names = [json.loads(line)["file_name"] for line in archive.read("labels.jsonl").splitlines()]
    assert names == ["b.png", "d.png"]


def test_names_in_the_archive_are_unique_and_stay_in_their_folder(colours: LabelSet) -> None:
    images = list(colours.project.images.order_by("pk"))
    third = images[2].pk
    names = ["x.png", f"x_{third}.png", "X.PNG", "../../etc/x.png", "folder\\.."]
    for image, name in zip(images, names, strict=True):
        Image.objects.filter(pk=image.pk).update(name=name)
    archive = opened(colours)
    stored = [name.removeprefix("images/") for name in archive.namelist()[1:]]
    assert len({name.casefold() for name in stored}) == 5
    assert all(name and "/" not in name and "\\" not in name and name.strip(".") for name in stored)
    found = csv.DictReader(io.StringIO(archive.read("labels.csv").decode()))
    assert [row["file_name"] for row in found] == stored
    assert [archive.read(f"images/{name}")[:4] for name in stored] == [b"\x89PNG"] * 5


def test_what_a_file_system_cannot_take_is_replaced(colours: LabelSet) -> None:
    Image.objects.filter(name="a.png").update(name='what: a "day"?\n.png')
    assert opened(colours).namelist()[1] == "images/what_ a _day___.png"


def test_a_picture_that_is_gone_is_left_out_and_its_row_stays(colours: LabelSet) -> None:
    gone = colours.project.images.get(name="c.png")
    gone.file.storage.delete(gone.file.name)
    archive = opened(colours)
    assert "images/c.png" not in archive.namelist() and len(archive.namelist()) == 5
    assert archive.read("labels.csv").count(b"\r\n") == 6


def test_no_path_of_the_server_is_told(colours: LabelSet, settings: object) -> None:
    for query in ("", "format=jsonl", "images=1"):
        assert str(settings.MEDIA_ROOT).encode() not in downloaded(colours, query)


# Streaming


@pytest.mark.parametrize("query", ["", "format=jsonl"])
def test_a_long_export_comes_in_parts_and_in_few_queries(
    project: Project,
    owner: User,
    query: str,
    django_assert_max_num_queries: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_table, "ROWS_AT_ONCE", 400)
    monkeypatch.setattr(export_zip, "BLOCK", 10_000)
    many = rows.label_set(project, "cat", "dog")
    images = rows.images(project, 1100)
    rows.match(many, images)
    decide(many, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images])
    with django_assert_max_num_queries(20):
        parts = list(exports.download(many, owner, QueryDict(query), many.reviews.all()).streaming_content)
    assert len(parts) >= 3
    assert b"".join(parts).count(b"\n") == 1100 + (not query)
