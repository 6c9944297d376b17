import os
import random
import secrets
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile, File
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet
from django.http import QueryDict
from tqdm import tqdm

from clipsite.prepare import prepare
from gallery import projects, uploads
from gallery.access import Role
from gallery.models import Image, Project, Upload, UploadEntry
from labeling import clip, exports, label_sets, runs, worker
from labeling.label_sets import LabelSpec
from labeling.models import LabelSet, ScoringRun
from labeling.starter import drawing

SEED = 2026
DRAWINGS = 120
SIDE = 320
COLOURS, SHAPES = drawing.COLOURS[:4], drawing.SHAPES[:4]
# Files between two calls to the worker: it labels the first while the others are read.
AT_ONCE = 32
MOST_NAMED = 10

Outcome = UploadEntry.Outcome


class Command(BaseCommand):
    help = "Draw pictures, upload them, have CLIP label them, export the labels: the main job, in one go."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--images", type=Path, metavar="DIR", help="Your own pictures instead of drawn ones."
        )
        parser.add_argument("--labels", metavar="'CAT, DOG'", help="Your own labels, two or more.")
        parser.add_argument("--serve", action="store_true", help="Go on to serve the site.")
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, images: Path | None, labels: str | None, **options: Any) -> None:
        if bool(images) != bool(labels):
            raise CommandError('--images and --labels go together: --images DIR --labels "cat, dog"')
        files = folder_files(images) if images else drawn_files()
        names = labels.split(",") if labels else drawn_labels()
        self.note_signals()
        try:
            label_set = self.main_job(images, files, names)
            self.heed_signals()
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to go on.", returncode=130) from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except (clip.ModelUnusable, OSError) as error:
            raise CommandError(str(error)) from error
        self.say_where(label_set, options["port"], options["serve"])
        if options["serve"]:
            call_command("start", port=options["port"])

    def note_signals(self) -> None:
        """Stop between two steps, however it is told to, and take the worker along.

        An exception in the middle of one could leave a transaction open, which the worker waits for.
        """
        self.signals: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self.signals.append(number))

    def heed_signals(self) -> None:
        """Raises KeyboardInterrupt."""
        if self.signals:
            raise KeyboardInterrupt

    def main_job(
        self, images: Path | None, files: Sequence[Callable[[], File]], names: Sequence[str]
    ) -> LabelSet:
        self.say("Preparing the database and the static files.")
        prepare()
        model = clip.current()
        self.say(f"Model: {model.name}")
        if model.is_starter and images:
            self.say(clip.STARTER_NOTE)
        user = self.demo_user()
        with transaction.atomic():
            project = own_project(user, images.resolve().name if images else "Drawn shapes")
            label_set = own_label_set(project, user, names)
        self.heed_signals()
        with running_worker() as process:
            upload = self.upload(project, user, files, process)
            self.wait(label_set, process)
        shown = label_set.images().filter(pk__in=upload.entries.values("image"))
        self.table(label_set, shown, drawn=not images)
        self.write_csv(label_set, user)
        return label_set

    def say(self, text: str) -> None:
        self.stdout.write(text)
        # The progress bars go to stderr: in a file or a pipe the lines keep their order.
        self.stdout.flush()

    def demo_user(self) -> User:
        user, created = User.objects.get_or_create(username="demo")
        if created:
            password = secrets.token_urlsafe(9)
            user.set_password(password)
            user.save()
            self.say(f"User: demo, password: {password} (shown this once)")
        else:
            self.say("User: demo, with the password that it has (manage.py changepassword demo)")
        return user

    def upload(
        self,
        project: Project,
        user: User,
        files: Sequence[Callable[[], File]],
        process: subprocess.Popen | None,
    ) -> Upload:
        upload = Upload.objects.create(project=project, uploaded_by=user)
        with progress_bar("Uploading", len(files)) as bar:
            for start in range(0, len(files), AT_ONCE):
                uploads.add_images(project, user, self.opened(files[start : start + AT_ONCE], bar), upload)
        while upload.state == Upload.State.OPEN:  # a large ZIP, which the worker unpacks
            self.wait_a_moment(process)
            upload.refresh_from_db()
        counts = [f"{count} {Outcome(outcome).label}" for outcome, count in upload.counts.items()]
        self.say(f"Uploaded: {', '.join(counts)}")
        refused = upload.entries.filter(outcome=Outcome.REFUSED)
        self.say_some([f"{entry.name}: {entry.reason}" for entry in refused])
        if not upload.entries.exclude(outcome=Outcome.REFUSED).exists():
            raise CommandError("None of these files is a picture that can be used.")
        return upload

    def opened(self, files: Sequence[Callable[[], File]], bar: tqdm) -> Iterator[File]:
        """One file after the other, open for as long as it takes."""
        for make in files:
            self.heed_signals()
            with make() as file:
                yield file
            bar.update()

    def wait_a_moment(self, process: subprocess.Popen | None) -> None:
        """Raises CommandError where the worker that is waited for is gone: `process`, or somebody else's."""
        self.heed_signals()
        if process.poll() is not None if process else not worker.is_running():
            raise CommandError("The worker ended by itself. Run the command again to go on.")
        time.sleep(0.2)

    def say_some(self, lines: list[str]) -> None:
        for line in lines[:MOST_NAMED]:
            self.say(f"  {line}")
        if len(lines) > MOST_NAMED:
            self.say(f"  and {len(lines) - MOST_NAMED} more")

    def wait(self, label_set: LabelSet, process: subprocess.Popen | None) -> None:
        """Show the run's progress until it ends."""
        run = label_set.runs.first()
        if run.state in (ScoringRun.State.CANCELLED, ScoringRun.State.FAILED):
            runs.start(label_set.project, label_set, run.created_by)
        else:
            runs.follow(label_set.project)
        before = runs.progress(label_set.runs.first())
        with progress_bar("Labelling", before.total, before.done) as bar:
            while True:
                run = label_set.runs.first()
                progress = runs.progress(run)
                bar.update(progress.done + progress.failed - bar.n)
                if run.state not in runs.ACTIVE:
                    break
                self.wait_a_moment(process)
        if run.state != ScoringRun.State.DONE:
            raise CommandError(f"The run ended as {run.state}. {run.error}")
        failed = run.image_attempts.filter(failed=True).select_related("image")
        self.say_some([f"{attempt.image.name}: {attempt.reason}" for attempt in failed])

    def table(self, label_set: LabelSet, images: QuerySet[Image], drawn: bool) -> None:
        """Labels against what was drawn, or how often each was given."""
        matched = list(images.values_list("name", "match__label__name"))
        given = Counter(label for _, label in matched)
        right = Counter(label for name, label in matched if name.startswith(f"{label} "))
        truth = Counter(name.rsplit(" ", 1)[0] for name, _ in matched)
        heads = ("label", "drawn", "labelled so", "right") if drawn else ("label", "labelled so")
        self.say("\n" + "".join(f"{head:>16}" for head in heads))
        for name in label_set.labels.values_list("name", flat=True):
            figures = (truth[name], given[name], right[name]) if drawn else (given[name],)
            self.say(f"{name[:15]:>16}" + "".join(f"{figure:>16}" for figure in figures))
        if drawn:
            self.say(f"\n{sum(right.values())} of {len(matched)} labelled as they were drawn.")

    def write_csv(self, label_set: LabelSet, user: User) -> None:
        path = settings.DATA_DIR / f"{label_set.project.slug}.csv"
        asked = QueryDict("format=csv&include=suggested")
        with path.open("wb") as file:
            file.writelines(exports.download(label_set, user, asked, label_set.reviews.all()))
        self.say(f"Wrote {label_set.matches.count()} rows to {path}")

    def say_where(self, label_set: LabelSet, port: int, serve: bool) -> None:
        if not serve:
            start = f"{os.path.relpath(sys.executable)} {sys.argv[0]} start"
            self.say(f"Open the site: {start}" + (f" --port {port}" if port != settings.PORT else ""))
        address = f"http://{settings.HOST}:{port}{label_set.get_absolute_url()}"
        self.say(f"Then log in as demo at {address}")


