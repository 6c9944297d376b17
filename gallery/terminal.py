"""What commands for scripts have in common: a bar on a terminal, `--json`, and what their exit codes mean.

0: all of it is done. 1: done, but for what the last lines name. 2: it was not asked for rightly. 3: it
failed, and what was done before stays.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from clipsite.prepare import is_migrated
from gallery.access import allowed
from gallery.models import Project

SOME_LEFT, USAGE, FAILED = 1, 2, 3
MOST_LINES = 20


def add_arguments(parser: ArgumentParser, action: str) -> None:
    """`--json`, and who does it."""
    parser.add_argument("--json", action="store_true", help="Say what came of it as JSON, on one line.")
    parser.add_argument(
        "--user", metavar="NAME", help=f"Who does it; else an owner of the project. Needs “{action}”."
    )


def check_migrated() -> None:
    """Raises CommandError where the database is of another version."""
    if not is_migrated():
        raise CommandError(
            "The database is not up to date. Run “manage.py migrate” first.", returncode=FAILED
        )


def project_of(slug: str) -> Project:
    """Raises CommandError with the slugs that there are."""
    if project := Project.objects.filter(slug=slug).first():
        return project
    known = ", ".join(Project.objects.order_by("-pk").values_list("slug", flat=True)[:MOST_LINES])
    raise CommandError(f"There is no project {slug}. There are: {known or 'none'}.", returncode=USAGE)


def member(project: Project, name: str | None, action: str) -> User:
    """The user of this name, or the project's first owner. Raises CommandError for who may not do this."""
    found = project.memberships.select_related("user").order_by("pk")
    found = found.filter(user__username=name) if name else found.filter(role="owner")
    membership = found.first()
    if membership is None:
        who = f"{name} is no member of it" if name else "It has no owner"
        raise CommandError(
            f"Who does this in {project.slug}? {who}: name a member with --user.", returncode=USAGE
        )
    if action not in allowed(membership.role):
        raise CommandError(
            f"{membership.user} may not: the role {membership.role} lacks “{action}”.", returncode=USAGE
        )
    return membership.user


def bar(items: Iterable[Any] | None, title: str, total: int | None = None, **options: Any) -> tqdm:
    """A bar on standard error, where that is a terminal."""
    return tqdm(items, title, total, disable=None, dynamic_ncols=True, **options)


def end(
    command: BaseCommand, said: dict[str, Any], words: str, left: Sequence[str] = (), as_json: bool = False
) -> None:
    """Say what came of it, in words or as JSON. Raises CommandError with SOME_LEFT where something is."""
    if as_json:
        command.stdout.write(json.dumps(said, ensure_ascii=False))
    else:
        command.stdout.write(words)
    if left:
        more = [f"and {len(left) - MOST_LINES:,} more"] if len(left) > MOST_LINES else []
        raise CommandError("\n".join([*left[:MOST_LINES], *more]), returncode=SOME_LEFT)
