"""The search for near-duplicates in a project, as a state machine: ask, claim, renew, stop, end.

The queue only rings; what there is to do follows from fingerprints, embeddings and pairs.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from gallery.models import Image, Project
from labeling import clip, holder
from labeling.models import ACTIVE, DuplicateSearch, Embedding, Fingerprint

State = DuplicateSearch.State
# Longer than a worker takes for one step, on the slowest machine that we expect.
LEASE = timedelta(seconds=90)
# After an error it waits, so that the cause may pass.
REST = timedelta(seconds=5)
STRIKES = 5


class LeaseLost(Exception):
    """Somebody else has the search now, or it was stopped: nothing more may be written for it."""


@dataclass(frozen=True)
class Progress:
    """Counted in images of the project."""

    total: int
    seen: int  # have a fingerprint
    compared: int

    @property
    def done(self) -> float:
        """How far it is, 0 to 1: both steps count the same."""
        return min(1.0, (self.seen + self.compared) / (2 * self.total)) if self.total else 1.0


@transaction.atomic
def follow(project_id: int) -> None:
    """New images were embedded: have them compared, unless a person stopped the search, or it failed."""
    now = timezone.now()
    search, created = DuplicateSearch.objects.get_or_create(project_id=project_id)
    if created or search.state in (*ACTIVE, State.DONE):
        # One that is at work sees by the time that it has to look once more.
        own = DuplicateSearch.objects.filter(pk=search.pk)
        own.filter(state=State.DONE).update(state=State.QUEUED, attempts=0)
        own.update(asked_at=now)
        ring(project_id)


@transaction.atomic
def start(project: Project) -> bool:
    """Look for near-duplicates, as a person asks for it. False where that goes on already."""
    search, created = DuplicateSearch.objects.get_or_create(project=project)
    asked = DuplicateSearch.objects.filter(pk=search.pk).exclude(state__in=ACTIVE)
    begun = asked.update(
        state=State.QUEUED, error="", attempts=0, leased_until=None, asked_at=timezone.now(), finished_at=None
    )
    ring(project.pk)
    return created or bool(begun)


def stop(project: Project) -> bool:
    """Stop the search; what it has found stays. False where it had ended already."""
    # Without its token a worker that is at it right now writes nothing more.
    return bool(
        DuplicateSearch.objects.filter(project=project, state__in=ACTIVE).update(
            state=State.CANCELLED, token="", leased_until=None, finished_at=timezone.now()
        )
    )


def ring(project_id: int) -> None:
    transaction.on_commit(lambda: async_task("labeling.tasks.find_near_duplicates", project_id), robust=True)


def waiting() -> QuerySet[DuplicateSearch]:
    """Searches that go on and that nobody holds."""
    free = Q(leased_until=None) | Q(leased_until__lt=timezone.now())
    return DuplicateSearch.objects.filter(free, state__in=ACTIVE)


def claim(project_id: int) -> DuplicateSearch | None:
    """The project's search, now held by this process, or None. One that died too often is failed."""
    search = waiting().filter(project=project_id).first()
    if search is None:
        return None
    if search.attempts >= STRIKES:
        fail(search, search.error or f"The worker died {search.attempts} times. Is the memory too small?")
        return None
    token = holder.token()
    held = waiting().filter(pk=search.pk, token=search.token)
    if not held.update(
        token=token,
        state=State.RUNNING,
        attempts=F("attempts") + 1,
        leased_until=timezone.now() + LEASE,
    ):
        return None
    search.token = token
    return search


def renew(search: DuplicateSearch) -> None:
    """Hold it for another lease; it got on. Inside a transaction, only its holder writes what follows.

    Raises LeaseLost.
    """
    own = DuplicateSearch.objects.filter(pk=search.pk, token=search.token)
    if not own.update(leased_until=timezone.now() + LEASE, attempts=1, error=""):
        raise LeaseLost(f"{search} is not ours any more")


def put_down(search: DuplicateSearch) -> None:
    """Let go of it: it goes on at the next ring."""
    own = DuplicateSearch.objects.filter(pk=search.pk, token=search.token)
    if own.update(token="", leased_until=None, attempts=0):
        ring(search.project_id)


def release(search: DuplicateSearch, error: Exception) -> None:
    """Let go of it after an error: it is tried again at a later beat."""
    DuplicateSearch.objects.filter(pk=search.pk, token=search.token).update(
        token="", leased_until=timezone.now() + REST, error=f"{type(error).__name__}: {error}"[:300]
    )


def finish(search: DuplicateSearch) -> bool:
    """End it. False where somebody asked for more since it was read."""
    own = DuplicateSearch.objects.filter(pk=search.pk, token=search.token, asked_at=search.asked_at)
    return bool(
        own.update(
            state=State.DONE, token="", leased_until=None, attempts=0, error="", finished_at=timezone.now()
        )
    )


def fail(search: DuplicateSearch, error: str) -> None:
    DuplicateSearch.objects.filter(pk=search.pk, state__in=ACTIVE).update(
        state=State.FAILED, token="", leased_until=None, error=error[:300], finished_at=timezone.now()
    )


def progress(project: Project) -> Progress:
    """Counts of what is stored: nothing is incremented, so nothing can drift."""
    prints = Fingerprint.objects.filter(image__project=project, image__set_aside_at=None)
    try:
        compared = prints.filter(compared=clip.current().key)
    except clip.ModelUnusable:
        compared = prints.exclude(compared="")
    return Progress(project.images.count(), prints.count(), compared.count())


def ring_for_waiting() -> None:
    """Ring for searches that nobody is at: a ring may have been lost with its worker."""
    for search in waiting():
        ring(search.project_id)


def begin_forgotten() -> None:
    """Begin the searches of projects from before there were any."""
    new = Project.objects.filter(duplicate_search=None)
    for pk in new.filter(pk__in=Image.objects.values("project")).values_list("pk", flat=True):
        if Embedding.objects.filter(image__project=pk).exists():
            follow(pk)
