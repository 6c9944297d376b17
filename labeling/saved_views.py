"""The one door for saved views: search lines with a name, one's own or shared in the project."""

from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet

from gallery.access import User, allowed
from labeling import query
from labeling.models import LabelSet, SavedView
from labeling.selection import FIND_ORDERINGS

MOST_VIEWS = 100
NEWEST = "-id"


def visible(user: User) -> QuerySet[SavedView]:
    """The views that the user may open in projects of theirs: their own and what others share."""
    return SavedView.objects.filter(Q(user=user) | Q(is_shared=True)).select_related("user")


def address(view: SavedView) -> str:
    """The parameters of the gallery that shows it, also where its line has a mistake by now."""
    asked = {"label_set": view.label_set_id, "q": view.query, "ordering": view.ordering}
    return urlencode({name: value for name, value in asked.items() if value})


@transaction.atomic
def save(
    label_set: LabelSet,
    user: User,
    role: str,
    name: str,
    line: str = "",
    ordering: str = "",
    is_shared: bool = False,
) -> SavedView:
    """Save a view; it takes the place of the user's own of that name. Raises ValidationError."""
    _check_shared(role, is_shared)
    view = SavedView(label_set=label_set, user=user, name=name.strip(), is_shared=is_shared)
    before = label_set.views.filter(user=user, name=view.name).first()
    if before is None and label_set.views.filter(user=user).count() >= MOST_VIEWS:
        raise ValidationError({"name": f"You have {MOST_VIEWS} views. Delete one of them first."})
    view.query, view.ordering = _checked_line(label_set, user, line), _checked_ordering(ordering)
    _check_name(view)
    asked = {"query": view.query, "ordering": view.ordering, "is_shared": is_shared}
    saved, _ = label_set.views.update_or_create(user=user, name=view.name, defaults=asked)
    return saved


@transaction.atomic
def change(
    view: SavedView,
    user: User,
    role: str,
    name: str | None = None,
    line: str | None = None,
    ordering: str | None = None,
    is_shared: bool | None = None,
) -> SavedView:
    """Change what is given of one's own view. Raises ValidationError, and PermissionDenied for another's."""
    if view.user_id != user.pk:
        raise PermissionDenied("Only who saved a view changes it. Save it under a name of your own.")
    if is_shared is not None and is_shared != view.is_shared:
        _check_shared(role, is_shared)
        view.is_shared = is_shared
    if name is not None:
        view.name = name.strip()
        _check_name(view)
        if view.label_set.views.filter(user=user, name=view.name).exclude(pk=view.pk).exists():
            raise ValidationError({"name": f"You have a view “{view.name}” already."})
    if line is not None:
        view.query = _checked_line(view.label_set, user, line)
    if ordering is not None:
        view.ordering = _checked_ordering(ordering)
    view.save(update_fields=["name", "query", "ordering", "is_shared"])
    return view


def delete(view: SavedView, user: User, role: str) -> None:
    """Raises PermissionDenied for another's, where the role may not edit labels."""
    if view.user_id != user.pk and "edit labels" not in allowed(role):
        raise PermissionDenied(
            f"Your role in this project ({role}) lacks “edit labels”: the view is another's."
        )
    view.delete()


def _check_shared(role: str, is_shared: bool) -> None:
    if is_shared and "review" not in allowed(role):
        raise PermissionDenied(
            f"Your role in this project ({role}) lacks “review”: keep the view to yourself."
        )


def _check_name(view: SavedView) -> None:
    view.full_clean(exclude=["label_set", "user"], validate_unique=False, validate_constraints=False)


def _checked_line(label_set: LabelSet, user: User, line: str) -> str:
    try:
        return str(query.parse(line, label_set, user))
    except ValidationError as error:
        raise ValidationError({"query": error}) from error


def _checked_ordering(ordering: str) -> str:
    if ordering and ordering not in dict(FIND_ORDERINGS):
        raise ValidationError({"ordering": f"“{ordering[:40]}” is no order."})
    return "" if ordering == NEWEST else ordering
