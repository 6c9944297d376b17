from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError

from gallery import projects, terminal, uploads
from gallery.models import Project, Upload, UploadEntry
from gallery.terminal import FAILED, USAGE

Outcome = UploadEntry.Outcome
# Files of one transaction's worth of work; what is in stays, whatever comes after.
AT_ONCE = 32


class Command(BaseCommand):
    help = (
        "Add the pictures of a folder, however deep, and of ZIPs in it, to a project. Exits with 0 where all "
        "are in or were before, 1 where some were refused, 2 where it was not asked for rightly, 3 where it "
        "failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--create", metavar="NAME", help="Make the project by this name if it isn't there."
        )
        terminal.add_arguments(parser, "upload")

    def handle(self, *args: Any, folder: Path, json: bool, **options: Any) -> None:
        terminal.check_migrated()
        if not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.", returncode=USAGE)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder))
        project, user = self.target(options["project"], options["create"], options["user"])
        upload = Upload.objects.create(project=project, uploaded_by=user)
        with terminal.bar(None, "Images", len(files)) as bar:
            for start in range(0, len(files), AT_ONCE):
                some = files[start : start + AT_ONCE]
                try:
                    uploads.add_images(project, user, _opened(some, folder), upload)
                except uploads.StorageFull as error:
                    raise CommandError(str(error), returncode=FAILED) from error
                bar.update(len(some))
        self.tell(upload, json)

    def target(self, slug: str, name: str | None, username: str | None) -> tuple[Project, User]:
        if name and not Project.objects.filter(slug=slug).exists():
            owner = User.objects.filter(username=username).first() if username else _only_superuser()
            if owner is None:
                raise CommandError(
                    "Who shall own the new project? Name a user with --user.", returncode=USAGE
                )
            project = projects.create(owner, name)
            if project.slug != slug:
                self.stderr.write(f"The new project is {project.slug}.")
            return project, owner
        project = terminal.project_of(slug)
        return project, terminal.member(project, username, "upload")

    def tell(self, upload: Upload, as_json: bool) -> None:
        upload.refresh_from_db()
        counts = {outcome.value: upload.counts[outcome] for outcome in Outcome}
        refused = upload.entries.filter(outcome=Outcome.REFUSED).values_list("name", "reason")
        said = {"upload": upload.pk, "project": upload.project.slug, "state": upload.state, **counts}
        words = (
            f"{counts['added']:,} added, {counts['duplicate']:,} here already, {counts['refused']:,} refused."
        )
        if upload.state == Upload.State.OPEN:
            words += " A large ZIP is being unpacked by the worker."
        terminal.end(self, said, words, [f"{name}: {reason}" for name, reason in refused], as_json)


def _only_superuser() -> User | None:
    found = list(User.objects.filter(is_superuser=True)[:2])
    return found[0] if len(found) == 1 else None


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _opened(paths: list[Path], folder: Path) -> Iterator[File]:
    """The files, each closed when the next one is asked for, named by their place in the folder."""
    for path in paths:
        with path.open("rb") as file:
            yield File(file, str(path.relative_to(folder)))
