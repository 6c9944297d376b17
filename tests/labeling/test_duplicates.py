"""Groups of near-duplicates: which belong together, which is best, what people decide, and undoing it."""

from collections.abc import Callable, Sequence

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery import set_aside
from gallery.models import Image, Project
from labeling import duplicates, near
from labeling.duplicates import MOST_IN_GROUP, Changed, grouped
from labeling.fingerprints import Pair
from labeling.models import DuplicateDecision, DuplicateSearch, Fingerprint, NearDuplicate
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

Login = Callable[[User | None], Client]
JSON = "application/json"
PAGE = "/projects/animals/duplicates/"
API = "/api/v1/projects/animals/duplicates/"


def pair(project: Project, *images: Image) -> None:
    """Each with the next, as the search writes it down."""
    ids = [image.pk for image in images]
    near._store(project.pk, [Pair(one, other, 0.95, 5) for one, other in zip(ids, ids[1:], strict=False)])


@pytest.fixture
def images(project: Project) -> list[Image]:
    """Eight: the first three are one group, the next two another; three are like no other."""
    made = rows.images(project, 8)
    pair(project, *made[:3])
    pair(project, *made[3:5])
    return made


def ids(images: Sequence[Image]) -> list[int]:
    return [image.pk for image in images]


def test_pairs_that_hang_together_are_a_group() -> None:
    assert grouped([(1, 2), (2, 3), (7, 9), (3, 5)]) == [[7, 9], [1, 2, 3, 5]]
    assert grouped([]) == []


def test_a_chain_is_cut_and_nothing_of_it_is_lost() -> None:
    chain = [(number, number + 1) for number in range(100)]
    groups = grouped(chain)
    assert max(map(len, groups)) <= MOST_IN_GROUP
    assert sum(map(len, groups)) >= 99


def test_the_newest_groups_come_first(project: Project, images: list[Image]) -> None:
    assert duplicates.groups(project) == [ids(images[3:5]), ids(images[:3])]


@pytest.mark.parametrize(
    ("figures", "best", "reason"),
    [
        # width, height, bytes, sharpness of each
        ([(100, 100, 5, 8), (200, 100, 3, 8), (100, 100, 9, 9)], 1, "most pixels"),
        ([(200, 100, 5, 65), (200, 99, 5, 80), (50, 50, 9, 90)], 1, "sharpest of those with most pixels"),
        # Enlarged: more pixels, and less to see.
        ([(400, 200, 9, 30), (200, 100, 5, 80), (50, 50, 9, 90)], 1, "most pixels of the sharp ones"),
        ([(200, 100, 5, 10), (200, 100, 5, 30)], 1, "sharpest"),
        ([(200, 100, 5, 30), (200, 100, 8, 29), (200, 100, 2, 31)], 1, "the largest file"),
        ([(200, 100, 5, 30), (200, 100, 5, 30)], 0, "here first"),
    ],
)
def test_the_best_one_comes_first_with_the_reason(
    figures: list[tuple[int, int, int, float]], best: int, reason: str, project: Project
) -> None:
    made = rows.images(project, len(figures))
    for image, (width, height, size, sharpness) in zip(made, figures, strict=True):
        Image.objects.filter(pk=image.pk).update(width=width, height=height, size=size)
        Fingerprint.objects.create(image=image, hash=0, windows=b"", sharpness=sharpness)
    [group] = duplicates.described([ids(made)])
    assert group.best == made[best] and group.reason.endswith(reason)
    assert len(group.members) == len(figures)


def test_kept_ones_stay_and_the_others_are_set_aside(
    project: Project, images: list[Image], owner: User
) -> None:
    decision = duplicates.decide(project, owner, ids(images[:3]), [images[1].pk])
    assert (decision.kept, decision.set_aside) == ([images[1].pk], [images[0].pk, images[2].pk])
    assert ids(set_aside.of(project)) == [images[2].pk, images[0].pk]
    assert duplicates.groups(project) == [ids(images[3:5])]
    states = NearDuplicate.objects.filter(decision=decision).values_list("state", "decided_by")
    assert list(states) == [("aside", owner.pk)] * 3


def test_all_are_kept_for_ever(project: Project, images: list[Image], owner: User) -> None:
    duplicates.decide(project, owner, ids(images[:3]), ids(images[:3]))
    assert not set_aside.of(project).exists() and duplicates.groups(project) == [ids(images[3:5])]
    # The search comes again, and sees the first and the last as near as well.
    pair(project, *images[:3])
    pair(project, images[0], images[2])
    assert duplicates.groups(project) == [ids(images[3:5])]
    assert NearDuplicate.objects.filter(state="kept").count() == 3
    # A new picture near them is a group with the ones that it is near to, and nothing else is asked again.
    [new] = rows.images(project, 1, start=50)
    pair(project, images[2], new)
    assert duplicates.groups(project)[0] == [images[2].pk, new.pk]


