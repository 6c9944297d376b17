"""Labels on their way in: which image, what is written over what, by whom, once, and taken back."""

import errno
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as site
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gallery import intake, projects, set_aside, uploads
from gallery.models import Image, Project, Upload
from labeling import batches, imports, label_sets, tasks
from labeling.import_matching import Matcher
from labeling.import_plan import Choices
from labeling.label_sets import LabelSpec, change
from labeling.models import GroundTruth, LabelImport, LabelSet
from labeling.review import Decision, Verdict, decide
from labeling.truth import Measured
from tests.conftest import picture
from tests.labeling import rows

State = LabelImport.State


@pytest.fixture
def images(project: Project) -> list[Image]:
    """Four, called `image 00000.jpg` and on."""
    return rows.images(project, 4)


@pytest.fixture
def animals(project: Project, images: list[Image]) -> LabelSet:
    """Cat and dog, with no suggestions yet."""
    return rows.label_set(project, "cat", "dog")


def begin(
    label_set: LabelSet, user: User, content: str | bytes, name: str = "labels.csv", **more: object
) -> LabelImport:
    file = ContentFile(content.encode() if isinstance(content, str) else content, name)
    return imports.begin(label_set.project, label_set, user, file, **more)


def table(*lines: str, head: str = "file_name,label") -> str:
    return "\n".join([head, *lines])


def written(label_set: LabelSet, user: User, content: str | bytes, **choices: object) -> LabelImport:
    """An import that was read, then written."""
    row = begin(label_set, user, content)
    assert row.state == State.DONE, row.error
    imports.confirm(row, Choices(**choices))
    row.refresh_from_db()
    assert (row.step, row.state) == ("write", State.DONE), row.error
    return row


def answers(label_set: LabelSet) -> dict[str, str | None]:
    """What each settled image is, `None` for none of these, by the number in its name."""
    found = label_set.annotations.values_list("image__name", "label__name")
    return {name.removesuffix(".jpg")[-1]: label for name, label in found}


def zipped(**files: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def labels_here(label_set: LabelSet) -> list[str]:
    return list(label_set.labels.values_list("name", flat=True))


# Which image a row is about


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cat.png", "cat.png"),
        ("some/folder/cat.png", "cat.png"),
        ("C:\\pictures\\cat.png", "cat.png"),
        ("a1b2c3d4-cat.png", "cat.png"),
        ("/data/upload/1/a1b2c3d4-cat.png", "cat.png"),
        ("cat", "cat.png"),
        ("cat.jpg", "cat.png"),
        ("v1.2", "v1.2.png"),
        ("what_.png", "what?.png"),
        ("u\u0308ber.png", "über.png"),
        ("dog_{pk}.png", "dog.png"),
        ("dog_{other}.png", None),
        ("doggy_{pk}.png", None),
        ("no.png", None),
        ("", None),
        ("twice.png", None),
        ("a/twice.png", "a/twice.png"),
    ],
)
def test_a_row_finds_its_image_by_its_name(
    name: str, found: str | None, project: Project, owner: User
) -> None:
    names = ["cat.png", "dog.png", "v1.2.png", "what?.png", "über.png", "a/twice.png", "b/twice.png"]
    made = rows.images(project, len(names))
    for image, called in zip(made, names, strict=True):
        Image.objects.filter(pk=image.pk).update(name=called)
    name = name.format(pk=made[1].pk, other=made[0].pk)
    label_set = rows.label_set(project, "x", "y")
    row = written(label_set, owner, table(f"{name},x"))
    assert list(label_set.annotations.values_list("image__name", flat=True)) == ([found] if found else [])
    assert row.report["counts"] == {"new" if found else "unmatched": 1}
    if name == "twice.png":
        [said] = row.report["unmatched"]
        assert said["sentence"].startswith("2 images here are called “twice.png”")


