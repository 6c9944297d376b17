from typing import Any

from django.core.management.base import BaseCommand, CommandError

from clipsite import health, status


class Command(BaseCommand):
    help = "Say how the site is, and what to do where something is wrong. Exits with 1 where it isn't ready."
    # The database may be what is wrong, and a check would only cost time.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        results = health.results()
        for line in status.lines(results):
            self.stdout.write(line)
        if missing := [name for name, holds in results.items() if not holds]:
            self.stdout.flush()
            raise CommandError(f"Not ready: {', '.join(missing)}.")
        self.stdout.write(self.style.SUCCESS("Ready."))
