"""Who may do what. A stranger to a project finds nothing in it; a member lacks an action or has it."""

from typing import Any, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404
from django.shortcuts import get_object_or_404

User = AbstractBaseUser | AnonymousUser
Row = TypeVar("Row", bound=models.Model)


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    LABELER = "labeler", "Labeler"
    REVIEWER = "reviewer", "Reviewer"
    OWNER = "owner", "Owner"


# Each role may do what stands beside it and all that stands above.
ACTIONS: dict[str, set[str]] = {
    Role.VIEWER: {"view", "export"},
    Role.LABELER: {"upload", "review", "comment"},
    Role.REVIEWER: {"edit labels", "run", "delete images", "undo for others", "settle disputes", "import"},
    Role.OWNER: {"edit project", "manage members", "assign", "delete project"},
}


def allowed(role: str) -> set[str]:
    """Every action that `role` may take."""
    roles = list(ACTIONS)
    return set().union(*(ACTIONS[lower] for lower in roles[: roles.index(role) + 1]))


def fetch(rows: models.QuerySet[Row], user: User, action: str, **lookup: Any) -> Row:
    """The one row that `lookup` names, carrying the user's `role` in its project.

    Raises Http404 where the user is no member of its project or no such row exists, and PermissionDenied
    where the user is a member whose role lacks `action`.
    """
    try:
        row = get_object_or_404(rows.for_user(user), **lookup)
    except OverflowError as error:  # an id that no database could hold
        raise Http404 from error
    if action not in allowed(row.role):
        raise PermissionDenied(
            f"Your role in this project ({row.role}) lacks “{action}”. Ask an owner for it."
        )
    return row
