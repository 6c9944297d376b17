"""How the work on a label set stands: of the project, of each label and of each person.

Counted by grouped queries over the rows as they are, so that what was undone doesn't count.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import (
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    TextField,
)
from django.db.models.functions import Cast, Coalesce, Least, Substr
from django.utils import timezone

from gallery.models import set_aside_ids
from labeling.models import Annotation, Label, LabelSet, Review
from labeling.review import DECIDES, Verdict

HOUR = timedelta(hours=1)
# The first 16 characters of a time as both databases write it; their own truncation takes far longer.
MINUTE = Substr(Cast("at", TextField()), 1, 16)
STANDING = Q(undone_by=None) & ~Q(verdict=Verdict.UNDONE)


@dataclass(frozen=True)
class OfLabel:
    """One label: what CLIP suggests now, beside what people settled on. Counted in images."""

    label: Label
    suggested: int
    accepted: int  # suggested and settled as this label
    corrected_away: int  # suggested, and settled as another label or none of these
    settled: int

    @property
    def corrected_to(self) -> int:
        return self.settled - self.accepted

    @property
    def precision(self) -> float | None:
        """The share of its suggestions that people accepted; None where they decided about none."""
        decided = self.accepted + self.corrected_away
        return self.accepted / decided if decided else None


@dataclass(frozen=True)
class OfPerson:
    """One person's answers that stand: the last about each image. `user`: None of those who are deleted."""

    user: int | None
    username: str | None
    accepted: int
    corrected: int
    none: int
    skipped: int
    minutes: int  # in which they decided anything
    last_hour: int  # of the decided ones
    last_active: datetime

    @property
    def decided(self) -> int:
        return self.accepted + self.corrected + self.none

    @property
    def pace(self) -> float | None:
        """Images a minute."""
        return self.decided / self.minutes if self.minutes else None


