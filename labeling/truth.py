"""CLIP measured against what images are known to show."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q, QuerySet

from labeling.models import GroundTruth, Label, LabelSet


@dataclass(frozen=True)
class OfTruth:
    """One label, counted in images that are known to show it, and that CLIP has labelled."""

    label: Label
    known: int
    right: int  # of these, with this very suggestion
    suggested: int  # images with this suggestion, of all that are known

    @property
    def recall(self) -> float | None:
        return self.right / self.known if self.known else None

    @property
    def precision(self) -> float | None:
        return self.right / self.suggested if self.suggested else None


@dataclass(frozen=True)
class Confusion:
    known: str
    suggested: str
    number: int


def standing(label_set: LabelSet) -> QuerySet[GroundTruth]:
    """Of each image what the newest file says."""
    newer = GroundTruth.objects.filter(
        label_set=label_set, image=OuterRef("image"), source__gt=OuterRef("source")
    )
    return label_set.ground_truths.filter(~Exists(newer))


class Measured:
    """CLIP's present suggestions beside the ground truth of a label set."""

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set

    @cached_property
    def known(self) -> int:
        """Images with a known label."""
        return standing(self.label_set).filter(label__isnull=False).count()

    @cached_property
    def pairs(self) -> Counter[tuple[int, int]]:
        """How many images have which known and which suggested label."""
        match = FilteredRelation("image__matches", condition=Q(image__matches__label_set=self.label_set))
        rows = standing(self.label_set).filter(label__isnull=False).alias(match=match)
        counted = rows.values("label_id", suggested=F("match__label_id")).annotate(n=Count("pk")).order_by()
        return Counter({(row["label_id"], row["suggested"]): row["n"] for row in counted if row["suggested"]})

    @property
    def compared(self) -> int:
        return self.pairs.total()

    @property
    def right(self) -> int:
        return sum(number for (known, suggested), number in self.pairs.items() if known == suggested)

    @property
    def accuracy(self) -> float | None:
        """The share of the suggestions that are right, 0 to 1."""
        return self.right / self.compared if self.compared else None

    @cached_property
    def labels(self) -> list[OfTruth]:
        known, suggested = Counter(), Counter()
        for (truth, guess), number in self.pairs.items():
            known[truth] += number
            suggested[guess] += number
        return [
            OfTruth(label, known[label.pk], self.pairs[label.pk, label.pk], suggested[label.pk])
            for label in self.label_set.labels.all()
            if known[label.pk] or suggested[label.pk]
        ]

    def confusions(self, most: int = 10) -> list[Confusion]:
        """What is taken for what, the most frequent first."""
        names = {label.pk: label.name for label in self.label_set.labels.all()}
        wrong = Counter({pair: number for pair, number in self.pairs.items() if pair[0] != pair[1]})
        return [Confusion(names[a], names[b], number) for (a, b), number in wrong.most_common(most)]
