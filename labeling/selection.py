"""The images that a page's line finds, in an order: counted, a page at a time, and the ways on from there."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import QueryDict

from gallery.access import User
from gallery.models import Image
from labeling import ordering, paging, query, terms
from labeling.models import STATUSES, UNREVIEWED, UNSCORED, Annotation, Label, LabelSet
from labeling.ordering import Key
from labeling.paging import Counts
from labeling.query import Query
from labeling.search import Find
from labeling.terms import Term

ORDERINGS = [
    ("-id", "Newest"),
    ("id", "Oldest"),
    ("-probability", "Most certain"),
    ("probability", "Least certain"),
    ("-margin", "Largest margin"),
    ("margin", "Smallest margin"),
]
# Where less than one in so many images is found, these are sorted; else the order is gone along.
FEW = 10
# Of what is found in the pictures, where it is the usual one; no field of the database has it.
NEAREST = "-likeness"
FIND_ORDERINGS = [(NEAREST, "Most like it"), *ORDERINGS]


def keys(value: str) -> list[Key]:
    """What one of ORDERINGS sorts by; newest first where it is none of them."""
    if value not in dict(ORDERINGS):
        value = "-id"
    return [Key(value.lstrip("-"), value.startswith("-")), Key("pk")]


def in_order(images: QuerySet[Image], value: str) -> QuerySet[Image]:
    return ordering.ordered(images, keys(value))


class Place(NamedTuple):
    """The ids of the images before and after one in the gallery, and how many there are before it."""

    previous: int | None
    next: int | None
    position: int


# Parameters that stand for a term of the line, of forms and of addresses from before it; a label by its id.
OLD = {
    "label": ("label", ""),
    "status": ("status", ""),
    # Of the handle beside the histogram.
    "cutoff": (query.CUTOFF, ""),
    "probability__lt": ("probability", "<"),
    "probability__gt": ("probability", ">"),
    "margin__lt": ("margin", "<"),
    "margin__gt": ("margin", ">"),
}


def line_of(label_set: LabelSet, params: QueryDict) -> str:
    """The search line that a page's parameters stand for."""
    text = params.get("q", "")
    for name, (key, sign) in OLD.items():
        value = params.get(name, "").strip()
        if not value:
            continue
        try:
            found = terms.read(text)
        except ValidationError:
            break  # it is pointed at, and nothing is found until it is mended
        if key == "label":
            value = {str(label.pk): label.name for label in label_set.labels.all()}.get(value, value)
        text = query.line([*found, Term(key, sign + value)]) if sign else query.replaced(found, key, value)
    return text


class Chip(NamedTuple):
    """A part of the line, and the address of the page without it."""

    words: str
    address: str


