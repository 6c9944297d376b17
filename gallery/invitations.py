"""The one door for invitations: a link that lets one person into a project, once."""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.utils import timezone

from gallery.access import User
from gallery.members import known
from gallery.models import Invitation, Membership, Project

DAYS, MOST_DAYS = 7, 90
SIGNER = Signer(salt="gallery.invitation")


class Unusable(Exception):
    """Lets nobody in; says why, and with which status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def invite(project: Project, user: User, role: str, days: int = DAYS) -> Invitation:
    """An invitation made by `user`. Raises ValidationError for an unknown role."""
    until = timezone.now() + timedelta(days=days)
    return Invitation.objects.create(project=project, created_by=user, role=known(role), expires_at=until)


def token_of(invitation: Invitation) -> str:
    """What its link ends with."""
    return SIGNER.sign(invitation.pk)


def find(token: str) -> Invitation:
    """The invitation of that token, used up or not. Raises Unusable where there is none."""
    try:
        return Invitation.objects.select_related("project", "created_by").get(pk=SIGNER.unsign(token))
    except (BadSignature, Invitation.DoesNotExist) as error:
        raise Unusable(404, "There is no such invitation, or it was revoked. Ask for a new one.") from error


def usable(token: str) -> Invitation:
    """The invitation of that token. Raises Unusable where it lets nobody in any more."""
    invitation = find(token)
    if not Invitation.objects.usable().filter(pk=invitation.pk).exists():
        raise _ended(invitation)
    return invitation


def _ended(invitation: Invitation) -> Unusable:
    if invitation.expires_at <= timezone.now() and not invitation.used_at:
        return Unusable(410, "This invitation has expired. Ask for a new one.")
    return Unusable(410, "This invitation was used already, or is closed. Ask for a new one.")


@transaction.atomic
def accept(token: str, user: User) -> tuple[Membership, bool]:
    """The user's membership, and whether it is new: a member stays as they are, and uses nothing up.

    Raises Unusable.
    """
    invitation = find(token)
    if here := invitation.project.memberships.filter(user=user).first():
        return here, False
    # Claimed by this one statement: of two people with one link, the second finds it used.
    claimed = Invitation.objects.usable().filter(pk=invitation.pk)
    if not claimed.update(used_at=timezone.now(), used_by=user):
        raise _ended(invitation)
    return Membership.objects.get_or_create(
        project=invitation.project, user=user, defaults={"role": invitation.role}
    )


def revoke(invitation: Invitation) -> None:
    """Its link opens nothing from now on. Raises ValidationError where it was used."""
    deleted, _ = Invitation.objects.filter(pk=invitation.pk, used_at=None).delete()
    if not deleted:
        raise ValidationError("The invitation was used already: remove the member instead.")
