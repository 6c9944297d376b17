"""Several opinions on pages and in the API: votes are blind, disagreement is settled by reviewers."""

import json
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gallery.models import Membership, Project
from labeling import batches, review
from labeling.models import Annotation, Batch, LabelSet, Review
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

HTMX = {"HTTP_HX_REQUEST": "true"}
JSON = "application/json"
Login = Callable[[User | None], Client]


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images, matched cat, dog, bird, cat, dog, bird, that two votes settle. CLIP knows no zebra."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6))
    made.labels.create(name="zebra", position=3)
    made.votes = 2
    made.save()
    return made


@pytest.fixture
def anna(project: Project) -> User:
    return joined(project, "anna", "labeler")


@pytest.fixture
def bert(project: Project) -> User:
    return joined(project, "bert", "labeler")


@pytest.fixture
def rita(project: Project) -> User:
    return joined(project, "rita", "reviewer")


def joined(project: Project, name: str, role: str) -> User:
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def label(label_set: LabelSet, name: str) -> int:
    return label_set.labels.get(name=name).pk


def vote(label_set: LabelSet, user: User, image: int, name: str, settles: bool = False) -> None:
    given = label(label_set, name) if name != "none" else None
    verdict = Verdict.CORRECTED if given else Verdict.NONE
    decide(label_set, user, [Decision(image, verdict, given)], settles=settles)


def answer(label_set: LabelSet, image: int) -> str:
    found = label_set.annotations.filter(image=image).first()
    return "" if found is None else found.label.name if found.label else found.status


def seen(label_set: LabelSet, image: int) -> str:
    return review.version(label_set.annotations.filter(image=image).first())


@pytest.fixture
def disputed(animals: LabelSet, anna: User, bert: User) -> LabelSet:
    """The first image: cat and dog. The second: dog and none of these. The third waits for a vote."""
    first, second, third, *_ = ids(animals)
    vote(animals, anna, first, "cat")
    vote(animals, bert, first, "dog")
    vote(animals, anna, second, "dog")
    vote(animals, bert, second, "none")
    vote(animals, anna, third, "bird")
    return animals


# How many votes


def form(label_set: LabelSet, **changes: object) -> dict[str, object]:
    names = "\n".join(label_set.labels.values_list("name", flat=True))
    return {"name": label_set.name, "labels": names, "templates": "a photo of a {label}."} | changes


def test_the_form_of_a_label_set_asks_for_votes(label_set: LabelSet, owner: User, login: Login) -> None:
    address = reverse("label_set_edit", args=[label_set.pk])
    client = login(owner)
    assert 'name="votes" value="1"' in client.get(address).text
    said = client.post(address, form(label_set, votes=3), follow=True)
    label_set.refresh_from_db()
    assert label_set.votes == 3 and "3 votes settle an image from now on." in said.text
    assert 'name="votes" value="3"' in client.get(address).text
    client.post(address, form(label_set))
    label_set.refresh_from_db()
    assert label_set.votes == 3, "a form without it leaves it"
    for wrong in ("0", "10", "-1", "two", "1.5"):
        assert client.post(address, form(label_set, votes=wrong)).status_code == 200
    label_set.refresh_from_db()
    assert label_set.votes == 3 and Batch.objects.filter(kind="votes").count() == 1


def test_the_form_says_what_is_settled_anew(label_set: LabelSet, owner: User, login: Login) -> None:
    some = ids(label_set)[:2]
    decide(label_set, owner, [Decision(image, Verdict.NONE) for image in some])
    client = login(owner)
    address = reverse("label_set_edit", args=[label_set.pk])
    said = client.post(address, form(label_set, votes=2), follow=True).text
    assert "The answers to 2 images are settled anew." in said
    assert not label_set.annotations.exists()
    said = client.post(address, form(label_set, votes=1), follow=True).text
    assert "One vote settles an image from now on." in said
    assert label_set.annotations.count() == 2


def test_a_new_label_set_asks_for_votes(label_set: LabelSet, owner: User, login: Login) -> None:
    address = reverse("label_set_new", args=[label_set.project.slug])
    login(owner).post(address, form(label_set, name="Several", votes=2))
    assert LabelSet.objects.get(name="Several").votes == 2
    login(owner).post(address, form(label_set, name="One"))
    assert LabelSet.objects.get(name="One").votes == 1


