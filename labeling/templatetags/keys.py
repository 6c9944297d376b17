"""A person's keys on pages: what a script listens for, and what stands on the buttons."""

import json

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from labeling import keys
from labeling.models import Label

register = template.Library()


def _of(context: template.Context, action: str) -> tuple[str, ...]:
    if action not in keys.ACTIONS:
        raise template.TemplateSyntaxError(f"There is no action “{action}”.")
    return _all(context)[action]


def _all(context: template.Context) -> dict[str, tuple[str, ...]]:
    # Once a page is enough: a list of cards asks for them again and again.
    render = context.render_context
    if "keys" not in render:
        render["keys"] = keys.of(context["user"])
    return render["keys"]


@register.simple_tag(takes_context=True)
def data_keys(context: template.Context, *names: str) -> SafeString:
    """`data-keys="u ctrl+z" aria-keyshortcuts="U Control+Z"`: what presses this element. Each name is an
    action, or a key that nobody can change."""
    tokens = [
        token for name in names for token in (_of(context, name) if name in keys.ACTIONS else name.split())
    ]
    if not tokens:
        return SafeString("")
    spoken = " ".join(keys.spoken(token) for token in tokens)
    return format_html('data-keys="{}" aria-keyshortcuts="{}"', " ".join(tokens), spoken)


@register.simple_tag(takes_context=True)
def label_data_keys(context: template.Context, label: Label | int, *names: str) -> SafeString:
    """The same for a label, or for the first, second, … of any choices, where it has a key."""
    return data_keys(context, *([f"label{_digit(label)}"] if _digit(label) else []), *names)


def _digit(label: Label | int) -> str:
    if isinstance(label, Label):
        return label.key
    return keys.LABEL_KEYS[label - 1] if label <= len(keys.LABEL_KEYS) else ""


@register.simple_tag(takes_context=True)
def keys_of(context: template.Context, action: str) -> str:
    """The bare keys, for an attribute of another name."""
    return " ".join(_of(context, action))


@register.simple_tag(takes_context=True)
def label_keys(context: template.Context, label: Label | int) -> str:
    return keys_of(context, f"label{_digit(label)}") if _digit(label) else ""


@register.simple_tag(takes_context=True)
def kbd(context: template.Context, action: str) -> SafeString:
    """The first of its keys, as it stands on a button; nothing where it has none."""
    tokens = _of(context, action)
    return format_html("<kbd>{}</kbd>", keys.written(tokens[0])) if tokens else SafeString("")


@register.simple_tag(takes_context=True)
def label_kbd(context: template.Context, label: Label | int) -> SafeString:
    return kbd(context, f"label{_digit(label)}") if _digit(label) else SafeString("")


@register.simple_tag(takes_context=True)
def kbds(context: template.Context, action: str) -> SafeString:
    """All of its keys."""
    tokens = _of(context, action)
    return format_html_join(" ", "<kbd>{}</kbd>", ((keys.written(token),) for token in tokens))


@register.simple_tag(takes_context=True)
def key_hint(context: template.Context, action: str) -> str:
    """` (N)` for a title; nothing where it has no key."""
    tokens = _of(context, action)
    return f" ({keys.written(tokens[0])})" if tokens else ""


@register.simple_tag(takes_context=True)
def keymap(context: template.Context) -> str:
    """All of them as JSON, for scripts that act on what has no button of its own."""
    return json.dumps(_all(context))
