import signal
import sqlite3
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gallery import backups, restores


class Command(BaseCommand):
    help = "Make the site of a backup that of an empty DATA_DIR. A backup of an older version is migrated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="What “manage.py backup” wrote.")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        began = time.monotonic()
        try:
            restored = restores.restore(file)
        except backups.Refused as error:
            raise CommandError(str(error)) from error
        except (OSError, sqlite3.Error) as error:
            raise CommandError(backups.in_words(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing was restored.", returncode=130) from None
        self.stdout.write(
            f"Restored the database and {restored.files:,} files into {settings.DATA_DIR} "
            f"in {time.monotonic() - began:.1f} s. Start the site: manage.py start"
        )
        if restored.missing:
            self.stdout.write(
                f"{restored.missing:,} files that the database names were not in the backup: "
                "“manage.py fsck” says which."
            )
