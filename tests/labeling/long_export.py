"""Exports of which a helper writes a part, in a site of its own; prints as JSON what became of each.

A helper reads the database that the settings name, so that a test can't show it its own.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import psutil
from django.contrib.auth.models import User
from django.http import QueryDict, StreamingHttpResponse

from clipsite.prepare import prepare
from gallery import projects
from gallery.models import Image
from labeling import export_helper, export_table, export_zip, exports
from labeling.models import LabelSet
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

LINES = "format=jsonl"
QUERIES = {
    "csv": "",
    "jsonl": LINES,
    "some": f"{LINES}&q=label:cat&include=suggested&split=80/20&seed=3&columns=id,label,split,reviews",
    "raw": "q=by:max&raw=1",
}
IMAGES, GONE = 90, 20
# Whether the helper answered, for each time that it was waited for.
answers: list[bool] = []


def main() -> None:
    label_set = _ready()
    found = {name: _compared(label_set, query) for name, query in QUERIES.items()}
    found["killed"] = _compared(label_set, LINES, psutil.Process.kill)
    export_helper.SECONDS_A_PART = 1
    found["stopped"] = _compared(label_set, LINES, lambda child: child.send_signal(signal.SIGSTOP))
    export_helper.SECONDS_A_PART = 30
    found["beside"] = _beside(label_set)
    found["left"] = _left(label_set)
    sys.executable = "/no/such/program"
    found["not to be had"] = _compared(label_set, LINES)
    sys.stdout.write(json.dumps(found))


def hold() -> None:
    """An export that stands still, its helper at work, until it is killed."""
    label_set = _ready()
    parts = _parts(label_set, LINES)
    while not sum(answers):
        next(parts)
    sys.stderr.write("held\n")
    signal.pause()


def _ready() -> LabelSet:
    """A site with a label set, and exports that take many parts and wait for their helper."""
    prepare()
    export_table.ROWS_AT_ONCE, export_helper.PARTS_ALONE, export_zip.BLOCK = 3, 2, 1
    _wait_for_the_helper()
    return _label_set()


def _label_set() -> LabelSet:
    """Its images lie among those of another project, and some are gone."""
    olga, max_ = (User.objects.create_user(name) for name in ("olga", "max"))
    project, other = (projects.create(olga, name) for name in ("Many", "Other"))
    label_set = rows.label_set(project, "cat", "dog")
    images = []
    for start in range(0, IMAGES, 10):
        images += rows.images(project, 10, start)
        rows.images(other, 10, start)
    rows.match(label_set, images[: IMAGES // 2])
    cat, dog = label_set.labels.order_by("pk")
    decide(label_set, olga, [Decision(image.pk, Verdict.CORRECTED, cat.pk) for image in images[::2]])
    decide(label_set, max_, [Decision(image.pk, Verdict.CORRECTED, dog.pk) for image in images[::6]])
    Image.objects.filter(pk__in=[image.pk for image in images[40 : 40 + GONE]]).delete()
    return label_set


def _wait_for_the_helper() -> None:
    """These exports would be over before it has begun."""
    is_there, answer = export_helper._is_there, export_helper._answer

    def noted(connection: Connection) -> bytes | None:
        text = answer(connection)
        answers.append(text is not None)
        return text

    export_helper._answer = noted
    export_helper._is_there = lambda connection: (
        (connection.closed or connection.poll(60)) and is_there(connection)
    )


def _parts(label_set: LabelSet, query: str, cores: int = 2) -> Iterator[bytes]:
    return _response(label_set, query, cores).streaming_content


def _response(label_set: LabelSet, query: str, cores: int = 2) -> StreamingHttpResponse:
    os.cpu_count = lambda: cores
    answers.clear()
    reviews = label_set.reviews.all()
    return exports.download(label_set, User.objects.first(), QueryDict(query), reviews)


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _compared(
    label_set: LabelSet, query: str, disturb: Callable[[psutil.Process], object] | None = None
) -> dict[str, object]:
    """An export beside one without a helper. `disturb` it once it has answered."""
    texts = []
    for part in _parts(label_set, query):
        texts.append(part)
        if disturb and sum(answers) == 2:
            disturb(_children()[0])
            disturb = None
    said = {"answers": sum(answers), "waited": len(answers), "children": len(_children())}
    whole = b"".join(_parts(label_set, query, cores=1))
    return said | {"same": b"".join(texts) == whole, "lines": whole.count(b"\n"), "alone": len(answers)}


def _beside(label_set: LabelSet) -> dict[str, object]:
    """An export while another has the helper."""
    first = _parts(label_set, LINES)
    texts = [next(first)]
    while not sum(answers):
        texts.append(next(first))
    second = b"".join(_parts(label_set, LINES))
    answered = len(answers)
    return {"answers": answered, "same": second == b"".join([*texts, *first]), "children": len(_children())}


def _left(label_set: LabelSet) -> dict[str, object]:
    """An export that nobody reads to its end, and the next one."""
    response = _response(label_set, LINES)
    parts = iter(response.streaming_content)
    while not sum(answers):
        next(parts)
    at_work = len(_children())
    response.close()
    return {"at work": at_work, "after": len(_children())} | _compared(label_set, LINES)
