"""The search line as text: its terms, their places, and what numbers and dates in it mean. Knows no rows."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone

LONGEST, MOST_TERMS = 1000, 20
# -key:"a value" or -key:value, or what is left of it where a part is missing. In quotes, "" is a quote.
TERM = re.compile(
    r"(?P<sign>-?)(?:(?P<key>[^\s:\"]+):)?(?:\"(?P<quoted>(?:[^\"]|\"\")*)(?P<closed>\"?)|(?P<bare>\S*))"
)
BARE = re.compile(r"[^\s\"]\S*")
# No database takes them: NUL, and halves of a character.
UNFIT = re.compile(r"[\x00\ud800-\udfff]")
OPERATORS = {"<=": "lte", ">=": "gte", "<": "lt", ">": "gt"}
# Never more digits than a float or an integer of the database holds: `1e999999` is none.
NUMBER = re.compile(r"-?(?:\d{1,12}(?:\.\d{0,15})?|\.\d{1,15})(?:e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"\d{1,15}", re.ASCII)
DATE = re.compile(r"(19\d\d|2\d{3})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)


@dataclass(frozen=True)
class Term:
    """One part of the line. `start` and `end`: where it stands in the text that it was read from."""

    key: str
    value: str
    negated: bool = False
    # In quotes a word like `me` is a name.
    quoted: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        value = self.value
        if self.quoted or not BARE.fullmatch(value):
            value = '"' + value.replace('"', '""') + '"'
        return f"{'-' if self.negated else ''}{self.key}:{value}"

    @property
    def compares(self) -> bool:
        """Whether it asks for more or less than something, or for what is between."""
        return self.value.startswith(("<", ">")) or ".." in self.value


def read(text: str) -> list[Term]:
    """The terms of a line. Raises ValidationError with every mistake: see `mistake`."""
    if len(text) > LONGEST:
        raise mistake(f"The search line takes up to {LONGEST:,} characters.", LONGEST, len(text))
    if unfit := UNFIT.search(text):
        raise mistake("There is a character in it that no text has.", *unfit.span())
    terms, mistakes, at = [], [], 0
    while found := re.compile(r"\S").search(text, at):
        match = TERM.match(text, found.start())
        at = match.end()
        try:
            terms.append(_term(match))
        except ValidationError as error:
            mistakes.append(error)
    if len(terms) > MOST_TERMS and not mistakes:
        over = terms[MOST_TERMS]
        mistakes.append(mistake(f"The search line takes up to {MOST_TERMS} parts.", over.start, len(text)))
    if mistakes:
        raise ValidationError(mistakes)
    return terms


def _term(match: re.Match[str]) -> Term:
    start, end = match.span()
    key, quoted = match["key"], match["quoted"] is not None
    value = match["quoted"].replace('""', '"') if quoted else match["bare"]
    if quoted and not match["closed"]:
        raise mistake("A quote is opened here and never closed.", match.start("quoted") - 1, end)
    if quoted and match.string[end : end + 1].strip():
        raise mistake("After a closing quote comes a space.", end, end + 1)
    if key is None:
        # Later such words will be searched in the pictures.
        shown = str(Term("name", value, quoted=quoted)).removeprefix("name:")
        raise mistake(
            f"“{_short(value)}” alone says nothing: write label:{shown} or name:{shown}."
            if value.strip()
            else f"“{_short(match[0])}” alone says nothing.",
            start,
            end,
        )
    if not value:
        raise mistake(f"“{_short(key)}:” needs a value right behind it, as in label:cat.", start, end)
    return Term(key.lower(), value, bool(match["sign"]), quoted, start, end)


def mistake(words: str, start: int, end: int) -> ValidationError:
    """What is wrong with the characters from `start` to before `end`, which stand in its `params`."""
    return ValidationError("%(words)s", code="search", params={"words": words, "start": start, "end": end})


def unknown(term: Term, what: str, known: Iterable[str]) -> ValidationError:
    """That there is no `what` of the term's value, with the nearest that there is."""
    near = nearest(term.value, known)
    hint = f" Did you mean “{near}”?" if near else ""
    return mistake(f"There is no {what} “{_short(term.value)}” here.{hint}", term.start, term.end)


def nearest(word: str, known: Iterable[str]) -> str | None:
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(word[:200].casefold(), by_folded, 1)
    return by_folded[found[0]] if found else None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def comparisons(term: Term, example: str) -> list[tuple[str, str]]:
    """What the value asks for as look-ups with what they compare to: `<0.6` is [("lt", "0.6")]."""
    for sign, lookup in OPERATORS.items():
        if term.value.startswith(sign):
            return [(lookup, term.value.removeprefix(sign))]
    low, dots, high = term.value.partition("..")
    if not dots:
        return [("exact", term.value)]
    if not low and not high:
        raise mistake(f"A range needs a beginning or an end, as in {example}.", term.start, term.end)
    return [(lookup, end) for lookup, end in (("gte", low), ("lte", high)) if end]


def fraction(text: str) -> float | None:
    """`0.25` or `25%`; None for what is no number."""
    number = text.removesuffix("%")
    if not NUMBER.fullmatch(number):
        return None
    return float(number) / (100 if text.endswith("%") else 1)


def whole(text: str) -> int | None:
    return int(text) if WHOLE.fullmatch(text) else None


def in_bytes(text: str) -> int | None:
    """`2000`, `200KB` or `1.5MB`, as sizes are shown on the pages: a KB is 1,024 bytes."""
    number, unit = re.fullmatch(r"(.*?)(kb|mb|gb|)", text.lower(), re.DOTALL).groups()
    value = fraction(number) if unit and "%" not in number else whole(number)
    return None if value is None or value < 0 else _capped(value * 1024 ** ["", "kb", "mb", "gb"].index(unit))


def _capped(value: float) -> int:
    return int(min(value, 10**15))


def period(text: str) -> tuple[datetime, datetime] | None:
    """From when until before when a year, month or day is, by the site's clock; None for what is no date."""
    match = DATE.fullmatch(text)
    if not match:
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        first = date(year, month or 1, day or 1)
    except ValueError:
        return None
    if day:
        last = first + timedelta(days=1)
    elif month:
        last = date(year + month // 12, month % 12 + 1, 1)
    else:
        last = date(year + 1, 1, 1)
    return _midnight(first), _midnight(last)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.get_default_timezone())
