"""Label sets out and in again, as JSON and as a plain list, by the page and by the API."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gallery.models import Project
from labeling import definitions, label_sets
from labeling.definitions import from_line, to_line
from labeling.label_sets import LabelSpec
from labeling.models import LabelSet, ScoringRun

NAMES = [
    "cat",
    "and/or",
    "\"quoted\" and 'quoted'",
    "🦊 fox",
    "שועל",
    "\u202eright to left",
    "=1+1",
    "x" * 200,
    "a|b",
    "4:3",
    "a: b",
    "ends with:",
    "ends with\\",
    "back\\slash \\: \\| \\\\ \\u2028 \\{",
    "two\nlines",
    "odd \u2028\x85\x0b\x1e ends",
    "\ufeffmark",
    "{",
    '{"name": "x"}',
    '"labels"',
    "[1]",
]
# What a name or prompt may be: no white space around it, nothing that a database can't hold.
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)
    | st.text(st.sampled_from('\\|:{}"/ =nu2028ab\n\u2028🦊ש'), min_size=1, max_size=200)
).map(str.strip)
NAMED = TEXTS.filter(bool)
LABELS = st.lists(
    st.builds(LabelSpec, NAMED, st.lists(NAMED, max_size=3)),
    min_size=2,
    max_size=8,
    unique_by=lambda spec: spec.name,
)
HYPOTHESIS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def odd(project: Project, owner: User) -> LabelSet:
    """A label set with every odd name, each also as a prompt."""
    specs = [LabelSpec(name, [name, "x"] if number % 2 else []) for number, name in enumerate(NAMES)]
    return label_sets.create(project, owner, "Odd: “names”", specs, ["a {label}", "the {label}|"], 3)


@pytest.fixture
def empty(owner: User) -> Project:
    """A project of the owner without a label set."""
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=owner, role="owner")
    return other


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def downloaded(client: Client, label_set: LabelSet, format: str = "json") -> bytes:
    answer = client.get(f"/api/v1/label-sets/{label_set.pk}/definition/", {"format": format})
    assert answer.status_code == 200
    return answer.content


def same_labels(one: LabelSet, other: LabelSet) -> bool:
    return list(one.labels.values_list("name", "prompts")) == list(
        other.labels.values_list("name", "prompts")
    )


# One line


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompts", [[], ["a cat", "the cat: it sits"], ["x|y", "x\\", "\\|z"]])
def test_a_line_says_the_same_as_the_label(name: str, prompts: list[str]) -> None:
    spec = LabelSpec(name, [*prompts, name] if prompts else [])
    line = to_line(spec)
    assert len(line.splitlines()) == 1 and from_line(line) == spec


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        (" cat ", LabelSpec("cat")),
        ("ratio 4:3", LabelSpec("ratio 4:3")),
        ("red car: a red car | a red automobile", LabelSpec("red car", ["a red car", "a red automobile"])),
        ("a\\: b: c \\| d", LabelSpec("a: b", ["c | d"])),
        ("cat:", LabelSpec("cat")),
        ("a|b", LabelSpec("a|b")),
        ("\\nabla", LabelSpec("\\nabla")),
    ],
)
def test_a_line_is_read_as_people_write_it(line: str, spec: LabelSpec) -> None:
    assert from_line(line) == spec


@given(LABELS)
@HYPOTHESIS
def test_a_plain_list_says_the_same_as_the_labels(specs: list[LabelSpec]) -> None:
    text = "".join(to_line(spec) + "\n" for spec in specs)
    assert definitions.read(text).labels == specs
    assert definitions.read_bytes(text.encode()).labels == specs


# Out and in


@given(LABELS, TEXTS.map(lambda text: text[:120].strip() or "x"), st.integers(1, 9))
@HYPOTHESIS
def test_out_in_and_out_again_is_the_same_to_the_byte(
    project: Project,
    empty: Project,
    owner: User,
    client: Client,
    specs: list[LabelSpec],
    name: str,
    votes: int,
) -> None:
    LabelSet.objects.all().delete()
    templates = ["a {label}", *(f"{{label}} {spec.name}" for spec in specs[:2])]
    first = label_sets.create(project, owner, name, specs, templates, votes)
    exported = downloaded(client, first)
    where = "/api/v1/projects/other/label-sets/"
    answer = client.post(where, exported, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert downloaded(client, LabelSet.objects.get(pk=answer.json()["id"])) == exported


@pytest.mark.parametrize("way", ["pasted", "a file"])
@pytest.mark.parametrize("page", ["new label set", "new project"])
def test_a_page_makes_the_same_label_set_of_the_document(
    odd: LabelSet, empty: Project, client: Client, way: str, page: str
) -> None:
    exported = downloaded(client, odd)
    data = (
        {"labels": exported.decode()} if way == "pasted" else {"file": SimpleUploadedFile("x.json", exported)}
    )
    if page == "new project":
        answer = client.post(reverse("project_new"), {"name": "Third"} | data)
    else:
        data |= {"name": "Labels", "templates": "", "votes": "1"}
        answer = client.post(reverse("label_set_new", args=["other"]), data)
    assert answer.status_code == 302, answer.context["form"].errors
    made = LabelSet.objects.exclude(pk=odd.pk).get()
    assert downloaded(client, made) == exported
    assert made.runs.count() == 1


@pytest.mark.parametrize("way", ["pasted", "a file"])
def test_a_page_makes_the_same_labels_of_the_plain_list(
    odd: LabelSet, empty: Project, client: Client, way: str
) -> None:
    exported = downloaded(client, odd, "txt")
    data = {"labels": exported.decode()} if way == "pasted" else {"file": SimpleUploadedFile("x", exported)}
    answer = client.post(reverse("label_set_new", args=["other"]), {"name": "Mine"} | data)
    assert answer.status_code == 302, answer.context["form"].errors
    made = LabelSet.objects.exclude(pk=odd.pk).get()
    assert same_labels(made, odd) and made.name == "Mine" and made.votes == 1
    assert downloaded(client, made, "txt") == exported


def test_what_is_written_in_the_form_goes_before_what_the_document_says(
    odd: LabelSet, empty: Project, client: Client
) -> None:
    typed = {"name": "Mine", "labels": downloaded(client, odd).decode(), "templates": "{label}", "votes": "2"}
    client.post(reverse("label_set_new", args=["other"]), typed)
    made = LabelSet.objects.exclude(pk=odd.pk).get()
    assert (made.name, made.templates, made.votes) == ("Mine", ["{label}"], 2) and same_labels(made, odd)


def test_a_document_that_is_pasted_while_editing_keeps_the_labels_that_are_there(
    odd: LabelSet, client: Client
) -> None:
    before = list(odd.labels.values_list("pk", "name"))
    document = definitions.content(odd) | {"name": "Renamed"}
    document["labels"] = [*document["labels"], {"name": "one more"}]
    form = client.get(reverse("label_set_edit", args=[odd.pk])).context["form"]
    data = {name: form[name].value() for name in ("name", "templates", "votes")}
    # As a browser sends it.
    data["templates"] = data["templates"].replace("\n", "\r\n")
    client.post(reverse("label_set_edit", args=[odd.pk]), data | {"labels": json.dumps(document)})
    odd.refresh_from_db()
    assert odd.name == "Renamed"
    assert list(odd.labels.values_list("pk", "name"))[:-1] == before and odd.labels.last().name == "one more"


def test_the_preview_shows_what_a_document_asks(odd: LabelSet, client: Client) -> None:
    document = {"templates": ["my {label}"], "labels": [{"name": "cat"}, {"name": "dog"}]}
    data = {"name": "Labels", "labels": json.dumps(document), "preview": "1"}
    page = client.post(reverse("label_set_new", args=["animals"]), data)
    assert page.context["prompts"] == ("cat", ["my cat"])


def test_what_the_api_does_not_know_of_a_document_is_left_out(project: Project, client: Client) -> None:
    document = {"format": 1, "name": "A", "description": "x", "labels": [{"name": "a"}, {"name": "b"}]}
    answer = client.post("/api/v1/projects/animals/label-sets/", document, content_type="application/json")
    assert answer.status_code == 201 and answer.json()["votes"] == 1


# Who and how


def test_a_viewer_gets_the_files_and_a_stranger_nothing(
    odd: LabelSet, member: Callable, stranger: User, login: Callable
) -> None:
    viewer = login(member("viewer"))
    for address in (f"/label-sets/{odd.pk}/definition/", f"/api/v1/label-sets/{odd.pk}/definition/"):
        answer = viewer.get(address)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="animals-odd-names-labels.json"'
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.content.decode() == definitions.as_json(odd)
        answer = viewer.get(address, {"format": "txt"})
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.content.decode() == definitions.as_text(odd)
        answer = viewer.get(address, {"format": "xml"})
        assert answer.status_code == 400 and "there are json and txt" in answer.content.decode()
        assert login(stranger).get(address).status_code == 404
        assert viewer.post(address).status_code == 405


def test_the_pages_lead_to_both_files(
    odd: LabelSet, client: Client, member: Callable, login: Callable
) -> None:
    where = reverse("definition", args=[odd.pk])
    page = client.get(reverse("label_set_edit", args=[odd.pk])).content.decode()
    assert f"{where}?format=json" in page and f"{where}?format=txt" in page
    gallery = login(member("viewer")).get(odd.get_absolute_url()).content.decode()
    assert f"{where}?format=json" in gallery and f"{where}?format=txt" in gallery


# What is wrong with it


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"labels": [', "breaks off at line 1, column 13"),
        ('{"labels": [{"name": "a"},\n {"name": "b"}}', "breaks off at line 2, column 15"),
        ('{"name": "A"}', "labels: This field is required."),
        ('{"labels": {"a": 1}}', "labels: Expected a list"),
        ('{"labels": ["cat", "dog"]}', "labels → 1: Invalid data."),
        ('{"labels": [{"name": "a"}, {"name": " "}]}', "labels → 2 → name: This field may not be blank."),
        ('{"labels": [{"name": "a"}, {"name": "a"}]}', "Given twice: a."),
        ('{"labels": [{"name": "a"}]}', "Give two labels or more"),
        ('{"labels": [{"name": "a"}, {"name": "\\u0000"}]}', "labels → 2 → name: Null characters"),
        ('{"labels": [{"name": "a"}, {"name": "\\ud800"}]}', "labels → 2 → name: Surrogate"),
        (
            '{"labels": [{"name": "a", "prompts": ["x", 3]}, {"name": "b", "prompts": [[]]}]}',
            "labels → 2 → prompts → 1: Not a valid string.",
        ),
        ('{"votes": 10, "labels": [{"name": "a"}, {"name": "b"}]}', "votes: Ensure this value is less"),
        ('{"format": 2, "labels": []}', "The JSON is of another format than 1"),
        ('{"templates": ["x"], "labels": [{"name": "a"}, {"name": "b"}]}', "where does the label go?"),
        ('{"labels": ' + "[" * 100_000, "nested too deeply"),
        ('{"votes": ' + "1" * 5000 + "}", "a number in it is too long"),
        ("a\nb: " + "x" * 501, "“b” has a text that is longer than 500 characters"),
        ("a\nb: " + " | ".join("x" * 101), "“b” has 101 texts"),
        ("a\nb\n: lost", "“lost” is a prompt of no label"),
        (": lost\n: too", "“lost” is a prompt of no label"),
    ],
)
@pytest.mark.parametrize("way", ["labels", "file"])
def test_what_is_wrong_is_one_sentence_with_its_place_and_nothing_is_written(
    project: Project, client: Client, way: str, text: str, words: str
) -> None:
    for where in (reverse("label_set_new", args=["animals"]), reverse("project_new")):
        given = text if way == "labels" else SimpleUploadedFile("x.json", text.encode())
        page = client.post(where, {"name": "Labels", way: given})
        assert page.status_code == 200
        [[error]] = page.context["form"].errors.values()
        assert words in error
    assert not LabelSet.objects.exists() and not ScoringRun.objects.exists()
    assert Project.objects.get() == project


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\nk\xe4se", "Line 2 can't be read: save the file as text in UTF-8."),
        ("cat\ndog".encode("utf-16"), "Line 1 can't be read"),
        (b"cat\n\ndo\0g", "Line 3 has a character in it that is no text."),
        (b"cat\n" * 1_000_000, "The file is too large"),
        (b"", "empty"),
        (b"\n \n", "Give two labels or more"),
    ],
)
def test_a_file_that_is_no_list_says_so(project: Project, client: Client, content: bytes, words: str) -> None:
    data = {"name": "Labels", "file": SimpleUploadedFile("x.txt", content)}
    page = client.post(reverse("label_set_new", args=["animals"]), data)
    assert words in " ".join(page.context["form"].errors["file"])


def test_labels_come_from_one_place(project: Project, client: Client) -> None:
    data = {"name": "Labels", "labels": "a\nb", "file": SimpleUploadedFile("x.txt", b"c\nd")}
    page = client.post(reverse("label_set_new", args=["animals"]), data)
    assert "Labels are typed as well" in str(page.context["form"].errors["file"])
    assert not LabelSet.objects.exists()


def test_the_mark_that_some_programs_write_before_a_text_is_no_part_of_it() -> None:
    assert definitions.read_bytes("cat\ndog".encode("utf-8-sig")).labels[0] == LabelSpec("cat")
    document = json.dumps({"labels": [{"name": "a"}, {"name": "b"}]})
    assert len(definitions.read_bytes(document.encode("utf-8-sig")).labels) == 2


def test_votes_beyond_nine_are_refused_by_the_door(project: Project, owner: User) -> None:
    with pytest.raises(ValidationError, match="From 1 to 9 votes"):
        label_sets.create(project, owner, "Odd", [LabelSpec("a"), LabelSpec("b")], votes=10)
    assert not LabelSet.objects.exists()
