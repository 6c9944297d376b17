"""A long table is written by two processes: this one, and a helper that takes every second part of it.

To read and write a million rows is computing alone, and a process computes on one core.
"""

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from django.conf import settings

from gallery.models import Image
from labeling import export_table
from labeling.export_rows import Export, Part
from labeling.export_table import Columns
from labeling.models import Review

logger = logging.getLogger(__name__)

PROGRAM = ["-m", "labeling.export_helper_child"]
# Most exports are at their end before a helper has begun: it is called after so many parts.
PARTS_ALONE = 8
# A helper that takes longer for a part is given up.
SECONDS_A_PART = 30

# A function of a module, so that the helper can import it.
Write = Callable[[Export, Columns], str]

# One helper for each process of the site: an export that finds it at work goes on alone.
_place = threading.Lock()


def texts(export: Export, write: Write) -> Iterator[str | bytes]:
    """What `write` makes of the tables of an export, in their order; in UTF-8 where a helper wrote it."""
    tables = export.tables()
    for number, table in enumerate(tables, start=1):
        yield write(export, table)
        if number == PARTS_ALONE:
            break
    else:
        return
    if os.cpu_count() == 1 or not _place.acquire(blocking=False):
        yield from (write(export, table) for table in tables)
        return
    try:
        with _helper(export, write) as connection:
            yield from _by_two(export, write, connection, table["id"][-1])
    finally:
        _place.release()


def _by_two(export: Export, write: Write, connection: Connection, after: int) -> Iterator[str | bytes]:
    pairs = _pairs(export, after)
    pair = next(pairs, None)
    while pair and not _is_there(connection):
        yield from (text(export, write, part) for part in pair)
        pair = next(pairs, None)
    if pair:
        _ask(connection, pair[0])
    while pair:
        (theirs, mine), pair = pair, next(pairs, None)
        between = text(export, write, mine)
        if pair:  # before the answer is fetched, so that the helper has something to go on with
            _ask(connection, pair[0])
        answer = _answer(connection)
        yield text(export, write, theirs) if answer is None else answer
        yield between


def text(export: Export, write: Write, part: Part) -> str:
    """What `write` makes of the rows of a part; nothing where it has none."""
    table = export.table(part)
    return write(export, table) if table else ""


def _pairs(export: Export, after: int) -> Iterator[tuple[Part, Part]]:
    """By all images that could be exported: to count those that are would take as long as to read them."""
    newest, both = export.ids.last() or 0, 2 * export_table.ROWS_AT_ONCE
    while after < newest:
        last = export.ids.filter(pk__gt=after, pk__lte=newest)[both - 1 : both].first() or newest
        middle = (after + last) // 2
        yield (after, middle), (middle, last)
        after = last


@contextmanager
def _helper(export: Export, write: Write) -> Iterator[Connection]:
    """A helper that has this export before it; closed where none can be had. It ends with the connection,
    and so with this process."""
    ours, theirs = Pipe()
    command = [sys.executable, *PROGRAM, str(theirs.fileno())]
    with ours:
        try:
            with theirs:
                child = subprocess.Popen(
                    command, cwd=settings.BASE_DIR, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
        except OSError as error:
            logger.warning("an export goes on without a helper: %s", error)
            ours.close()
            yield ours
            return
        try:
            _ask(ours, packed(export, write))
            yield ours
        finally:
            child.kill()
            child.wait()


def packed(export: Export, write: Write) -> bytes:
    """An export for another process; its query sets as queries, since one that is packed itself is read."""
    queries = replace(export, images=export.images.query, reviews=export.reviews.query)
    return pickle.dumps((queries, write))


def unpacked(content: bytes) -> tuple[Export, Write]:
    export, write = pickle.loads(content)
    images, reviews = Image.objects.all(), Review.objects.all()
    images.query, reviews.query = export.images, export.reviews
    return replace(export, images=images, reviews=reviews), write


def _is_there(connection: Connection) -> bool:
    """Whether the helper has said that it has begun."""
    return not connection.closed and connection.poll() and _answer(connection) is not None


def _ask(connection: Connection, what: Part | bytes) -> None:
    try:
        connection.send(what)
    except OSError:  # it is gone, as will be seen where its answer is missing
        connection.close()


def _answer(connection: Connection) -> bytes | None:
    """None where the helper is gone, or given up."""
    try:
        if connection.poll(SECONDS_A_PART):
            return connection.recv_bytes()
    except (EOFError, OSError):
        pass
    connection.close()
    return None
