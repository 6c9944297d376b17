"""The one door for who is to review which image."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import accumulate, chain, pairwise

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from gallery.access import Role, User, allowed
from gallery.models import Image, Membership, Project, set_aside_ids
from labeling import ordering, votes
from labeling.models import UNREVIEWED, UNSCORED, Assignment, Batch, LabelSet
from labeling.ordering import Key
from labeling.review import DECIDES


class Split(models.TextChoices):
    """What is said of each member who gets images."""

    EQUAL = "equal", "in equal parts"
    PERCENT = "percent", "by percent"
    NUMBER = "number", "by number"


class Order(models.TextChoices):
    """Which images are given first."""

    UNCERTAIN = "uncertain", "least certain first"
    NEWEST = "newest", "newest first"
    RANDOM = "random", "random ones"


@dataclass(frozen=True)
class Plan:
    """Who would get which images."""

    matching: int
    free: int  # of the matching ones, those that may be given to somebody
    parts: list[tuple[Membership, list[int]]]

    @property
    def total(self) -> int:
        return sum(len(image_ids) for _, image_ids in self.parts)


@dataclass(frozen=True)
class Assigned:
    """What a member was given, in images. Done: settled, or answered by this member."""

    member: Membership
    assigned: int = 0
    done: int = 0

    @property
    def left(self) -> int:
        return self.assigned - self.done


def reviewers(project: Project) -> QuerySet[Membership]:
    """The members who may be given images. What others were given once is free again."""
    roles = [role for role in Role.values if "review" in allowed(role)]
    return project.memberships.filter(role__in=roles, user__is_active=True).select_related("user")


def of_members(label_set: LabelSet) -> list[Assigned]:
    """What each member who may review was given."""
    is_done = Q(Exists(label_set.annotations.filter(image=OuterRef("image"))))
    if votes.asked(label_set) > 1:
        own = label_set.reviews.filter(DECIDES, undone_by=None, user=OuterRef("user"))
        is_done |= Q(Exists(own.filter(image=OuterRef("image"))))
    shown = label_set.assignments.exclude(image__in=set_aside_ids())
    given = shown.annotate(is_done=models.ExpressionWrapper(is_done, models.BooleanField()))
    rows = (
        given.order_by().values_list("user").annotate(Count("pk"), done=Count("pk", filter=Q(is_done=True)))
    )
    counts = {user: (assigned, done) for user, assigned, done in rows}
    return [Assigned(member, *counts.get(member.user_id, (0, 0))) for member in reviewers(label_set.project)]


def plan(
    label_set: LabelSet,
    images: QuerySet[Image],
    members: Sequence[Membership],
    split: str = Split.EQUAL,
    amounts: Sequence[float] = (),
    count: int | None = None,
    order: str = Order.UNCERTAIN,
) -> Plan:
    """Who would get which of these images of `label_set.images()`, at most `count` of them.

    `amounts`: of each member, in percent or images. No image goes to more people than votes are asked for.
    Raises ValidationError.
    """
    if split == Split.PERCENT and sum(amounts) > 100:
        raise ValidationError(f"These are {sum(amounts):g} percent: give at most 100 in all.")
    matching, asked = images.order_by().count(), votes.asked(label_set)
    have = _people(label_set)
    open_ids = _ordered(images.filter(status__in=[UNREVIEWED, UNSCORED]), order)
    free = [image_id for image_id in open_ids if len(have[image_id]) < asked]
    places = _places(free[:count], have, {member.user_id for member in members}, asked)
    quotas = _quotas(len(places), sum(places.values()), len(members), split, amounts)
    return Plan(matching, len(free), _dealt(places, have, members, quotas))


def _ordered(images: QuerySet[Image], order: str) -> list[int]:
    if order == Order.UNCERTAIN:
        images = ordering.ordered(images, [Key("probability"), Key("pk")])
    else:
        images = images.order_by("-pk")
    ids = list(images.values_list("pk", flat=True))
    if order == Order.RANDOM:
        random.shuffle(ids)
    return ids


def _people(label_set: LabelSet, image_ids: Iterable[int] | None = None) -> dict[int, set[int]]:
    """By image, those to whom it is given and who may still review, and where several vote those who did."""
    given = label_set.assignments.filter(user__in=reviewers(label_set.project).values("user"))
    voted = label_set.reviews.filter(DECIDES, undone_by=None)
    rows = [given, voted] if votes.asked(label_set) > 1 else [given]
    if image_ids is not None:
        rows = [some.filter(image__in=image_ids) for some in rows]
    people: dict[int, set[int]] = defaultdict(set)
    for image_id, user_id in chain.from_iterable(
        some.order_by().values_list("image", "user").iterator() for some in rows
    ):
        people[image_id].add(user_id)
    return people


def _places(
    image_ids: Iterable[int], have: dict[int, set[int]], users: set[int], asked: int
) -> dict[int, int]:
    """By image, how many of these users may get it."""
    return {image_id: min(asked - len(have[image_id]), len(users - have[image_id])) for image_id in image_ids}


def _quotas(images: int, places: int, members: int, split: str, amounts: Sequence[float]) -> list[int]:
    """The most images that each may get."""
    if split == Split.EQUAL:
        return [images] * members
    if split == Split.NUMBER:
        return [int(amount) for amount in amounts]
    # Rounded where one part ends and the next begins: all percents together come to all.
    ends = [round(places * percent / 100) for percent in accumulate(amounts, initial=0)]
    return [end - start for start, end in pairwise(ends)]


def _dealt(
    places: dict[int, int], have: dict[int, set[int]], members: Sequence[Membership], quotas: Sequence[int]
) -> list[tuple[Membership, list[int]]]:
    """Each image to who has the least of their quota by then, so that all get of the same kind."""
    hands: list[list[int]] = [[] for _ in members]
    # How much of it they have, and their number: the least comes first.
    waiting = [(0.0, number) for number, quota in enumerate(quotas) if quota > 0]
    heapify(waiting)
    for image_id, room in places.items():
        back = []
        while room and waiting:
            filled, number = heappop(waiting)
            if members[number].user_id not in have[image_id]:
                hands[number].append(image_id)
                filled, room = len(hands[number]) / quotas[number], room - 1
            back.append((filled, number))
        for filled, number in back:
            if filled < 1:
                heappush(waiting, (filled, number))
    return list(zip(members, hands, strict=True))


def assign_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Give these images to the batch's assignee, inside a transaction; no image to more people than votes.

    Returns how many were left: settled, given to as many already, or gone; all, where the assignee may not
    review any more.
    """
    label_set = batch.label_set
    may_review = reviewers(label_set.project).values("user")
    if not may_review.filter(user=batch.assignee_id):
        return len(image_ids)
    # Locked: nobody else gives them away meanwhile.
    rows = label_set.project.images.filter(pk__in=image_ids).order_by("pk")
    there = set(rows.select_for_update(no_key=True).values_list("pk", flat=True))
    there -= set(label_set.annotations.filter(image__in=there).values_list("image", flat=True))
    have, asked = _people(label_set, there), votes.asked(label_set)
    wanted = sorted(
        image_id
        for image_id in there
        if len(have[image_id]) < asked and batch.assignee_id not in have[image_id]
    )
    label_set.assignments.filter(image__in=wanted).exclude(user__in=may_review).delete()
    Assignment.objects.bulk_create(
        Assignment(label_set=label_set, image_id=image_id, user_id=batch.assignee_id, batch=batch)
        for image_id in wanted
    )
    return len(image_ids) - len(wanted)


@transaction.atomic
def take_back(batch: Batch, user: User) -> Batch | None:
    """Take an assignment back whole; what was decided about its images stays. None where it is already."""
    if not batch.assignments.all().delete()[0]:
        return None
    return Batch.objects.create(
        label_set=batch.label_set, user=user, kind=Batch.Kind.UNDO, reverses=batch, total=batch.total
    )
