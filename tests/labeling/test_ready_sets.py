"""The label sets that come with the site: each can be used as it is, on the pages and by the API."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from gallery.models import Project
from labeling import definitions, label_sets, ready_sets, scoring
from labeling.definitions import FORMAT
from labeling.models import LabelSet

EVERY = ready_sets.every()
MEMBERS = ["format", "name", "description", "templates", "votes", "labels"]
# A text that CLIP reads: words in one line, without a mark of a form that was not filled.
SENTENCE = re.compile(r"[\w’'(].*[\w.)]")
LEFT_OPEN = re.compile(r"[{}\[\]<>|_#]|\b(todo|tbd|xxx|lorem)\b|  |\s,|\.\.", re.IGNORECASE)
# A wrong article, but for words that begin as “you” does.
WRONG_ARTICLE = re.compile(r"\b(a (?!e[uw]|uni|one)[aeiou]|an [^aeiou\W])", re.IGNORECASE)


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def said(label_set: LabelSet) -> dict:
    return {name: value for name, value in definitions.content(label_set).items() if name != "format"}


def of(key: str) -> dict:
    return {name: EVERY[key][name] for name in ("name", "templates", "votes", "labels")}


def test_there_are_seven_with_names_of_their_own() -> None:
    assert set(EVERY) == {
        *("caltech-101", "cifar-10", "documents", "products", "quality", "scenes", "wildlife"),
    }
    assert len({document["name"] for document in EVERY.values()}) == len(EVERY)
    assert len(EVERY["cifar-10"]["labels"]) == 10
    assert len(EVERY["caltech-101"]["labels"]) == 102, "101 classes and the background"


@pytest.mark.parametrize("key", EVERY)
def test_each_goes_through_the_door_and_comes_out_the_same(key: str, project: Project, owner: User) -> None:
    given = definitions.from_document(EVERY[key])
    made = label_sets.create(project, owner, given.name, given.labels, given.templates, given.votes)
    assert said(made) == of(key)
    assert definitions.read(definitions.as_text(made)).labels == given.labels


@pytest.mark.parametrize("key", EVERY)
def test_each_is_written_with_care(key: str) -> None:
    document = EVERY[key]
    assert list(document) == MEMBERS and document["format"] == FORMAT
    assert 20 < len(document["description"]) < 200 and document["description"].endswith(".")
    names = [label["name"].casefold() for label in document["labels"]]
    assert len(set(names)) == len(names)
    asked: list[str] = []
    for label in document["labels"]:
        assert list(label) == ["name", "prompts"] and len(label["name"]) <= 40
        assert len(label["prompts"]) != 1, f"{label['name']}: one text alone is no ensemble"
        asked += scoring.label_prompts(label["name"], label["prompts"], document["templates"])
    assert len(set(asked)) == len(asked), "no text stands for two labels"
    for text in asked:
        assert SENTENCE.fullmatch(text) and not LEFT_OPEN.search(text), text
        assert 2 <= len(text.split()) <= 20 and text == text.strip(), text
        assert not WRONG_ARTICLE.search(text), text


def test_the_api_tells_them_and_takes_them_as_they_are(project: Project, client: Client) -> None:
    rows = client.get("/api/v1/ready-sets/").json()
    assert {row["key"]: row["labels"] for row in rows} == {
        key: len(document["labels"]) for key, document in EVERY.items()
    }
    assert rows[0]["name"] == "Caltech-101" and "benchmark" in rows[0]["description"]
    for row in rows:
        answer = client.get(f"/api/v1/ready-sets/{row['key']}/")
        assert answer.json() == EVERY[row["key"]]
        made = client.post(
            "/api/v1/projects/animals/label-sets/", answer.content, content_type="application/json"
        )
        assert made.status_code == 201
        assert said(LabelSet.objects.get(pk=made.json()["id"])) == of(row["key"])
    assert client.get("/api/v1/ready-sets/nothing/").status_code == 404


@pytest.mark.parametrize("key", EVERY)
def test_the_form_of_a_label_set_is_filled_and_makes_the_same(
    key: str, project: Project, client: Client
) -> None:
    where = f"{reverse('label_set_new', args=['animals'])}?ready={key}"
    page = client.get(where)
    form = page.context["form"]
    assert escape(EVERY[key]["description"]) in page.content.decode()
    assert page.context["prompts"][0] == EVERY[key]["labels"][0]["name"]
    data = {name: form[name].value() for name in ("name", "labels", "templates", "votes")}
    assert client.post(where, data).status_code == 302
    assert said(LabelSet.objects.get()) == of(key)


@pytest.mark.parametrize("key", EVERY)
def test_the_form_of_a_project_is_filled_and_makes_the_same(key: str, owner: User, client: Client) -> None:
    form = client.get(reverse("project_new"), {"ready": key}).context["form"]
    data = {"name": "Mine", "labels": form["labels"].value(), "ready": form["ready"].value()}
    assert client.post(reverse("project_new"), data).status_code == 302
    assert said(LabelSet.objects.get()) == of(key)


def test_what_is_changed_in_a_filled_form_stays_changed(owner: User, client: Client) -> None:
    data = {"name": "Mine", "labels": "airplane\nzeppelin", "ready": "cifar-10"}
    client.post(reverse("project_new"), data)
    made = LabelSet.objects.get()
    assert [label.name for label in made.labels.all()] == ["airplane", "zeppelin"]
    assert made.name == "CIFAR-10" and made.templates == EVERY["cifar-10"]["templates"]


def test_an_unknown_one_is_not_found(project: Project, client: Client) -> None:
    for where in (reverse("project_new"), reverse("label_set_new", args=["animals"])):
        assert client.get(where, {"ready": "nothing"}).status_code == 404
        assert client.get(where, {"ready": ""}).status_code == 200


def test_a_page_offers_them_only_where_a_label_set_is_made(label_set: LabelSet, client: Client) -> None:
    for where in (reverse("project_new"), reverse("label_set_new", args=["animals"])):
        page = client.get(where).content.decode()
        assert all(f'<option value="{key}">' in page for key in EVERY)
    assert "ready-set" not in client.get(reverse("label_set_edit", args=[label_set.pk])).content.decode()
