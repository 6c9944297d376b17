"""What a person has to review, and in which order. Each holds a list of images that nobody else is shown."""

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from django.db import OperationalError
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.utils import timezone

from gallery.access import User
from gallery.intake import is_full
from gallery.models import Image, set_aside_ids
from labeling import embeddings, leases, query, sampling
from labeling.models import Annotation, Assignment, LabelSet, Match, Review, ScoringRun
from labeling.review import DECIDES, Verdict

TEACHES = "teaches"
ORDERS = {
    TEACHES: "Teaches most",
    "uncertain": "Least certain",
    "newest": "Newest",
    "random": "Random",
}
# The longest list that is asked for at once, and what of it may be piled up by looking ahead.
LIST, MOST_HELD = 20, 60
# With fewer than these after the image that is shown the list grows, by two at the least.
AHEAD, LEAST = 1, 2
# The next are chosen out of so many, and differ from so many that the person has just decided about.
POOL, RECENT = 500, 20
PRIME = 1_000_003


@dataclass(frozen=True)
class Queue:
    """One person's way through a label set: in which order, and through which images.

    `images`: those that a search line has left. `settled`: also what is settled by now, but for what the
    person decided about after `since` (epoch seconds).
    """

    label_set: LabelSet
    user: User
    order: str = TEACHES
    query: str = ""
    since: float = 0
    images: QuerySet[Image] | None = None
    settled: bool = False

    @property
    def key(self) -> str:
        """Tells this person's queues apart."""
        words = f"{self.order}\n{self.query}\n{self.since}\n{self.settled}"
        return hashlib.blake2s(words.encode(), digest_size=8).hexdigest()


def asked_for(label_set: LabelSet, user: User, order: str = "", line: str = "", since: float = 0) -> Queue:
    """A person's queue as an address names it: an unknown order is the usual one.

    Where the search line asks for settled images, what the person decides about from now on is done, unless
    `since` says otherwise. Raises ValidationError for a line with a mistake.
    """
    order = order if order in ORDERS else TEACHES
    search = query.parse(line, label_set, user)
    if not search.terms:
        return Queue(label_set, user, order, since=since)
    if search.names_settled and not since:
        since = time.time()
    images = search.filter(label_set.images())
    return Queue(label_set, user, order, str(search), since, images, search.names_settled)


# What waits


def waiting(queue: Queue) -> QuerySet[Match]:
    """The suggestions that this person may answer, whoever holds them, in no order."""
    label_set, user = queue.label_set, queue.user
    matches = label_set.matches.order_by()
    if queue.images is not None:
        matches = matches.filter(Exists(queue.images.order_by().filter(pk=OuterRef("image"))))
    if queue.settled:
        since = datetime.fromtimestamp(queue.since, UTC)
        return matches.filter(
            ~Exists(_said(label_set, user, OuterRef("image")).filter(DECIDES, at__gt=since))
        )
    matches = matches.filter(~Exists(Annotation.objects.filter(label_set=label_set, image=OuterRef("image"))))
    if label_set.votes > 1:
        return matches.filter(~Exists(_said(label_set, user, OuterRef("image")).filter(DECIDES)))
    given = Assignment.objects.filter(label_set=label_set, image=OuterRef("image"))
    return matches.filter(~Exists(given) | Exists(given.filter(user=user)))


def _own(label_set: LabelSet, user: User) -> QuerySet[Review]:
    """What stands of this person's decisions."""
    return Review.objects.filter(DECIDES, label_set=label_set, user=user, undone_by=None)


def _said(label_set: LabelSet, user: User, image: OuterRef | int) -> QuerySet[Review]:
    """What stands of this person's reviews of one image, skips among them."""
    # Looked up by the image: by the person, an index would lead through all that they ever decided.
    reviews = Review.objects.alias(by=F("user_id") + 0)
    return reviews.filter(label_set=label_set, by=user.pk, image=image, undone_by=None)


def _skips(label_set: LabelSet, user: User) -> QuerySet[Review]:
    return Review.objects.filter(label_set=label_set, user=user, verdict=Verdict.SKIPPED, undone_by=None)


# In which order


class Candidate(NamedTuple):
    image_id: int
    margin: float
    run_id: int


