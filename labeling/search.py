"""Search by CLIP: words, images, pictures and their arithmetic against a project's embeddings."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from django.core.exceptions import ValidationError
from django.db.models import Q

from gallery.models import Image, set_aside_ids
from labeling import clip, cutoff, embeddings, picks, ranking, terms, vector_sync, vectors
from labeling.models import Embedding, Probe
from labeling.scoring import Rows, unit
from labeling.terms import PICTURE, WORDS, Term, mistake
from labeling.vectors import Matrix

# Of the similarities that a histogram shows.
BARS = 60
DIGITS = 3


@dataclass(frozen=True)
class Sought:
    """What to look for: a vector for all that is added, a weight and a vector for each that is taken away."""

    model: str
    wanted: np.ndarray  # (d,)
    weights: np.ndarray  # (m,), m ≥ 0
    unwanted: Rows  # (m, d)


def read(sought: Sequence[Term], project_ids: Sequence[int]) -> Sought:
    """What the terms mean, for images of these projects. Loads CLIP where there are words among them.

    Raises ValidationError with the place of every mistake.
    """
    try:
        model = clip.current().key
    except clip.ModelUnusable as error:
        raise mistake(str(error), sought[0].start, sought[-1].end) from error
    rows, mistakes = [], []
    for term in sought:
        try:
            rows.append(_row(term, model, project_ids))
        except ValidationError as error:
            mistakes.append(error)
    if mistakes:
        raise ValidationError(mistakes)
    signs = np.array([term.negated for term in sought])
    weights = np.array([term.weight for term in sought], np.float32)
    rows = np.stack(rows)
    wanted = unit((weights[~signs, None] * rows[~signs]).sum(axis=0))
    return Sought(model, wanted, weights[signs], rows[signs])


def _row(term: Term, model: str, project_ids: Sequence[int]) -> np.ndarray:
    """(d,): the unit vector of one term. Raises ValidationError."""
    if term.key == WORDS:
        try:
            return clip.engine().embed_texts([term.value])[0]
        except clip.ModelUnusable as error:
            raise mistake(str(error), term.start, term.end) from error
    number = terms.whole(term.value)
    if number is None:
        raise mistake(f"“{term.value[:60]}” is no number: write {term.key}:12.", term.start, term.end)
    if term.key == PICTURE:
        probe = Probe.objects.filter(pk=number, model=model, project__in=project_ids).first()
        if probe is None:
            raise mistake("That picture is not remembered any more: show it again.", term.start, term.end)
        return embeddings.from_bytes(probe.vector)
    if not Image.objects.filter(pk=number, project__in=project_ids).exists():
        raise mistake(f"There is no image {number} here.", term.start, term.end)
    stored = Embedding.objects.filter(image=number, model=model).first()
    if stored is None:
        raise mistake(f"Image {number} has not been looked at by CLIP yet.", term.start, term.end)
    return embeddings.from_bytes(stored.vector)


def similarities(rows: Rows, sought: Sought) -> np.ndarray:
    """(n,) for (n, d) image rows: the cosine to what is wanted, less what the image has of what is not.

    A plain difference of vectors, as of words in Mikolov et al. 2013, also rewards being the opposite of
    what is taken away, and then finds squares that are not red for `red circle - blue`. So an image loses
    weight × (its cosine to that − the project's median), where it is above the median, and else nothing.
    """
    cosines = ranking.cosines(rows, np.stack([sought.wanted, *sought.unwanted]))
    found = cosines[:, 0].copy()
    for weight, others in zip(sought.weights, cosines[:, 1:].T, strict=True):
        found -= weight * np.maximum(others - np.median(others), 0)
    return found


class Bar(NamedTuple):
    """Of a histogram: how many it is from the left, its height in %, and whether finds are in it."""

    place: int
    height: float
    is_above: bool


@dataclass(frozen=True)
class Find:
    """What a search found in one project: the images whose similarity is the cut-off or more."""

    project_id: int
    sought: Sought
    asked: float | None = None
    # Only the images that were embedded by then, so that pages don't shift: a number of rows.
    among: int | None = None
    # Where many projects are searched these are asked for once: see `finds`.
    newest: int | None = None
    aside: Collection[int] | None = None

    @cached_property
    def _matrix(self) -> Matrix:
        return vectors.of(self.project_id, self.sought.model, self.newest)

    @cached_property
    def _similarities(self) -> np.ndarray:
        rows = self._matrix.rows[: self.among]
        return similarities(rows, self.sought) if len(rows) else np.empty(0, np.float32)

    @cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and similarities (n,) of the project's images, in the order in which they were embedded."""
        ids, found = self._matrix.ids[: self.among], self._similarities
        aside = _aside([self.project_id])[self.project_id] if self.aside is None else self.aside
        if aside:
            here = ~np.isin(ids, aside)
            ids, found = ids[here], found[here]
        return ids, found

    @property
    def searched(self) -> int:
        """How many images were looked at."""
        return len(self._all[0])

    @cached_property
    def suggested(self) -> float:
        """A sensible cut-off, rounded so that it can be written down."""
        found = self._all[1]
        return round(cutoff.stands_out(found), DIGITS) if len(found) else 0.0

    @property
    def cutoff(self) -> float:
        return self.suggested if self.asked is None else self.asked

    @cached_property
    def ids(self) -> list[int]:
        """The images found, most similar first; of equals the older one."""
        ids, found = self._all
        above = np.flatnonzero(found >= self.cutoff)
        return ids[above[np.lexsort((ids[above], -found[above]))]].tolist()

    def forget(self) -> None:
        """Some of the ids are of images that are gone: the next search looks for all that went."""
        vectors.forget(self.project_id, self.sought.model)

    def condition(self) -> Q:
        return Q(pk__in=picks.listed(self.ids))

    def similarity(self, image_ids: Iterable[int]) -> dict[int, float]:
        """Of those of the images that were looked at."""
        ids, found = self._matrix.ids, self._similarities
        places = self._matrix.positions(np.array([*image_ids], np.int64))
        return {int(ids[place]): float(found[place]) for place in places if place < len(found)}

    @cached_property
    def histogram(self) -> list[int]:
        """How many images have which similarity: BARS bars of equal width from `low` to `high`."""
        found = self._all[1]
        return np.histogram(found, BARS, (self.low, self.high))[0].tolist() if len(found) else []

    @property
    def bars(self) -> list[Bar]:
        """The histogram as it is drawn: the root of each count, so that few finds can be seen beside many."""
        most, width = max(self.histogram, default=0) or 1, (self.high - self.low) / BARS
        return [
            Bar(place, round(100 * (count / most) ** 0.5, 1), self.low + (place + 1) * width > self.cutoff)
            for place, count in enumerate(self.histogram)
        ]

    @property
    def low(self) -> float:
        found = self._all[1]
        return float(np.floor(found.min() * 100) / 100) if len(found) else 0.0

    @property
    def high(self) -> float:
        found = self._all[1]
        return max(float(np.ceil(found.max() * 100) / 100), self.low + 0.01) if len(found) else 1.0


def finds(project_ids: Sequence[int], sought: Sought, asked: float | None) -> list[Find]:
    """A search of each of several projects, in as many queries as of one where nothing is new."""
    newest, aside = vector_sync.newest(sought.model), _aside(project_ids)
    return [Find(pk, sought, asked, newest=newest, aside=aside[pk]) for pk in project_ids]


def _aside(project_ids: Sequence[int]) -> defaultdict[int, list[int]]:
    """By project, the ids of the images that are set aside."""
    found = defaultdict(list)
    rows = set_aside_ids().filter(project__in=project_ids).values_list("project", "pk")
    for project_id, image_id in rows:
        found[project_id].append(image_id)
    return found


def nearest(finds: Sequence[Find], count: int) -> list[tuple[int, float]]:
    """The images found in any of several projects, most similar first: (id, similarity), at most `count`."""
    found = [pair for find in finds for pair in find.similarity(find.ids[:count]).items()]
    return sorted(found, key=lambda each: (-each[1], each[0]))[:count]
