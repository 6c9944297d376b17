"""Files as other tools write them, and as nobody should: what each reader finds, and how it refuses."""

import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Mapping

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile

from gallery.models import Project
from labeling import imports
from labeling.import_formats import FORMATS, detect
from labeling.import_found import Declared, Found, Unreadable
from labeling.import_sources import Source, labels_alone
from labeling.models import LabelImport


def source(content: bytes | str, name: str) -> Source:
    return Source(ContentFile(content.encode() if isinstance(content, str) else content, name), name)


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return out.getvalue()


def read(content: bytes | str | Mapping[str, bytes | str], name: str, format: str = "") -> list[Found]:
    """What a file says of its images, in the format that it is taken for by itself."""
    packed = zipped(content) if isinstance(content, Mapping) else content
    files = source(packed, name)
    key = detect(files, has_pictures=False)
    assert not format or key == format
    return [row for row in FORMATS[key].read(files) if isinstance(row, Found)]


def declared(content: bytes | str | Mapping[str, bytes | str], name: str) -> list[str]:
    files = source(zipped(content) if isinstance(content, Mapping) else content, name)
    rows = FORMATS[detect(files, has_pictures=False)].read(files)
    return [row.label for row in rows if isinstance(row, Declared)]


def said(rows: list[Found]) -> list[tuple[str, str]]:
    """Each file with its label, `none`, `?label` for a prediction, or `!` for an error."""

    def short(row: Found) -> str:
        if row.error:
            return "!"
        return "none" if row.is_none else "?" * row.is_prediction + row.label

    return [(row.name, short(row)) for row in rows]


# CSV


def test_a_table_of_two_columns() -> None:
    assert said(read("filename,class\na.jpg,cat\nb.jpg,\n", "labels.csv", "csv")) == [
        ("a.jpg", "cat"),
        ("b.jpg", ""),
    ]


@pytest.mark.parametrize(
    "table",
    [
        "\ufefffile_name;label\r\na.jpg;cat\r\n",
        "File_Name , LABEL\r\na.jpg,cat\r\n",
        "file_name\tlabel\na.jpg\tcat\n",
        "id;file_name;similarity;label\r\n7;a.jpg;0,31;cat\r\n",
        'file_name,label\r\n"a.jpg","cat"\r\n\r\n',
        "file_name,label\ra.jpg,cat\r",
    ],
    ids=["BOM and semicolons", "capitals", "tabs", "decimal commas", "quotes and an empty line", "CR"],
)
def test_a_table_as_spreadsheets_write_it(table: str) -> None:
    assert said(read(table, "labels.csv")) == [("a.jpg", "cat")]


def test_what_was_guarded_for_a_spreadsheet_is_itself_again() -> None:
    rows = read("file_name,label\n'=1+1.jpg,'-x\n'quoted'.jpg,''=y\n", "labels.csv")
    assert said(rows) == [("=1+1.jpg", "-x"), ("'quoted'.jpg", "'=y")]


def test_a_line_break_in_quotes_is_part_of_its_cell_and_places_go_on() -> None:
    rows = read('file_name,label\n"a\nb.jpg",cat\nc.jpg,dog,too much\nd.jpg\n', "labels.csv")
    assert said(rows) == [("a\nb.jpg", "cat"), ("c.jpg", "dog"), ("d.jpg", "")]
    assert [row.place for row in rows] == ["line 3", "line 4", "line 5"]