def test_the_hash_goes_before_the_name(animals: LabelSet, images: list[Image], owner: User) -> None:
    lines = [f"{images[0].name},{images[1].sha256.upper()},cat", f",{images[2].sha256},dog", ",0,cat"]
    row = written(animals, owner, table(*lines, head="file_name,sha256,label"))
    assert answers(animals) == {"1": "cat", "2": "dog"}
    assert [said["sentence"] for said in row.report["unmatched"]] == ["No image here has this hash."]


def test_images_of_other_projects_are_never_found(animals: LabelSet, owner: User, stranger: User) -> None:
    theirs = rows.images(projects.create(stranger, "Theirs"), 1, start=70)[0]
    lines = [f"{theirs.name},,cat", f"x_{theirs.pk}.jpg,,cat", f",{theirs.sha256},cat"]
    row = written(animals, owner, table(*lines, head="file_name,sha256,label"))
    assert row.report["counts"] == {"unmatched": 3} and row.batch is None


def test_images_that_are_set_aside_are_not_found(animals: LabelSet, images: list[Image], owner: User) -> None:
    set_aside.set_aside(animals.project, [images[0].pk], owner)
    row = written(animals, owner, table(f",{images[0].sha256},cat", head="file_name,sha256,label"))
    assert row.report["counts"] == {"unmatched": 1}


def test_hashes_are_looked_up_by_their_index(animals: LabelSet, images: list[Image]) -> None:
    """Whatever the planner knows of the rows: else each few rows of a file cost the whole project."""
    with CaptureQueriesContext(connection) as asked:
        Matcher(animals.project, None)._hashed([image.sha256 for image in images])
    [sql] = [query["sql"] for query in asked if "sha256" in query["sql"]]
    assert "set_aside_at" not in sql.partition("WHERE")[2]


def test_names_that_are_nowhere_cost_no_query_each(
    animals: LabelSet, owner: User, django_assert_max_num_queries: Callable
) -> None:
    lines = [f"IMG_{number}.jpg,cat" for number in range(400)]
    with django_assert_max_num_queries(60):
        assert begin(animals, owner, table(*lines)).report["counts"] == {"unmatched": 400}


# What is shown, and what is written


