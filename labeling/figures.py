"""All that CLIP thinks of one image: its similarity to every label, and to other images."""

from dataclasses import dataclass

from gallery.models import Image
from labeling import embeddings, scoring, vectors
from labeling.models import LabelSet, ScoringRun


@dataclass(frozen=True)
class LabelScore:
    label_id: int
    name: str
    colour: int
    similarity: float
    probability: float


def label_scores(label_set: LabelSet, image: Image) -> list[LabelScore]:
    """The image against each label of the set, best first: the figures of the run that matched it.

    Of an image that is embedded but not matched yet, by the newest run that fits; else empty.
    """
    run = _run(label_set, image)
    return _scores(label_set, run, image) if run else []


def _run(label_set: LabelSet, image: Image) -> ScoringRun | None:
    matched_by = label_set.runs.filter(matches__image=image, matches__label_set=label_set)
    prepared = label_set.runs.filter(label_vectors__isnull=False, project=image.project_id)
    return matched_by.first() or prepared.first()


def _scores(label_set: LabelSet, run: ScoringRun, image: Image) -> list[LabelScore]:
    ids, rows = embeddings.load([image.pk], run.model)
    return _of_run(label_set, run, rows) if ids else []


@dataclass(frozen=True)
class Why:
    """What led to a suggestion: the run; each label with its figures and what CLIP was asked, best first."""

    run: ScoringRun
    labels: list[tuple[LabelScore, list[str]]]


def why(label_set: LabelSet, image: Image) -> Why | None:
    """None where the image has not been compared with the labels yet."""
    run = _run(label_set, image)
    scores = _scores(label_set, run, image) if run else []
    if not scores:
        return None
    asked = {
        entry["id"]: scoring.label_prompts(entry["name"], entry["prompts"], run.templates)
        for entry in run.labels
    }
    return Why(run, [(score, asked[score.label_id]) for score in scores])


SIMILAR = 12


def similar(label_set: LabelSet, image: Image) -> list[Image]:
    """The images most similar to this one, each with status, label id, and `likeness` (cosine)."""
    likeness = dict(vectors.nearest(image, SIMILAR))
    images = list(label_set.images().filter(pk__in=likeness))
    for each in images:
        each.likeness = likeness[each.pk]
    return sorted(images, key=lambda each: (-each.likeness, each.pk))


def _of_run(label_set: LabelSet, run: ScoringRun, rows: scoring.Rows) -> list[LabelScore]:
    labels = embeddings.from_bytes(run.label_vectors, rows=len(run.labels))
    figures = scoring.score(rows, labels, run.logit_scale, run.logit_bias)
    known = {label.pk: label for label in label_set.labels.all()}
    scores = [
        LabelScore(label.pk, label.name, label.colour, float(similarity), float(probability))
        for entry, similarity, probability in zip(
            run.labels, figures.similarities[0], figures.probabilities[0], strict=True
        )
        if (label := known.get(entry["id"]))
    ]
    return sorted(scores, key=lambda score: -score.similarity)