def test_the_status_of_a_row_says_how_its_label_is_meant() -> None:
    table = (
        "file_name,label,status\na,cat,accepted\nb,cat,corrected\nc,,none\nd,cat,unreviewed\n"
        "e,cat,disputed\nf,,accepted\ng,cat,perhaps\n"
    )
    rows = read(table, "labels.csv")
    assert said(rows) == [
        ("a", "cat"),
        ("b", "cat"),
        ("c", "none"),
        ("d", "?cat"),
        ("e", ""),
        ("f", "!"),
        ("g", "!"),
    ]
    assert [row.status for row in rows[:2]] == ["accepted", "corrected"]
    assert rows[6].error == "“perhaps” is no status."


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("a.jpg,cat\n", "must name the columns"),
        ("file_name,colour\na.jpg,red\n", "There is no column “label”"),
        ("", "must name the columns"),
        ('file_name,label\n"a.jpg,cat\n', "can't be read as CSV"),
        ("file_name,label\n".encode("utf-16"), "not in UTF-8"),
        ("file_name,label\nä.jpg,cat\n".encode("latin-1"), "not in UTF-8"),
        ("file_name,label" + ",x" * 1000 + "\n", "1,002 columns"),
        ("," * 2_000_000, "a million characters"),
        ("file_name,label\na.jpg," + "x" * 2_000_000, "a million characters"),
        ("file_name,label\n" + '"\n",' * 600_000, "a million characters"),
        ("file_name,label\na.jpg," + "x" * 200_000, "field larger"),
    ],
)
def test_a_broken_table_is_refused_with_one_sentence(table: bytes | str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as caught:
        read(table, "labels.csv")
    assert len(caught.value.messages) == 1


# JSON Lines


def test_json_lines_go_on_after_a_line_that_is_none() -> None:
    lines = [
        '{"file_name": "a", "label": "cat"}',
        '{"file_name": "b", "label":',
        '"text"',
        "[" * 100_000,
        '{"file_name": "c", "label": ' + "[" * 400 + "]" * 400 + "}",
        '{"file_name": "d", "label": {"name": "cat"}}',
        '{"file_name": "e", "label": ' + "9" * 10_000 + "}",
        '{"file_name": "f", "label": 7, "sha256": "ABC"}',
        "",
        '{"file_name": "g", "label": null}',
    ]
    rows = read("\n".join(lines), "labels.jsonl", "jsonl")
    assert said(rows) == [
        ("a", "cat"),
        *[("", "!")] * 3,
        ("c", "!"),
        ("d", "!"),
        ("", "!"),
        ("f", "7"),
        ("g", ""),
    ]
    assert [row.place for row in rows][-2:] == ["line 8", "line 10"] and rows[7].sha256 == "abc"


# Label Studio


def task(image: str, *choices: str, **more: object) -> dict:
    """A task with one annotation for each choice, as Label Studio exports it."""
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [annotation(choice) for choice in choices],
        "predictions": [],
        "meta": {},
        "drafts": [],
        "file_upload": "a1b2c3d4-cat.jpg",
        "total_annotations": len(choices),
        **more,
    }


def annotation(choice: str = "", cancelled: bool = False) -> dict:
    value = {"type": "choices", "from_name": "choice", "to_name": "image", "origin": "manual"}
    result = [{"id": "x1", **value, "value": {"choices": [choice]}}] if choice else []
    return {"id": 7, "completed_by": 1, "was_cancelled": cancelled, "ground_truth": False, "result": result}


def test_label_studio_with_annotators_skips_and_predictions() -> None:
    guesses = [
        {"model_version": "v1", "score": score, "result": annotation(name)["result"]}
        for name, score in (("cat", 0.2), ("dog", 0.9))
    ]
    both = annotation("cat")
    both["result"][0]["value"]["choices"] = ["cat", "dog"]
    tasks = [
        task("/data/upload/3/a1b2c3d4-cat.jpg", "cat"),
        task("/data/local-files/?d=some/folder/my%20dog.jpg", "dog", "dog"),
        task("s3://bucket/p/c%20d.jpg?x=1", "cat", "dog"),
        task("d.jpg", annotations=[annotation(cancelled=True)]),
        task("e.jpg", annotations=[annotation(cancelled=True), annotation("cat")]),
        task("f.jpg", predictions=guesses),
        task("g.jpg", annotations=[both]),
        task("h.jpg", annotations=[annotation()]),
        {"id": 9, "data": {"photo": "https://example.org/i.jpg"}, "annotations": [annotation("cat")]},
        task("http://[j.jpg", "cat"),
        "no task",
    ]
    rows = read(json.dumps(tasks), "project-3-at-2025.json", "label-studio")
    assert said(rows) == [
        ("/data/upload/3/a1b2c3d4-cat.jpg", "cat"),
        ("some/folder/my dog.jpg", "dog"),
        ("/p/c d.jpg", "!"),
        ("d.jpg", "none"),
        ("e.jpg", "cat"),
        ("f.jpg", "?dog"),
        ("g.jpg", "!"),
        ("h.jpg", ""),
        ("/i.jpg", "cat"),
        ("http://[j.jpg", "cat"),
        ("", "!"),
    ]
    assert rows[2].error == "Its annotations disagree." and rows[2].place == "task 3"
    assert rows[6].error == "It has 2 labels; here an image has one."