def test_the_api_asks_for_votes(label_set: LabelSet, owner: User, login: Login) -> None:
    client, address = login(owner), f"/api/v1/label-sets/{label_set.pk}/"
    assert client.get(address).json()["votes"] == 1
    assert client.patch(address, {"votes": 2}, content_type=JSON).json()["votes"] == 2
    assert client.patch(address, {"name": "Other"}, content_type=JSON).json()["votes"] == 2
    for wrong in (0, 10, "many", None):
        assert client.patch(address, {"votes": wrong}, content_type=JSON).status_code == 400
    made = {"name": "New", "labels": [{"name": "a"}, {"name": "b"}], "votes": 3}
    answered = client.post("/api/v1/projects/animals/label-sets/", made, content_type=JSON)
    assert answered.json()["votes"] == 3


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("labeler", 403), ("reviewer", 200)])
def test_who_edits_labels_asks_for_votes(
    label_set: LabelSet, member: Callable[[str], User], login: Login, role: str, status: int
) -> None:
    client = login(member(role))
    asked = client.patch(f"/api/v1/label-sets/{label_set.pk}/", {"votes": 2}, content_type=JSON)
    assert asked.status_code == status
    label_set.refresh_from_db()
    assert label_set.votes == (2 if status == 200 else 1)


def test_a_stranger_asks_for_nothing(label_set: LabelSet, stranger: User, login: Login) -> None:
    client = login(stranger)
    assert (
        client.patch(f"/api/v1/label-sets/{label_set.pk}/", {"votes": 2}, content_type=JSON).status_code
        == 404
    )
    assert (
        client.post(reverse("label_set_edit", args=[label_set.pk]), form(label_set, votes=2)).status_code
        == 404
    )
    label_set.refresh_from_db()
    assert label_set.votes == 1


# Blind

TOLD = ("anna", "zebra")


def everything(client: Client, label_set: LabelSet) -> dict[str, str]:
    """What every page and list says to whom it opens, of the images of the label set."""
    pk, slug = label_set.pk, label_set.project.slug
    addresses = [
        *(f"/images/{image}/?label_set={pk}" for image in ids(label_set)),
        *(f"/label-sets/{pk}/review/?image={image}" for image in ids(label_set)),
        *(f"/label-sets/{pk}/{name}/" for name in ("review", "progress", "disputes", "agreement")),
        *(f"/label-sets/{pk}/export/?format={kind}&include=suggested" for kind in ("csv", "jsonl")),
        *(f"/api/v1/label-sets/{pk}/export/?format={kind}&include=suggested" for kind in ("csv", "jsonl")),
        *(f"/api/v1/label-sets/{pk}/{name}/" for name in ("matches", "disputes", "agreement")),
        *(f"/projects/{slug}/?label_set={pk}&status={status}" for status in ("", "unreviewed", "disputed")),
    ]
    told = {}
    for address in addresses:
        got = client.get(address)
        body = b"".join(got.streaming_content).decode() if got.streaming else got.text
        told[address] = body
    return told


def tells_votes(body: str) -> bool:
    """Whether it says who voted, or for what: nothing but a vote is a zebra."""
    without_labels = re.sub(r"(?s)<(button|select|datalist|dialog)\b.*?</\1>", "", body)
    without_scores = re.sub(r'"scores": \{[^}]*\}', "", without_labels)
    # CLIP's own figures name every label.
    without_scores = re.sub(r'(?s)<ol class="scores">.*?</ol>', "", without_scores)
    return any(word in without_scores for word in TOLD)


@pytest.mark.parametrize("role", ["viewer", "labeler", "reviewer", "owner"])
def test_nothing_tells_anybody_of_a_vote_before_the_image_is_settled(
    animals: LabelSet, anna: User, project: Project, login: Login, role: str
) -> None:
    for image in ids(animals)[:3]:
        vote(animals, anna, image, "zebra")
    decide(animals, anna, [Decision(ids(animals)[3], Verdict.SKIPPED)])
    vote(animals, anna, ids(animals)[4], "zebra")
    review.undo(animals, anna, "labeler", review.next_undo(animals, anna))
    client = login(joined(project, "other", role))
    leaks = [address for address, body in everything(client, animals).items() if tells_votes(body)]
    assert not leaks
    # The same words are found once they may be told, so that the test would find a leak.
    batches.ask_votes(animals, anna, 1)
    found = [address for address, body in everything(client, animals).items() if tells_votes(body)]
    assert any(address.startswith("/images/") for address in found)
    assert any("jsonl" in address for address in found)