class Statistics:
    """Everything that is counted, each when it is first asked for."""

    def __init__(self, label_set: LabelSet, now: datetime | None = None) -> None:
        self.label_set = label_set
        self.now = now or timezone.now()
        self.standing = label_set.reviews.filter(STANDING).exclude(image__in=set_aside_ids()).order_by()
        self.decisions = self.standing.filter(DECIDES)

    # The project's images

    @cached_property
    def total(self) -> int:
        return self.label_set.project.images.count()

    @cached_property
    def statuses(self) -> Counter[str]:
        """How many images have which status, of those that people decided about."""
        counts: Counter[str] = Counter()
        for _, status, number in self._answers:
            counts[status] += number
        return counts

    @property
    def disputed(self) -> int:
        return self.statuses[Annotation.Status.DISPUTED]

    @property
    def settled(self) -> int:
        return self.statuses.total() - self.disputed

    @property
    def waiting(self) -> int:
        """Images with a suggestion that nobody has settled or disputed."""
        return sum(self._suggested.values()) - sum(row["answered"] for row in self._agreed.values())

    @property
    def unscored(self) -> int:
        return self.total - self.statuses.total() - self.waiting

    @cached_property
    def _answers(self) -> list[tuple[int | None, str, int]]:
        """Label, status, and how many images have both."""
        return list(
            self.label_set.annotations.order_by().values_list("label", "status").annotate(Count("pk"))
        )

    @cached_property
    def _suggested(self) -> dict[int, int]:
        return dict(self.label_set.matches.order_by().values_list("label").annotate(Count("pk")))

    @cached_property
    def _agreed(self) -> dict[int, dict[str, int]]:
        """By suggested label: how many of its images are answered, and of those disputed or so labelled."""
        here = FilteredRelation(
            "image__annotations", condition=Q(image__annotations__label_set=self.label_set)
        )
        rows = self.label_set.matches.annotate(answer=here).filter(answer__isnull=False)
        counted = (
            rows.order_by()
            .values("label")
            .annotate(
                answered=Count("pk"),
                disputed=Count("pk", filter=Q(answer__status=Annotation.Status.DISPUTED)),
                accepted=Count("pk", filter=Q(answer__label=F("label"))),
            )
        )
        return {row["label"]: row for row in counted}

    # Votes

    @cached_property
    def votes_given(self) -> int:
        """Of the votes that the images ask for: of one image no more than that."""
        if self.label_set.votes == 1:
            return self.statuses.total()
        return self._votes(self.decisions)

    @property
    def votes_asked(self) -> int:
        return self.label_set.votes * self.total

    @cached_property
    def left(self) -> int:
        """Decisions that the waiting images still ask for."""
        if self.label_set.votes == 1:
            return self.waiting
        answer = Annotation.objects.filter(label_set=self.label_set, image=OuterRef("image"))
        suggestion = self.label_set.matches.filter(image=OuterRef("image"))
        given = self._votes(self.decisions.filter(~Exists(answer), Exists(suggestion)))
        return self.label_set.votes * self.waiting - given

    def _votes(self, decisions: QuerySet[Review]) -> int:
        # Of people who are deleted nothing tells one from another: each of their answers counts.
        people = Count("user", distinct=True) + Count("pk", filter=Q(user=None))
        voted = decisions.values("image").annotate(people=people)
        return voted.aggregate(votes=Sum(Least("people", self.label_set.votes)))["votes"] or 0

    # Pace

    @property
    def last_hour(self) -> int:
        """Decisions in the last hour."""
        return sum(person.last_hour for person in self.people)

    @property
    def decided(self) -> int:
        """Decisions: each person's about each image."""
        return sum(person.decided for person in self.people)

    @property
    def minutes(self) -> int:
        """In which people decided anything, each person's of their own."""
        return sum(person.minutes for person in self.people)

    @property
    def pace(self) -> float | None:
        """Decisions a minute of one person's work."""
        return self.decided / self.minutes if self.minutes else None

    @property
    def work_left(self) -> timedelta | None:
        """How long one person has to do with what is left."""
        return timedelta(minutes=self.left / self.pace) if self.pace else None

    @property
    def time_left(self) -> timedelta | None:
        """How long it takes if it goes on as in the last hour."""
        return HOUR * (self.left / self.last_hour) if self.last_hour else None

    # Labels and people

    @cached_property
    def labels(self) -> list[OfLabel]:
        settled: Counter[int | None] = Counter()
        for label_id, _, number in self._answers:
            settled[label_id] += number
        nothing = {"answered": 0, "disputed": 0, "accepted": 0}
        found = []
        for label in self.label_set.labels.all():
            agreed = self._agreed.get(label.pk, nothing)
            away = agreed["answered"] - agreed["disputed"] - agreed["accepted"]
            suggested = self._suggested.get(label.pk, 0)
            found.append(OfLabel(label, suggested, agreed["accepted"], away, settled[label.pk]))
        return found

    @property
    def weakest(self) -> list[OfLabel]:
        """The labels, first those whose suggestions people accepted least; last those that nobody judged."""
        return sorted(self.labels, key=lambda of: (of.precision is None, of.precision))

    @cached_property
    def people(self) -> list[OfPerson]:
        """Who decided most first."""
        # Of each person and image the last answer; a skip takes none back.
        last = Coalesce(Max("pk", filter=DECIDES), Max("pk"))
        answers = self.standing.values("user", "image").annotate(last=last).values("last")
        rows = (
            Review.objects.filter(pk__in=answers)
            .order_by()
            .values("user", username=F("user__username"))
            .annotate(
                accepted=Count("pk", filter=Q(verdict=Verdict.ACCEPTED) & DECIDES),
                corrected=Count("pk", filter=Q(verdict=Verdict.CORRECTED) & DECIDES),
                none=Count("pk", filter=Q(verdict=Verdict.NONE)),
                skipped=Count("pk", filter=Q(verdict=Verdict.SKIPPED)),
                minutes=Count(MINUTE, distinct=True, filter=DECIDES),
                last_hour=Count("pk", filter=DECIDES & Q(at__gt=self.now - HOUR)),
                last_active=Max("at"),
            )
        )
        people = [OfPerson(**row) for row in rows]
        return sorted(people, key=lambda person: (-person.decided, person.username or ""))
