"""What batches did, in words, for pages and API: a list of them costs the same few queries however long."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Q, QuerySet, Sum

from gallery.access import User, allowed
from labeling import votes
from labeling.models import Batch, BatchPart, LabelSet, Review
from labeling.review import Kind, State, Verdict, may_reverse

# How far an undoing of a redoing of an undoing is followed: as far as `batches_of` reads along.
DEEPEST = 4
# What a batch says, in the order in which it is told.
SAYS = {
    Verdict.ACCEPTED: "accepted",
    Verdict.CORRECTED: "corrected",
    Verdict.NONE: "said none of these of",
    Verdict.SKIPPED: "skipped",
}


def batches_of(label_set: LabelSet) -> QuerySet[Batch]:
    """All batches of a label set, newest first, with all that `told` reads of them."""
    return label_set.batches.select_related(
        "user", "assignee", "reverses__assignee", "reverses__reverses__reverses"
    )


@dataclass
class Tally:
    """What a batch has come to so far, in images."""

    done: int = 0  # come to
    left: int = 0  # of these, left as they were
    standing: int | None = None  # not taken back since; None: its reversals tell
    said: dict[tuple[str, str], int] = field(default_factory=dict)  # of which (verdict, label's name)

    @property
    def written(self) -> int:
        return self.done - self.left


@dataclass
class Entry:
    """A batch as one person may see it."""

    batch: Batch
    what: str
    tally: Tally
    is_blind: bool  # it holds other people's votes, which are not told
    undone: int  # images that were taken back since
    reversal: Batch | None  # the newest batch that took it back
    may_undo: bool
    may_stop: bool

    @property
    def is_running(self) -> bool:
        return self.batch.state == State.RUNNING

    @property
    def stays(self) -> int:
        """Images that it wrote and nobody took back."""
        return max(0, self.tally.written - self.undone)

    @property
    def is_undone(self) -> bool:
        return self.undone > 0 and not self.stays

    @property
    def undo_word(self) -> str:
        return "Redo" if self.batch.kind == Kind.UNDO else "Undo"

    @property
    def why_left(self) -> str:
        return {
            Kind.DECIDE: "deleted, without a suggestion, or decided by somebody in the meantime",
            Kind.ASSIGN: "deleted, or with as many people already as votes are asked for",
        }.get(self.batch.kind, "somebody decided later, and that stands")


def told(label_set: LabelSet, user: User, role: str, batches: Sequence[Batch]) -> list[Entry]:
    """Batches of `batches_of(label_set)`, in their order: what they did, and what the person may do now."""
    reversals: dict[uuid.UUID, list[Batch]] = defaultdict(list)
    for reversal in label_set.batches.filter(reverses__in=[batch.pk for batch in batches]):
        reversals[reversal.reverses_id].append(reversal)
    about = [*batches, *map(_subject, batches), *(one for some in reversals.values() for one in some)]
    tallies = _tallies({batch.pk: batch for batch in about})
    # For reviewers as well: they vote themselves, and see the votes once an image is disputed.
    blind = votes.asked(label_set) > 1
    return [
        _entry(batch, tallies, reversals[batch.pk], user, role, blind and _subject(batch).user_id != user.pk)
        for batch in batches
    ]


def _entry(
    batch: Batch,
    tallies: dict[uuid.UUID, Tally],
    reversals: Sequence[Batch],
    user: User,
    role: str,
    is_blind: bool,
) -> Entry:
    mine, is_running = tallies[batch.pk], batch.state == State.RUNNING
    may = "review" in allowed(role) and may_reverse(batch, user, role)
    undone = (
        sum(tallies[reversal.pk].written for reversal in reversals)
        if mine.standing is None
        else mine.written - mine.standing
    )
    is_over = batch.kind == Kind.VOTES or undone >= mine.written
    if batch.kind == Kind.UNDO:  # it is taken back once, and of an assignment never
        is_over |= bool(reversals) or _subject(batch).kind == Kind.ASSIGN
    goes_on = is_running or any(reversal.state == State.RUNNING for reversal in reversals)
    return Entry(
        batch=batch,
        what=_what(batch, tallies, is_blind),
        tally=mine,
        is_blind=is_blind,
        undone=undone,
        reversal=reversals[0] if reversals else None,
        may_undo=may and not is_over and not goes_on,
        may_stop=may and is_running and batch.kind != Kind.VOTES,
    )


def _tallies(batches: dict[uuid.UUID, Batch]) -> dict[uuid.UUID, Tally]:
    """By its parts where a batch is a worker's, else by its reviews, which are few."""
    tallies = {}
    parts = BatchPart.objects.filter(batch__in=batches).order_by().values("batch")
    finished = Q(done=True)
    for row in parts.annotate(came_to=Sum("size", filter=finished), kept=Sum("left", filter=finished)):
        tallies[row["batch"]] = Tally(row["came_to"] or 0, row["kept"] or 0)
    small = {pk: batch for pk, batch in batches.items() if pk not in tallies}
    assigned = {pk for pk, batch in batches.items() if batch.kind == Kind.ASSIGN}
    for pk, batch in small.items():
        if batch.kind == Kind.VOTES or {pk, batch.reverses_id} & assigned:
            tallies[pk] = Tally(batch.total)
        else:
            tallies[pk] = Tally(standing=None if batch.kind == Kind.UNDO else 0)
    reviews = Review.objects.filter(batch__in=small).order_by().values("batch", "verdict", "label_name")
    for row in reviews.annotate(n=Count("pk"), stand=Count("pk", filter=Q(undone_by=None))):
        mine = tallies[row["batch"]]
        mine.said[row["verdict"], row["label_name"]] = row["n"]
        mine.done += row["n"]
        if mine.standing is not None:
            mine.standing += row["stand"]
    return tallies