def test_the_page_of_an_image_counts_votes_and_shows_ones_own(
    animals: LabelSet, anna: User, bert: User, login: Login
) -> None:
    batches.ask_votes(animals, anna, 3)
    image = ids(animals)[0]
    vote(animals, anna, image, "zebra")
    address = reverse("image", args=[image])
    own, other = words(login(anna).get(address).text), words(login(bert).get(address).text)
    assert (
        "Waiting for votes 1 of 3 votes given. Your vote: zebra" in own
        and "anna corrected it to zebra" in own
    )
    assert "Waiting for votes 1 of 3 votes given Votes are shown once the image is settled." in other
    assert "Your vote" not in other and "anna" not in other
    vote(animals, bert, image, "cat")
    own = words(login(anna).get(address).text)
    assert (
        "2 of 3 votes given. Your vote: zebra The others' votes are shown once" in own and "bert" not in own
    )


def words(html: str) -> str:
    """The text of a page as it is read."""
    html = re.sub(r"(?s)<(script|style|svg|dialog)\b.*?</\1>", "", html)
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("&#x27;", "'").split()).replace(" .", ".")


def test_what_a_vote_came_to_is_said(animals: LabelSet, anna: User, bert: User, login: Login) -> None:
    first, second, *_ = ids(animals)
    address = reverse("decide", args=[animals.pk])

    def said(user: User, **values: object) -> str:
        got = login(user).post(address, values | {"page": "gallery"}, **HTMX)
        assert got.status_code == 200
        return got.context["words"]

    dog = label(animals, "dog")
    assert said(anna, image=first, label=dog).endswith("your vote is dog; 1 of 2 votes given")
    assert said(bert, image=first, verdict="none").endswith(
        "your vote is none of these; people disagree, and a reviewer settles it"
    )
    assert said(bert, image=first, label=dog).endswith("your vote is dog; it is settled as dog")
    assert said(anna, image=second, verdict="skipped").endswith("skipped")
    third, fourth = ids(animals)[2:4]
    vote(animals, bert, third, "bird")
    vote(animals, bert, fourth, "zebra")
    several = said(anna, image=[second, third, fourth], verdict="accepted")
    assert several == "3 images: voted; 1 settled, 1 disputed, 1 waiting for more votes"


def test_two_people_vote_on_the_same_image_that_both_saw_undecided(
    animals: LabelSet, anna: User, bert: User, login: Login
) -> None:
    image, address = ids(animals)[0], reverse("decide", args=[animals.pk])
    values = {"image": image, "label": label(animals, "cat"), "seen": "", "page": "image"}
    assert login(anna).post(address, values).status_code == 302
    assert login(bert).post(address, values).status_code == 302
    assert answer(animals, image) == "cat"


# Disputes


def test_a_disputed_image_shows_its_votes_and_the_answers_to_choose_from(
    disputed: LabelSet, rita: User, login: Login
) -> None:
    first, second, *_ = ids(disputed)
    page = login(rita).get(reverse("disputes", args=[disputed.pk]))
    text = words(page.text)
    assert "2 disputed left" in text and page.context["image"].pk == first
    assert "anna cat" in text and "bert dog" in text
    assert [(str(label), number) for label, number in page.context["ballot"].choices] == [
        ("cat", 1),
        ("dog", 1),
    ]
    assert [label.name for label in page.context["others"]] == ["bird", "zebra"]
    assert 'data-keys="1"' in page.text and 'data-keys="2"' in page.text and 'data-keys="n"' in page.text
    assert "Enter" not in re.findall(r'data-keys="([^"]*)"', page.text), "there is no majority"
    other = login(rita).get(reverse("disputes", args=[disputed.pk]), {"image": second})
    assert 'data-keys="2 n"' in other.text and "bert none of these" in words(other.text)


def test_the_majority_is_the_answer_that_enter_gives(
    disputed: LabelSet, rita: User, owner: User, login: Login
) -> None:
    vote(disputed, owner, ids(disputed)[0], "dog")
    page = login(rita).get(reverse("disputes", args=[disputed.pk]))
    assert [number for _, number in page.context["ballot"].choices] == [2, 1]
    assert f'value="{label(disputed, "dog")}" data-keys="1 Enter"' in page.text


