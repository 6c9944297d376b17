"""What an export says of each image: columns of a few thousand rows at a time, each read for itself."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import CharField, F, Q, QuerySet
from django.db.models.functions import Cast

from gallery.models import Image
from labeling import embeddings
from labeling.models import UNREVIEWED, Annotation, LabelSet, Review, ScoringRun
from labeling.splits import Splits

COLUMNS = (
    *("id", "file_name", "sha256", "width", "height"),
    *("label", "status", "source", "decided_by", "decided_at"),
    *("suggested_label", "similarity", "probability", "margin", "runner_up", "model", "split"),
)
FIGURES = ("similarity", "probability", "margin")
# A column more, which no export has: the id of the run that matched the image.
RUN = "run"
# Each is a query of its own, so that no read is held open for as long as somebody's download takes.
ROWS_AT_ONCE = 2000
# What is read of each image, in the order of `_columns`.
FIELDS = (
    *("pk", "name", "sha256", "width", "height"),
    *("settled_label", "settled_status", "source", "decider", "decided"),
    *("suggested_id", "similarity", "probability", "margin", "runner_up_id", "run_id"),
)

Columns = dict[str, Sequence[Any]]


def chosen(images: QuerySet[Image], suggested: bool) -> QuerySet[Image]:
    """The images that an export holds: settled ones, and with `suggested` those that CLIP has labelled."""
    read = images.annotate(
        run_id=F("match__run_id"),
        settled_label=F("annotation__label_id"),
        settled_status=F("annotation__status"),
        source=F("annotation__source"),
        decider=F("annotation__decided_by_id"),
        # As text: to make dates of a million rows and text of these costs more than to read them.
        decided=Cast("annotation__decided_at", CharField()),
    )
    held = Q(settled_status__isnull=False)
    if suggested:
        held |= Q(run_id__isnull=False)
    return read.filter(held).order_by("pk")


class Names:
    """The labels, people, models and runs that rows name by id."""

    def __init__(self, label_set: LabelSet) -> None:
        self.labels = {None: None} | dict(label_set.labels.values_list("pk", "name"))
        self.models = {None: None} | dict(label_set.runs.values_list("pk", "model"))
        self.users: dict[int | None, str | None] = {None: None}
        self.runs: dict[int, ScoringRun] = {}

    def of_users(self, ids: Sequence[int | None]) -> list[str | None]:
        if unknown := set(ids) - self.users.keys():
            found = get_user_model().objects.filter(pk__in=unknown).values_list("pk", "username")
            self.users |= dict.fromkeys(unknown) | dict(found)
        return [self.users[pk] for pk in ids]

    def of_runs(self, ids: Set[int]) -> list[ScoringRun]:
        # Those of the last table alone are kept: each has the vectors of its labels.
        if not ids <= self.runs.keys():
            self.runs = ScoringRun.objects.in_bulk(ids)
        return [self.runs[pk] for pk in sorted(ids & self.runs.keys())]


def tables(
    names: Names, images: QuerySet[Image], splits: Splits | None = None, after: int = 0
) -> Iterator[Columns]:
    """COLUMNS of `chosen` images with ids beyond `after`, some thousand rows at a time, in order of ids."""
    while found := read(names, images.filter(pk__gt=after)[:ROWS_AT_ONCE], splits):
        yield found
        if len(found["id"]) < ROWS_AT_ONCE:
            return
        after = found["id"][-1]


def read(names: Names, images: QuerySet[Image], splits: Splits | None = None) -> Columns | None:
    """COLUMNS of these `chosen` images; None where there are none."""
    # Only the columns are told apart, not the rows: values_list makes plain tuples.
    some = list(images.values_list(*FIELDS))
    return _columns(some, names, splits) if some else None


def _columns(some: Sequence[tuple], names: Names, splits: Splits | None) -> Columns:
    ids, file_names, sha256, width, height, label, status, source, by, at, *match = zip(*some, strict=True)
    suggested, similarity, probability, margin, runner_up, run = match
    if None in status:  # suggestions, marked as such
        label = [mine if said else best for mine, said, best in zip(label, status, suggested, strict=True)]
        status = [said or UNREVIEWED for said in status]
        source = [said or Annotation.Source.AUTO.value for said in source]
    cells = (
        *(ids, _composed(file_names), sha256, width, height),
        *([names.labels.get(pk) for pk in label], status, source, names.of_users(by), _dates(at)),
        [names.labels.get(pk) for pk in suggested],
        *(similarity, probability, margin),
        *([names.labels.get(pk) for pk in runner_up], [names.models.get(pk) for pk in run]),
        splits.of(ids, sha256) if splits else [None] * len(ids),
    )
    return dict(zip((*COLUMNS, RUN), (*cells, run), strict=True))


def _composed(file_names: Sequence[str]) -> Sequence[str]:
    if "".join(file_names).isascii():
        return file_names
    return [unicodedata.normalize("NFC", name) for name in file_names]


def _dates(texts: Sequence[str | None]) -> list[str | None]:
    """ISO 8601 of what a database writes: a space before the time, and `+00`, or nothing, for UTC."""
    if None in texts:
        dates = iter(_dates([text for text in texts if text is not None]))
        return [None if text is None else next(dates) for text in texts]
    # All at once: it is one of the columns that differ in each row.
    lines = "".join([f"{text}\n" for text in texts]).replace(" ", "T").replace("+00\n", "\n")
    return lines.replace("\n", "+00:00\n").split("\n")[:-1]


def similarities(
    table: Columns, names: Names
) -> Iterator[tuple[list[str], Sequence[int], list[list[float]]]]:
    """For each run that matched images of this table: its labels, the images, and of each of them the
    similarity to each label."""
    by_run = defaultdict(list)
    for image_id, run_id in zip(table["id"], table[RUN], strict=True):
        by_run[run_id].append(image_id)
    for run in names.of_runs(by_run.keys() - {None}):
        ids, vectors = embeddings.load(by_run[run.pk], run.model)
        if ids:
            labels = embeddings.from_bytes(run.label_vectors, rows=len(run.labels))
            yield [label["name"] for label in run.labels], ids, (vectors @ labels.T).tolist()


def told(reviews: QuerySet[Review], image_ids: Sequence[int], names: Names) -> tuple[Sequence[Any], ...]:
    """Images, users, labels' names, verdicts and dates of those of the reviews that are about these images
    or any between them, oldest first for each."""
    some = reviews.filter(image__gte=min(image_ids), image__lte=max(image_ids)).order_by("image_id", "id")
    fields = ("image_id", "user_id", "label_name", "verdict", Cast("at", CharField()))
    if not (rows := list(some.values_list(*fields))):
        return ((),) * len(fields)
    ids, users, labels, verdicts, dates = zip(*rows, strict=True)
    return ids, names.of_users(users), labels, verdicts, _dates(dates)