def _subject(batch: Batch) -> Batch:
    """What it is about in the end: itself, or what it takes back or brings back."""
    for _ in range(DEEPEST - 1):
        batch = batch.reverses if batch.reverses_id else batch
    return batch


def _what(batch: Batch, tallies: dict[uuid.UUID, Tally], is_blind: bool) -> str:
    """What the batch did, in words."""
    mine = tallies[batch.pk]
    number = batch.total if batch.state == State.RUNNING else mine.written
    if batch.reverses_id:
        subject, word = _subject(batch), "undid" if batch.kind == Kind.UNDO else "redid"
        if subject.reverses_id:
            return f"{word} {number:,} of an earlier action"
        part = f" {number:,} of" if number < tallies[subject.pk].written else ""
        return f"{word}{part}: {_what(subject, tallies, is_blind)}"
    if batch.kind == Kind.UNDO:
        return f"took {number:,} decision{'' if number == 1 else 's'} back"
    if batch.kind == Kind.VOTES:
        return f"asked for {batch.votes} vote{'' if batch.votes == 1 else 's'}"
    if batch.kind == Kind.ASSIGN:
        return f"assigned {number:,} to {batch.assignee.get_username() if batch.assignee else 'somebody'}"
    if batch.kind == Kind.IMPORT:
        return f"imported labels of {number:,} image{'' if number == 1 else 's'}"
    if is_blind:
        return f"gave {number:,} vote{'' if number == 1 else 's'}"
    if mine.said:
        return ", ".join(filter(None, (_said(mine, verdict) for verdict in SAYS)))
    if batch.label_name:
        return f"set {batch.label_name} on {number:,}"
    if batch.verdict:
        return f"{SAYS[Verdict(batch.verdict)]} {number:,}"
    return "decided about images that are deleted"


def _said(mine: Tally, verdict: str) -> str:
    """`accepted 188 as cat`, or `accepted 200` where they have several labels."""
    names = {name: count for (said, name), count in mine.said.items() if said == verdict}
    if not names:
        return ""
    words = f"{SAYS[Verdict(verdict)]} {sum(names.values()):,}"
    [name, *others] = names
    if others or not name:
        return words
    return f"{words} {'as' if verdict == Verdict.ACCEPTED else 'to'} {name}"
