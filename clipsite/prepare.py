"""What must be so before the site runs: migrations, static files, a first superuser if configured."""

import logging

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

logger = logging.getLogger(__name__)


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    first_superuser()


def is_migrated() -> bool:
    """Whether the database has every migration."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def first_superuser() -> None:
    """ADMIN_USERNAME with ADMIN_PASSWORD, only where there is no superuser yet."""
    name, password = settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD
    users = get_user_model().objects
    if not (name and password) or users.filter(is_superuser=True).exists():
        return
    if users.filter(username=name).exists():
        logger.warning("ADMIN_USERNAME: %s is a user already, and no superuser; nothing was changed", name)
    else:
        users.create_superuser(name, password=password)
