from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from clipsite.prepare import is_migrated
from gallery import fsck


class Command(BaseCommand):
    help = (
        "Check that database and files are sound and fit together, while the site runs. Exits with 1 if not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="Remove files that belong to no row, and make missing previews and thumbnails again.",
        )
        parser.add_argument(
            "--older-than",
            type=float,
            default=60,
            metavar="MINUTES",
            help="Leave younger files alone: an upload writes its file before its row (default: 60).",
        )
        parser.add_argument(
            "--hashes", action="store_true", help="Read every original, and compare its hash."
        )

    def handle(self, *args: Any, repair: bool, hashes: bool, older_than: float, **options: Any) -> None:
        if not is_migrated():
            raise CommandError("The database is not up to date. Run “manage.py migrate” first.")
        if connection.vendor != "sqlite":
            self.stdout.write("Postgres looks after its tables itself: rows and files are checked.")
        wrong = mended = 0
        for finding in fsck.check(repair, hashes, older_than):
            self.stdout.write(f"{'Mended: ' if finding.mended else ''}{finding.text}")
            wrong, mended = wrong + (not finding.mended), mended + finding.mended
        if mended:
            self.stdout.write(f"{mended:,} mended.")
        if wrong:
            advice = "Restore what is missing from a backup." if repair else "--repair mends what can be."
            raise CommandError(f"{wrong:,} wrong. {advice}")
        self.stdout.write("All is well: every row has its files, every file its row.")