def _candidates(queue: Queue, held: Sequence[int]) -> list[int]:
    """The next images for this person's list, none of which anybody holds: fewer where few are left."""
    chosen: list[int] = []
    for layer, is_fresh in _layers(queue):
        rows = layer.values_list("image_id", "margin", "run_id")[:POOL]
        pool = [candidate for candidate in map(Candidate._make, rows) if candidate.image_id not in chosen]
        # So that others have something to do as well.
        count = min(LIST, max(LEAST, len(pool) // 4))
        if queue.order == TEACHES and is_fresh and pool:
            chosen += _most_teaching(queue, pool, count, [*held, *chosen])
        else:
            chosen += [candidate.image_id for candidate in pool[:count]]
        if len(chosen) >= LEAST:
            break
    return chosen


def _layers(queue: Queue) -> Iterator[tuple[QuerySet[Match], bool]]:
    """What waits and nobody holds: first the person's own assignments, then the others, then their skips.

    Each with whether the person sees it for the first time.
    """
    label_set, user = queue.label_set, queue.user
    taken = leases.live(label_set).exclude(~Q(queue=queue.key), user=user).filter(image=OuterRef("image"))
    free = waiting(queue).filter(~Exists(taken))
    # One list for the whole query: an EXISTS would be asked of each row.
    skipped = _skips(label_set, user).values("image")
    fresh = free.exclude(image__in=skipped)
    assigned = label_set.assignments.filter(user=user).order_by().values("image")
    yield fresh.filter(image__in=assigned).order_by(*_keys(queue, few=True)), True
    yield fresh.order_by(*_keys(queue)), True
    skips = _said(label_set, user, OuterRef("image")).filter(verdict=Verdict.SKIPPED)
    last = skips.order_by("-pk").values("pk")[:1]
    yield free.filter(image__in=skipped).order_by(Subquery(last)), False


def _keys(queue: Queue, few: bool = False) -> list[Combinable | str]:
    """What the queue's order sorts by. Of `few`, all are looked up and sorted: an index that has the order
    would lead through all the others."""
    if queue.order == "newest":
        # Images are scored as they come in, so that the matches' own order is theirs, and needs no sorting.
        return ["-image_id" if few else "-id"]
    if queue.order == "random":
        # A hash of the id, with factors of the person's own; squared, or some of them would leave an order.
        rng, id = random.Random(f"{queue.user.pk} {queue.key}"), F("image_id") % PRIME
        return [(id * id % PRIME * rng.randrange(1, PRIME) + id * rng.randrange(PRIME)) % PRIME, "id"]
    sure = "probability" if queue.order == "uncertain" else "margin"
    return [F(sure) + 0.0 if few else sure, "id"]


def _most_teaching(queue: Queue, pool: list[Candidate], count: int, held: Sequence[int]) -> list[int]:
    """Of the least certain those that differ most, also from `held` and from what was just decided.

    What is nearly the same as one of these, or has no embedding, comes when nothing else is left.
    """
    margins = {candidate.image_id: candidate.margin for candidate in pool}
    model = ScoringRun.objects.values_list("model", flat=True).get(pk=pool[0].run_id)
    decided = _own(queue.label_set, queue.user).order_by("-at", "-pk").values_list("image", flat=True)
    before = [*held, *decided[:RECENT]]
    ids, rows = embeddings.load(list(dict.fromkeys([*margins, *before])), model)
    at = {image_id: row for row, image_id in enumerate(ids)}
    known = [image_id for image_id in margins if image_id in at]
    if not known:
        return list(margins)[:count]
    chosen: list[int] = []
    for seen in (before, held):
        left = rows[[at[image_id] for image_id in known]]
        weights = np.array([1 - margins[image_id] for image_id in known], np.float32)
        there = rows[[at[image_id] for image_id in seen if image_id in at]]
        chosen = [known[index] for index in sampling.diverse(left, weights, count, there)]
        if len(chosen) >= LEAST:
            return chosen
    return [*chosen, *(image_id for image_id in margins if image_id not in chosen)][:count]


# One's place in it


@dataclass(frozen=True)
class Place:
    """An image and where it stands in a person's list; the ids beside it are looked up when asked for.

    Before the list stand the images that this person has decided about, the newest last. After the last one
    comes the first: so long as any other waits, there is a next.
    """

    queue: Queue
    image: Image
    held: Sequence[int]
    until: datetime | None = None

    @cached_property
    def previous(self) -> int | None:
        if self._decided_here:
            return _beside(self._decided, self._decided_here, forward=False)
        at = self.held.index(self.image.pk) if self.image.pk in self.held else 0
        return self.held[at - 1] if at else self._decided.values_list("image", flat=True).last()

    @cached_property
    def next(self) -> int | None:
        after = self._decided_here and _beside(self._decided, self._decided_here, forward=True)
        return after or _next(self.held, self.image.pk)

    @cached_property
    def held_by(self) -> str:
        """Who else is at it now; empty where nobody is."""
        if self.image.pk in self.held:
            return ""
        return leases.holder(self.queue.label_set, self.queue.user, self.image.pk)

    @property
    def _decided(self) -> QuerySet[Review]:
        """What this person decided about other images, oldest first."""
        own = _own(self.queue.label_set, self.queue.user)
        return own.exclude(image=self.image.pk).order_by("at", "pk")

    @cached_property
    def _decided_here(self) -> Review | None:
        said = _said(self.queue.label_set, self.queue.user, self.image.pk).filter(DECIDES).order_by()
        return max(said, key=lambda review: (review.at, review.pk), default=None)


def _beside(decided: QuerySet[Review], here: Review, forward: bool) -> int | None:
    """The image of the decision after this one, or before it."""
    if forward:
        rows = decided.filter(Q(at=here.at, pk__gt=here.pk) | Q(at__gt=here.at), at__gte=here.at)
    else:
        rows = decided.filter(Q(at=here.at, pk__lt=here.pk) | Q(at__lt=here.at), at__lte=here.at).reverse()
    return rows.values_list("image", flat=True).first()


def _next(held: Sequence[int], image_id: int) -> int | None:
    """What comes after the image in a list, which is a ring; the first, where it isn't in it."""
    at = held.index(image_id) + 1 if image_id in held else 0
    return next((other for other in [*held[at:], *held] if other != image_id), None)


def place(label_set: LabelSet, user: User, image_id: int | None = None, **which: Any) -> Place | None:
    """Where an image stands in the person's queue, see `show`; `which`: the fields of Queue."""
    return show(Queue(label_set, user, **which), image_id)


def show(
    queue: Queue, image_id: int | None = None, goes_on: bool = False, looks: bool = False
) -> Place | None:
    """Where the image stands in the person's list, also one that isn't in it; without an id, the first.

    The list is held for some minutes more, and grows near its end. None where there is no such image, or
    nothing left that nobody else holds. `goes_on`: on a page that is open already; `looks`: without deciding,
    by a request that may come after its page was left, so that it holds nothing where the list is given back.
    """
    skipped = _said(queue.label_set, queue.user, OuterRef("pk")).filter(verdict=Verdict.SKIPPED)
    images = queue.label_set.images().annotate(was_skipped=Exists(skipped))
    # An image that is of another project is looked for first: then nothing is held.
    image = images.filter(pk=image_id).first() if image_id else None
    if image_id and image is None:
        return None
    try:
        held, until = fill(queue, image_id, goes_on=goes_on, looks=looks)
    except OperationalError as error:
        if not is_full(error):
            raise
        # On a full disk one can still look, though nothing can be held, nor decided.
        held, until = _candidates(queue, []), timezone.now()
    image = image or (images.filter(pk=held[0]).first() if held else None)
    return Place(queue, image, held, until) if image else None


def fill(
    queue: Queue,
    image_id: int | None = None,
    ahead: int = AHEAD,
    goes_on: bool = False,
    looks: bool = False,
) -> tuple[list[int], datetime]:
    """Hold the person's list some minutes more, and let it grow where fewer than `ahead` follow the image.

    An image that waits and is asked for by its id comes to its front. Returns the ids in order, and until
    when they are held.
    """
    label_set, user = queue.label_set, queue.user
    held = listed(queue)
    if looks and not held:
        return [], timezone.now()
    first = [image_id] if image_id and image_id not in held else []
    if first and not waiting(queue).filter(image=image_id).exists():
        first = []
    # Where somebody else has taken all that was chosen, it is chosen again with nobody else at it.
    for turn in (nullcontext(), leases.alone(label_set)):
        with turn:
            at = held.index(image_id) + 1 if image_id in held else int(image_id is None)
            more = []
            if len(held) - at < ahead and len(held) < MOST_HELD:
                found = _candidates(queue, [*first, *held])
                more = [candidate for candidate in found if candidate not in first]
            until = leases.hold(label_set, user, queue.key, first, more, goes_on=goes_on)
        if first or more:
            held = listed(queue)
        if not more or set(more) & set(held):
            break
        first = []
    return held, until


def following(queue: Queue, image_id: int) -> int | None:
    """What this person is to see after the image, told before they decide about it."""
    return Place(queue, Image(pk=image_id), listed(queue)).next


def listed(queue: Queue) -> list[int]:
    """What the person holds in this queue and may still answer, in its order. Lets go of the rest."""
    ids = [lease.image_id for lease in leases.mine(queue.label_set, queue.user, queue.key)]
    if not ids:
        return []
    still = set(waiting(queue).filter(image__in=ids).values_list("image_id", flat=True))
    if gone := set(ids) - still:
        leases.drop(queue.label_set, queue.user, gone)
    return [image_id for image_id in ids if image_id in still]


def with_others(queue: Queue) -> list[tuple[str, int]]:
    """Of what waits for this person, how many images each of the others holds now."""
    rows = leases.others(queue.label_set, queue.user).values_list("image", "user__username")
    held = dict(rows)
    still = waiting(queue).filter(image__in=held).values_list("image_id", flat=True)
    return sorted(Counter(held[image_id] for image_id in still).items())


# How far it is


class Standing(NamedTuple):
    """Images of a label set: all, those that wait for people, for CLIP, and those that are settled."""

    total: int
    left: int
    unscored: int
    reviewed: int


def standing(label_set: LabelSet) -> Standing:
    """Counted by indexes alone, since it stands beside every image that is reviewed."""
    total = Image.objects.filter(project=label_set.project_id).count()
    matched, reviewed = _shown(label_set, Match), _shown(label_set, Annotation)
    by_hand = 0
    if matched < total:
        match = Match.objects.filter(label_set=label_set, image=OuterRef("image"))
        by_hand = label_set.annotations.filter(~Exists(match)).count()
    return Standing(total, matched - (reviewed - by_hand), total - matched - by_hand, reviewed)


def _shown(label_set: LabelSet, model: type[Match] | type[Annotation]) -> int:
    """How many there are of images that are not set aside: those few are taken off, so that none is read."""
    rows = model.everything.filter(label_set=label_set).order_by()
    aside = set_aside_ids().filter(project=label_set.project_id)
    return rows.count() - rows.filter(image__in=aside).count()
