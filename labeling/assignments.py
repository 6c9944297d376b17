"""The one door for who is to review which image."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count

from gallery.access import User
from labeling import votes
from labeling.models import Assignment, Batch


def assign_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Give these images to the batch's assignee, inside a transaction; no image to more people than votes.

    Returns how many were left: given to as many already, or gone.
    """
    label_set = batch.label_set
    there = set(label_set.project.images.filter(pk__in=image_ids).values_list("pk", flat=True))
    given = label_set.assignments.filter(image__in=there).order_by()
    full = given.values("image").annotate(people=Count("user")).filter(people__gte=votes.asked(label_set))
    there -= set(full.values_list("image", flat=True))
    there -= set(given.filter(user=batch.assignee_id).values_list("image", flat=True))
    Assignment.objects.bulk_create(
        Assignment(label_set=label_set, image_id=image_id, user_id=batch.assignee_id, batch=batch)
        for image_id in sorted(there)
    )
    return len(image_ids) - len(there)


@transaction.atomic
def take_back(batch: Batch, user: User) -> Batch | None:
    """Take an assignment back whole; what was decided about its images stays. None where it is already."""
    if not batch.assignments.all().delete()[0]:
        return None
    return Batch.objects.create(
        label_set=batch.label_set, user=user, kind=Batch.Kind.UNDO, reverses=batch, total=batch.total
    )
