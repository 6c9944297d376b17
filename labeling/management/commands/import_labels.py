import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError

from gallery import intake, terminal
from gallery.terminal import FAILED, USAGE
from labeling import batches, beat, imports
from labeling.import_formats import FORMATS
from labeling.import_plan import Choices
from labeling.models import ACTIVE, Batch, LabelImport, LabelSet

SECONDS = 0.3


class Command(BaseCommand):
    help = (
        "Import a file of labels, or a ZIP of pictures and labels, in any format that the site reads. "
        "Exits with 0 where all is written or was before, 1 where some rows were left, 2 where it was not "
        "asked for rightly, 3 where the file can't be read."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        into = parser.add_mutually_exclusive_group(required=True)
        into.add_argument("--label-set", type=int, metavar="ID")
        into.add_argument("--project", metavar="SLUG", help="A new label set of the file's own labels.")
        parser.add_argument(
            "--format", choices=list(FORMATS), default="", help="Told by the file, if missing."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what it would do, and write nothing.")
        parser.add_argument("--no-new-labels", action="store_true", help="Leave rows with other labels out.")
        parser.add_argument("--replace", action="store_true", help="What people decided otherwise.")
        parser.add_argument("--truth", action="store_true", help="As ground truth, which settles nothing.")
        parser.add_argument("--none", action="store_true", help="Images without a label are none of these.")
        parser.add_argument("--predictions", action="store_true", help="Take predictions for labels.")
        terminal.add_arguments(parser, "import")

    def handle(self, *args: Any, file: Path, json: bool, **options: Any) -> None:
        terminal.check_migrated()
        if not file.is_file():
            raise CommandError(f"There is no file {file}.", returncode=USAGE)
        label_set = LabelSet.objects.select_related("project").filter(pk=options["label_set"]).first()
        if options["label_set"] and label_set is None:
            raise CommandError(f"There is no label set {options['label_set']}.", returncode=USAGE)
        project = label_set.project if label_set else terminal.project_of(options["project"])
        user = terminal.member(project, options["user"], "import")
        try:
            with file.open("rb") as content:
                row = imports.begin(project, label_set, user, File(content, file.name), options["format"])
            self.wait(row)
            if row.state == "done" and options["dry_run"]:
                imports.cancel(row)
            elif row.state == "done":
                imports.confirm(row, _choices(row, options))
                self.wait(row)
        except (ValidationError, intake.StorageFull) as error:
            raise CommandError(
                " ".join(getattr(error, "messages", [str(error)])), returncode=FAILED
            ) from error
        self.tell(row, options["dry_run"], json)

    def wait(self, row: LabelImport) -> None:
        """Until the step is done; where no worker runs, it is done here."""
        with terminal.bar(None, "Import", unit=" steps") as bar:
            while row.state in ACTIVE or _is_written(row):
                if beat.worker_is_online():
                    time.sleep(SECONDS)
                else:
                    imports.carry_out_waiting()
                    batches.carry_out_waiting(lambda: False)
                bar.update(1)
                row.refresh_from_db()

    def tell(self, row: LabelImport, is_dry: bool, as_json: bool) -> None:
        if row.state == "failed":
            raise CommandError(row.error, returncode=FAILED)
        report = row.report
        said = {
            "import": row.pk,
            "label_set": row.label_set_id,
            "rows": report["rows"],
            "counts": report["counts"],
            "written": report.get("written", 0),
            "batch": str(row.batch_id) if row.batch_id else None,
        }
        counted = ", ".join(f"{number:,} {name}" for name, number in report["counts"].items())
        done = "Nothing is written." if is_dry else f"{said['written']:,} written, as import {row.pk}."
        shown = [*report["error"], *report["unmatched"], *report["conflict"]]
        left = [f"{each['place']}: {each['sentence']}" for each in shown]
        terminal.end(self, said, f"{report['rows']:,} rows: {counted}. {done}", left, as_json)


def _is_written(row: LabelImport) -> bool:
    """Whether its batch is being written still."""
    return row.batch_id is not None and Batch.objects.filter(pk=row.batch_id, state="running").exists()


def _choices(row: LabelImport, options: dict[str, Any]) -> Choices:
    left = {each["label"]: "" for each in row.report["unknown"]} if options["no_new_labels"] else {}
    named = {name: options[name] for name in ("replace", "truth", "none", "predictions")}
    return Choices(map=left, **named)
