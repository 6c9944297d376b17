"""The one door for projects. Deleting one takes its files along: that is uploads.delete_project."""

from django.db import transaction

from gallery.access import Role, User
from gallery.models import Membership, Project, free_slug


@transaction.atomic
def change(project: Project, name: str, description: str, guidelines: str) -> Project:
    """Raises ValidationError, and Project.DoesNotExist where it is deleted by now."""
    Project.objects.select_for_update().get(pk=project.pk)
    project.name, project.description, project.guidelines = name.strip(), description, guidelines
    project.full_clean()
    project.save()
    return project


@transaction.atomic
def create(user: User, name: str, description: str = "") -> Project:
    """Make a project that `user` owns. Raises ValidationError."""
    project = Project(name=name.strip(), slug=free_slug(name), description=description)
    project.full_clean()
    project.save()
    Membership.objects.create(project=project, user=user, role=Role.OWNER)
    return project
