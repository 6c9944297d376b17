"""Processes that bring vectors up to date, are killed at it, and do so at once. Makes a site of its own."""

import os
import signal
import sys
import time
from collections.abc import Callable

from django.db import connection

from clipsite.prepare import prepare
from gallery.models import Image, Project
from labeling import vector_files, vector_sync, vectors
from labeling.models import Embedding
from tests.labeling import rows, test_vectors

AT_ONCE = 8


def in_child(act: Callable[[], object]) -> int:
    """The pid of a process of its own that does it."""
    connection.close()
    if pid := os.fork():
        return pid
    code = 1
    try:
        vectors._open.clear()
        act()
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """How it ended: 0, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(name: str, call: int, project: Project) -> bool:
    """Whether a process that brings the vectors up to date came so far as to be killed at that call."""
    real, calls = getattr(vector_files, name), []

    def deadly(*args: object, **options: object) -> object:
        calls.append(name)
        if len(calls) == call:
            if name == "_write":
                real(args[0], args[1][: len(args[1]) // 2], args[2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    def act() -> None:
        setattr(vector_files, name, deadly)
        vectors.forget(project.pk, rows.MODEL)
        vectors.of(project.pk, rows.MODEL)

    return ended(in_child(act)) == -signal.SIGKILL


def main() -> None:
    prepare()
    vector_sync.BLOCK, vector_sync.IDS, vector_files.ROOM = 7, 20, 4
    project = Project.objects.create(name="Killed", slug="killed")
    killed = 0
    test_vectors.new(project, 30)
    for delete in (False, False, True):
        for name, call in (
            ("_write", 1),
            ("_write", 5),
            ("append", 2),
            ("commit", 1),
            ("sweep", 1),
            ("_write", 2),
        ):
            killed += killed_at(name, call, project)
            assert len(vectors.of(project.pk, rows.MODEL).ids) == Embedding.objects.count()
            assert test_vectors.agrees(project), (name, call)
            assert len(test_vectors.files(project)) == 5, (name, call)
            test_vectors.new(project, 30)
            if delete:
                Image.objects.filter(pk__in=Image.objects.order_by("pk").values("pk")[3:6]).delete()
            vectors._open.clear()

    def read() -> None:
        # While another one writes, the matrix of a moment ago is a good answer; but not for long.
        until = time.monotonic() + 30
        while not test_vectors.agrees(project):
            assert time.monotonic() < until

    children = [in_child(read) for _ in range(AT_ONCE)]
    at_once = sum(ended(pid) == 0 for pid in children)
    sys.stdout.write(f"{killed} killed, {at_once} at once\n")