def test_label_studio_in_its_short_form() -> None:
    more = {"annotator": 1, "annotation_id": 4, "created_at": "2025-01-01T00:00:00Z", "lead_time": 1.5}
    tasks = [
        {"image": "/data/upload/1/deadbeef-a.jpg", "id": 1, "choice": "cat", **more},
        {"image": "b.jpg", "id": 2, "choice": {"choices": ["cat", "dog"]}, **more},
        {"image": "c.jpg", "id": 3, "label": "dog", **more},
        {"image": "d.jpg", "id": 4, **more},
    ]
    assert said(read(json.dumps(tasks), "min.json", "label-studio")) == [
        ("/data/upload/1/deadbeef-a.jpg", "cat"),
        ("b.jpg", "!"),
        ("c.jpg", "dog"),
        ("d.jpg", ""),
    ]


# CVAT

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <job><id>4</id><size>3</size><mode>annotation</mode>
      <labels>
        <label><name>cat</name><color>#ff0000</color><type>any</type>
          <attributes><attribute><name>sex</name><values>f\nm</values></attribute></attributes></label>
        <label><name>dog</name><color>#00ff00</color><type>any</type><attributes></attributes></label>
      </labels>
      <segments><segment><id>4</id><start>0</start><stop>2</stop><url>http://x/</url></segment></segments>
      <owner><username>u</username><email></email></owner>
    </job>
    <dumped>2025-01-01 00:00:00+00:00</dumped>
  </meta>
  <image id="0" name="train/a.jpg" subset="Train" task_id="1" width="640" height="480">
    <box label="dog" source="manual" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>
    <tag label="cat" source="manual"><attribute name="sex">f</attribute></tag>
  </image>
  <image id="1" name="b.jpg" width="640" height="480"><tag label="dog" source="auto"></tag></image>
  <image id="2" name="c.jpg" width="640" height="480">
    <tag label="dog" source="manual"></tag><tag label="cat" source="manual"></tag></image>
  <image id="3" name="d.jpg" width="640" height="480"></image>
</annotations>"""


def test_cvat_of_a_job_with_boxes_and_subsets() -> None:
    rows = read(CVAT, "annotations.xml", "cvat")
    assert said(rows) == [("train/a.jpg", "cat"), ("b.jpg", "?dog"), ("c.jpg", "!"), ("d.jpg", "")]
    assert rows[2].place == "image 2"
    assert declared(CVAT, "annotations.xml") == ["cat", "dog"]
    assert said(read({"annotations.xml": CVAT}, "task_1.zip", "cvat")) == said(rows)


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotations>&b;</annotations>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<annotations><image id="0" name="&a;"/></annotations>"""


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (BOMB, "not read here"),
        (OUTSIDE, "not read here"),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><annotations/>', "not read here"),
        ("<annotations><image>", "no whole XML document"),
        ("<annotations>\0</annotations>", "no whole XML document"),
        ('<?xml version="1.0" encoding="no-such"?><annotations/>', "no whole XML document"),
        ("<annotations>" + "<a/>" * 200_000 + "</annotations>", "too much between its images"),
        ("<a>" * 200_000, "no whole XML document|too much"),
    ],
)
def test_an_xml_that_does_harm_or_is_cut_is_refused(document: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(document, "annotations.xml")


# COCO

CAMERA_TRAP = {
    "info": {"version": "1.0", "description": "Camera traps"},
    "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "deer"}, {"id": 2, "name": "fox"}],
    "images": [
        {"id": "loc1/001", "file_name": "loc1/001.jpg", "seq_id": "s1", "width": 2, "height": 2},
        {"id": "loc1/002", "file_name": "loc1/002.jpg"},
        {"id": "loc1/003", "file_name": "loc1/003.jpg"},
        {"id": "loc1/004", "file_name": "loc1/004.jpg"},
        {"id": "loc1/005", "file_name": "loc1/005.jpg"},
    ],
    "annotations": [
        {"id": "a", "image_id": "loc1/001", "category_id": 1, "sequence_level_annotation": False},
        {"id": "b", "image_id": "loc1/002", "category_id": 0},
        {"id": "c", "image_id": "loc1/003", "category_id": 1},
        {"id": "d", "image_id": "loc1/003", "category_id": 2},
        # The last one again: it stays an image with two labels.
        {"id": "e", "image_id": "loc1/003", "category_id": 2},
        {"id": "f", "image_id": "loc1/005", "category_id": 77},
    ],
}


def test_coco_of_camera_traps() -> None:
    rows = read(json.dumps(CAMERA_TRAP), "traps.json", "coco")
    assert said(rows) == [
        ("loc1/001.jpg", "deer"),
        ("loc1/002.jpg", "none"),
        ("loc1/003.jpg", "!"),
        ("loc1/004.jpg", ""),
        ("loc1/005.jpg", "!"),
    ]
    assert rows[2].error == "It has 2 labels; here an image has one."
    assert rows[4].error == "There is no category 77."
    assert declared(json.dumps(CAMERA_TRAP), "traps.json") == ["deer", "fox"]


def test_coco_with_boxes_gives_the_one_label_that_they_share() -> None:
    box = {"segmentation": [[1, 1, 2, 2, 3.5, 4]], "bbox": [1, 1, 2.5, 2], "area": 4, "iscrowd": 0}
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 18, **box},
            {"id": 2, "image_id": 1, "category_id": 18, **box},
            {"id": 3, "image_id": 2, "category_id": 18, **box},
            {"id": 4, "image_id": 2, "category_id": 17, **box},
        ],
        "categories": [
            {"supercategory": "animal", "id": 17, "name": "cat"},
            {"supercategory": "animal", "id": 18, "name": "dog"},
        ],
    }
    assert said(read(json.dumps(document), "instances_val.json", "coco")) == [
        ("a.jpg", "dog"),
        ("b.jpg", "!"),
    ]