def test_settling_leads_to_the_next_and_undo_back(disputed: LabelSet, rita: User, login: Login) -> None:
    first, second, *_ = ids(disputed)
    client, address = login(rita), reverse("disputes", args=[disputed.pk])
    values = {"image": first, "label": label(disputed, "dog"), "seen": seen(disputed, first)}
    page = client.post(reverse("settle", args=[disputed.pk]), values, follow=True)
    assert answer(disputed, first) == "dog" and page.context["image"].pk == second
    assert "1 disputed left" in page.text and "image 00000.jpg: settled as dog" in page.text
    assert Review.objects.last().settles and disputed.annotations.get(image=first).decided_by == rita
    values = {"image": second, "verdict": "none", "seen": seen(disputed, second)}
    page = client.post(reverse("settle", args=[disputed.pk]), values, **HTMX)
    assert "Nothing is disputed" in page.text and page.headers["HX-Replace-Url"] == address
    assert answer(disputed, second) == "none"
    page = client.post(reverse("settle_undo", args=[disputed.pk]), **HTMX)
    assert answer(disputed, second) == "disputed" and page.context["image"].pk == second
    page = client.post(reverse("settle_undo", args=[disputed.pk]), follow=True)
    assert answer(disputed, first) == "disputed" and page.context["image"].pk == first
    assert "2 disputed left" in page.text
    assert (
        "There is nothing to undo."
        in client.post(reverse("settle_undo", args=[disputed.pk]), follow=True).text
    )


def test_settling_what_somebody_settled_meanwhile_is_refused(
    disputed: LabelSet, rita: User, owner: User, login: Login
) -> None:
    first, *_ = ids(disputed)
    values = {"image": first, "label": label(disputed, "dog"), "seen": seen(disputed, first)}
    vote(disputed, owner, first, "zebra", settles=True)
    for headers in ({}, HTMX):
        got = login(rita).post(reverse("settle", args=[disputed.pk]), values, **headers)
        assert got.status_code == 409 and "olga decided in the meantime that it is zebra" in got.text
    assert answer(disputed, first) == "zebra"
    second = ids(disputed)[1]
    values = {"image": second, "verdict": "none", "seen": seen(disputed, second)}
    vote(disputed, owner, second, "zebra")
    got = login(rita).post(reverse("settle", args=[disputed.pk]), values)
    assert got.status_code == 409 and "people disagree about it by now" in got.text


@pytest.mark.parametrize(
    "values", [{}, {"image": "x"}, {"image": "1", "label": "x"}, {"image": "9" * 18, "verdict": "none"}]
)
def test_settling_nonsense_is_refused(disputed: LabelSet, rita: User, login: Login, values: dict) -> None:
    before = Review.objects.count()
    assert login(rita).post(reverse("settle", args=[disputed.pk]), values).status_code == 400
    assert Review.objects.count() == before


def test_an_image_that_is_not_disputed_leads_to_one_that_is(
    disputed: LabelSet, rita: User, login: Login
) -> None:
    client, address = login(rita), reverse("disputes", args=[disputed.pk])
    first, second, third, *_ = ids(disputed)
    vote(disputed, rita, first, "cat", settles=True)
    assert client.get(address, {"image": first}).context["image"].pk == second
    assert client.get(address, {"image": third}).context["image"].pk == second, "round again"
    assert client.get(address, {"image": "x"}).status_code == 404
    assert client.get(address, {"image": 10**17}).context["image"].pk == second


def test_a_reviewer_settles_on_the_page_of_the_image_and_a_labeler_votes(
    disputed: LabelSet, anna: User, rita: User, login: Login
) -> None:
    image = ids(disputed)[0]
    page = login(rita).get(reverse("image", args=[image])).text
    assert 'name="settles" value="yes"' in page and "People disagree" in page
    assert "What you choose here settles it." in words(page) and "bert dog" in words(page)
    own = login(anna).get(reverse("image", args=[image])).text
    assert 'name="settles"' not in own and "A reviewer settles it." in own
    values = {"image": image, "label": label(disputed, "cat"), "settles": "yes", "page": "image"}
    address = reverse("decide", args=[disputed.pk])
    refused = login(anna).post(address, values)
    assert refused.status_code == 403 and "lacks “settle disputes”" in refused.text
    assert answer(disputed, image) == "disputed"
    assert login(rita).post(address, values).status_code == 302
    assert answer(disputed, image) == "cat"


def test_a_viewer_learns_no_vote_of_a_disputed_image(
    disputed: LabelSet, member: Callable[[str], User], login: Login
) -> None:
    page = words(login(member("viewer")).get(reverse("image", args=[ids(disputed)[0]])).text)
    assert "2 votes Reviewers see the votes, and whoever has voted." in page
    assert "anna" not in page and "bert" not in page


