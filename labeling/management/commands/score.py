import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gallery import terminal
from gallery.terminal import FAILED, USAGE
from labeling import beat, clip, runs, work
from labeling.models import ACTIVE, LabelSet, ScoringRun

SECONDS = 0.3


class Command(BaseCommand):
    help = (
        "Score a label set's images again. Exits with 0 where that is begun, or with --wait done; 1 where "
        "some images failed, 2 where it was not asked for rightly, 3 where the run failed or was cancelled."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("label_set", type=int, metavar="LABEL_SET", help="Its id, as in its address.")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="Until it is done. Where no worker runs, this command does it.",
        )
        terminal.add_arguments(parser, "run")

    def handle(self, *args: Any, label_set: int, wait: bool, json: bool, **options: Any) -> None:
        terminal.check_migrated()
        found = LabelSet.objects.select_related("project").filter(pk=label_set).first()
        if found is None:
            raise CommandError(f"There is no label set {label_set}.", returncode=USAGE)
        user = terminal.member(found.project, options["user"], "run")
        try:
            run = runs.start(found.project, found, user)
        except clip.ModelUnusable as error:
            raise CommandError(str(error), returncode=FAILED) from error
        if wait:
            self.wait(run)
            run.refresh_from_db()
        reached = runs.progress(run)
        said = {
            "run": run.pk,
            "state": run.state,
            "total": reached.total,
            "done": reached.done,
            "failed": reached.failed,
        }
        if run.state in ("failed", "cancelled"):
            raise CommandError(f"The run is {run.state}. {run.error}".strip(), returncode=FAILED)
        words = f"Run {run.pk} is {run.state}: {reached.done:,} of {reached.total:,} images."
        failed = run.image_attempts.filter(failed=True).values_list("image__name", "reason") if wait else []
        terminal.end(self, said, words, [f"{name}: {reason}" for name, reason in failed], json)

    def wait(self, run: ScoringRun) -> None:
        with terminal.bar(None, "Images", run.project.images.count()) as bar:
            while True:
                run.refresh_from_db(fields=["state"])
                reached = runs.progress(run)
                bar.update(reached.done + reached.failed - bar.n)
                if run.state not in ACTIVE:
                    return
                if beat.worker_is_online():
                    time.sleep(SECONDS)
                else:
                    work.until_none_is_left()