# FiftyOne


def test_fiftyone_with_indexes_names_and_confidences() -> None:
    document = {
        "classes": ["cat", "dog"],
        "labels": {
            "a": 0,
            "v1.2": 1,
            "c": None,
            "d": {"label": 1, "confidence": 0.91},
            "e": {"label": 0, "attributes": {"blurred": True}},
            "f": 2,
            "g": -1,
            "h": ["cat", "dog"],
            "i": {"label": None, "confidence": None},
            "j": 0.5,
        },
    }
    rows = read({"labels.json": json.dumps(document)}, "export.zip", "fiftyone")
    assert [short for _, short in said(rows)] == ["cat", "dog", "", "?dog", "cat", "!", "!", "!", "", "!"]
    assert rows[0].name == "data/a" and rows[1].place == "“v1.2”"


def test_fiftyone_without_classes_names_labels_as_texts() -> None:
    document = '{"classes": null, "labels": {"a": "cat", "b": {"label": "dog"}, "c": 0}}'
    assert [short for _, short in said(read(document, "labels.json", "fiftyone"))] == ["cat", "dog", "!"]


# Hugging Face


def test_hugging_face_in_split_folders() -> None:
    files = {
        "train/metadata.csv": "file_name,label\ncat/a.jpg,cat\n",
        "test/metadata.csv": "file_name,label,extra\nb.jpg,dog,1\n",
    }
    rows = read(files, "dataset.zip", "hugging-face")
    assert said(rows) == [("test/b.jpg", "dog"), ("train/cat/a.jpg", "cat")]
    assert rows[0].place == "test/metadata.csv, line 2"


def test_hugging_face_with_lines_of_json() -> None:
    lines = '{"file_name": "a.jpg", "label": 3}\n{"file_name": "b.jpg", "label": "dog"}\nrubbish\n'
    rows = read({"data/train/metadata.jsonl": lines}, "dataset.zip", "hugging-face")
    assert said(rows) == [("data/train/a.jpg", "3"), ("data/train/b.jpg", "dog"), ("", "!")]


# ImageNet


def test_imagenet_lists_with_names_in_quotes() -> None:
    files = {
        "synsets.txt": "n01440764 tench\nn01443537 goldfish\n",
        "train.txt": 'a.jpg 0\r\n"my cat".jpg 1\n"say "hi"".png 0\nmy dog.jpg 1\nc.jpg 2\nd.jpg\ne.jpg ²\n',
        "val.txt": "n01440764/f.JPEG 0\n",
    }
    rows = read(files, "lists.zip", "imagenet")
    assert said(rows) == [
        ("a.jpg", "n01440764 tench"),
        ("my cat.jpg", "n01443537 goldfish"),
        ('say "hi".png', "n01440764 tench"),
        ("my dog.jpg", "n01443537 goldfish"),
        ("c.jpg", "!"),
        ("", "!"),
        ("", "!"),
        ("n01440764/f.JPEG", "n01440764 tench"),
    ]
    assert rows[4].error == "synsets.txt has no line for 2." and rows[4].place == "train.txt, line 5"