def test_brought_back_by_hand_it_is_not_asked_about_again(
    project: Project, images: list[Image], owner: User
) -> None:
    duplicates.decide(project, owner, ids(images[3:5]), [images[3].pk])
    set_aside.bring_back(project, [images[4].pk])
    pair(project, *images[3:5])
    assert duplicates.groups(project) == [ids(images[:3])]


def test_undo_brings_images_and_group_back(project: Project, images: list[Image], owner: User) -> None:
    before = duplicates.groups(project)
    decision = duplicates.decide(project, owner, ids(images[:3]), [images[0].pk])
    assert duplicates.last_decision(project) == decision
    assert duplicates.undo(decision, owner) and not duplicates.undo(decision, owner)
    assert duplicates.groups(project) == before and project.images.count() == 8
    assert NearDuplicate.objects.count() == 3 and not NearDuplicate.objects.exclude(state="open").exists()
    assert duplicates.last_decision(project) is None


def test_undo_leaves_what_a_later_decision_set_aside(
    project: Project, images: list[Image], owner: User
) -> None:
    first = duplicates.decide(project, owner, ids(images[3:5]), [images[3].pk])
    set_aside.bring_back(project, [images[4].pk])
    pair(project, images[4], images[5])
    duplicates.decide(project, owner, ids(images[4:6]), [images[5].pk])
    duplicates.undo(first, owner)
    assert ids(set_aside.of(project)) == [images[4].pk]


def test_what_is_no_group_any_more_is_not_decided_about(
    project: Project, images: list[Image], owner: User
) -> None:
    duplicates.decide(project, owner, ids(images[:3]), ids(images[:3]))
    for some in (images[:3], images[2:4], images[5:7]):
        with pytest.raises(Changed):
            duplicates.decide(project, owner, ids(some), [some[0].pk])
    for some, keep in ((images[3:5], []), (images[3:5], images[:1]), (images[3:4], images[3:4])):
        with pytest.raises(ValidationError):
            duplicates.decide(project, owner, ids(some), ids(keep))
    assert DuplicateDecision.objects.count() == 1 and project.images.count() == 8


def test_images_of_another_project_are_no_group_here(
    project: Project, images: list[Image], owner: User
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    with pytest.raises(Changed):
        duplicates.decide(other, owner, ids(images[:3]), [images[0].pk])


# Pages and API


def test_the_page_shows_groups_with_the_best_preselected(
    images: list[Image], owner: User, login: Login
) -> None:
    page = login(owner).get(PAGE).text
    assert page.count('class="card twins"') == 2 and page.count(" checked>") == 2
    for image in images[:5]:
        assert image.name in page
    assert images[6].name not in page and "2 groups to decide about" in page


def test_without_images_or_a_search_it_says_what_to_do(project: Project, owner: User, login: Login) -> None:
    client = login(owner)
    assert "No images yet" in client.get(PAGE).text
    rows.images(project, 1)
    assert "Nobody has looked yet" in client.get(PAGE).text
    DuplicateSearch.objects.create(project=project, state="done")
    assert "No near-duplicates to decide about" in client.get(PAGE).text


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("labeler", False), ("reviewer", True), ("owner", True)]
)
def test_who_may_decide(
    role: str, may: bool, images: list[Image], owner: User, member: Callable[[str], User], login: Login
) -> None:
    client = login(owner if role == "owner" else member(role))
    shown = client.get(PAGE)
    assert shown.status_code == 200 and ("Keep all" in shown.text) == may
    answer = client.post(PAGE, {"image": ids(images[:3]), "keep": images[0].pk})
    assert answer.status_code == (302 if may else 403)
    answer = client.post(API, {"images": ids(images[3:5]), "keep": ids(images[3:5])}, content_type=JSON)
    assert answer.status_code == (201 if may else 403)
    assert DuplicateDecision.objects.count() == (2 if may else 0)


def test_a_stranger_finds_nothing(images: list[Image], stranger: User, login: Login) -> None:
    client = login(stranger)
    for path in (PAGE, API):
        assert client.get(path).status_code == 404
        assert client.post(path, {"image": ids(images[:3]), "keep": images[0].pk}).status_code == 404
    for path in (f"{PAGE}undo/", f"{PAGE}label/", f"{PAGE}search/", f"{API}undo/", f"{API}search/"):
        assert client.post(path).status_code == 404


def test_keep_all_and_undo_on_the_page(
    images: list[Image], project: Project, owner: User, login: Login
) -> None:
    client = login(owner)
    page = client.post(PAGE, {"image": ids(images[:3]), "all": "yes"}, follow=True).text
    assert "All 3 are kept" in page and "1 group to decide about" in page and "all of the group" in page
    decision = DuplicateDecision.objects.get()
    page = client.post(f"{PAGE}undo/", {"decision": decision.pk}, follow=True).text
    assert "Undone" in page and "2 groups to decide about" in page
    assert "undone already" in client.post(f"{PAGE}undo/", {"decision": decision.pk}, follow=True).text