def own_project(user: User, name: str) -> Project:
    """The user's project of this name: the one of an earlier demo, or a new one."""
    owned = Project.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
    return owned.filter(name=name).first() or projects.create(user, name)


def own_label_set(project: Project, user: User, names: Sequence[str]) -> LabelSet:
    """The project's label set with just these labels, or a new one beside those that people made."""
    names = [name.strip() for name in names if name.strip()]
    for label_set in project.label_sets.prefetch_related("labels"):
        if [label.name for label in label_set.labels.all()] == names:
            return label_set
    others = project.label_sets.count()
    title = f"Labels {others + 1}" if others else "Labels"
    return label_sets.create(project, user, title, [LabelSpec(name) for name in names])


def drawn_labels() -> list[str]:
    return [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


def drawn_files() -> list[Callable[[], File]]:
    """Pictures named by what was drawn, the same ones at each call when they are made in order."""
    rng = random.Random(SEED)
    return [partial(drawn_file, rng, number) for number in range(DRAWINGS)]


def drawn_file(rng: random.Random, number: int) -> File:
    colour, shape = COLOURS[number % len(COLOURS)], rng.choice(SHAPES)
    shown = drawing.Drawing(
        colour,
        shape,
        pattern=rng.choice(drawing.PATTERNS),
        count=rng.choice(drawing.COUNTS),
        background=rng.choice(drawing.BACKGROUNDS),
        size=rng.choice(drawing.SIZES),
    )
    out = BytesIO()
    drawing.draw(shown, rng, SIDE).save(out, "JPEG", quality=90)
    return ContentFile(out.getvalue(), f"{colour} {shape} {number:03}.jpg")


def folder_files(folder: Path) -> list[Callable[[], File]]:
    """The folder's files and those of its folders, less hidden ones. Raises CommandError where none is."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder.")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not is_hidden(path, folder))
    if not paths:
        raise CommandError(f"There is no file in {folder}.")
    return [partial(folder_file, path) for path in paths]


def is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def folder_file(path: Path) -> File:
    return File(path.open("rb"), name=path.name)


def progress_bar(title: str, total: int, done: int = 0) -> tqdm:
    """A bar that shows the time pass on a terminal, and keeps to a few lines in a file."""
    pace = {"miniters": 0, "mininterval": 0.2 if sys.stderr.isatty() else 5}
    return tqdm(desc=title, total=total, initial=done, unit=" images", dynamic_ncols=True, **pace)


@contextmanager
def running_worker() -> Iterator[subprocess.Popen | None]:
    """A worker for as long as it takes; None where one runs already."""
    if worker.is_running():
        yield None
        return
    command = [sys.executable, settings.BASE_DIR / "manage.py", "worker", "-v0"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
