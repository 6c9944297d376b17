"""Who holds which image for review: for some minutes, and no image is held by two people at once."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from gallery.access import User
from labeling.models import LabelSet, Lease

LASTS = timedelta(minutes=5)
# Who goes on within this time needs no write for it.
RECENT = timedelta(minutes=1)
# Whoever looks through a whole class at once says nothing before the end of it.
LASTS_A_CLASS = timedelta(minutes=15)
# Where a list begins, so that there is room before it.
START = 2**20


def live(label_set: LabelSet) -> QuerySet[Lease]:
    return label_set.leases.filter(until__gt=timezone.now())


def mine(label_set: LabelSet, user: User, queue: str) -> list[Lease]:
    """What the person holds in this queue, in its order."""
    return list(live(label_set).filter(user=user, queue=queue))


@contextmanager
def alone(label_set: LabelSet) -> Iterator[None]:
    """Nobody else takes an image of the label set meanwhile."""
    with transaction.atomic():
        LabelSet.objects.select_for_update(no_key=True).filter(pk=label_set.pk).first()
        yield


def hold(
    label_set: LabelSet,
    user: User,
    queue: str,
    first: Sequence[int] = (),
    last: Sequence[int] = (),
    lasts: timedelta = LASTS,
    goes_on: bool = False,
) -> datetime:
    """Hold longer what the person holds in this queue, with more images before and after it.

    Of those, an image that somebody else holds is left out; one that the person holds in another queue of
    theirs comes over. With `goes_on`, what was held anew a moment ago is left so. Returns until when they are
    held.
    """
    until = label_set.leases.filter(user=user, queue=queue).aggregate(until=Min("until"))["until"]
    if goes_on and not first and not last and until and until > timezone.now() + lasts - RECENT:
        return until
    return _hold(label_set, user, queue, first, last, lasts)


@transaction.atomic
def _hold(
    label_set: LabelSet,
    user: User,
    queue: str,
    first: Sequence[int],
    last: Sequence[int],
    lasts: timedelta,
) -> datetime:
    # One person at a time: two who want the same images would wait for each other.
    LabelSet.objects.select_for_update(no_key=True).filter(pk=label_set.pk).first()
    now = timezone.now()
    label_set.leases.filter(until__lte=now).delete()
    own = label_set.leases.filter(user=user)
    if first or last:
        there = set(label_set.matches.filter(image__in=[*first, *last]).values_list("image_id", flat=True))
        own.filter(image__in=there).delete()
        ends = own.filter(queue=queue).aggregate(first=Min("position"), last=Max("position"))
        before, after = (ends["first"] or START) - len(first), (ends["last"] or START) + 1
        positions = [*enumerate(first, before), *enumerate(last, after)]
        Lease.objects.bulk_create(
            [
                Lease(label_set=label_set, image_id=image_id, user=user, queue=queue, position=at, until=now)
                for at, image_id in positions
                if image_id in there
            ],
            ignore_conflicts=True,
        )
    own.filter(queue=queue).update(until=now + lasts)
    return now + lasts


def hold_class(label_set: LabelSet, user: User, image_ids: Sequence[int], queue: str) -> set[int]:
    """Hold these images, at most some hundreds, for somebody who decides about them together.

    Returns those that the person does hold now.
    """
    hold(label_set, user, queue, last=image_ids, lasts=LASTS_A_CLASS)
    return {lease.image_id for lease in mine(label_set, user, queue)}.intersection(image_ids)


def drop(label_set: LabelSet, user: User, image_ids: Collection[int]) -> None:
    """Let go of these images, whichever of the person's queues they are held for."""
    label_set.leases.filter(user=user, image__in=image_ids).delete()


def leave(label_set: LabelSet, user: User, queue: str = "", until: datetime | None = None) -> int:
    """Let go of all that the person holds, or of one queue, or of what ends no later than `until`.

    So a page that is left takes nothing from one that was opened after it. Returns how many images.
    """
    left = label_set.leases.filter(user=user)
    left = left.filter(queue=queue) if queue else left
    left = left.filter(until__lte=until) if until else left
    return left.delete()[0]


def others(label_set: LabelSet, user: User) -> QuerySet[Lease]:
    return live(label_set).exclude(user=user)


def holder(label_set: LabelSet, user: User, image_id: int) -> str:
    """Who else is at this image now; empty where nobody is."""
    lease = others(label_set, user).filter(image=image_id).select_related("user").first()
    return lease.user.get_username() if lease else ""
