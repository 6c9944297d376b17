"""Images that are chosen by hand or by eye, and a condition for any number of ids."""

import json
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models.expressions import RawSQL

from gallery.access import User
from gallery.models import Project
from labeling.models import Pick

MOST_PICKED = 100_000


def listed(ids: Iterable[int]) -> RawSQL:
    """For `pk__in`: as many ids as one likes, in one parameter."""
    rows = {"postgresql": "SELECT value::bigint FROM json_array_elements_text(%s::json)"}
    return RawSQL(
        rows.get(connection.vendor, "SELECT value FROM json_each(%s)"), [json.dumps([*map(int, ids)])]
    )


def pick(project: Project, user: User, image_ids: Iterable[int]) -> Pick:
    """Remember these images of the project, for `picked:ID` in the search line. Raises ValidationError."""
    asked = set(image_ids)
    if not asked:
        raise ValidationError("Choose at least one image.")
    if len(asked) > MOST_PICKED:
        raise ValidationError(f"Choose up to {MOST_PICKED:,} images at once.")
    ids = project.images.filter(pk__in=listed(asked)).order_by("pk").values_list("pk", flat=True)
    if not (found := list(ids)):
        raise ValidationError("None of these images is in this project.")
    return Pick.objects.create(project=project, user=user, image_ids=found)
