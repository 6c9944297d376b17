"""How far people who vote on the same images agree: Cohen's and Fleiss' kappa, and each person's share."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from operator import attrgetter

from django.contrib.auth import get_user_model
from django.db.models import F, OuterRef, QuerySet, Subquery

from gallery.access import User, allowed
from labeling.models import Annotation, LabelSet, Review
from labeling.votes import DECIDES

MOST_IMAGES, MOST_PAIRS = 10_000, 200
# Fleiss' kappa counts in a table of images by answers, which is not to grow with a thousand labels.
MOST_CELLS = 2_000_000
# Landis and Koch, 1977: from here on, and in words.
BANDS = [(0.81, "almost perfect"), (0.61, "substantial"), (0.41, "moderate"), (0.21, "fair"), (0.0, "slight")]

Answer = int | None  # a label's id; none of these


@dataclass(frozen=True)
class Kappa:
    """`value`: None where it is not defined, since all votes are the same: nothing is left to chance."""

    value: float | None
    images: int
    votes: int  # on each of them

    @property
    def words(self) -> str:
        """What the figure says of the agreement."""
        if self.value is None:
            return "not defined: all these votes are the same"
        return next((words for least, words in BANDS if round(self.value, 2) >= least), "poor")


@dataclass(frozen=True)
class Pair:
    users: tuple[int, int]
    kappa: Kappa


@dataclass
class Share:
    """How many of a person's votes are the same as something, of those that can be compared with it."""

    same: int = 0
    of: int = 0

    def count(self, is_same: bool) -> None:
        self.same += is_same
        self.of += 1

    @property
    def value(self) -> float | None:
        return self.same / self.of if self.of else None


@dataclass
class Person:
    user: int
    votes: int = 0
    settled: Share = field(default_factory=Share)
    clip: Share = field(default_factory=Share)


@dataclass(frozen=True)
class Agreement:
    images: int
    is_cut: bool  # there are more, older images
    fleiss: Kappa | None  # None where no image has two votes
    pairs: list[Pair]  # who share most images first
    more_pairs: int  # left out
    people: list[Person]  # who voted most first
    names: dict[int, str]  # of those people, as far as they may be told


def agreement(label_set: LabelSet, user: User, role: str) -> Agreement:
    """Over the newest images that are settled or disputed and that two or more people voted on.

    Of each person the last vote counts. A reviewer's word that settles an image is no vote, and the votes of
    people who left are not counted: nothing tells one of them from another. Whoever settles disputes is told
    of everybody; others of themselves, and nobody else's name.
    """
    tables: dict[tuple[int, int], Counter[tuple[Answer, Answer]]] = defaultdict(Counter)
    people: dict[int, Person] = {}
    ballots: list[list[Answer]] = []
    is_cut = False
    for votes in _voted(label_set):
        if len(ballots) == MOST_IMAGES:
            is_cut = True
            break
        ballots.append([vote.label_id for vote in votes])
        for vote in votes:
            _count(people.setdefault(vote.user_id, Person(vote.user_id)), vote)
        for one, other in combinations(sorted(votes, key=attrgetter("user_id")), 2):
            tables[one.user_id, other.user_id][one.label_id, other.label_id] += 1
    if "settle disputes" not in allowed(role):
        tables = {users: table for users, table in tables.items() if user.pk in users}
        people = {pk: person for pk, person in people.items() if pk == user.pk}
    busiest = sorted(tables, key=lambda users: (-tables[users].total(), users))
    return Agreement(
        images=len(ballots),
        is_cut=is_cut,
        fleiss=_fleiss(ballots) if ballots else None,
        pairs=[Pair(users, _cohen(tables[users])) for users in busiest[:MOST_PAIRS]],
        more_pairs=max(0, len(busiest) - MOST_PAIRS),
        people=sorted(people.values(), key=lambda person: (-person.votes, person.user)),
        names=dict(get_user_model().objects.filter(pk__in=people).values_list("pk", "username")),
    )


def _voted(label_set: LabelSet) -> Iterator[list[Review]]:
    """Of each image that counts, the newest first, everybody's vote."""
    for _, reviews in groupby(_standing(label_set).iterator(chunk_size=2000), attrgetter("image_id")):
        # Newest first, so that the first of each person is the one that counts.
        last: dict[int, Review] = {}
        for review in reviews:
            last.setdefault(review.user_id, review)
        if len(last) > 1:
            yield list(last.values())


def _standing(label_set: LabelSet) -> QuerySet[Review]:
    """The reviews that are votes, of images with an answer: that of an open one would be told too early."""
    answers = Annotation.objects.filter(label_set=label_set, image=OuterRef("image"))
    votes = label_set.reviews.filter(DECIDES, undone_by=None, settles=False, user__isnull=False)
    return (
        votes.annotate(
            status=Subquery(answers.values("status")[:1]), answer=Subquery(answers.values("label")[:1])
        )
        .filter(status__isnull=False)
        .only("label_set", "image", "user", "label", "verdict", "suggested_name")
        .order_by(F("image_id").desc(), "-pk")
    )


def _count(person: Person, vote: Review) -> None:
    person.votes += 1
    if vote.status != Annotation.Status.DISPUTED:
        person.settled.count(vote.label_id == vote.answer)
    if vote.suggested_name:
        # As it was suggested then: a label that is the same is stored as accepted.
        person.clip.count(vote.verdict == Review.Verdict.ACCEPTED)


def _cohen(table: Counter[tuple[Answer, Answer]]) -> Kappa:
    from statsmodels.stats.inter_rater import cohens_kappa  # with pandas and scipy, which little else needs

    answers = _indexed(answer for both in table for answer in both)
    square = [[0] * len(answers) for _ in answers]
    for (one, other), number in table.items():
        square[answers[one]][answers[other]] = number
    value = float(cohens_kappa(square, return_results=False)) if len(answers) > 1 else None
    return Kappa(value, table.total(), 2)


def _fleiss(ballots: Sequence[Sequence[Answer]]) -> Kappa:
    """Over the images with as many votes as most of them have; with more, where two numbers are as many."""
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    numbers = Counter(map(len, ballots))
    votes = max(numbers, key=lambda number: (numbers[number], number))
    chosen = [ballot for ballot in ballots if len(ballot) == votes]
    answers = _indexed(answer for ballot in chosen for answer in ballot)
    chosen = chosen[: MOST_CELLS // len(answers)]
    counted, used = aggregate_raters([[answers[answer] for answer in ballot] for ballot in chosen])
    value = float(fleiss_kappa(counted)) if len(used) > 1 else None
    return Kappa(value, len(chosen), votes)


def _indexed(answers: Iterator[Answer]) -> dict[Answer, int]:
    return {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
