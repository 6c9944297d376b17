"""The search line as text: its terms, their places, and what numbers and dates in it mean. Knows no rows."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone

LONGEST, MOST_TERMS = 1000, 20
# Keys of what is looked for in the pictures: words, an image of the project, a picture that was shown.
WORDS, SIMILAR, PICTURE = "", "similar", "picture"
HEAVIEST = 100
# -key:"a value" or -key:value, or what is left of it where a part is missing. In quotes, "" is a quote.
TERM = re.compile(
    r"(?P<sign>-?)(?:(?P<key>[^\s:\"]+):)?(?:\"(?P<quoted>(?:[^\"]|\"\")*)(?P<closed>\"?)|(?P<bare>\S*))"
)
# Between what is looked for in the pictures. `+red` is a plus and a word; `-red` is a word with its minus.
SIGN = re.compile(r"\+|-(?=\s|$)")
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
    # How much it counts among what is looked for in the pictures.
    weight: float = 1

    def __str__(self) -> str:
        return f"{'-' if self.negated else ''}{self.body}"

    @property
    def body(self) -> str:
        """The term without its sign."""
        if self.key == WORDS:
            words = self.value.split(" ")
            is_plain = all(BARE.fullmatch(word) and ":" not in word and word[0] not in "+-" for word in words)
            value = self.value if is_plain else in_quotes(self.value)
        else:
            is_plain = BARE.fullmatch(self.value) and not self.quoted
            value = f"{self.key}:{self.value if is_plain else in_quotes(self.value)}"
        return value if self.weight == 1 else f"{self.weight:g}:{value}"

    @property
    def is_sought(self) -> bool:
        """Whether it says what to look for in the pictures."""
        return self.key in (WORDS, SIMILAR, PICTURE)

    @property
    def compares(self) -> bool:
        """Whether it asks for more or less than something, or for what is between."""
        return self.value.startswith(("<", ">")) or ".." in self.value


def in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def read(text: str) -> list[Term]:
    """The terms of a line. Raises ValidationError with every mistake: see `mistake`."""
    if len(text) > LONGEST:
        raise mistake(f"The search line takes up to {LONGEST:,} characters.", LONGEST, len(text))
    if unfit := UNFIT.search(text):
        raise mistake("There is a character in it that no text has.", *unfit.span())
    line, mistakes, at = _Line(), [], 0
    while found := re.compile(r"\S").search(text, at):
        match = SIGN.match(text, found.start()) or TERM.match(text, found.start())
        at = match.end()
        try:
            line.take(match)
        except ValidationError as error:
            mistakes.append(error)
    if not mistakes:
        mistakes = line.unfinished(text)
    if mistakes:
        raise ValidationError(mistakes)
    return line.terms


class _Line:
    """The terms that were read so far, and the sign that stands before the next one."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.sign: re.Match[str] | None = None
        # Whether a bare word goes on with the words before it.
        self.goes_on = False

    def take(self, match: re.Match[str]) -> None:
        """Raises ValidationError."""
        if match.re is SIGN:
            before, self.sign, self.goes_on = self.sign, match, False
            if before or (match[0] == "+" and not self.sought):
                raise mistake(f"There is nothing before this “{match[0]}”.", *match.span())
            return
        sign, self.sign = self.sign, None
        term = _term(match)
        if not term.is_sought:
            self.goes_on = False
            if sign:
                raise mistake(f"After “{sign[0]}” comes what to look for in the pictures.", *sign.span())
        elif self.goes_on and _is_word(term):
            last = self.terms[-1]
            term = replace(last, value=f"{last.value} {term.value}", end=term.end)
            del self.terms[-1]
        else:
            if sign and term.negated:
                raise mistake("Two signs follow each other.", sign.start(), term.start + 1)
            if self.sought and not sign and not term.negated:
                raise mistake("Put a + or a - before it.", term.start, term.end)
            term = replace(term, negated=term.negated or bool(sign and sign[0] == "-"))
            self.goes_on = term.key == WORDS and not term.quoted
            # Quotes only keep such words together.
            term = replace(term, quoted=term.quoted and term.key != WORDS)
        self.terms.append(term)

    @property
    def sought(self) -> list[Term]:
        return [term for term in self.terms if term.is_sought]

    def unfinished(self, text: str) -> list[ValidationError]:
        """What is wrong with the line as a whole."""
        if self.sign:
            return [mistake(f"Nothing follows this “{self.sign[0]}”.", *self.sign.span())]
        if self.sought and all(term.negated for term in self.sought):
            first = self.sought[0]
            return [mistake("Say also what to look for, not only what not.", first.start, first.end)]
        if len(self.terms) > MOST_TERMS:
            over = self.terms[MOST_TERMS]
            return [mistake(f"The search line takes up to {MOST_TERMS} parts.", over.start, len(text))]
        return []


def _is_word(term: Term) -> bool:
    return term.key == WORDS and not (term.quoted or term.negated) and term.weight == 1


def _term(match: re.Match[str]) -> Term:
    start, end = match.span()
    key, quoted = match["key"] or WORDS, match["quoted"] is not None
    value = match["quoted"].replace('""', '"') if quoted else match["bare"]
    if quoted and not match["closed"]:
        raise mistake("A quote is opened here and never closed.", match.start("quoted") - 1, end)
    if quoted and match.string[end : end + 1].strip():
        raise mistake("After a closing quote comes a space.", end, end + 1)
    if not value.strip() and (not key or not value):
        if not key:
            raise mistake(f"“{_short(match[0])}” alone says nothing.", start, end)
        raise mistake(f"“{_short(key)}:” needs a value right behind it, as in label:cat.", start, end)
    term = Term(key.lower(), value, bool(match["sign"]), quoted, start, end)
    return _weighed(term) if NUMBER.fullmatch(key) else term


def _weighed(term: Term) -> Term:
    """Of `2:beach` and `2:similar:12`: what is meant by it."""
    weight = float(f"{fraction(term.key):g}")
    if not 0 < weight <= HEAVIEST:
        raise mistake(f"A weight is a number up to {HEAVIEST}, as in 2:beach.", term.start, term.end)
    key, colon, value = term.value.partition(":")
    if colon and not term.quoted:
        if key.lower() not in (SIMILAR, PICTURE):
            raise mistake(f"“{_short(key)}:” takes no weight.", term.start, term.end)
        return replace(term, key=key.lower(), value=value, weight=weight)
    return replace(term, key=WORDS, weight=weight)


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
