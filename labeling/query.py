"""The search line, applied: `label:cat status:unreviewed probability:<0.6 by:anna -label:dog`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from gallery.access import User
from gallery.models import Image
from labeling import search, terms
from labeling.models import STATUSES, LabelSet, Match
from labeling.search import Find
from labeling.search_keys import (
    COMPARED,
    COUNTED,
    FIGURES,
    KEYS,
    REVIEWED,
    SETTLED,
    WIDE,
    Setting,
    labels,
    statuses,
)
from labeling.terms import Term, mistake

MOST_WORDS = 300
CUTOFF = "cutoff"


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
    # What is looked for in the pictures, and what was found of it.
    sought: tuple[Term, ...] = ()
    find: Find | None = None

    @property
    def terms(self) -> list[Term]:
        return [*(part.term for part in self.parts), *self.sought, *self._cutoff]

    @property
    def _cutoff(self) -> list[Term]:
        asked = self.find and self.find.asked
        return [] if asked is None else [Term(CUTOFF, f"{asked:g}")]

    @property
    def filters(self) -> list[Term]:
        """The terms that say nothing of what is looked for in the pictures."""
        return [part.term for part in self.parts]

    def words(self) -> str:
        """What is looked for in the pictures, as it is written."""
        return line(self.sought)

    def __str__(self) -> str:
        return line(self.terms)

    def __bool__(self) -> bool:
        return bool(self.parts or self.sought)

    def filter(self, images: QuerySet[Image]) -> QuerySet[Image]:
        """Of `label_set.images()`: those that fit."""
        return self._found(_filtered(images, self.parts))

    def split_uncounted(self, images: QuerySet[Image]) -> tuple[QuerySet[Image], QuerySet[Image] | None]:
        """Those that fit, but for the terms that `fits` looks at, and the others, if that is faster."""
        parts = [part for part in self.parts if part.term.key not in COUNTED]
        condition = _condition(parts) & (self.find.condition() if self.find else Q())
        images = _with_fields(images, parts)
        if self.needs_match:
            return images.filter(condition), None
        # Of what is not there, SQL knows neither whether it fits nor whether it does not.
        fit = Case(When(condition, then=Value(True)), default=Value(False))
        return images.filter(condition), images.alias(fit=fit).filter(fit=False)

    def filter_matches(self, label_set: LabelSet) -> QuerySet[Match]:
        """The matches of the images that fit, in such a way that the database goes along the matches."""
        others = [part for part in self.parts if part.term.key not in FIGURES]
        matches = _filtered(label_set.matches.all(), [p for p in self.parts if p.term.key in FIGURES])
        if not others and not self.find:
            return matches
        images = self._found(_filtered(label_set.images(), others)).order_by()
        return matches.filter(Exists(images.filter(pk=OuterRef("image"))))

    def _found(self, images: QuerySet[Image]) -> QuerySet[Image]:
        return images.filter(self.find.condition()) if self.find else images

    def ranked(self, images: QuerySet[Image]) -> list[int]:
        """The ids of those of `label_set.images()` that fit, most similar to what is looked for first."""
        if not self.parts:
            return self.find.ids
        fit = set(self.filter(images).order_by().values_list("pk", flat=True))
        return [image_id for image_id in self.find.ids if image_id in fit]

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

    @property
    def needs_match(self) -> bool:
        """Whether it finds no image that has no match."""
        return any(part.term.key in FIGURES and not part.term.negated for part in self.parts)

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
    words, is_first = [], True
    for term in found:
        sign = ("- " if term.negated else "" if is_first else "+ ") if term.is_sought else None
        words.append(str(term) if sign is None else sign + term.body)
        is_first = is_first and not term.is_sought
    return " ".join(words)


def _groups(parts: Iterable[Part]) -> list[list[Part]]:
    """Parts of which one must hold: those of one key. Comparisons and what is negated stand alone."""
    groups: dict[Any, list[Part]] = defaultdict(list)
    for number, part in enumerate(parts):
        term = part.term
        alone = term.negated or (term.key in COMPARED and term.compares)
        groups[number if alone else term.key].append(part)
    return list(groups.values())


def _condition(parts: Iterable[Part]) -> Q:
    groups = (Q(*(part.holds() for part in group), _connector=Q.OR) for group in _groups(parts))
    return Q(*groups)


def _with_fields(rows: QuerySet, parts: Iterable[Part]) -> QuerySet:
    """Of images, or of matches where the parts are about FIGURES alone: with all that the parts look at."""
    if any(part.term.key == "by" for part in parts):
        rows = rows.alias(decider=F("annotation__decided_by"))
    return rows.alias(**WIDE)


def _filtered(rows: QuerySet, parts: Sequence[Part]) -> QuerySet:
    return _with_fields(rows, parts).filter(_condition(parts))


def parse(text: str, label_set: LabelSet, user: User, among: int | None = None) -> Query:
    """What the line asks for. Raises ValidationError with all mistakes, each with its place: see `pieces`.

    `among`: how many of the project's embeddings it looks at, so that the pages of one search stay the same.
    """
    at, parts, mistakes = Setting(label_set, user), [], []
    read = terms.read(text)
    sought = tuple(term for term in read if term.is_sought)
    asked = what = None
    for term in read:
        try:
            if not term.is_sought and term.key != CUTOFF:
                parts.append(_part(term, at))
        except ValidationError as error:
            mistakes.append(error)
    try:
        asked = cutoff([term for term in read if term.key == CUTOFF], sought)
    except ValidationError as error:
        mistakes.append(error)
    try:
        what = search.read(sought, [label_set.project_id]) if sought else None
    except ValidationError as error:
        mistakes.append(error)
    if mistakes:
        raise ValidationError(mistakes)
    find = Find(label_set.project_id, what, asked, among) if what else None
    return Query(tuple(parts), sought, find)


def cutoff(said: Sequence[Term], sought: Sequence[Term]) -> float | None:
    """The cut-off that is asked for, if one is. Raises ValidationError."""
    if not said:
        return None
    term, *others = said
    value = terms.fraction(term.value)
    if value is None or term.negated:
        raise mistake("Write the least similarity of a find, as in cutoff:0.25.", term.start, term.end)
    if not sought:
        raise mistake("A cut-off goes with what to look for: red car cutoff:0.25.", term.start, term.end)
    if others:
        raise mistake("There is one cut-off already.", others[0].start, others[0].end)
    return value


def _part(term: Term, at: Setting) -> Part:
    key = KEYS.get(term.key)
    if key is None:
        near = terms.nearest(term.key, [*KEYS, CUTOFF, terms.SIMILAR])
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