def test_a_line_of_spaces_takes_no_time() -> None:
    began = time.process_time()
    rows = read({"synsets.txt": "cat\n", "train.txt": "a" + " " * 1_000_000 + "b\n"}, "lists.zip")
    assert said(rows) == [("", "!")] and time.process_time() - began < 5


# Datumaro


def datumaro(*items: object) -> str:
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("cat", "dog")]
    categories = {"label": {"labels": labels, "attributes": []}, "mask": {"colormap": []}}
    return json.dumps(
        {"dm_format_version": "1.0", "media_type": 2, "infos": {}, "categories": categories, "items": items}
    )


def test_datumaro_with_subsets() -> None:
    label = {"id": 0, "type": "label", "attributes": {}, "group": 0, "label_id": 0}
    box = {"id": 0, "type": "bbox", "attributes": {}, "group": 0, "label_id": 1, "bbox": [0, 0, 1, 1]}
    image = {"path": "a.jpg", "size": [2, 3]}
    files = {
        "annotations/train.json": datumaro(
            {"id": "a", "annotations": [box, label], "image": image, "attr": {"frame": 0}},
            {"id": "sub/b", "annotations": []},
            {"id": "c", "annotations": [label | {"label_id": 5}]},
            {"id": "d", "annotations": [label | {"attributes": {"suggested": True}}]},
            {"id": "e", "annotations": [label | {"attributes": ["x"]}, label | {"label_id": 1}]},
            {"id": "f", "annotations": [label | {"label_id": [1]}]},
            7,
        ),
        "annotations/val.json": datumaro({"id": "g", "annotations": [label]}),
    }
    assert said(read(files, "project.zip", "datumaro")) == [
        ("images/train/a.jpg", "cat"),
        ("images/train/sub/b", ""),
        ("images/train/c", "!"),
        ("images/train/d", "?cat"),
        ("images/train/e", "!"),
        ("images/train/f", "!"),
        ("", "!"),
        ("images/val/g", "cat"),
    ]


# Whatever else a file may be


@pytest.mark.parametrize(
    "document",
    [
        '[{"data": {"image": "a.jpg"}}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [',
        '{"classes": ["cat"], "labels": {"a": 0',
        '{"images": ' + "9" * 10_000 + "}x",
        '{"images": [1e999999], "categories": nothing}',
        "[" * 1_000_000,
        '{"images": ' + '{"a":' * 500_000,
    ],
)
def test_a_json_that_is_cut_or_endless_is_refused(document: str) -> None:
    with pytest.raises(Unreadable, match="no whole JSON document|nested too deep"):
        read(document, "x.json")


ODD = [None, True, 7, 1e300, "x", [], [[1]], {}, {"a": {}}, "\0", "\ud800"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_values_anywhere_are_rows_and_no_crash(odd: object) -> None:
    label = {"id": odd, "type": "label", "attributes": odd, "label_id": odd}
    documents = [
        [odd, {"data": odd}, {"data": {"image": odd}, "annotations": odd, "predictions": odd}],
        [
            {
                "data": {"image": odd},
                "annotations": [{"result": [{"type": "choices", "value": {"choices": [odd]}}]}],
            }
        ],
        [{"image": odd, "choice": odd}],
        {"images": [odd, {"id": odd, "file_name": odd}], "categories": [{"id": odd, "name": odd}, odd]},
        {
            "annotations": [{"image_id": odd, "category_id": odd}, odd],
            "images": [{"id": odd}],
            "categories": [],
        },
        {"classes": [odd], "labels": {"a": odd, "b": {"label": odd, "confidence": odd}}},
        {
            "dm_format_version": odd,
            "categories": odd,
            "items": [{"id": odd, "image": odd, "annotations": odd}],
        },
        json.loads(datumaro({"id": odd, "image": {"path": odd}, "annotations": [label, odd]})),
    ]
    for document in documents:
        for row in read(json.dumps(document), "x.json"):
            assert all(isinstance(text, str) for text in (row.name, row.label, row.error, row.sha256)), row
    for row in read(json.dumps({"file_name": odd, "label": odd, "status": odd, "sha256": odd}), "x.jsonl"):
        assert isinstance(row.name, str) and isinstance(row.label, str)


def test_many_boxes_are_read_in_little_memory() -> None:
    polygon = {"segmentation": [[number + 0.5 for number in range(300)]], "bbox": [1, 1, 2, 2]}
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": number, "image_id": 1, "category_id": 1, **polygon} for number in range(2000)],
    }
    content = json.dumps(document)
    tracemalloc.start()
    try:
        assert said(read(content, "boxes.json", "coco")) == [("a.jpg", "cat")]
        # The text itself, once, and not the half a million numbers in it.
        assert tracemalloc.get_traced_memory()[1] < 3 * len(content)
    finally:
        tracemalloc.stop()


