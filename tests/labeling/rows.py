"""Images with matches as bare rows, for pages and exports of many that no model has to score."""

from collections.abc import Sequence

import numpy as np

from gallery.models import Image, Project
from labeling import embeddings
from labeling.models import Embedding, Label, LabelSet, Match, ScoringRun

MODEL = "rows@1"


def images(project: Project, count: int, start: int = 0) -> list[Image]:
    """Images with no file."""
    return Image.objects.bulk_create(
        [
            Image(
                project=project,
                name=f"image {number:05}.jpg",
                sha256=f"{project.pk:032}{number:032}",
                width=64,
                height=48,
                format="JPEG",
                size=1000,
            )
            for number in range(start, start + count)
        ],
        batch_size=500,
    )


def label_set(project: Project, *names: str) -> LabelSet:
    """A label set that nothing is scored with yet."""
    made = LabelSet.objects.create(project=project, name="Rows")
    Label.objects.bulk_create(
        Label(label_set=made, name=name, position=position) for position, name in enumerate(names)
    )
    return made


def match(label_set: LabelSet, images: Sequence[Image], probabilities: Sequence[float] = ()) -> ScoringRun:
    """Match each image, in turn, with the next label, by a run that is done."""
    labels = list(label_set.labels.all())
    run, made = label_set.runs.get_or_create(
        project_id=label_set.project_id,
        model=MODEL,
        defaults={
            "labels": [{"id": label.pk, "name": label.name, "prompts": []} for label in labels],
            "templates": label_set.templates,
            "label_vectors": embeddings.to_bytes(np.eye(len(labels), dtype=np.float32)),
            "logit_scale": 10.0,
            "precision": "fp32",
            "state": "done",
        },
    )
    chances = list(probabilities) or [0.5 + (number % 50) / 100 for number in range(len(images))]
    Match.objects.bulk_create(
        Match(
            image=image,
            label_set=label_set,
            label=labels[number % len(labels)],
            runner_up=labels[(number + 1) % len(labels)],
            similarity=0.3,
            probability=chances[number],
            margin=chances[number] / 2,
            run=run,
        )
        for number, image in enumerate(images)
    )
    Embedding.objects.bulk_create(
        [
            Embedding(image=image, model=MODEL, vector=embeddings.to_bytes(_vector(number, len(labels))))
            for number, image in enumerate(images)
        ],
        ignore_conflicts=True,
    )
    return run


def _vector(number: int, width: int) -> np.ndarray:
    vector = np.zeros(width, np.float32)
    vector[number % width], vector[(number + 1) % width] = 0.8, 0.6
    return vector
