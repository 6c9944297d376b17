"""The keys of reviewing: what a person may choose, and how pages and API show it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.template import Context, Template
from django.test import Client
from django.urls import reverse

from gallery.models import Project
from labeling import keys
from labeling.models import Keymap
from tests.conftest import pointers
from tests.labeling import rows


def again(user: User) -> User:
    return User.objects.get(pk=user.pk)


def drawn(user: User, text: str, **context: object) -> str:
    return Template("{% load keys %}" + text).render(Context({"user": user, **context}))


def test_the_usual_keys_clash_nowhere_and_are_usable() -> None:
    usual = [key for action in keys.ACTIONS.values() for key in action.keys]
    assert len(usual) == len(set(usual))
    assert [keys.key(each) for each in usual] == usual


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        *(("N", "n"), ("?", "?"), ("+", "+"), ("enter", "Enter"), ("SPACE", "Space"), ("left", "ArrowLeft")),
        *(("→", "ArrowRight"), ("Ctrl+Z", "ctrl+z"), ("shift+z", "shift+z"), ("del", "Delete")),
        *(("ctrl+shift+z", "ctrl+shift+z"), ("é", "é"), ("shift+ArrowUp", "shift+ArrowUp")),
    ],
)
def test_a_key_is_known_however_it_is_spelled(typed: str, key: str) -> None:
    assert keys.key(typed) == key


@pytest.mark.parametrize(
    "typed",
    ["Tab", "Escape", "F5", "ctrl+w", "ctrl+c", "shift+7", "shift", "alt+x", "nn", "", "\t", "ctrl+"],
)
def test_a_key_that_would_break_the_page_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(ValidationError, match=r"[a-z]\w+.*\."):
        keys.key(typed)


def test_only_what_differs_is_stored_and_the_usual_ones_leave_nothing(owner: User) -> None:
    keys.change(owner, {"skip": ["q"], "none": ["n"]})
    assert Keymap.objects.get().keys == {"skip": "q"}
    assert keys.of(again(owner))["skip"] == ("q",) and keys.of(again(owner))["accept"] == ("Enter",)
    keys.change(owner, {"none": []})
    assert keys.of(again(owner))["none"] == () and keys.of(again(owner))["skip"] == ("s",)
    keys.change(owner, {})
    assert not Keymap.objects.exists()


def test_two_actions_never_share_a_key_and_nothing_is_stored_then(owner: User) -> None:
    with pytest.raises(ValidationError) as refused:
        keys.change(owner, {"skip": ["n"]})
    assert "“N” is the key of “None of these” too" in refused.value.message_dict["skip"][0]
    assert not Keymap.objects.exists()
    keys.change(owner, {"skip": ["n"], "none": ["s"]})
    assert keys.of(again(owner))["skip"] == ("n",)


def test_an_action_that_came_later_does_not_take_a_key_away(owner: User) -> None:
    Keymap.objects.create(user=owner, keys={"gone": "b", "skip": "u"})
    own = keys.of(again(owner))
    assert own["skip"] == ("u",) and own["undo"] == ("ctrl+z",) and "gone" not in own


def test_pages_show_each_person_their_own_keys(owner: User, stranger: User) -> None:
    keys.change(owner, {"undo": ["ctrl+y", "y"], "skip": [], "label1": ["q"]})
    own = again(owner)
    assert drawn(own, '{% data_keys "undo" %}') == 'data-keys="ctrl+y y" aria-keyshortcuts="Control+Y Y"'
    assert drawn(own, '{% kbd "undo" %}') == "<kbd>Ctrl+Y</kbd>"
    assert drawn(own, '{% kbds "undo" %}') == "<kbd>Ctrl+Y</kbd> <kbd>Y</kbd>"
    assert drawn(own, '{% data_keys "skip" %}{% kbd "skip" %}{% key_hint "skip" %}') == ""
    assert drawn(own, '{% data_keys "grid" "Escape" %}').startswith('data-keys="g Escape"')
    assert drawn(stranger, '{% kbd "undo" %}{% key_hint "none" %}') == "<kbd>U</kbd> (N)"


def test_nine_labels_have_a_digit_the_tenth_has_0_and_the_eleventh_none(
    owner: User, project: Project
) -> None:
    label_set = rows.label_set(project, *(f"label {number}" for number in range(1, 12)))
    text = "{% for label in labels %}{% label_data_keys label %}{% label_kbd label %};{% endfor %}"
    shown = drawn(owner, text, labels=label_set.labels.all()).split(";")
    assert 'data-keys="1"' in shown[0] and "<kbd>9</kbd>" in shown[8] and 'data-keys="0"' in shown[9]
    assert shown[10] == ""


def test_keys_are_asked_for_once_a_page(owner: User, django_assert_num_queries: Callable) -> None:
    with django_assert_num_queries(1):
        drawn(
            owner,
            '{% kbd "undo" %}{% kbd "skip" %}{% include inner %}',
            inner=Template("{% load keys %}{% kbd 'none' %}"),
        )


# The page


def filled(**changed: str) -> dict[str, str]:
    return {name: " ".join(action.keys) for name, action in keys.ACTIONS.items()} | changed


def test_the_page_saves_shows_and_forgets(owner: User, login: Callable[[User], Client]) -> None:
    client, address = login(owner), reverse("keys")
    answer = client.post(address, filled(skip="q  Ctrl+B"), follow=True)
    assert keys.of(again(owner))["skip"] == ("q", "ctrl+b")
    assert 'value="q ctrl+b"' in answer.text and "Your keys are saved." in answer.text
    client.post(address, {"usual": "yes"})
    assert keys.of(again(owner))["skip"] == ("s",)


def test_the_page_says_what_is_wrong_beside_the_field(owner: User, login: Callable[[User], Client]) -> None:
    answer = login(owner).post(reverse("keys"), filled(skip="n", zoom="Tab"))
    assert "is the key of “None of these” too" in answer.context["form"].errors["skip"][0]
    assert answer.context["form"].errors["zoom"] == ["“Tab” is no key that can be used here."]
    assert 'value="Tab"' in answer.text, "what was typed is still there"
    assert not Keymap.objects.exists()


def test_the_page_is_for_those_who_are_logged_in(login: Callable[[User | None], Client], db: None) -> None:
    assert login(None).get(reverse("keys")).url.startswith("/accounts/login/")


# The API


def test_the_api_gives_all_keys_and_takes_new_ones(
    owner: User, stranger: User, login: Callable[[User | None], Client]
) -> None:
    client, address = login(owner), reverse("api-keys")
    assert client.get(address).json()["keys"]["undo"] == ["u", "ctrl+z"]
    answer = client.put(address, {"keys": {"undo": ["y"]}}, content_type="application/json")
    assert answer.json()["keys"]["undo"] == ["y"] == client.get(address).json()["keys"]["undo"]
    assert login(stranger).get(address).json()["keys"]["undo"] == ["u", "ctrl+z"], "only one's own"
    for wrong in (
        {"undo": ["n"]},
        {"undo": ["Tab"]},
        {"nothing": ["q"]},
        {"undo": ["q", "y", "b", "a"]},
        {"undo": "q"},
        [],
    ):
        answer = client.put(address, {"keys": wrong}, content_type="application/json")
        assert answer.status_code == 400 and all(each.startswith("/keys") for each in pointers(answer)), wrong
    assert client.get(address).json()["keys"]["undo"] == ["y"]
    assert login(None).get(address).status_code == 401


# Other pages


@pytest.mark.parametrize(
    ("name", "action"),
    [("class", "accept"), ("disputes", "grid"), ("gallery", "review"), ("image", "zoom"), ("review", "skip")],
)
def test_every_page_has_each_persons_own_keys(
    name: str, action: str, project: Project, owner: User, login: Callable[[User | None], Client]
) -> None:
    label_set = rows.label_set(project, "cat", "dog")
    images = rows.images(project, 4)
    rows.match(label_set, images)
    keys.change(owner, {action: ["ctrl+y"]})
    address = {
        "class": f"/label-sets/{label_set.pk}/classes/?label={label_set.labels.first().pk}",
        "gallery": f"/projects/{project.slug}/",
        "image": f"/images/{images[0].pk}/",
    }.get(name, f"/label-sets/{label_set.pk}/{name}/")
    page = login(owner).get(address).text
    assert 'data-keys="ctrl+y' in page and "js/keys.js" in page