def test_many_images_of_cvat_are_read_in_little_memory() -> None:
    image = '<image id="{0}" name="{0}.jpg"><tag label="cat" source="manual"/></image>'
    content = "<annotations>" + "".join(image.format(number) for number in range(20_000)) + "</annotations>"
    files = source(content, "annotations.xml")
    tracemalloc.start()
    try:
        assert sum(row.label == "cat" for row in FORMATS["cvat"].read(files)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_what_a_file_is_can_t_always_be_told() -> None:
    with pytest.raises(Unreadable, match="Choose its format"):
        read('{"something": 1}', "x.json")
    with pytest.raises(Unreadable, match="Choose its format"):
        read("a picture?", "x.jpg")
    with pytest.raises(Unreadable, match="2 files labels.csv"):
        read({"a/labels.csv": "x", "b/labels.csv": "x"}, "x.zip")


# ZIPs


def test_of_a_zip_only_labels_are_kept_and_no_path_leads_out() -> None:
    files = {
        "../../labels.csv": "file_name,label\n../../a.jpg,cat\n",
        "__MACOSX/labels.csv": "rubbish",
        "a.jpg": b"a picture",
    }
    copy, has_pictures = labels_alone(ContentFile(zipped(files), "x.zip"))
    assert has_pictures
    with zipfile.ZipFile(copy) as archive:
        assert archive.namelist() == ["../../labels.csv"]
    copy.seek(0)
    assert said(read(copy.read(), "x.zip")) == [("../../a.jpg", "cat")]


def test_a_bomb_of_labels_is_refused_before_it_is_unpacked(settings: object) -> None:
    settings.IMPORT_MAX_BYTES = 1_000_000
    bomb = zipped({"labels.csv": b"file_name,label\n" + b"a,b\n" * 500_000})
    assert len(bomb) < 10_000
    with pytest.raises(ValidationError, match="Too large"):
        labels_alone(ContentFile(bomb, "x.zip"))
    # One that says it is smaller than it is.
    size = (16 + 4 * 500_000).to_bytes(4, "little")
    assert bomb.count(size) == 2
    with pytest.raises(ValidationError, match=r"labels\.csv: Broken"):
        labels_alone(ContentFile(bomb.replace(size, (100).to_bytes(4, "little")), "x.zip"))
    with pytest.raises(ValidationError, match="Broken"):
        labels_alone(ContentFile(bomb[:200], "x.zip"))


# Through the door: nothing is half-written, and nothing fails without a sentence


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("labels.csv", b"file_name,label\n\xff,cat", "not in UTF-8"),
        ("annotations.xml", BOMB.encode(), "not read here"),
        ("tasks.json", b"[" * 1_000_000, "nested too deep"),
        ("labels.csv", b"file_name,label\n" + b"".join(b"x,%d\n" % n for n in range(1001)), "1,000 labels"),
    ],
)
def test_a_file_that_can_t_be_read_fails_with_its_reason(
    name: str, content: bytes, why: str, project: Project, owner: User
) -> None:
    row = imports.begin(project, None, owner, ContentFile(content, name))
    assert row.state == LabelImport.State.FAILED and why in row.error
    assert not row.file and not project.label_sets.exists()


def test_what_no_database_takes_is_an_error_of_its_row(project: Project, owner: User) -> None:
    rows = [
        {"file_name": "a\0.jpg", "label": "cat"},
        {"file_name": "b.jpg", "label": "c\0at"},
        {"file_name": "\ud800.jpg", "label": "cat"},
        {"file_name": "c.jpg", "label": "x" * 201},
        {"file_name": "d" * 100_000, "label": "cat"},
        {"sha256": "\0", "label": "cat"},
        {"file_name": "e.jpg", "label": "x" * 200},
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    row = imports.begin(project, None, owner, ContentFile(content, "labels.jsonl"))
    row = LabelImport.objects.get(pk=row.pk)
    assert (row.state, row.report["counts"]) == ("done", {"error": 5, "unmatched": 2})
    assert [each["label"] for each in row.report["labels"]] == ["cat", "x" * 200]
    assert len(json.dumps(row.report)) < 5_000
