"""What is made of a project's rows and kept in files: it goes with its project, and is in no backup."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from gallery.models import Project

OWN_FOLDER = re.compile(r"(\d+)-[0-9a-f]+")


def discard(project_id: int) -> None:
    """Remove all that is made of a project; what is still wanted is made again."""
    for folder in settings.VECTORS_DIR.glob(f"{project_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def of_deleted_projects() -> Iterator[Path]:
    """Folders whose project is gone, made by who didn't know that yet."""
    # Folders first: one of a project that is made meanwhile has its row by then.
    found = {path: OWN_FOLDER.fullmatch(path.name) for path in settings.VECTORS_DIR.glob("*")}
    known = set(Project.objects.values_list("pk", flat=True))
    return (path for path, name in sorted(found.items()) if name and int(name[1]) not in known)
