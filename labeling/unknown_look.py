"""One look for images that no label fits: the unknown ones, the outlying ones, and their groups' names."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from labeling import clip, scoring, unknowns, vectors
from labeling.models import Label, LabelSet, UnknownGroup
from labeling.scoring import Rows

# Those farthest from every label are looked at more closely: enough for all people's patience.
MOST = 3000
MOST_OUTLIERS, MOST_GROUPS = 100, 50
# What is usual in the project is learned from so many of its images.
SAMPLE = 1000
# So many robust deviations from what is usual is far.
FAR = 3.0
TEXTS_AT_ONCE = 64
# Images whose neighbours are looked for in one step: some seconds among 100,000.
AT_ONCE = 500
WORD_TEMPLATE = "a photo of a {}."
PROPOSED = 6


@lru_cache(maxsize=1)
def vocabulary() -> list[str]:
    """The words that groups are named from: everyday nouns and scenes, and what the starter model knows."""
    return (Path(__file__).parent / "vocabulary.txt").read_text().split("\n")[:-1]


@dataclass
class Findings:
    """What a look has found: counts, outliers as rows of JSON, and groups that are not saved yet."""

    looked: int = 0
    unknown: int = 0
    outliers: list[dict[str, object]] = field(default_factory=list)
    groups: list[UnknownGroup] = field(default_factory=list)


class Look:
    """One look, step by step: what it has learned so far about images, labels and the project."""

    def __init__(self, label_set: LabelSet, go_on: Callable[[int], None]) -> None:
        """`go_on`: told the percentage before each step; what it raises ends the look."""
        self.label_set, self.go_on = label_set, go_on
        self.labels: list[Label] = list(label_set.labels.all())

    def find(self) -> Findings:
        """Raises clip.ModelUnusable."""
        self.go_on(0)
        engine = clip.engine()
        images, open_ones = self._images(engine.folder.key)
        if not len(open_ones) or not self.labels:
            return Findings()
        label_rows = self._label_rows(engine)
        self.go_on(30)
        best = unknowns.best(images.rows, label_rows)
        far = unknowns.far_from_labels(best, self._settled(images, label_rows))[open_ones]
        order = np.argsort(-far, kind="stable")[:MOST]
        chosen, far = open_ones[order], far[order]
        chosen, far = chosen[far >= FAR], far[far >= FAR]
        self.go_on(40)
        sample = np.array(_sample(len(images.ids)))
        usual = unknowns.neighbours(images.rows, sample)
        found = Findings(looked=len(open_ones), unknown=len(chosen))
        if not len(chosen) or not usual.size:
            return found
        near = self._near(images.rows, chosen)
        self.go_on(50)
        general = images.rows[sample]
        parts = unknowns.clusters(images.rows[chosen], unknowns.halfway(usual, general))
        # Where a group is shown, its images are no outliers, though it be too small for ten near neighbours.
        alone = np.setdiff1d(np.arange(len(chosen)), np.concatenate([[], *parts[:MOST_GROUPS]]))
        found.outliers = self._outliers(images, best, chosen[alone], far[alone], near[alone], usual)
        groups = [chosen[part] for part in parts[:MOST_GROUPS]]
        found.groups = self._named(engine, images, groups, general) if groups else []
        return found

    def _near(self, rows: Rows, chosen: np.ndarray) -> np.ndarray:
        """(m, c): the cosines to their neighbours, in steps short enough for the lease."""
        parts = []
        for at in range(0, len(chosen), AT_ONCE):
            self.go_on(45)
            parts.append(unknowns.neighbours(rows, chosen[at : at + AT_ONCE]))
        return np.concatenate(parts)

    def _images(self, model: str) -> tuple[vectors.Matrix, np.ndarray]:
        """The images that are there, and the indices of those that nobody has settled."""
        stored = vectors.of(self.label_set.project_id, model)
        alive = np.array(list(self.label_set.project.images.values_list("pk", flat=True)), np.int64)
        kept = np.isin(stored.ids, alive)
        images = stored if kept.all() else vectors.Matrix(stored.ids[kept], stored.rows[kept])
        settled = np.array(list(self.label_set.annotations.values_list("image_id", flat=True)), np.int64)
        return images, np.flatnonzero(~np.isin(images.ids, settled))

    def _label_rows(self, engine: clip.Engine) -> Rows:
        """(k, d): one unit row for each label as it is now, its prompts ensembled."""
        texts = [
            scoring.label_prompts(label.name, label.prompts, self.label_set.templates)
            for label in self.labels
        ]
        self._embed(engine, [text for some in texts for text in some], 0, 30)
        return np.stack([scoring.ensemble(engine.embed_texts(some)) for some in texts])

    def _embed(self, engine: clip.Engine, texts: Sequence[str], start: int, end: int) -> None:
        """Have the engine know these texts; `start` to `end` percent of the look."""
        for at in range(0, len(texts), TEXTS_AT_ONCE):
            self.go_on(start + (end - start) * at // len(texts))
            engine.embed_texts(texts[at : at + TEXTS_AT_ONCE])

    def _settled(self, images: vectors.Matrix, label_rows: Rows) -> dict[int, np.ndarray]:
        """By the index of a label, how similar to it the images are that people settled as it."""
        at = {int(image_id): index for index, image_id in enumerate(images.ids)}
        given: dict[int, list[int]] = {}
        for image_id, label_id in self.label_set.annotations.values_list("image_id", "label_id"):
            if label_id and image_id in at:
                given.setdefault(label_id, []).append(at[image_id])
        return {
            index: images.rows[given[label.pk]] @ label_rows[index]
            for index, label in enumerate(self.labels)
            if label.pk in given
        }

    def _outliers(
        self,
        images: vectors.Matrix,
        best: unknowns.Best,
        chosen: np.ndarray,
        far: np.ndarray,
        near: np.ndarray,
        usual: np.ndarray,
    ) -> list[dict[str, object]]:
        """Of the `chosen` those that are far from their neighbours too, the most outlying first."""
        level, spread = unknowns.typical(usual.mean(axis=1))
        figures = unknowns.outlying(far, (level - near.mean(axis=1)) / spread)
        order = [index for index in np.argsort(-figures, kind="stable") if figures[index] >= FAR]
        return [
            {
                "image": int(images.ids[chosen[index]]),
                "label": self.labels[best.label[chosen[index]]].name,
                "similarity": round(float(best.similarity[chosen[index]]), 4),
                "nearest": round(float(near[index, 0]), 4),
                "far": round(float(figures[index]), 2),
            }
            for index in order[:MOST_OUTLIERS]
        ]

    def _named(
        self, engine: clip.Engine, images: vectors.Matrix, groups: Sequence[np.ndarray], general: Rows
    ) -> list[UnknownGroup]:
        """The groups with the words that fit them, each image's place by how typical it is."""
        words = vocabulary()
        texts = [WORD_TEMPLATE.format(word) for word in words]
        self._embed(engine, texts, 50, 99)
        centres = np.stack([unknowns.centre(images.rows[group]) for group in groups])
        fits = unknowns.fitting(centres, engine.embed_texts(texts), general)
        return [
            self._group(position, images, group, centres[position], [words[at] for at in np.argsort(-fit)])
            for position, (group, fit) in enumerate(zip(groups, fits, strict=True))
        ]

    def _group(
        self, position: int, images: vectors.Matrix, group: np.ndarray, centre: Rows, ranked: Iterable[str]
    ) -> UnknownGroup:
        cosines = images.rows[group] @ centre
        names, near = proposed(ranked, [label.name for label in self.labels])
        return UnknownGroup(
            position=position,
            name=names[0],
            alternatives=names[1:],
            near=near,
            similarity=float(cosines.mean()),
            image_ids=[int(images.ids[group[at]]) for at in np.argsort(-cosines, kind="stable")],
        )


def _sample(count: int) -> list[int]:
    """The same indices for the same number of images, so that a repeated look finds the same."""
    return sorted(random.Random(count).sample(range(count), min(count, SAMPLE)))


def proposed(ranked: Iterable[str], labels: Sequence[str]) -> tuple[list[str], str]:
    """The best words that are no labels yet, and the label that came before the first of them, if any."""
    taken = {name.casefold(): name for name in labels}
    names: list[str] = []
    near = ""
    for word in ranked:
        if word.casefold() not in taken:
            names.append(word)
        elif not names and not near:
            near = taken[word.casefold()]
        if len(names) == PROPOSED:
            break
    return names, near
