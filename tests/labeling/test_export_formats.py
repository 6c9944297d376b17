"""Each format, read by what reads it elsewhere: datasets, pyarrow, pycocotools, an XML schema.

FiftyOne, Datumaro and Label Studio's SDK don't install beside what the site pins (or bring dozens of packages
along): of these formats the rules are checked that their documentation states.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow.parquet
import pytest
import xmlschema
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from gallery.models import Image, Project
from labeling import export_parquet, exports
from labeling.import_sources import Source
from labeling.models import Label, LabelSet
from labeling.review import Decision, Verdict, decide
from tests.conftest import picture
from tests.labeling import rows

SHADES = ["red", "green", "blue", "black", "white", "orange"]


@pytest.fixture
def animals(project: Project, owner: User, add: Callable[..., list[Image]]) -> LabelSet:
    """Six pictures: cat, dog, cat, none of these, disputed, and one that is suggested to be a dog."""
    images = add(*((f"{shade} 1.png", picture(shade)) for shade in SHADES))
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, images, [0.9] * 6)
    cat, dog = made.labels.all()
    decide(
        made,
        owner,
        [
            Decision(images[0].pk, Verdict.CORRECTED, cat.pk),
            Decision(images[1].pk, Verdict.CORRECTED, dog.pk),
            Decision(images[2].pk, Verdict.CORRECTED, cat.pk),
            Decision(images[3].pk, Verdict.NONE),
            Decision(images[4].pk, Verdict.CORRECTED, cat.pk),
        ],
    )
    made.annotations.filter(image=images[4]).update(status="disputed", label=None)
    return made


def exported(label_set: LabelSet, query: str) -> bytes:
    owner = label_set.project.memberships.get(role="owner").user
    answer = exports.download(label_set, owner, QueryDict(query), label_set.reviews.all())
    content = b"".join(answer.streaming_content)
    assert int(answer.get("Content-Length", len(content))) == len(content)
    return content


def unpacked(label_set: LabelSet, query: str, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(exported(label_set, query))) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def document(label_set: LabelSet, query: str) -> Any:
    return json.loads(exported(label_set, query))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """datasets.load_dataset, with nothing kept from one test for the next."""
    return lambda kind, **options: datasets.load_dataset(kind, cache_dir=str(tmp_path / "cache"), **options)


# Hugging Face


def test_datasets_reads_the_imagefolder_with_its_labels(
    animals: LabelSet, tmp_path: Path, load: Callable[..., Any]
) -> None:
    folder = unpacked(animals, "format=hugging-face", tmp_path / "set")
    found = load("imagefolder", data_dir=str(folder))["train"]
    assert found["label"] == ["cat", "dog", "cat", None]
    assert [image.size for image in found["image"]] == [(64, 64)] * 4
    assert found["sha256"][0] == animals.project.images.get(name="red 1.png").sha256


def test_datasets_reads_its_splits(animals: LabelSet, tmp_path: Path, load: Callable[..., Any]) -> None:
    folder = unpacked(animals, "format=hugging-face&split=40/30/30&seed=1", tmp_path / "set")
    found = load("imagefolder", data_dir=str(folder))
    assert sum(len(part) for part in found.values()) == 4
    assert set(found) <= {"train", "validation", "test"}


def test_datasets_reads_folders_as_torchvision_does(
    animals: LabelSet, tmp_path: Path, load: Callable[..., Any]
) -> None:
    folder = unpacked(animals, "format=imagefolder&q=-status:none", tmp_path / "set")
    assert sorted(path.name for path in folder.iterdir()) == ["cat", "dog"]
    found = load("imagefolder", data_dir=str(folder))["train"]
    assert found.features["label"].names == ["cat", "dog"]
    assert found["label"] == [0, 0, 1]


def test_folders_with_splits_are_as_ultralytics_has_them(animals: LabelSet, tmp_path: Path) -> None:
    folder = unpacked(animals, "format=imagefolder&split=50/50", tmp_path / "set")
    places = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert len(places) == 4
    assert all(place.split("/")[0] in ("train", "val") and place.count("/") == 2 for place in places)
    assert any("/_unlabeled/" in place for place in places)


def test_parquet_is_read_with_its_types_and_pictures(
    animals: LabelSet, tmp_path: Path, load: Callable[..., Any]
) -> None:
    path = tmp_path / "labels.parquet"
    path.write_bytes(exported(animals, "format=parquet&images=1&include=suggested"))
    found = load("parquet", data_files=str(path))["train"]
    assert found["label"] == ["cat", "dog", "cat", None, None, "dog"]
    assert isinstance(found[0]["image"], PIL.Image.Image) and found[0]["image"].getpixel((0, 0)) == (
        255,
        0,
        0,
    )
    assert str(pyarrow.parquet.read_schema(path).field("decided_at").type) == "timestamp[us, tz=UTC]"


def test_parquet_has_a_row_group_for_every_ten_thousand(
    animals: LabelSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_parquet.ROWS_A_GROUP == 10_000
    monkeypatch.setattr(export_parquet, "ROWS_A_GROUP", 2)
    path = tmp_path / "labels.parquet"
    path.write_bytes(exported(animals, "format=parquet"))
    told = pyarrow.parquet.ParquetFile(path)
    assert [told.metadata.row_group(n).num_rows for n in range(told.num_row_groups)] == [2, 2, 1]


def test_without_pyarrow_parquet_is_refused_in_words(
    animals: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_parquet, "is_installed", lambda: False)
    with pytest.raises(ValidationError, match="pip install pyarrow"):
        exported(animals, "format=parquet")


# COCO


def test_pycocotools_reads_it_and_every_reference_resolves(animals: LabelSet, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(exported(animals, "format=coco&include=suggested"))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["empty", "cat", "dog"]
    names = {image["file_name"]: pk for pk, image in coco.imgs.items()}
    of = {name: coco.imgToAnns[pk] for name, pk in names.items()}
    assert {name: [each["category_id"] for each in said] for name, said in of.items()} == {
        "red 1.png": [1],
        "green 1.png": [2],
        "blue 1.png": [1],
        "black 1.png": [0],
        "orange 1.png": [2],
    }
    assert [each.get("suggested") for [each] in of.values()] == [None] * 4 + [True]
    assert all(coco.imgs[each["image_id"]] for each in coco.anns.values())


# CVAT


def test_cvat_fits_its_schema_and_counts_by_name(animals: LabelSet) -> None:
    schema = xmlschema.XMLSchema11(Path(__file__).with_name("cvat.xsd"))
    for query in ("", "include=suggested", "split=50/50"):
        schema.validate(exported(animals, f"format=cvat&{query}").decode())
    found = schema.to_dict(exported(animals, "format=cvat&include=suggested").decode())["image"]
    names = [image["@name"] for image in sorted(found, key=lambda image: image["@id"])]
    assert names == sorted(names)
    tags = {image["@name"]: image.get("tag") for image in found}
    assert tags["black 1.png"] is None
    assert tags["orange 1.png"]["@source"] == "auto" and tags["red 1.png"]["@source"] == "manual"


# Rules that are stated


def test_label_studio_tasks_and_config_fit_together(animals: LabelSet, tmp_path: Path) -> None:
    folder = unpacked(animals, "format=label-studio&images=1&include=suggested", tmp_path)
    tasks = json.loads((folder / "tasks.json").read_text())
    config = xmlschema.XMLResource(folder / "config.xml").root
    choices = [node.get("value") for node in config.iter("Choice")]
    assert choices == ["cat", "dog"] and config.find("Choices").get("toName") == config.find("Image").get(
        "name"
    )
    for task in tasks:
        assert (folder / task["data"]["image"]).is_file()
        results = [each for said in task["annotations"] + task["predictions"] for each in said["result"]]
        assert len({each["id"] for each in results}) == len(results)
        for each in results:
            assert (each["from_name"], each["to_name"], each["type"]) == ("choice", "image", "choices")
            assert set(each["value"]["choices"]) <= set(choices)
    cancelled = [said for task in tasks for said in task["annotations"] if said["was_cancelled"]]
    assert [said["result"] for said in cancelled] == [[]]
    [guess] = [said for task in tasks for said in task["predictions"]]
    assert (guess["model_version"], guess["score"]) == ("rows@1", 0.9)


def test_addresses_begin_as_label_studio_serves_them(animals: LabelSet) -> None:
    with zipfile.ZipFile(
        io.BytesIO(exported(animals, "format=label-studio&prefix=/data/local-files/?d=p/"))
    ) as archive:
        [first, *_] = json.loads(archive.read("tasks.json"))
    assert first["data"]["image"] == "/data/local-files/?d=p/red 1.png"


def test_fiftyone_keys_are_stems_and_numbers_are_classes(animals: LabelSet) -> None:
    found = document(animals, "format=fiftyone&include=suggested")
    assert found["classes"] == ["cat", "dog"]
    assert found["labels"] == {
        "red 1": 0,
        "green 1": 1,
        "blue 1": 0,
        "black 1": None,
        "orange 1": {"label": 1, "confidence": 0.9},
    }


def test_datumaro_items_name_their_picture_and_label(animals: LabelSet, tmp_path: Path) -> None:
    folder = unpacked(animals, "format=datumaro&images=1&split=50/50", tmp_path)
    items = []
    for path in (folder / "annotations").iterdir():
        found = json.loads(path.read_text())
        assert found["dm_format_version"] == "1.0" and found["media_type"] == 2
        labels = found["categories"]["label"]["labels"]
        for item in found["items"]:
            assert (folder / "images" / path.stem / item["image"]["path"]).is_file()
            assert item["id"] == Path(item["image"]["path"]).stem and item["image"]["size"] == [64, 64]
            items.append([labels[each["label_id"]]["name"] for each in item["annotations"]])
    assert sorted(items) == [[], ["cat"], ["cat"], ["dog"]]


def test_imagenet_lists_point_at_lines_and_quote_spaces(animals: LabelSet, tmp_path: Path) -> None:
    folder = unpacked(animals, "format=imagenet&images=1", tmp_path)
    assert (folder / "synsets.txt").read_text() == "cat\ndog\n"
    assert (folder / "train.txt").read_text() == '"red 1".png 0\n"green 1".png 1\n"blue 1".png 0\n'
    assert (folder / "images" / "green 1.png").is_file()


# Pictures


def test_pictures_come_smaller_and_as_jpeg(animals: LabelSet, tmp_path: Path) -> None:
    folder = unpacked(animals, "format=coco&images=1&size=32&jpeg=1", tmp_path)
    names = [image["file_name"] for image in json.loads((folder / "annotations.json").read_text())["images"]]
    for name in names:
        with PIL.Image.open(folder / "images" / name) as image:
            assert (image.format, image.size) == ("JPEG", (32, 32))
    small = unpacked(animals, "format=coco&images=1&size=16", tmp_path / "small")
    with PIL.Image.open(small / "images" / "red 1.png") as image:
        assert (image.format, image.size) == ("PNG", (16, 16))


def test_a_picture_that_is_gone_takes_its_row_along(animals: LabelSet) -> None:
    gone = animals.project.images.get(name="green 1.png")
    gone.file.storage.delete(gone.file.name)
    with zipfile.ZipFile(io.BytesIO(exported(animals, "format=hugging-face"))) as archive:
        lines = archive.read("train/metadata.jsonl").decode().splitlines()
        assert len(lines) == 3 and not any("green" in name for name in archive.namelist())
        assert {f"train/{json.loads(line)['file_name']}" for line in lines} <= set(archive.namelist())


# Names


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip)


@given(one=TEXT, two=TEXT)
@example(one="a/b", two="a:b")
@example(one='say "cat"', two="=1+1")
@example(one="🐈" * 200, two="قطة")
@example(one="line\nbreak", two="\x01")
@example(one="'=x", two="<a&b>")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", [name for name in exports.FORMATS if name != "parquet"])
def test_any_label_is_carried_as_it_is_or_refused_in_words(
    animals: LabelSet, name: str, one: str, two: str
) -> None:
    """Never a file that says something else."""
    from labeling.import_formats import FORMATS
    from labeling.import_found import Declared

    if one == two:
        return
    cat, dog = Label.objects.filter(label_set=animals).order_by("position")
    Label.objects.filter(pk=cat.pk).update(name="\x1fout of the way")
    Label.objects.filter(pk=dog.pk).update(name=two)
    Label.objects.filter(pk=cat.pk).update(name=one)
    try:
        content = exported(animals, f"format={name}")
    except ValidationError as refusal:
        said = " ".join(refusal.messages)
        assert one in said or two in said
        return
    if name == "imagefolder":
        return  # what a folder can't be called is replaced, as the documentation says
    reader = FORMATS[name].read
    bare = {"csv": "labels.csv", "jsonl": "labels.jsonl", "cvat": "a.xml"}.get(name, "a.json")
    found = list(reader(Source(io.BytesIO(content), bare)))
    labels = {each.label for each in found if not isinstance(each, Declared)} - {""}
    assert labels == {one, two}, "as it was written"