class Selection:
    """A label set's images as the parameters of a page find and sort them, and the ways on from there.

    A line with a mistake in it finds nothing: nobody shall act on images that they did not ask for.
    """

    def __init__(self, label_set: LabelSet, params: QueryDict, user: User) -> None:
        self.label_set = label_set
        self.line = line_of(label_set, params)
        self.mistakes: ValidationError | None = None
        try:
            self.search = query.parse(self.line, label_set, user, terms.whole(params.get("among", "")))
        except ValidationError as error:
            self.search, self.mistakes = Query(), error
        asked = params.get("ordering", "")
        self.orderings = FIND_ORDERINGS if self.find else ORDERINGS
        self.ordering: str = asked if asked in dict(self.orderings) else self.orderings[0][0]
        q = self.line if self.mistakes else str(self.search)
        ordering = self.ordering if asked == self.ordering else ""
        self.params = {name: value for name, value in (("q", q), ("ordering", ordering)) if value}
        found = label_set.images().none() if self.mistakes else self.search.filter(label_set.images())
        self.images = in_order(found, self.ordering)
        narrowed = any(term.key not in query.COUNTED for term in self.search.terms)
        images = label_set.images()
        self.counts = (
            Counts(label_set, *self.search.split_uncounted(images)) if narrowed else Counts(label_set)
        )

    @property
    def find(self) -> Find | None:
        """What is found in the pictures, where the line says what to look for."""
        return self.search.find

    @cached_property
    def ranked(self) -> list[int] | None:
        """The ids of the images found, most similar first, where that is their order."""
        if self.ordering != NEAREST or self.mistakes:
            return None
        return self.search.ranked(self.label_set.images())

    def page_of(self, ids: Sequence[int]) -> list[Image]:
        """These images of the label set, in this order, with their `likeness` to what is looked for."""
        images = self.label_set.images().in_bulk(list(ids))
        found = [images[image_id] for image_id in ids if image_id in images]
        if self.find and len(found) < len(ids):
            self.find.forget()
        self.liken(found)
        return found

    def liken(self, images: Iterable[Image]) -> None:
        """Say of each image how similar it is to what is looked for, as its `likeness`."""
        if self.find:
            likeness = self.find.similarity(image.pk for image in images)
            for image in images:
                image.likeness = likeness.get(image.pk)

    @property
    def pieces(self) -> list[query.Piece]:
        """The line with its mistakes marked."""
        return query.pieces(self.line, self.mistakes) if self.mistakes else []

    @property
    def new_label(self) -> str:
        """The words that are looked for, where they could be a label: one thing, and none that is there."""
        sought = self.search.sought
        if len(sought) != 1 or sought[0].key != terms.WORDS:
            return ""
        words = sought[0].value
        names = {label.name.casefold() for label in self.label_set.labels.all()}
        return "" if words.casefold() in names else words

    @property
    def without_cutoff(self) -> str:
        """The parameters of the same search with the cut-off that is suggested."""
        return self.query(q=self.line_without_cutoff)

    @property
    def line_without_cutoff(self) -> str:
        """The line to which another cut-off is added; alone, it has the one that is suggested."""
        return self.search.replaced(query.CUTOFF, None)

    @property
    def chips(self) -> list[Chip]:
        """Each filter, and all that is looked for in the pictures as one."""
        chips = [
            Chip(str(term), self.query(q=self.search.without(term) or None)) for term in self.search.filters
        ]
        if self.find:
            chips.append(Chip(self.search.words(), self.query(q=query.line(self.search.filters) or None)))
        return chips

    @property
    def is_filtered(self) -> bool:
        return "q" in self.params

    @cached_property
    def total(self) -> int:
        """All images of the project."""
        narrowed = self.find or any(term.key not in query.COUNTED for term in self.search.filters)
        return self.label_set.project.images.count() if narrowed else self.counts.by_status().total()

    @cached_property
    def found(self) -> Counter[str]:
        """How many images are found, by status."""
        counts: Counter[str] = Counter()
        if not self.mistakes:
            for label, status, count in self.counts.rows:
                if self.search.fits("label", label) and self.search.fits("status", status):
                    counts[status] += count
        return counts

    def number(self) -> int:
        """How many images are found."""
        return self.found.total()

    def rows(self, start: int, stop: int) -> list[Image]:
        """The images found from place `start` to before `stop`."""
        if self.ranked is not None:
            return self.page_of(self.ranked[start:stop])
        order, number = keys(self.ordering), self.number()
        stop = min(stop, number)
        if order[0].name == "id" or number * FEW < self.total:
            return paging.rows(self.label_set, self.images, order, start, stop, number)
        # Along the figure's index, and after those that have a match the others by their ids.
        matches = self.search.filter_matches(self.label_set)
        if stop <= self.left and start + stop <= number:
            # Near the front, and as many as that have a match: no need to count those that have none.
            return paging.by_figure(self.label_set, matches, order, start, stop, start + stop)
        matched = number - self.unmatched
        others = self.images.filter(match=None)
        return [
            *paging.by_figure(self.label_set, matches, order, start, stop, matched),
            *paging.rows(
                self.label_set, others, order[1:], max(start - matched, 0), stop - matched, self.unmatched
            ),
        ]

    @cached_property
    def unmatched(self) -> int:
        """How many of the images found have no match: those that nothing was said of, and some settled."""
        if not self.settled or self.search.needs_match:
            return self.found[UNSCORED]
        match = self.label_set.matches.filter(image=OuterRef("image"))
        lacking = self.label_set.annotations.filter(~Exists(match)).order_by().values("image")
        return self.found[UNSCORED] + self.images.order_by().filter(pk__in=lacking).count()

    def query(self, **changes: Any) -> str:
        """The parameters of an address that shows the same, but for `changes`; None leaves one out."""
        params = {"label_set": self.label_set.pk} | self.params | changes
        return urlencode(
            {name: value for name, value in params.items() if value is not None}, errors="replace"
        )

    @property
    def left(self) -> int:
        """Images found that wait for a review."""
        return self.found[UNREVIEWED]

    @property
    def to_review(self) -> int:
        """Those that wait; all that are found, where the line itself asks for settled ones."""
        return self.number() if self.search.names_settled else self.left

    @property
    def review_query(self) -> str:
        """The parameters of the review page for the images found, as they are now."""
        return urlencode({"q": self.params["q"], "since": int(time.time())}) if self.is_filtered else ""

    @property
    def settled(self) -> int:
        """Images found that people decided about."""
        return sum(self.found[status] for status in Annotation.Status.values)

    def place(self, image: Image) -> Place:
        """Where an image of `label_set.images()` stands, also one that the filters leave out (by now)."""
        if self.ranked is not None:
            return self._rank(image.pk)
        order = keys(self.ordering)
        at = {key.name: getattr(image, key.name) for key in order}
        before = ordering.before(self.images, order, at).values_list("pk", flat=True)
        after = ordering.after(self.images, order, at).values_list("pk", flat=True)
        return Place(before.first(), after.first(), before.count())

    def _rank(self, image_id: int) -> Place:
        """Of an image that is not found (any more): as if it came before all that are."""
        at = self.ranked.index(image_id) if image_id in self.ranked else -1
        around = [None, *self.ranked, None] if at >= 0 else [None, None, *self.ranked[:1], None]
        return Place(around[max(at, 0)], around[max(at, 0) + 2], max(at, 0))

    @property
    def status(self) -> str | None:
        """The one status that is asked for; "" where it is any, None where it is something else."""
        return self._chosen("status")

    @property
    def label(self) -> int | str | None:
        """The id of the one label that is asked for; "" where it is any, None where it is something else."""
        return self._chosen("label")

    def _chosen(self, key: str) -> Any:
        said = [term for term in self.search.terms if term.key == key]
        values = self.search.values(key)
        if len(said) == len(values) == 1:
            return values[0]
        return None if said or self.mistakes else ""

    @property
    def line_for_label(self) -> str:
        """The line to which a choice of a label is added."""
        return self.search.replaced("label", None) if self.label else str(self.search)

    def statuses(self) -> list[tuple[str, str, int, str]]:
        """Value, name, number of images and address of each status that is there or chosen, and of all."""
        counts: Counter[str] = Counter()
        for label, status, count in self.counts.rows:
            counts[status] += count if self.search.fits("label", label) else 0
        named = [
            (value, name, counts[value], self._with_status(value))
            for value, name in STATUSES
            if counts[value] or value == self.status
        ]
        return [("", "all", counts.total(), self._with_status(None)), *named]

    def _with_status(self, value: str | None) -> str:
        return self.query(q=self.search.replaced("status", value) or None)

    def labels(self) -> list[tuple[Label, int]]:
        """Each label, and how many images of the chosen status have it."""
        counts: Counter[int | None] = Counter()
        for label, status, count in self.counts.rows:
            counts[label] += count if self.search.fits("status", status) else 0
        return [(label, counts[label.pk]) for label in self.label_set.labels.all()]