def test_nothing_is_written_before_it_is_confirmed(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    row = begin(animals, owner, table(f"{images[0].name},cat", f"{images[1].name},fox", "no.jpg,cat", "x"))
    assert (row.step, row.state, row.batch) == ("read", State.DONE, None)
    assert row.report["counts"] == {"new": 1, "unknown": 1, "unmatched": 2}
    assert row.report["labels"] == [{"label": "cat", "count": 2}, {"label": "fox", "count": 1}]
    assert row.report["unknown"] == [{"label": "fox", "count": 1, "near": ""}]
    assert not animals.reviews.exists() and labels_here(animals) == ["cat", "dog"]
    imports.confirm(row, Choices())
    assert answers(animals) == {"0": "cat", "1": "fox"} and labels_here(animals) == ["cat", "dog", "fox"]
    row.refresh_from_db()
    assert not row.file and not stored()


def test_unknown_labels_are_made_mapped_or_left_out(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    lines = [
        f"{image.name},{label}" for image, label in zip(images, ["Cats", "fox", "cow", "dog"], strict=True)
    ]
    row = written(animals, owner, table(*lines), map={"Cats": "cat", "cow": ""})
    assert answers(animals) == {"0": "cat", "1": "fox", "3": "dog"}
    assert labels_here(animals) == ["cat", "dog", "fox"]
    assert {each["label"]: each["near"] for each in row.report["unknown"]}["Cats"] == "cat"
    written(animals, owner, table(f"{images[2].name},hen"), make=False)
    assert "2" not in answers(animals) and "hen" not in labels_here(animals)


def test_the_files_own_labels_make_a_label_set(project: Project, images: list[Image], owner: User) -> None:
    content = table(f"{images[1].name},dog", f"{images[0].name},cat").encode()
    row = imports.begin(project, None, owner, ContentFile(content, "my pets.csv"), choices=Choices())
    assert (row.state, row.step) == (State.DONE, "write"), row.error
    made = row.label_set
    assert made.name == "my pets" and labels_here(made) == ["dog", "cat"]
    assert answers(made) == {"0": "cat", "1": "dog"}
    one = ContentFile(table(f"{images[1].name},dog").encode(), "one.csv")
    failed = imports.begin(project, None, owner, one, choices=Choices())
    assert failed.state == State.FAILED and "two labels or more" in failed.error
    assert project.label_sets.count() == 1 and not failed.file


def test_an_image_that_a_file_names_twice_is_labelled_once(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    lines = [f"{images[0].name},cat", f"x/{images[0].name},cat", f"{images[0].name},dog"]
    row = written(animals, owner, table(*lines))
    assert row.report["counts"] == {"new": 1, "same": 1, "error": 1}
    assert "another answer" in row.report["error"][0]["sentence"]
    assert animals.reviews.count() == 1 and answers(animals) == {"0": "cat"}


def test_a_label_is_accepted_or_corrected_as_the_file_says_or_by_the_suggestion(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    rows.match(animals, images[:3])  # cat, dog, cat
    lines = ["0,cat,", "1,cat,", "2,cat,corrected", "3,,none"]
    written(
        animals,
        owner,
        table(*(f"image 0000{line}" for line in lines), head="file_name,label,status").replace(
            ",cat", ".jpg,cat"
        ),
    )
    said = dict(animals.reviews.values_list("image", "verdict"))
    assert [said.get(image.pk) for image in images] == ["accepted", "corrected", "corrected", "none"]
    assert set(animals.annotations.values_list("source", flat=True)) == {"import"}
    first = animals.reviews.get(image=images[0])
    assert (first.suggested_name, first.label_name, first.imported) == ("cat", "cat", True)


def test_images_without_a_label_are_none_of_these_where_that_is_said(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    content = table(f"{images[0].name},", f"{images[1].name},cat")
    assert written(animals, owner, content).report["counts"] == {"unlabelled": 1, "new": 1}
    assert answers(animals) == {"1": "cat"}
    written(animals, owner, content, none=True)
    assert answers(animals) == {"0": None, "1": "cat"}


def test_predictions_are_taken_for_labels_only_where_that_is_said(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    content = table(f"{images[0].name},cat,unreviewed", head="file_name,label,status")
    assert written(animals, owner, content).report["counts"] == {"prediction": 1}
    assert not answers(animals)
    written(animals, owner, content, predictions=True)
    assert answers(animals) == {"0": "cat"}


# What people decided


def test_a_persons_decision_stays_unless_told_otherwise(
    animals: LabelSet, images: list[Image], owner: User, member: Callable[[str], User]
) -> None:
    rita, cat = member("reviewer"), animals.labels.get(name="cat")
    decide(animals, rita, [Decision(images[0].pk, Verdict.CORRECTED, cat.pk)])
    decide(animals, rita, [Decision(images[1].pk, Verdict.NONE)])
    content = table(*(f"{image.name},dog" for image in images[:3]))
    row = written(animals, owner, content)
    assert row.report["counts"] == {"conflict": 2, "new": 1}
    told = [said["sentence"] for said in row.report["conflict"]]
    assert told == ["reviewer decided: cat.", "reviewer decided: none of these."]
    assert answers(animals) == {"0": "cat", "1": None, "2": "dog"}
    row = written(animals, owner, content, replace=True)
    assert answers(animals) == {"0": "dog", "1": "dog", "2": "dog"}
    batches.undo(animals, owner, "owner", row.batch_id)
    assert answers(animals) == {"0": "cat", "1": None, "2": "dog"}
    assert set(animals.annotations.filter(image__in=images[:2]).values_list("source", flat=True)) == {"human"}


def test_votes_and_disputes(
    animals: LabelSet, images: list[Image], owner: User, member: Callable[[str], User]
) -> None:
    batches.ask_votes(animals, owner, 2)
    animals.refresh_from_db()
    for role, label in (("reviewer", "cat"), ("labeler", "dog")):
        pk = animals.labels.get(name=label).pk
        decide(animals, member(role), [Decision(images[0].pk, Verdict.CORRECTED, pk)])
    assert animals.annotations.get(image=images[0]).status == "disputed"
    content = table(f"{images[0].name},cat", f"{images[1].name},dog")
    row = written(animals, owner, content)
    assert row.report["conflict"][0]["sentence"] == "People disagree about it."
    assert animals.annotations.get(image=images[0]).status == "disputed"
    settled = animals.annotations.get(image=images[1])
    assert (settled.status, settled.source, settled.label.name) == ("accepted", "import", "dog")
    written(animals, owner, content, replace=True)
    assert answers(animals) == {"0": "cat", "1": "dog"}


def test_the_same_again_changes_nothing_in_whatever_format(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    written(animals, owner, table(f"{images[0].name},cat"))
    before = list(animals.annotations.values()), list(animals.reviews.values())
    lines = f'{{"file_name": "{images[0].name}", "label": "cat"}}'
    choice = {"type": "choices", "value": {"choices": ["cat"]}}
    task = {"data": {"image": images[0].name}, "annotations": [{"result": [choice]}]}
    for name, content in (
        ("l.csv", table(f"{images[0].name},cat")),
        ("l.jsonl", lines),
        ("l.json", json.dumps([task])),
    ):
        row = begin(animals, owner, content, name, choices=Choices())
        assert (row.step, row.state, row.batch) == ("write", State.DONE, None)
        assert row.report["counts"] == {"same": 1}
    assert (list(animals.annotations.values()), list(animals.reviews.values())) == before


def test_a_decision_after_the_import_stands(animals: LabelSet, images: list[Image], owner: User) -> None:
    row = written(animals, owner, table(f"{images[0].name},cat", f"{images[1].name},cat"))
    decide(animals, owner, [Decision(images[0].pk, Verdict.NONE)])
    assert animals.annotations.get(image=images[0]).source == "human"
    batches.undo(animals, owner, "owner", row.batch_id)
    assert answers(animals) == {"0": None}


def test_what_is_decided_while_an_import_is_written_stands(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    """A large one is written in parts by a worker; people go on meanwhile."""
    more = rows.images(animals.project, batches.IN_REQUEST + 1, start=100)
    row = begin(animals, owner, table(f"{images[0].name},cat", *(f"{image.name},dog" for image in more)))
    imports.confirm(row, Choices())
    row.refresh_from_db()
    assert row.batch.state == "running" and not answers(animals)
    decide(animals, owner, [Decision(images[0].pk, Verdict.NONE)])
    tasks.score()
    row.batch.refresh_from_db()
    assert row.batch.state == "done" and batches.done(row.batch) == (len(more) + 1, 1)
    assert animals.annotations.get(image=images[0]).label is None
    assert animals.annotations.filter(label__name="dog").count() == len(more)


# One batch


def test_an_import_is_one_batch_undone_whole_and_done_again(
    animals: LabelSet, images: list[Image], owner: User, login: Callable[[User], Client]
) -> None:
    row = written(animals, owner, table(*(f"{image.name},dog" for image in images)))
    assert (row.batch.kind, row.batch.total, row.batch.user) == ("import", 4, owner)
    assert set(animals.reviews.values_list("batch", flat=True)) == {row.batch_id}
    history = login(owner).get(f"/label-sets/{animals.pk}/history/").content.decode()
    assert "imported" in history.lower() and str(row.batch_id) in history
    undone = batches.undo(animals, owner, "owner", row.batch_id)
    assert not answers(animals)
    batches.undo(animals, owner, "owner", undone.pk)
    assert answers(animals) == dict.fromkeys("0123", "dog")
    assert set(animals.annotations.values_list("source", flat=True)) == {"import"}


# Ground truth


def test_ground_truth_settles_nothing_and_measures_clip(
    animals: LabelSet, images: list[Image], owner: User, login: Callable[[User], Client]
) -> None:
    rows.match(animals, images)  # cat, dog, cat, dog
    content = table(*(f"{image.name},cat" for image in images[:3]), f"{images[3].name},dog")
    first = written(animals, owner, content, truth=True)
    assert not answers(animals) and not animals.reviews.exists() and first.batch is None
    measured = Measured(animals)
    assert (measured.known, measured.compared, measured.right, measured.accuracy) == (4, 4, 3, 0.75)
    client = login(owner)
    page = client.get(f"/label-sets/{animals.pk}/statistics/").content.decode()
    assert "75" in page[page.index('id="truth"') :]
    api = client.get(f"/api/v1/label-sets/{animals.pk}/statistics/").json()["ground_truth"]
    assert api["accuracy"] == 0.75 and api["confusions"] == [
        {"known": "cat", "suggested": "dog", "number": 1}
    ]
    assert [(each["known"], each["right"], each["recall"]) for each in api["labels"]] == [
        (3, 2, 2 / 3),
        (1, 1, 1),
    ]
    # The newest file counts, and the one before it where that is taken back.
    second = written(animals, owner, table(f"{images[1].name},dog"), truth=True)
    assert Measured(animals).accuracy == 1
    client.post(f"/imports/{second.pk}/cancel/")
    assert Measured(animals).accuracy == 0.75
    assert client.post(f"/api/v1/imports/{first.pk}/cancel/").status_code == 200
    assert Measured(animals).accuracy is None and not GroundTruth.objects.exists()


def test_ground_truth_beside_people_is_no_conflict(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    decide(animals, owner, [Decision(images[0].pk, Verdict.NONE)])
    written(animals, owner, table(f"{images[0].name},cat"), truth=True)
    assert answers(animals) == {"0": None} and GroundTruth.objects.get().label.name == "cat"


# Pictures that come along


def test_pictures_in_a_zip_are_added_once_with_their_labels(project: Project, owner: User) -> None:
    content = zipped(
        **{
            "images/a.png": picture("red"),
            "images/b.png": picture("blue"),
            "labels.csv": table("a.png,cat", "b.png,dog", "c.png,cat"),
        }
    )
    for number in range(2):
        row = imports.begin(project, None, owner, ContentFile(content, "set.zip"), choices=Choices())
        assert (row.state, row.step) == (State.DONE, "write"), row.error
        assert row.report["counts"] == {"new": 2, "unmatched": 1}
        assert (
            sorted(row.upload.entries.values_list("outcome", flat=True))
            == [("duplicate" if number else "added")] * 2
        )
        named = dict(row.label_set.annotations.values_list("image__name", "label__name"))
        assert {name[-5:]: label for name, label in named.items()} == {"a.png": "cat", "b.png": "dog"}
    assert project.images.count() == 2 and project.label_sets.count() == 2


def test_the_folders_of_an_upload_are_labels(
    project: Project, owner: User, login: Callable[[User], Client]
) -> None:
    files = {
        f"train/{label}/{colour}.png": picture(colour) for label, colour in (("cat", "red"), ("dog", "blue"))
    }
    files |= {"images/none.png": picture("green"), "_unlabeled/x.png": picture("black")}
    upload = uploads.add_images(project, owner, [ContentFile(zipped(**files), "all.zip")])
    client = login(owner)
    assert 'id="use-folders"' in client.get(upload.get_absolute_url()).content.decode()
    answer = client.post(f"/uploads/{upload.pk}/folders/")
    row = project.imports.get()
    assert answer.url == row.get_absolute_url() and row.report["counts"] == {"new": 2, "unlabelled": 2}
    assert client.post(row.get_absolute_url(), {}).status_code == 302
    row.refresh_from_db()
    named = dict(row.label_set.annotations.values_list("image__name", "label__name"))
    assert len(named) == 2
    assert all(f"/{label}/" in name for name, label in named.items())


def test_folders_need_pictures(animals: LabelSet, owner: User) -> None:
    with pytest.raises(ValidationError, match="no pictures"):
        begin(animals, owner, table("a,cat"), format="folders")
    assert not LabelImport.objects.exists()


# What goes wrong


def stored() -> list[Path]:
    return [path for path in Path(site.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_a_full_disk_leaves_nothing(
    animals: LabelSet, owner: User, monkeypatch: pytest.MonkeyPatch, login: Callable[[User], Client]
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", full)
        with pytest.raises(intake.StorageFull, match="The disk is full: the file was not saved"):
            begin(animals, owner, table("x,cat"))
        file = SimpleUploadedFile("l.csv", table("x,cat").encode())
        answer = login(owner).post(f"/api/v1/label-sets/{animals.pk}/import/", {"file": file})
        assert answer.status_code == 507
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "add_images", full)
        with pytest.raises(OSError, match="No space"):
            begin(animals, owner, zipped(**{"a.png": picture(), "l.csv": table("a.png,cat")}), "set.zip")
    assert not LabelImport.objects.exists() and not stored()


def test_files_that_wait_go_with_their_project(
    animals: LabelSet, owner: User, django_capture_on_commit_callbacks: Callable
) -> None:
    begin(animals, owner, table("x,cat"))
    assert len(stored()) == 1
    with django_capture_on_commit_callbacks(execute=True):
        uploads.delete_project(animals.project)
    assert not stored() and not LabelImport.objects.exists()


def test_a_label_that_is_deleted_meanwhile_is_left_out(
    animals: LabelSet, images: list[Image], owner: User
) -> None:
    more = rows.images(animals.project, batches.IN_REQUEST + 1, start=100)
    change(
        animals,
        owner,
        labels=[
            *(LabelSpec(each.name, each.prompts, each.pk) for each in animals.labels.all()),
            LabelSpec("fox"),
        ],
    )
    row = begin(animals, owner, table(f"{images[0].name},fox", *(f"{image.name},dog" for image in more)))
    imports.confirm(row, Choices())
    animals.labels.get(name="fox").delete()
    tasks.score()
    row.refresh_from_db()
    assert row.batch.state == "done" and batches.done(row.batch)[1] == 1
    assert not animals.annotations.filter(image=images[0]).exists()


# Who may, and the API


@pytest.mark.parametrize(
    ("role", "page", "api"),
    [
        ("owner", 302, 201),
        ("reviewer", 302, 201),
        ("labeler", 403, 403),
        ("viewer", 403, 403),
        (None, 404, 404),
    ],
)
def test_reviewers_import_and_nobody_below(
    role: str | None,
    page: int,
    api: int,
    animals: LabelSet,
    images: list[Image],
    owner: User,
    stranger: User,
    member: Callable[[str], User],
    login: Callable[[User], Client],
) -> None:
    client = login(stranger if role is None else owner if role == "owner" else member(role))
    slug, pk = animals.project.slug, begin(animals, owner, table(f"{images[0].name},cat")).pk
    upload = Upload.objects.create(project=animals.project, uploaded_by=owner)

    def file() -> SimpleUploadedFile:
        return SimpleUploadedFile("l.csv", table(f"{images[1].name},dog").encode())

    assert (
        client.post(f"/projects/{slug}/imports/", {"file": file(), "label_set": animals.pk}).status_code
        == page
    )
    assert client.post(f"/api/v1/label-sets/{animals.pk}/import/", {"file": file()}).status_code == api
    assert client.post(f"/api/v1/projects/{slug}/imports/", {"file": file()}).status_code == api
    assert client.post(f"/uploads/{upload.pk}/folders/").status_code == page
    assert client.post(f"/imports/{pk}/").status_code == page
    assert bool(answers(animals)) == (page == 302)
    assert client.post(f"/imports/{pk}/cancel/").status_code == page
    assert client.get(f"/imports/{pk}/").status_code == (200 if page == 302 else page)
    assert client.get(f"/api/v1/imports/{pk}/").status_code == (404 if role is None else 200)


def test_the_api_reads_shows_and_writes(
    animals: LabelSet, images: list[Image], owner: User, login: Callable[[User], Client]
) -> None:
    client, address = login(owner), f"/api/v1/label-sets/{animals.pk}/import/"

    def file(*lines: str) -> SimpleUploadedFile:
        return SimpleUploadedFile("l.csv", table(*lines).encode())

    asked = client.post(address, {"file": file(f"{images[0].name},Cats")})
    assert asked.status_code == 201 and asked.json()["report"]["unknown"][0]["near"] == "cat"
    here = f"/api/v1/imports/{asked.json()['id']}/"
    assert client.get(here).json() == asked.json() and not answers(animals)
    done = client.post(f"{here}confirm/", {"map": {"Cats": "cat"}}, content_type="application/json")
    assert (done.status_code, done.json()["step"]) == (201, "write") and answers(animals) == {"0": "cat"}
    assert client.post(f"{here}confirm/", {}, content_type="application/json").status_code == 409
    undone = client.post(f"/api/v1/batches/{done.json()['batch']}/undo/", content_type="application/json")
    assert undone.status_code < 300 and not answers(animals)
    at_once = client.post(address, {"file": file(f"{images[1].name},dog"), "confirm": "true"})
    assert (
        at_once.status_code == 201 and at_once.json()["step"] == "write" and answers(animals) == {"1": "dog"}
    )
    listed = client.get(address).json()["results"]
    assert [row["id"] for row in listed] == [at_once.json()["id"], asked.json()["id"]]
    nothing = client.post(address, {"file": SimpleUploadedFile("x.bin", b"\0\1\2")})
    assert nothing.status_code == 400 and "Choose its format" in nothing.json()["errors"][0]["detail"]


def test_the_page_names_what_is_wrong(
    animals: LabelSet, owner: User, login: Callable[[User], Client]
) -> None:
    client, address = login(owner), f"/projects/{animals.project.slug}/imports/"
    answer = client.post(address, {"file": SimpleUploadedFile("x.bin", b"\0\1\2"), "label_set": animals.pk})
    assert answer.status_code == 400 and "Choose its format" in answer.content.decode()
    assert client.post(address, {"label_set": animals.pk}).status_code == 400
    row = begin(animals, owner, table("x,fox"))
    assert client.post(row.get_absolute_url(), {"label_0": "=no such label"}).status_code == 400
    imports.confirm(row, Choices())
    assert client.post(row.get_absolute_url(), {}).status_code == 409
    assert client.get("/imports/99999/").status_code == 404


def test_a_label_that_is_not_there_cannot_be_mapped_to(
    animals: LabelSet, owner: User, login: Callable[[User | None], Client]
) -> None:
    row = imports.begin(animals.project, animals, owner, ContentFile(b"file_name,label\nx,kitty\n", "a.csv"))
    address = f"/api/v1/imports/{row.pk}/confirm/"
    said = login(owner).post(address, {"map": {"kitty": "cow"}}, content_type="application/json")
    assert said.status_code == 400 and "no label “cow”" in said.text
    row.refresh_from_db()
    assert (row.step, row.state) == ("read", "done")


def test_a_label_set_takes_the_files_along_that_wait_for_a_yes(
    animals: LabelSet, owner: User, django_capture_on_commit_callbacks: Callable
) -> None:
    row = imports.begin(animals.project, animals, owner, ContentFile(b"file_name,label\nx,cat\n", "a.csv"))
    name, storage = row.file.name, row.file.storage
    assert storage.exists(name)
    with django_capture_on_commit_callbacks(execute=True):
        label_sets.delete(animals, "owner")
    assert not storage.exists(name)
