"""The keys of the search line: what may stand before a colon, and what each asks of a label set's images."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from gallery.access import User
from gallery.models import SAMPLE, Comment, Image
from labeling import picks, terms
from labeling.models import STATUSES, Annotation, Assignment, LabelSet
from labeling.terms import Term, mistake, unknown

# Figures with an index. To go along it is slower than to look at all images, where many have such a figure:
# then it is hidden from the database's planner.
WIDE = {f"wide_{name}": F(name) + 0.0 for name in ("probability", "margin")}
SETTLED = tuple(Annotation.Status.values)
REVIEWED = "reviewed"


def folded(name: str) -> str:
    """The name as it is compared: capitals and ways to write an accent make no difference."""
    return unicodedata.normalize("NFC", name).casefold()


class Setting:
    """Whose line it is, and the labels and people that it may name."""

    def __init__(self, label_set: LabelSet, user: User) -> None:
        self.label_set, self.user = label_set, user

    @cached_property
    def labels(self) -> dict[str, int]:
        return {label.name: label.pk for label in self.label_set.labels.all()}

    @cached_property
    def members(self) -> dict[str, int]:
        members = self.label_set.project.memberships.order_by("user__username")
        return dict(members.values_list("user__username", "user"))

    def person(self, term: Term, traces: QuerySet | None = None) -> int:
        """The id of the member whom the term names, or of who has left the project, but not without `traces`.

        Of everybody else nothing is told, not even whether they are there. `traces`: rows of the user
        OuterRef("pk").
        """
        if term.value.lower() == "me" and not term.quoted:
            return self.user.pk
        if found := among(self.members, term.value):
            return found[0]
        if traces is not None:
            left = get_user_model().objects.filter(Exists(traces), username__iexact=term.value).order_by("pk")
            if gone := left.values_list("pk", flat=True).first():
                return gone
        raise unknown(term, "member", self.members)


def among(known: dict[str, int], name: str) -> list[int]:
    """The id of that very name, or else those that differ in capitals alone."""
    if name in known:
        return [known[name]]
    return [pk for each, pk in known.items() if folded(each) == folded(name)]


# What a term asks for: one function for each kind of key. They raise ValidationError.


def _label(field: str) -> Callable[[Term, Setting], Q]:
    def asked(term: Term, at: Setting) -> Q:
        return Q(**{f"{field}__in": labels(term, at)})

    return asked


def labels(term: Term, at: Setting) -> list[int]:
    found = among(at.labels, term.value)
    if not found:
        raise unknown(term, "label", at.labels)
    return found


def statuses(term: Term, at: Setting) -> list[str]:
    value = term.value.lower()
    if value == REVIEWED:
        return list(SETTLED)
    if value not in dict(STATUSES):
        known = [*dict(STATUSES), REVIEWED]
        near = terms.nearest(value, known)
        hint = f"Did you mean “{near}”?" if near else f"There are {', '.join(known)}."
        raise mistake(f"“{term.value[:60]}” is no status. {hint}", term.start, term.end)
    return [value]


def _status(term: Term, at: Setting) -> Q:
    return Q(status__in=statuses(term, at))


def _number(
    field: str, read: Callable[[str], float | None], example: str, exact: bool = True
) -> Callable[[Term, Setting], Q]:
    def asked(term: Term, at: Setting) -> Q:
        compared = terms.comparisons(term, example)
        condition = Q()
        for lookup, text in compared:
            value = read(text)
            if value is None:
                what = "no whole number" if read is terms.whole else "no number"
                raise mistake(f"“{text[:60]}” is {what}: write it as in {example}.", term.start, term.end)
            if lookup == "exact" and not exact:
                raise mistake(
                    f"Say more or less, as in {example} or {term.key}:>{text}.", term.start, term.end
                )
            condition &= Q(**{f"{field}__{lookup}": value})
        return condition

    return asked


def _figure_asked(name: str) -> Callable[[Term, Setting], Q]:
    asked = _number(name, terms.fraction, f"{name}:<0.6", exact=False)
    if f"wide_{name}" not in WIDE:
        return asked
    asked_wide = _number(f"wide_{name}", terms.fraction, f"{name}:<0.6", exact=False)

    def condition(term: Term, at: Setting) -> Q:
        wide = asked_wide(term, at)
        sample = at.label_set.images().alias(**WIDE).filter(pk__in=at.label_set.project.sample())
        return wide if 4 * sample.filter(wide).count() > SAMPLE else asked(term, at)

    return condition


def _date(field: str, example: str) -> Callable[[Term, Setting], Q]:
    def asked(term: Term, at: Setting) -> Q:
        condition = Q()
        for lookup, text in terms.comparisons(term, example):
            span = terms.period(text)
            if span is None:
                words = f"“{text[:60]}” is no date: write 2026-01-31, 2026-01 or 2026."
                raise mistake(words, term.start, term.end)
            condition &= _within(field, lookup, *span)
        return condition

    return asked


def _within(field: str, lookup: str, start: Any, end: Any) -> Q:
    """A month is over when the next one begins: after January is from the first of February on."""
    return {
        "exact": Q(**{f"{field}__gte": start, f"{field}__lt": end}),
        "lt": Q(**{f"{field}__lt": start}),
        "lte": Q(**{f"{field}__lt": end}),
        "gt": Q(**{f"{field}__gte": end}),
        "gte": Q(**{f"{field}__gte": start}),
    }[lookup]


def _by(term: Term, at: Setting) -> Q:
    # Only settled answers: who has voted on what is nobody else's business until then.
    return Q(decider=at.person(term, at.label_set.annotations.filter(decided_by=OuterRef("pk"))))


def _uploader(term: Term, at: Setting) -> Q:
    traces = Image.objects.filter(project=at.label_set.project_id, uploaded_by=OuterRef("pk"))
    return Q(uploaded_by=at.person(term, traces))


def _assigned(term: Term, at: Setting) -> Q:
    given = Assignment.objects.filter(label_set=at.label_set, image=OuterRef("pk"))
    if term.value.lower() == "nobody" and not term.quoted:
        return ~Q(Exists(given))
    return Q(Exists(given.filter(user=at.person(term))))


def _comments(term: Term, at: Setting) -> Q:
    comments = Comment.objects.filter(image=OuterRef("pk"))
    kinds = {"any": comments, "open": comments.filter(resolved_at=None)}
    if term.value.lower() not in kinds:
        raise mistake("Write comments:open or comments:any.", term.start, term.end)
    return Q(Exists(kinds[term.value.lower()]))


def _picked(term: Term, at: Setting) -> Q:
    number = terms.whole(term.value)
    pick = at.label_set.project.picks.filter(pk=number).first() if number is not None else None
    if pick is None:
        raise mistake(f"There is no choice of images “{term.value[:60]}” here.", term.start, term.end)
    return Q(pk__in=picks.listed(pick.image_ids))


def _mentions(term: Term, at: Setting) -> Q:
    return Q(Exists(Comment.objects.filter(image=OuterRef("pk"), mentions=at.person(term))))


def _name(term: Term, at: Setting) -> Q:
    # Some systems write an accent as a character of its own.
    ways = {unicodedata.normalize(form, term.value) for form in ("NFC", "NFD")}
    return Q(*(Q(name__icontains=way) for way in sorted(ways)), _connector=Q.OR)


class Key(NamedTuple):
    """What may stand before a colon: what it means, how it is written, and the field that may be empty."""

    means: str
    examples: Sequence[str]
    condition: Callable[[Term, Setting], Q]
    nullable: str = ""


def _figure(name: str, means: str) -> Key:
    examples = [f"{name}:<0.6", f"{name}:>=0.6", f"{name}:0.2..0.5"]
    return Key(means, examples, _figure_asked(name), name)


KEYS = {
    "label": Key(
        "the label: settled, or else suggested",
        ["label:cat", 'label:"red circle"'],
        _label("label_id"),
        "label_id",
    ),
    "suggested": Key(
        "the label that CLIP suggests", ["suggested:cat"], _label("suggested_id"), "suggested_id"
    ),
    "runner": Key("the label that came second", ["runner:dog"], _label("runner_up_id"), "runner_up_id"),
    "status": Key(
        f"{', '.join(dict(STATUSES))}; {REVIEWED} is each of the last four",
        ["status:unreviewed", "status:reviewed"],
        _status,
    ),
    "probability": _figure("probability", "the probability of the suggested label, 0 to 1 or in %"),
    "margin": _figure("margin", "how far the runner-up is behind"),
    "similarity": _figure("similarity", "the cosine of picture and label, −1 to 1"),
    "by": Key("whose answer is the settled one", ["by:anna", "by:me"], _by, "decider"),
    "decided": Key(
        "when that was",
        ["decided:2026-01-31", "decided:>2026-01"],
        _date("decided_at", "decided:>2026-01-31"),
        "decided_at",
    ),
    "assigned": Key("who is to review it", ["assigned:anna", "assigned:me", "assigned:nobody"], _assigned),
    "comments": Key("whether somebody commented on it", ["comments:open", "comments:any"], _comments),
    "mentions": Key("whom a comment on it names", ["mentions:me"], _mentions),
    "uploader": Key("who added it", ["uploader:anna", "uploader:me"], _uploader, "uploaded_by"),
    "uploaded": Key(
        "when that was",
        ["uploaded:>2026-01-01", "uploaded:2026-01", "uploaded:2026-01-01..2026-03-31"],
        _date("uploaded_at", "uploaded:>2026-01-31"),
    ),
    "picked": Key("images that somebody chose on the map or from a group", ["picked:12"], _picked),
    "name": Key("a part of the file's name", ["name:holiday", 'name:"my cat"'], _name),
    "id": Key("its number", ["id:12", "id:100..200"], _number("pk", terms.whole, "id:12")),
    "width": Key("in pixels", ["width:>=1000"], _number("width", terms.whole, "width:>1000")),
    "height": Key("in pixels", ["height:<300"], _number("height", terms.whole, "height:>1000")),
    "size": Key("of the file", ["size:>2MB", "size:<100KB"], _number("size", terms.in_bytes, "size:>2MB")),
}
# What matches have themselves, by the same name.
FIGURES = ("probability", "margin", "similarity")
# These are counted for every value at once, so that the toolbar can say what each would leave.
COUNTED = ("label", "status")
# Said twice, comparisons of one key must both hold; of what names a value, either.
COMPARED = (*FIGURES, "decided", "uploaded", "id", "width", "height", "size")
