"""The one door for a project's members. A project always keeps an owner."""

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from gallery.access import Role, User
from gallery.models import Membership, Project


@transaction.atomic
def add(project: Project, username: str, role: str) -> Membership:
    """Give the user of that name a role in the project. Raises ValidationError."""
    users, name = get_user_model().objects, username.strip()
    user = users.filter(username=name).first() or users.filter(username__iexact=name).first()
    if user is None:
        first = (
            "Ask them to sign up first." if settings.SIGNUP_OPEN else "Ask an administrator for an account."
        )
        raise ValidationError({"username": f"There is no user “{username}” here. {first}"})
    if project.memberships.filter(user=user).exists():
        raise ValidationError({"username": f"“{username}” is a member already: change the role instead."})
    return Membership.objects.create(project=project, user=user, role=known(role))


@transaction.atomic
def change_role(membership: Membership, role: str) -> Membership:
    """Raises ValidationError, also where the project would be left without an owner."""
    if known(role) != Role.OWNER:
        _keep_an_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def remove(membership: Membership) -> None:
    """What the member did in the project stays. Raises ValidationError for the last owner."""
    _keep_an_owner(membership)
    membership.delete()


def owned_by_nobody_else(users: Iterable[User]) -> QuerySet[Project]:
    """The projects that would have no owner any more without these users."""
    owners = Membership.objects.filter(role=Role.OWNER)
    others = owners.filter(project=OuterRef("pk")).exclude(user__in=users)
    theirs = owners.filter(user__in=users).values("project")
    return Project.objects.filter(~Exists(others), pk__in=theirs)


def known(role: str) -> str:
    """The role itself. Raises ValidationError where there is no such role."""
    if role not in Role.values:
        raise ValidationError({"role": f"“{role}” is no role. There are {', '.join(Role.values)}."})
    return role


def _keep_an_owner(membership: Membership) -> None:
    # Locked: of two owners who remove each other at the same moment, the second is refused.
    owners = Membership.objects.select_for_update().filter(project=membership.project_id, role=Role.OWNER)
    if {owner.pk for owner in owners} == {membership.pk}:
        raise ValidationError({"role": "A project needs an owner: make somebody else an owner first."})
