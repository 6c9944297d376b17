"""The one door for setting images aside: nothing of them is lost, and they are shown and counted nowhere."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from gallery import uploads
from gallery.access import User
from gallery.models import Image, Project

# Of SQLite's parameters, and of what is written in one go.
AT_ONCE = 500


def of(project: Project) -> QuerySet[Image]:
    """What is set aside in the project, the latest first."""
    rows = Image.everything.filter(project=project, set_aside_at__isnull=False)
    return rows.order_by("-set_aside_at", "-id")


def set_aside(project: Project, image_ids: Iterable[int], user: User) -> list[int]:
    """Set images of the project aside. Returns those that were not so yet."""
    rows = Image.objects.filter(project=project)
    return _changed(rows, image_ids, set_aside_at=timezone.now(), set_aside_by=user)


def bring_back(project: Project, image_ids: Iterable[int]) -> list[int]:
    """Show images of the project again. Returns those that were set aside.

    What came while they were away is caught up with: embeddings and matches.
    """
    back = _changed(of(project), image_ids, set_aside_at=None, set_aside_by=None)
    if back:
        uploads.embed_later(project.pk)
    return back


@transaction.atomic
def _changed(rows: QuerySet[Image], image_ids: Iterable[int], **values: object) -> list[int]:
    asked, changed = sorted(set(image_ids)), []
    for start in range(0, len(asked), AT_ONCE):
        some = rows.filter(pk__in=asked[start : start + AT_ONCE]).order_by("pk")
        ids = list(some.select_for_update(no_key=True).values_list("pk", flat=True))
        Image.everything.filter(pk__in=ids).update(**values)
        changed += ids
    return changed
