from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from clipsite import sqlite
from clipsite.prepare import is_migrated
from labeling import worker


class Command(BaseCommand):
    help = "Run a worker: it embeds and labels pictures in the background. Ctrl-C ends it."
    # They look through all routes and pages, which a worker has none of, for as long as it takes to begin.
    requires_system_checks: Sequence[str] = ()

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        if not is_migrated():
            raise CommandError("The database is not up to date. Run “manage.py migrate” first.")
        if verbosity:
            self.stdout.write("The worker is waiting for pictures (Ctrl-C ends it).")
            self.stdout.flush()
            if warning := sqlite.warning():
                self.stderr.write(self.style.WARNING(warning))
        try:
            worker.supervise()
        except worker.AlreadyRunning as error:
            raise CommandError(str(error)) from error
