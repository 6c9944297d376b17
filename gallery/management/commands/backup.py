import signal
import sqlite3
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat

from gallery import backups


class Command(BaseCommand):
    help = "Write the whole site into one new file while it runs: its database and all pictures."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="A new .zip; it is never overwritten.")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        began = time.monotonic()
        try:
            written = backups.write(file)
        except backups.Refused as error:
            raise CommandError(str(error)) from error
        except (OSError, sqlite3.Error) as error:
            raise CommandError(backups.in_words(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing was left behind.", returncode=130) from None
        size = filesizeformat(file.stat().st_size).replace("\xa0", " ")
        self.stdout.write(
            f"Wrote the database and {written.files:,} files to {file}: {size} "
            f"in {time.monotonic() - began:.1f} s."
        )
        if written.missing:
            self.stdout.write(
                f"{written.missing:,} files that the database names are not there: "
                "“manage.py fsck” says which."
            )
