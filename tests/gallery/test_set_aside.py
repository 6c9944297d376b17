"""Images that are set aside: kept whole, shown and counted nowhere, and brought back as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery import comments, fsck, set_aside, uploads
from gallery.models import Comment, Image, Project
from labeling import queue, runs
from labeling.models import Annotation, LabelSet, Match
from labeling.paging import Counts
from labeling.review import Decision, Verdict, decide, undo
from labeling.statistics import Statistics
from tests.conftest import picture

Login = Callable[[User | None], Client]


@pytest.fixture
def aside(scored: LabelSet, owner: User) -> Image:
    """An image with a match, an answer and a comment that is set aside."""
    image = scored.images().get(name="red circle.png")
    decide(scored, owner, [Decision(image.pk, Verdict.ACCEPTED)])
    comments.add(image, owner, "@olga: again")
    set_aside.set_aside(scored.project, [image.pk], owner)
    return Image.everything.get(pk=image.pk)


def test_it_is_shown_and_counted_nowhere(aside: Image, scored: LabelSet, owner: User, login: Login) -> None:
    project = scored.project
    assert aside.set_aside_by == owner and aside.set_aside_at
    assert project.images.count() == scored.images().count() == 3
    assert Match.objects.count() == scored.matches.count() == 3 and not Annotation.objects.exists()
    assert Counts(scored).by_status().total() == 3
    assert queue.standing(scored) == (3, 3, 0, 0)
    statistics = Statistics(scored)
    assert (statistics.total, statistics.settled, statistics.waiting, statistics.decided) == (3, 0, 3, 0)
    progress = runs.progress(scored.runs.first())
    assert (progress.total, progress.done) == (3, 3)
    assert not Comment.objects.for_user(owner).exists() and not comments.naming(owner).exists()
    client = login(owner)
    assert "red circle.png" not in client.get(project.get_absolute_url()).text
    assert client.get(reverse("image", args=[aside.pk])).status_code == 404
    assert client.get(reverse("api-image", args=[aside.pk])).status_code == 404
    for name in ("api-label-set-images", "api-matches"):
        listed = client.get(reverse(name, args=[scored.pk])).json()["results"]
        assert len(listed) == 3 and aside.pk not in [row.get("image", row.get("id")) for row in listed]
    assert len(client.get(reverse("api-images", args=[project.slug])).json()["results"]) == 3
    exported = client.get(reverse("export", args=[scored.pk]), {"format": "csv", "suggested": "1"})
    assert "red circle.png" not in b"".join(exported.streaming_content).decode()


def test_nobody_is_asked_about_it_in_review(aside: Image, scored: LabelSet, owner: User) -> None:
    Annotation.everything.all().delete()  # it waits
    waiting = queue.waiting(queue.asked_for(scored, owner)).values_list("image_id", flat=True)
    assert len(waiting) == 3 and aside.pk not in waiting


def test_it_is_brought_back_with_all_that_was_decided(aside: Image, scored: LabelSet) -> None:
    assert set_aside.bring_back(scored.project, [aside.pk, 10**12]) == [aside.pk]
    assert scored.images().get(pk=aside.pk).status == "accepted"
    assert scored.matches.count() == 4 and scored.project.images.count() == 4
    assert set_aside.bring_back(scored.project, [aside.pk]) == []
    assert Image.objects.get(pk=aside.pk).set_aside_by is None


def test_what_was_decided_before_can_be_undone(aside: Image, scored: LabelSet, owner: User) -> None:
    batch = scored.batches.get(kind="decide")
    assert undo(scored, owner, "owner", batch.pk).images == [aside.pk]
    assert not Annotation.everything.exists()


def test_an_upload_of_it_says_that_it_is_set_aside(
    aside: Image, project: Project, owner: User, login: Login
) -> None:
    with aside.file.open("rb") as file:
        content = file.read()
    upload = uploads.add_images(project, owner, [ContentFile(content, "again.png")])
    [entry] = upload.entries.all()
    assert (entry.outcome, entry.image_id, entry.reason) == ("duplicate", aside.pk, uploads.SET_ASIDE)
    page = login(owner).get(upload.get_absolute_url()).text
    assert reverse("set_aside", args=[project.slug]) in page and "Set aside as a near-duplicate" in page
    assert reverse("image", args=[aside.pk]) not in page


def test_files_quotas_and_deletion_still_see_it(
    aside: Image, project: Project, settings: object, django_capture_on_commit_callbacks: Callable
) -> None:
    assert uploads.room_of(project.pk).images == settings.PROJECT_MAX_IMAGES - 4
    assert not [found for found in fsck.check(minutes=0) if str(aside.pk) in found.text]
    path = aside.file.path
    with django_capture_on_commit_callbacks(execute=True):
        uploads.delete_project(project)
    assert not Image.everything.exists()
    assert not Path(path).exists()


def test_a_label_that_it_was_given_stays(aside: Image, scored: LabelSet, owner: User, login: Login) -> None:
    labels = [{"id": label.pk, "name": label.name} for label in scored.labels.exclude(name="red circle")]
    answer = login(owner).patch(
        reverse("api-label-set", args=[scored.pk]), {"labels": labels}, content_type="application/json"
    )
    assert answer.status_code == 400 and "was given to 1 image" in answer.text


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("labeler", False), ("reviewer", True), ("owner", True)]
)
def test_the_page_and_the_api_bring_back(
    role: str, may: bool, aside: Image, owner: User, member: Callable[[str], User], login: Login
) -> None:
    user = owner if role == "owner" else member(role)
    client, page = login(user), reverse("set_aside", args=["animals"])
    api = reverse("api-set-aside", args=["animals"])
    shown = client.get(page)
    assert "red circle.png" in shown.text and ("Bring back" in shown.text) == may
    for name in ("image_thumbnail", "image_preview", "image_file"):
        assert client.get(reverse(name, args=[aside.pk])).status_code == 200
    [listed] = client.get(api).json()["results"]
    assert (listed["id"], listed["set_aside_by"]) == (aside.pk, "olga")
    answer = client.post(page, {"image": aside.pk})
    assert answer.status_code == (302 if may else 403)
    assert Image.objects.filter(pk=aside.pk).exists() == may
    if may:
        set_aside.set_aside(aside.project, [aside.pk], owner)
        asked = {"images": [aside.pk]}
        answer = client.post(api, asked, content_type="application/json")
        assert answer.json() == asked and Image.objects.filter(pk=aside.pk).exists()


def test_a_stranger_finds_none_of_it(aside: Image, stranger: User, login: Login) -> None:
    client = login(stranger)
    for path in (reverse("set_aside", args=["animals"]), reverse("api-set-aside", args=["animals"])):
        assert client.get(path).status_code == client.post(path, {"image": aside.pk}).status_code == 404
    assert client.get(reverse("image_thumbnail", args=[aside.pk])).status_code == 404


def test_nonsense_is_refused_in_words(aside: Image, owner: User, login: Login) -> None:
    client, page = login(owner), reverse("set_aside", args=["animals"])
    for asked in ({}, {"image": "x"}, {"image": ["1", ""]}, {"image": "9" * 30}):
        answer = client.post(page, asked)
        assert answer.status_code == 400 and "Say which images" in answer.text
    api = reverse("api-set-aside", args=["animals"])
    assert client.post(api, {"images": []}, content_type="application/json").status_code == 400
    assert Image.everything.filter(set_aside_at__isnull=False).count() == 1


def test_it_can_be_deleted_for_good(aside: Image, owner: User, login: Login) -> None:
    answer = login(owner).post(reverse("image_delete", args=[aside.pk]), {"confirmed": "yes"})
    assert answer.status_code == 302 and Image.everything.count() == 3


def test_another_projects_images_are_left(aside: Image, owner: User, add: Callable) -> None:
    other = Project.objects.create(name="Other", slug="other")
    assert set_aside.bring_back(other, [aside.pk]) == []
    [new] = add(("new.png", picture("pink")))
    assert set_aside.set_aside(other, [new.pk], owner) == []


def test_the_page_asks_as_often_for_many_as_for_one(
    aside: Image, scored: LabelSet, owner: User, login: Login
) -> None:
    client, page = login(owner), reverse("set_aside", args=["animals"])
    with CaptureQueriesContext(connection) as few:
        client.get(page)
    set_aside.set_aside(scored.project, scored.images().values_list("pk", flat=True), owner)
    with CaptureQueriesContext(connection) as many:
        assert client.get(page).text.count("Bring back") == 4
    assert len(many) == len(few)
