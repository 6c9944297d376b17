"""The search line, applied: `label:cat status:unreviewed probability:<0.6 by:anna -label:dog`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet

from gallery.access import User
from gallery.models import Image
from labeling import terms
from labeling.models import STATUSES, LabelSet
from labeling.search_keys import COMPARED, COUNTED, KEYS, REVIEWED, SETTLED, Setting, labels, statuses
from labeling.terms import Term, mistake

MOST_WORDS = 300


def words(label_set: LabelSet) -> list[str]:
    """Terms to choose from while somebody types: those that need no thought, and the labels."""
    fixed = [f"status:{status}" for status in (*dict(STATUSES), REVIEWED)]
    fixed += [
        example for name, key in KEYS.items() if name not in ("label", "status") for example in key.examples
    ]
    names = [label.name for label in label_set.labels.all()[:MOST_WORDS]]
    return [*fixed, *(str(Term("label", name)) for name in names)]


@dataclass(frozen=True)
class Part:
    """A term with what it asks of the images. `values`: the label ids or statuses, of a COUNTED key."""

    term: Term
    condition: Q
    values: frozenset[Any] = frozenset()

    def holds(self) -> Q:
        if not self.term.negated:
            return self.condition
        nullable = KEYS[self.term.key].nullable
        # In SQL, what is not there differs from nothing.
        return ~self.condition | Q(**{f"{nullable}__isnull": True}) if nullable else ~self.condition


@dataclass(frozen=True)
class Query:
    """A search line that has been read."""

    parts: tuple[Part, ...] = ()

    @property
    def terms(self) -> list[Term]:
        return [part.term for part in self.parts]

    def __str__(self) -> str:
        return line(self.terms)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def filter(self, images: QuerySet[Image]) -> QuerySet[Image]:
        """Of `label_set.images()`: those that fit."""
        return _filtered(images, self.parts)

    def filter_uncounted(self, images: QuerySet[Image]) -> QuerySet[Image]:
        """As `filter`, but for the terms that `fits` looks at."""
        return _filtered(images, [part for part in self.parts if part.term.key not in COUNTED])

    def fits(self, key: str, value: Any) -> bool:
        """Whether an image of this label id or status fits the terms of that COUNTED key."""
        groups = _groups(part for part in self.parts if part.term.key == key)
        return all(any((value in part.values) != part.term.negated for part in group) for group in groups)

    def values(self, key: str) -> list[Any]:
        """The label ids or statuses that are asked for, of a COUNTED key."""
        return [value for part in self.parts if _asks(part.term, key) for value in part.values]

    @property
    def names_settled(self) -> bool:
        """Whether it asks for images that are decided about, in so many words."""
        asked = any(_asks(term, "by") or _asks(term, "decided") for term in self.terms)
        return asked or bool(set(self.values("status")) & set(SETTLED))

    def without(self, term: Term) -> str:
        return line(each for each in self.terms if each is not term)

    def with_(self, key: str, value: str) -> str:
        """The line with one more term at its end."""
        return line([*self.terms, Term(key, value)])

    def replaced(self, key: str, value: str | None) -> str:
        """The line with this value in place of all that it says of the key; None: with nothing of it."""
        return replaced(self.terms, key, value)


def replaced(found: Sequence[Term], key: str, value: str | None) -> str:
    others = [term for term in found if term.key != key]
    if value is not None:
        at = next((at for at, term in enumerate(found) if term.key == key), len(others))
        others.insert(at, Term(key, value))
    return line(others)


def _asks(term: Term, key: str) -> bool:
    return term.key == key and not term.negated


def line(found: Iterable[Term]) -> str:
    return " ".join(str(term) for term in found)


def _groups(parts: Iterable[Part]) -> list[list[Part]]:
    """Parts of which one must hold: those of one key. Comparisons and what is negated stand alone."""
    groups: dict[Any, list[Part]] = defaultdict(list)
    for number, part in enumerate(parts):
        term = part.term
        alone = term.negated or (term.key in COMPARED and term.compares)
        groups[number if alone else term.key].append(part)
    return list(groups.values())


def _filtered(images: QuerySet[Image], parts: Iterable[Part]) -> QuerySet[Image]:
    parts = list(parts)
    if any(part.term.key == "by" for part in parts):
        images = images.alias(decider=F("annotation__decided_by"))
    for group in _groups(parts):
        images = images.filter(Q(*(part.holds() for part in group), _connector=Q.OR))
    return images


def parse(text: str, label_set: LabelSet, user: User) -> Query:
    """What the line asks for. Raises ValidationError with all mistakes, each with its place: see `pieces`."""
    at, parts, mistakes = Setting(label_set, user), [], []
    for term in terms.read(text):
        try:
            parts.append(_part(term, at))
        except ValidationError as error:
            mistakes.append(error)
    if mistakes:
        raise ValidationError(mistakes)
    return Query(tuple(parts))


def _part(term: Term, at: Setting) -> Part:
    key = KEYS.get(term.key)
    if key is None:
        near = terms.nearest(term.key, KEYS)
        hint = f"Did you mean {near}:?" if near else f"There are {', '.join(KEYS)}."
        raise mistake(f"“{term.key[:60]}” is nothing to search by. {hint}", term.start, term.end)
    counted = {"label": labels, "status": statuses}.get(term.key)
    return Part(term, key.condition(term, at), frozenset(counted(term, at)) if counted else frozenset())


class Piece(NamedTuple):
    text: str
    is_wrong: bool


def pieces(text: str, error: ValidationError) -> list[Piece]:
    """The line in pieces, those that are mistaken marked."""
    marked = [False] * len(text)
    for each in error.error_list:
        start, end = each.params["start"], each.params["end"]
        marked[start:end] = [True] * (min(end, len(text)) - start)
    found: list[Piece] = []
    for character, is_wrong in zip(text, marked, strict=True):
        if found and found[-1].is_wrong == is_wrong:
            found[-1] = Piece(found[-1].text + character, is_wrong)
        else:
            found.append(Piece(character, is_wrong))
    return found
