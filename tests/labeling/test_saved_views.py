"""Search lines with a name: by the door, on the pages and in the API; whose they are, and who sees them."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.urls import reverse

from gallery.models import Membership, Project
from labeling import saved_views
from labeling.models import LabelSet, SavedView
from tests.conftest import pointers
from tests.labeling import rows

JSON = "application/json"


@pytest.fixture
def animals(project: Project) -> LabelSet:
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, rows.images(project, 4), [0.4, 0.5, 0.6, 0.7])
    return made


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def save(label_set: LabelSet, user: User, name: str, **asked: object) -> SavedView:
    role = label_set.project.memberships.get(user=user).role
    return saved_views.save(label_set, user, role, name, **asked)


def named(label_set: LabelSet, user: User) -> list[str]:
    return [view.name for view in saved_views.visible(user).filter(label_set=label_set)]


def problems(raised: pytest.ExceptionInfo[ValidationError]) -> dict[str, list[str]]:
    return raised.value.message_dict


# The door


def test_a_view_is_saved_and_replaced_by_name(animals: LabelSet, owner: User) -> None:
    first = save(animals, owner, " To do ", line="STATUS:unreviewed   label:cat", ordering="margin")
    assert (first.name, first.query, first.ordering) == ("To do", "status:unreviewed label:cat", "margin")
    second = save(animals, owner, "To do", line="label:dog", ordering="-id", is_shared=True)
    assert second.pk == first.pk and animals.views.count() == 1
    assert (second.query, second.ordering, second.is_shared) == ("label:dog", "", True)


def test_two_people_may_have_a_view_of_one_name(
    animals: LabelSet, owner: User, member: Callable[[str], User]
) -> None:
    viewer = member("viewer")
    save(animals, owner, "To do")
    save(animals, viewer, "To do")
    assert animals.views.count() == 2


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"name": " "}, "name", "This field cannot be blank."),
        ({"name": "x" * 81}, "name", "Ensure this value has at most 80 characters (it has 81)."),
        ({"line": "label:cow"}, "query", "There is no label “cow” here."),
        ({"line": "cat +"}, "query", "Nothing follows this “+”."),
        ({"ordering": "odd"}, "ordering", "“odd” is no order."),
    ],
)
def test_what_is_no_view_is_refused(
    animals: LabelSet, owner: User, asked: dict[str, str], field: str, words: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        save(animals, owner, **({"name": "To do"} | asked))
    assert problems(raised) == {field: [words]}
    assert not SavedView.objects.exists()


def test_a_person_has_so_many_views_and_no_more(animals: LabelSet, owner: User) -> None:
    SavedView.objects.bulk_create(
        SavedView(label_set=animals, user=owner, name=f"view {number}")
        for number in range(saved_views.MOST_VIEWS)
    )
    with pytest.raises(ValidationError) as raised:
        save(animals, owner, "One more")
    assert problems(raised) == {"name": ["You have 100 views. Delete one of them first."]}
    assert save(animals, owner, "view 7", line="label:cat").query == "label:cat", "but they change"


def test_own_views_and_shared_ones_are_seen(
    animals: LabelSet, owner: User, stranger: User, member: Callable[[str], User]
) -> None:
    labeler, viewer = member("labeler"), member("viewer")
    save(animals, labeler, "Mine")
    save(animals, labeler, "Ours", is_shared=True)
    assert named(animals, labeler) == ["Mine", "Ours"]
    assert named(animals, viewer) == named(animals, owner) == ["Ours"]


def test_a_viewer_keeps_views_and_shares_none(animals: LabelSet, member: Callable[[str], User]) -> None:
    viewer = member("viewer")
    view = save(animals, viewer, "Mine", line="label:cat")
    with pytest.raises(PermissionDenied):
        save(animals, viewer, "Ours", is_shared=True)
    with pytest.raises(PermissionDenied):
        saved_views.change(view, viewer, "viewer", is_shared=True)
    view = saved_views.change(view, viewer, "viewer", name="Cats", line="label:dog", is_shared=False)
    assert (view.name, view.query, view.is_shared) == ("Cats", "label:dog", False)


def test_who_may_no_longer_share_can_still_stop(animals: LabelSet, member: Callable[[str], User]) -> None:
    labeler = member("labeler")
    view = save(animals, labeler, "Ours", is_shared=True)
    assert saved_views.change(view, labeler, "viewer", name="Still ours").is_shared
    assert not saved_views.change(view, labeler, "viewer", is_shared=False).is_shared


def test_a_view_is_renamed_but_never_to_another_of_ones_own(animals: LabelSet, owner: User) -> None:
    first, _ = save(animals, owner, "One"), save(animals, owner, "Two")
    with pytest.raises(ValidationError) as raised:
        saved_views.change(first, owner, "owner", name="Two")
    assert problems(raised) == {"name": ["You have a view “Two” already."]}
    assert saved_views.change(first, owner, "owner", name="One").name == "One"


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("labeler", False), ("reviewer", True), ("owner", True)]
)
def test_only_who_edits_labels_deletes_anothers_view(
    animals: LabelSet, owner: User, member: Callable[[str], User], role: str, may: bool
) -> None:
    theirs = User.objects.create_user("theirs")
    Membership.objects.create(project=animals.project, user=theirs, role="labeler")
    view = save(animals, theirs, "Ours", is_shared=True)
    user = owner if role == "owner" else member(role)
    with pytest.raises(PermissionDenied):
        saved_views.change(view, user, role, name="Mine")
    if may:
        saved_views.delete(view, user, role)
    else:
        with pytest.raises(PermissionDenied):
            saved_views.delete(view, user, role)
    assert SavedView.objects.exists() is not may


# The pages


def test_the_gallery_lists_views_and_opens_them(
    animals: LabelSet, client: Client, owner: User, member: Callable[[str], User]
) -> None:
    save(animals, owner, "Unsure <b>", line="probability:<0.55 label:cat", ordering="margin")
    save(animals, member("labeler"), "Theirs", is_shared=True)
    where = reverse("gallery", args=["animals"])
    page = client.get(where)
    assert "Unsure &lt;b&gt;" in page.text and "by labeler" in page.text
    [opens] = [each["address"] for each in page.context["views"] if each["is_own"]]
    page = client.get(f"{where}?{opens}")
    assert page.context["selection"].line == "probability:<0.55 label:cat"
    assert page.context["selection"].ordering == "margin"
    assert [image.name for image in page.context["images"]] == ["image 00000.jpg"]
    assert [each["is_shown"] for each in page.context["views"]] == [False, True]


def test_a_view_is_saved_from_the_gallery(animals: LabelSet, client: Client, owner: User) -> None:
    asked = {"name": "Unsure", "q": "label:cat", "ordering": "margin", "is_shared": "on"}
    answer = client.post(reverse("views", args=[animals.pk]), asked, follow=True)
    assert answer.redirect_chain[0][0].endswith(f"?label_set={animals.pk}&q=label%3Acat&ordering=margin")
    assert "Saved as “Unsure”." in answer.text
    view = animals.views.get()
    assert (view.user, view.query, view.ordering, view.is_shared) == (owner, "label:cat", "margin", True)


def test_what_is_wrong_is_said_at_its_field(animals: LabelSet, client: Client) -> None:
    page = client.post(reverse("views", args=[animals.pk]), {"name": "Unsure", "q": "label:cow"})
    assert page.status_code == 200 and "There is no label “cow” here." in page.context["form"].errors["q"]
    assert 'value="label:cow"' in page.text
    assert "This field is required." in client.post(reverse("views", args=[animals.pk]), {"name": " "}).text
    assert not animals.views.exists()


def test_a_view_whose_label_is_gone_opens_with_the_mistake(
    animals: LabelSet, client: Client, owner: User
) -> None:
    view = save(animals, owner, "Dogs", line="label:dog status:unreviewed")
    animals.labels.filter(name="dog").update(name="hound")
    page = client.get(f"{reverse('gallery', args=['animals'])}?{saved_views.address(view)}")
    assert page.status_code == 200 and "<mark>label:dog</mark>" in page.text
    assert "There is no label “dog” here." in page.text and not page.context["images"]
    assert client.get(reverse("views", args=[animals.pk])).status_code == 200
    assert saved_views.change(view, owner, "owner", name="Hounds").name == "Hounds", "the rest still changes"


def test_the_page_of_views_renames_shares_and_deletes(animals: LabelSet, client: Client, owner: User) -> None:
    view = save(animals, owner, "Cats", line="label:cat")
    where = reverse("saved_view", args=[view.pk])
    listed = reverse("views", args=[animals.pk])
    page = client.get(listed)
    assert "label:cat" in page.text and "Stop sharing" not in page.text
    assert "“Felines” is its name now." in client.post(where, {"name": "Felines"}, follow=True).text
    assert "“Felines” is shared" in client.post(where, {"share": "yes"}, follow=True).text
    assert "Stop sharing" in client.get(listed).text
    client.post(where, {"share": "no"})
    view.refresh_from_db()
    assert (view.name, view.is_shared) == ("Felines", False)
    assert client.post(where, {"name": " "}).status_code == 400
    assert client.post(where, {"share": "maybe"}).status_code == 400
    assert "Delete the view “Felines”?" in client.post(where, {"delete": "yes"}).text
    assert animals.views.exists(), "not without a yes"
    page = client.post(where, {"delete": "yes", "confirmed": "yes"}, follow=True)
    assert "The view “Felines” is deleted." in page.text and not animals.views.exists()


def test_nobody_finds_a_view_that_is_not_shared(
    animals: LabelSet, owner: User, stranger: User, member: Callable[[str], User], login: Callable
) -> None:
    private, shared = save(animals, owner, "Mine"), save(animals, owner, "Ours", is_shared=True)
    inside, outside = login(member("reviewer")), login(stranger)
    for client, view, status in ((inside, private, 404), (inside, shared, 403), (outside, shared, 404)):
        assert client.post(reverse("saved_view", args=[view.pk]), {"name": "x"}).status_code == status
        api = reverse("api-view", args=[view.pk])
        assert client.patch(api, {"name": "x"}, content_type=JSON).status_code == status
    assert outside.delete(reverse("api-view", args=[shared.pk])).status_code == 404
    assert inside.delete(reverse("api-view", args=[private.pk])).status_code == 404
    for name in ("views", "api-views"):
        where = reverse(name, args=[animals.pk])
        assert outside.get(where).status_code == 404
        assert "Mine" not in inside.get(where).text and "Ours" in inside.get(where).text
    assert animals.views.count() == 2


# The API


def test_views_by_the_api(animals: LabelSet, client: Client, owner: User) -> None:
    where = reverse("api-views", args=[animals.pk])
    made = client.post(where, {"name": "Unsure", "query": "margin:<0.1"}, content_type=JSON)
    assert made.status_code == 201
    expected = {
        "label_set": animals.pk,
        "name": "Unsure",
        "query": "margin:<0.1",
        "ordering": "",
        "is_shared": False,
        "user": "olga",
    }
    assert expected.items() <= made.json().items()
    assert client.get(where).json()["results"] == [made.json()]
    one = reverse("api-view", args=[made.json()["id"]])
    changed = client.patch(one, {"is_shared": True, "ordering": "margin"}, content_type=JSON).json()
    assert changed == made.json() | {"is_shared": True, "ordering": "margin"}
    assert client.delete(one).status_code == 204 and client.delete(one).status_code == 404


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"query": "label:cow"}, "query"),
        ({"query": "name:\ud83d"}, "query"),
        ({"query": "x" * 1001}, "query"),
        ({"ordering": "odd"}, "ordering"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"is_shared": "perhaps"}, "is_shared"),
    ],
)
def test_the_api_says_what_is_wrong(
    animals: LabelSet, client: Client, owner: User, asked: dict[str, str], field: str
) -> None:
    where = reverse("api-views", args=[animals.pk])
    answer = client.post(where, {"name": "To do"} | asked, content_type=JSON)
    assert answer.status_code == 400 and pointers(answer) == [f"/{field}"]
    view = save(animals, owner, "Other")
    answer = client.patch(reverse("api-view", args=[view.pk]), asked, content_type=JSON)
    assert answer.status_code == 400 and pointers(answer) == [f"/{field}"]