def test_bad_requests_get_a_sentence(images: list[Image], owner: User, login: Login) -> None:
    client = login(owner)
    for path, asked, status in (
        (PAGE, {}, 400),
        (PAGE, {"image": "x", "keep": "1"}, 400),
        (PAGE, {"image": ids(images[:3])}, 400),
        (PAGE, {"image": ids(images[5:7]), "keep": images[5].pk}, 409),
        (f"{PAGE}undo/", {"decision": "x"}, 400),
        (f"{PAGE}undo/", {"decision": "12345"}, 404),
        (f"{PAGE}label/", {"image": images[0].pk}, 400),
        (f"{PAGE}label/", {"image": images[0].pk, "label": "77"}, 400),
    ):
        assert client.post(path, asked).status_code == status, (path, asked)
    changed = client.post(API, {"images": ids(images[5:7]), "keep": [images[5].pk]}, content_type=JSON)
    assert changed.status_code == 409 and "no group any more" in changed.json()["detail"]
    for asked in ({}, {"images": [1], "keep": [1]}, {"images": ids(images[:3]), "keep": []}):
        assert client.post(API, asked, content_type=JSON).status_code == 400
    assert client.get(f"{API}?cursor=x").status_code == client.get(f"{API}?cursor=-1").status_code == 404
    assert client.get(f"{PAGE}?batch=nonsense&page=x&label_set=9").status_code == 200


def test_a_label_for_all_of_a_group_is_one_batch(
    images: list[Image], project: Project, owner: User, login: Login
) -> None:
    label_set = rows.label_set(project, "cat", "dog")
    cat, client = label_set.labels.first(), login(owner)
    answer = client.post(f"{PAGE}label/", {"image": ids(images[:3]), "label": cat.pk})
    batch = label_set.batches.get()
    assert set(label_set.annotations.values_list("image_id", "label")) == {
        (pk, cat.pk) for pk in ids(images[:3])
    }
    page = client.get(answer.url).text
    assert "cat is set on 3 images" in page and reverse("batch_undo", args=[batch.pk]) in page
    client.post(reverse("batch_undo", args=[batch.pk]))
    assert not label_set.annotations.exists()


def test_a_label_of_another_project_is_refused(
    images: list[Image], owner: User, stranger: User, login: Login
) -> None:
    other = rows.label_set(Project.objects.create(name="Other", slug="other"), "cat", "dog")
    asked = {"image": images[0].pk, "label": other.labels.first().pk}
    assert login(owner).post(f"{PAGE}label/", asked).status_code == 400


def test_labelling_one_offers_the_others(
    images: list[Image], project: Project, owner: User, login: Login
) -> None:
    label_set = rows.label_set(project, "cat", "dog")
    cat, client, page = label_set.labels.first(), login(owner), reverse("image", args=[images[1].pk])
    assert "Near-duplicates" in client.get(page).text and "these 2 too" not in client.get(page).text
    decide(label_set, owner, [Decision(images[1].pk, Verdict.CORRECTED, cat.pk)])
    shown = client.get(page).text
    assert "Set cat on these 2 too" in shown
    asked = {"image": [images[0].pk, images[2].pk], "label": cat.pk, "next": page}
    assert client.post(f"{PAGE}label/", asked).url == page
    assert label_set.annotations.filter(label=cat).count() == 3
    assert "these 2 too" not in client.get(page).text
    assert "Near-duplicates" not in client.get(reverse("image", args=[images[6].pk])).text


def test_the_api_pages_through_groups_and_undoes(
    project: Project, images: list[Image], owner: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeling.duplicate_api.A_PAGE", 1)
    client = login(owner)
    first = client.get(API).json()
    second = client.get(first["next"]).json()
    assert (first["count"], second["count"], second["next"]) == (2, 2, None)
    shown = [{member["image"]["id"] for member in page["results"][0]["members"]} for page in (first, second)]
    assert shown == [set(ids(images[3:5])), set(ids(images[:3]))]
    assert first["results"][0]["best"] == images[3].pk
    made = client.post(API, {"images": ids(images[3:5]), "keep": [images[4].pk]}, content_type=JSON).json()
    assert (made["kept"], made["set_aside"], made["user"]) == ([images[4].pk], [images[3].pk], "olga")
    undone = client.post(f"{API}undo/", {"decision": made["id"]}, content_type=JSON).json()
    assert undone["undone_at"] and client.get(API).json()["count"] == 2


def test_the_page_asks_as_often_for_many_groups_as_for_one(
    project: Project, owner: User, login: Login
) -> None:
    rows.label_set(project, "cat", "dog")
    client = login(owner)
    pair(project, *rows.images(project, 2))
    for path in (PAGE, API):
        with CaptureQueriesContext(connection) as few:
            client.get(path)
        for number in range(1, 12):
            pair(project, *rows.images(project, 3, start=10 * number + (1000 if path == API else 0)))
        with CaptureQueriesContext(connection) as many:
            assert client.get(path).status_code == 200
        assert len(many) == len(few)
