"""All that CLIP thinks of one image: its similarity to every label, not to the best alone."""

from dataclasses import dataclass

from gallery.models import Image
from labeling import embeddings, scoring
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
    matched_by = label_set.runs.filter(matches__image=image, matches__label_set=label_set)
    prepared = label_set.runs.filter(label_vectors__isnull=False, project=image.project_id)
    run = matched_by.first() or prepared.first()
    ids, rows = embeddings.load([image.pk], run.model) if run else ([], None)
    return _of_run(label_set, run, rows) if ids else []


def _of_run(label_set: LabelSet, run: ScoringRun, rows: scoring.Rows) -> list[LabelScore]:
    vectors = embeddings.from_bytes(run.label_vectors, rows=len(run.labels))
    figures = scoring.score(rows, vectors, run.logit_scale, run.logit_bias)
    known = {label.pk: label for label in label_set.labels.all()}
    scores = [
        LabelScore(label.pk, label.name, label.colour, float(similarity), float(probability))
        for entry, similarity, probability in zip(
            run.labels, figures.similarities[0], figures.probabilities[0], strict=True
        )
        if (label := known.get(entry["id"]))
    ]
    return sorted(scores, key=lambda score: -score.similarity)
