"""The keys of reviewing: every action with its usual keys, and the ones that a person chose instead."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from gallery.access import User
from labeling.models import Keymap


@dataclass(frozen=True)
class Action:
    name: str
    words: str
    keys: tuple[str, ...]


LABEL_KEYS = tuple("1234567890")
MOST_KEYS = 3

ACTIONS = {
    action.name: action
    for action in [
        Action("accept", "Accept and go on", ("Enter",)),
        *(Action(f"label{key}", f"Give label {n}", (key,)) for n, key in enumerate(LABEL_KEYS, start=1)),
        Action("find", "Find a label by typing", ("/",)),
        Action("none", "None of these", ("n",)),
        Action("skip", "Skip: ask me later", ("s",)),
        Action("clear", "Clear the answer", ("Backspace",)),
        Action("undo", "Undo", ("u", "ctrl+z")),
        Action("redo", "Redo", ("shift+z",)),
        Action("next", "Next image, deciding nothing", ("j", "ArrowRight")),
        Action("previous", "Previous image, deciding nothing", ("k", "ArrowLeft")),
        Action("similar", "Similar images", ("f",)),
        Action("why", "Why: what CLIP thinks", ("i",)),
        Action("comment", "Comment", ("c",)),
        Action("zoom", "Zoom", ("z",)),
        Action("guidelines", "Guidelines", ("h",)),
        Action("grid", "Back to the grid", ("g",)),
        Action("mark", "Mark the image", ("x",)),
        Action("bulk", "Say what the selected images are", ("b",)),
        Action("choose", "Find a label for the image of the grid", ("l",)),
        Action("open", "Open the image of the grid", ("o",)),
        Action("review", "Review one by one", ("r",)),
        Action("classes", "Review a class at a time", ("w",)),
        Action("help", "Show all keys", ("?",)),
    ]
}

# Keys with a name, as browsers call them, and what people may type for them.
ARROWS = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
SIGNS = ARROWS | {"Backspace": "⌫"}
NAMED = {"Enter", "Space", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown", *ARROWS}
SPELLED = {name.lower(): name for name in NAMED} | {
    **{name.removeprefix("Arrow").lower(): name for name in ARROWS},
    **{sign: name for name, sign in ARROWS.items()},
    "return": "Enter",
    "del": "Delete",
}
KEY = re.compile(r"(?P<ctrl>(?:ctrl|control|cmd)\+)?(?P<shift>shift\+)?(?P<key>.+)", re.IGNORECASE)
# With Ctrl these are the browser's own, or everybody's: closing a tab, copying, finding.
BROWSERS = set("acdfhjklnopqrstuvwx") | {"Enter", "Home", "End", "PageUp", "PageDown", *"1234567890+-"}


def key(typed: str) -> str:
    """One key as it is stored and matched: `n`, `?`, `Enter`, `ctrl+z`, `shift+ArrowUp`.

    Raises ValidationError for what can be no key of an action, saying why.
    """
    found = KEY.fullmatch(typed.strip())
    name = found["key"] if found else ""
    name = SPELLED.get(name.lower(), name.lower() if len(name) == 1 else name)
    if name not in NAMED and not (len(name) == 1 and name.isprintable() and not name.isspace()):
        raise ValidationError(f"“{typed}” is no key that can be used here.")
    if found["shift"] and len(name) == 1 and not name.isalpha():
        raise ValidationError(f"“{typed}”: type the sign that Shift makes of it instead.")
    if found["ctrl"] and name in BROWSERS:
        raise ValidationError(f"“{typed}” belongs to the browser.")
    return f"{'ctrl+' if found['ctrl'] else ''}{'shift+' if found['shift'] else ''}{name}"


def of(user: User) -> dict[str, tuple[str, ...]]:
    """The keys of each action for this person."""
    keymap = getattr(user, "keymap", None)
    own = keymap.keys if keymap else {}
    chosen = {name: tuple(own[name].split()) for name in ACTIONS if name in own}
    taken = {each for keys in chosen.values() for each in keys}
    # An action that came later may have a usual key that the person gave to another one.
    usual = {
        name: tuple(each for each in action.keys if each not in taken) for name, action in ACTIONS.items()
    }
    return usual | chosen


def change(user: User, chosen: Mapping[str, Iterable[str]]) -> None:
    """Give actions other keys, instead of all that were chosen before; those not named get their usual ones.

    Raises ValidationError with a sentence for each action: unknown, a key that can't be used, one too many,
    or one that another action has.
    """
    wrong: dict[str, list[str]] = {}
    keys = {name: action.keys for name, action in ACTIONS.items()}
    for name, typed in chosen.items():
        if name not in ACTIONS:
            wrong[name] = ["There is no such action."]
            continue
        try:
            keys[name] = tuple(dict.fromkeys(key(each) for each in typed))
        except ValidationError as error:
            wrong[name] = error.messages
            continue
        if len(keys[name]) > MOST_KEYS:
            wrong[name] = [f"An action has {MOST_KEYS} keys at most."]
    for name, words in _clashes(keys).items():
        wrong.setdefault(name, words)
    if wrong:
        raise ValidationError(wrong)
    own = {name: " ".join(keys[name]) for name, action in ACTIONS.items() if keys[name] != action.keys}
    if own:
        Keymap.objects.update_or_create(user=user, defaults={"keys": own})
    else:
        Keymap.objects.filter(user=user).delete()


def _clashes(keys: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Of each action that shares a key with an earlier one, what it shares."""
    taken: dict[str, str] = {}
    clashes: dict[str, list[str]] = {}
    for name, own in keys.items():
        for each in own:
            other = taken.setdefault(each, name)
            if other != name:
                clashes.setdefault(name, []).append(
                    f"“{written(each)}” is the key of “{ACTIONS[other].words}” too: change one of them."
                )
    return clashes


def written(name: str) -> str:
    """A key as it stands on buttons: `N`, `Ctrl+Z`, `←`."""
    *held, last = _parts(name)
    shown = SIGNS.get(last, last[0].upper() + last[1:])
    return "+".join([*(each.capitalize() for each in held), shown])


def spoken(name: str) -> str:
    """A key as aria-keyshortcuts has it: `N`, `Control+Z`, `ArrowLeft`."""
    *held, last = _parts(name)
    last = {"+": "Plus"}.get(last, last.upper() if len(last) == 1 else last)
    return "+".join([*({"ctrl": "Control", "shift": "Shift"}[each] for each in held), last])


def _parts(name: str) -> list[str]:
    found = KEY.fullmatch(name)
    return [held for held in ("ctrl", "shift") if found[held]] + [found["key"]]