def test_an_image_whose_settling_was_undone_is_shown_again(
    disputed: LabelSet, rita: User, login: Login
) -> None:
    vote(disputed, rita, ids(disputed)[0], "dog", settles=True)
    page = login(rita).get(reverse("image", args=[ids(disputed)[0]])).text
    assert 'name="settles" value="yes"' in page, "a reviewer's second thought is a word as well"


def test_the_gallery_shows_what_is_disputed(disputed: LabelSet, rita: User, anna: User, login: Login) -> None:
    address = disputed.get_absolute_url()
    page = login(rita).get(f"{address}&status=disputed")
    assert [image.status for image in page.context["images"]] == ["disputed", "disputed"]
    assert "not scored yet" not in words(page.text).replace("Not scored yet", "")
    assert reverse("disputes", args=[disputed.pk]) in page.text
    assert reverse("disputes", args=[disputed.pk]) not in login(anna).get(f"{address}&status=disputed").text


def test_a_page_of_a_dispute_costs_the_same_for_many(
    project: Project, owner: User, rita: User, login: Login
) -> None:
    made = rows.label_set(project, "cat", "dog")
    made.votes = 2
    made.save()
    client = login(owner)
    page, api = reverse("disputes", args=[made.pk]), f"/api/v1/label-sets/{made.pk}/disputes/"

    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    def dispute(count: int, start: int) -> None:
        images = rows.images(project, count, start)
        rows.match(made, images)
        decide(made, owner, [Decision(image.pk, Verdict.NONE) for image in images])
        decide(made, rita, [Decision(image.pk, Verdict.ACCEPTED) for image in images])

    dispute(3, 0)
    few = queries(page), queries(api)
    dispute(40, 3)
    assert (queries(page), queries(api)) == few


# The API


def test_the_api_lists_disputes_with_their_votes(disputed: LabelSet, rita: User, login: Login) -> None:
    first, second, *_ = ids(disputed)
    address = f"/api/v1/label-sets/{disputed.pk}/disputes/"
    page = login(rita).get(address, {"page_size": 1}).json()
    [newest] = page["results"]
    assert newest["image"] == second and newest["seen"] == seen(disputed, second)
    assert [(vote["user"], vote["label"], vote["verdict"]) for vote in newest["votes"]] == [
        ("anna", label(disputed, "dog"), "accepted"),
        ("bert", None, "none"),
    ]
    [older] = login(rita).get(page["next"]).json()["results"]
    assert older["image"] == first and older["file_name"] == "image 00000.jpg"


def test_the_api_settles(disputed: LabelSet, anna: User, rita: User, login: Login) -> None:
    first, *_ = ids(disputed)
    address = f"/api/v1/label-sets/{disputed.pk}/reviews/"
    said = {"image": first, "label": label(disputed, "zebra"), "verdict": "corrected"}
    word = {"reviews": [said | {"seen": seen(disputed, first)}], "settles": True}
    refused = login(anna).post(address, word, content_type=JSON)
    assert refused.status_code == 403 and "settle disputes" in refused.json()["detail"]
    assert login(rita).post(address, word, content_type=JSON).status_code == 201
    assert answer(disputed, first) == "zebra"
    stale = login(rita).post(address, word, content_type=JSON)
    assert stale.status_code == 409 and "rita decided in the meantime" in stale.text
    vote = {"reviews": [said | {"label": label(disputed, "cat")}]}
    assert login(anna).post(address, vote, content_type=JSON).status_code == 201
    assert answer(disputed, first) == "zebra", "a vote does not move a reviewer's word"


def test_jsonl_tells_the_votes_that_the_person_may_see(
    disputed: LabelSet, anna: User, rita: User, member: Callable[[str], User], login: Login
) -> None:
    def told(user: User, address: str) -> dict[int, list[str]]:
        got = login(user).get(address, {"format": "jsonl", "include": "suggested"})
        lines = [json.loads(line) for line in b"".join(got.streaming_content).splitlines()]
        return {line["id"]: [row["user"] for row in line["reviews"]] for line in lines if line["reviews"]}

    first, second, third, *_ = ids(disputed)
    for address in (
        reverse("export", args=[disputed.pk]),
        f"/api/v1/label-sets/{disputed.pk}/export/",
    ):
        assert told(anna, address) == {first: ["anna", "bert"], second: ["anna", "bert"], third: ["anna"]}
        assert told(rita, address) == {first: ["anna", "bert"], second: ["anna", "bert"]}
    assert told(member("viewer"), address) == {}
    assert Annotation.objects.filter(status="disputed").count() == 2
