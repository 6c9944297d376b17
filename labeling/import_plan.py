"""What a file of labels would do to a label set, row by row: the same for the preview and for the writing."""

import marshal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from django.conf import settings

from labeling import terms
from labeling.import_formats import FORMATS
from labeling.import_found import Found, Unreadable
from labeling.import_matching import AT_ONCE, Matcher
from labeling.import_sources import Source
from labeling.label_sets import MOST_LABELS
from labeling.models import Annotation, LabelImport, Review

Verdict = Review.Verdict
# What a preview shows of each kind; all are counted.
MOST_SHOWN = 50
LONGEST_LABEL = 200
NOT_STORED = "There are characters in it that can't be stored."
# Folders that are no labels: splits, and where pictures lie in other formats.
NO_LABELS = {"train", "val", "valid", "validation", "test", "images", "data", ""}


@dataclass(frozen=True)
class Choices:
    """What a person chose of what a file would do."""

    make: bool = True  # labels that aren't here yet
    map: dict[str, str] = field(
        default_factory=dict
    )  # {the file's label: a label here, or "" to leave it out}
    replace: bool = False  # other people's decisions
    truth: bool = False  # as ground truth, which settles nothing
    none: bool = False  # images that the file has no label for are none of these
    predictions: bool = False  # are taken for labels

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def makes(self, label: str) -> bool:
        return self.make and label not in self.map


class Planned(NamedTuple):
    """A row of a file, and what becomes of it."""

    found: Found
    outcome: str  # new, same, replaced, conflict, unmatched, unlabelled, prediction, unknown or error
    sentence: str = ""
    image_id: int = 0
    verdict: str = ""
    label_id: int | None = None

    @property
    def is_written(self) -> bool:
        return self.outcome in ("new", "replaced")


class Plan:
    """Goes through the file of an import; `declared` are the labels that it lists, in its order.

    `go_on` is told now and then how many rows are done, and may raise what is to stop it.
    """

    def __init__(
        self, row: LabelImport, choices: Choices, go_on: Callable[[int], None] = lambda rows: None
    ) -> None:
        self.row, self.choices, self.go_on = row, choices, go_on
        self.declared: dict[str, int] = {}  # with how many images have each
        labels = row.label_set.labels.all() if row.label_set else []
        self.labels = {label.name: label.pk for label in labels}
        self.seen: dict[int, str] = {}

    def rows(self) -> Iterator[Planned]:
        matcher, done = Matcher(self.row.project, self.row.upload), 0
        for some in in_parts(map(_fitting, self._found())):
            self.go_on(done)
            done += len(some)
            matched = list(matcher.match(some))
            ids = [pk for _, pk in matched if isinstance(pk, int)]
            answers, best = self._answers(ids), self._best(ids)
            for found, pk in matched:
                yield self._planned(found, pk, answers, best)
        self.go_on(done)

    def _found(self) -> Iterator[Found]:
        read = FORMATS[self.row.format].read
        if read is None:
            yield from self._folders()
            return
        with self.row.file.open("rb") as file:
            for found in read(Source(file, self.row.name)):
                if isinstance(found, Found):
                    yield found
                elif found.label and not _unfit(found.label):
                    self._declare(found.label, 0)

    def _folders(self) -> Iterator[Found]:
        """The last folder of each picture's path in the upload."""
        entries = self.row.upload.entries.exclude(image=None).order_by("position")
        for name in entries.values_list("name", flat=True).iterator():
            folder = name.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
            label = "" if folder.lower() in NO_LABELS | {"_unlabeled"} else folder
            yield Found(name, name, label=label)

    def _declare(self, label: str, images: int) -> None:
        self.declared[label] = self.declared.get(label, 0) + images
        if len(self.declared) > MOST_LABELS:
            raise Unreadable(
                f"The file has more than {MOST_LABELS:,} labels. Is the column of the label the right one?"
            )

    def _answers(self, ids: Sequence[int]) -> dict[int, Annotation]:
        if self.row.label_set is None or self.choices.truth:
            return {}
        rows = self.row.label_set.annotations(manager="everything").filter(image__in=ids)
        return {answer.image_id: answer for answer in rows.select_related("decided_by", "label")}

    def _best(self, ids: Sequence[int]) -> dict[int, int]:
        if self.row.label_set is None:
            return {}
        return dict(self.row.label_set.matches.filter(image__in=ids).values_list("image_id", "label_id"))

    def _planned(
        self, found: Found, pk: int | str, answers: dict[int, Annotation], best: dict[int, int]
    ) -> Planned:
        if found.error:
            return Planned(found, "error", found.error)
        if found.label:
            self._declare(found.label, 1)
        if not isinstance(pk, int):
            return Planned(found, "unmatched", pk)
        if found.is_prediction and not self.choices.predictions:
            return Planned(found, "prediction")
        said = f"{found.label}/{found.is_none}"
        if pk in self.seen:
            if self.seen[pk] == said:
                return Planned(found, "same")
            return Planned(found, "error", "This image stands in the file before, with another answer.")
        if not found.label and not (found.is_none or self.choices.none):
            return Planned(found, "unlabelled")
        self.seen[pk] = said
        label_id = self._label(found.label) if found.label else None
        if (
            found.label
            and label_id is None
            and (self.row.label_set or self.row.step == LabelImport.Step.WRITE)
        ):
            return Planned(found, "unknown", f"There is no label “{found.label}” here.", pk)
        verdict = _verdict(found, label_id, best.get(pk))
        return _against(
            answers.get(pk), Planned(found, "new", "", pk, verdict, label_id), self.choices.replace
        )

    def _label(self, name: str) -> int | None:
        return self.labels.get(self.choices.map.get(name, name))


def _unfit(label: str) -> str:
    """Why a label can't be one here, or nothing."""
    if terms.UNFIT.search(label):
        return NOT_STORED
    return f"Its label is longer than {LONGEST_LABEL} characters." if len(label) > LONGEST_LABEL else ""


def _fitting(found: Found) -> Found:
    """The row, with an error and as little as it takes to show it where a database wouldn't take it."""
    found = found._replace(label=found.label.strip())
    error = found.error or _unfit(found.label)
    if terms.UNFIT.search(found.name + found.sha256):
        error = error or NOT_STORED
    if not error:
        return found
    place, name, label = (
        terms.UNFIT.sub("\ufffd", text)[:LONGEST_LABEL] for text in (found.place, found.name, found.label)
    )
    return Found(place, name, label=label, error=error)


def _verdict(found: Found, label_id: int | None, suggested: int | None) -> str:
    """As the file has it; else a label is accepted where CLIP said the same, or nothing."""
    if not found.label:
        return Verdict.NONE
    return found.status or (Verdict.ACCEPTED if suggested in (label_id, None) else Verdict.CORRECTED)


def _against(answer: Annotation | None, planned: Planned, replace: bool) -> Planned:
    """What becomes of it beside the answer that is there."""
    if answer is None:
        return planned
    if answer.status != Annotation.Status.DISPUTED and answer.label_id == planned.label_id:
        return planned._replace(outcome="same")
    if replace:
        return planned._replace(outcome="replaced")
    who = answer.decided_by.get_username() if answer.decided_by else "Somebody"
    if answer.status == Annotation.Status.DISPUTED:
        return planned._replace(outcome="conflict", sentence="People disagree about it.")
    what = answer.label.name if answer.label else "none of these"
    return planned._replace(outcome="conflict", sentence=f"{who} decided: {what}.")


def in_parts(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while some := list(islice(rows, AT_ONCE)):
        yield some


def report(plan: Plan) -> dict[str, Any]:
    """Counts of all outcomes, some rows of those that a person should see, and the file's labels."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, str]]] = {"error": [], "unmatched": [], "conflict": []}
    for row in plan.rows():
        counts[row.outcome] += 1
        if len(some := shown.get(row.outcome, [])) < MOST_SHOWN:
            said = row.found.label or ("none of these" if row.found.is_none else "")
            some.append(
                {
                    "place": row.found.place[:LONGEST_LABEL],
                    "name": row.found.name[:LONGEST_LABEL],
                    "label": said,
                    "sentence": row.sentence,
                }
            )
    known = list(plan.labels)
    unknown = [
        {"label": name, "count": count, "near": ""}
        for name, count in plan.declared.items()
        if name not in plan.labels
    ]
    # To find what is spelled nearly so takes a while.
    for each in unknown[:MOST_SHOWN]:
        each["near"] = terms.nearest(each["label"], known) or ""
    return {
        "rows": counts.total(),
        "counts": counts,
        # In the order of the file, which a dictionary would lose in Postgres.
        "labels": [{"label": name, "count": count} for name, count in plan.declared.items()],
        "unknown": unknown if plan.row.label_set else [],
        **shown,
    }


def parts(plan: Plan, size: int) -> tuple[Iterator[tuple[list[int], list[Any]]], int]:
    """What is to be written, as parts of a batch of `size` images each, and how many images they are.

    Read to the end before: while the batch is stored, nobody shall wait for a file to be read.
    """
    # Closed with the last part.
    total, spool = 0, TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
    written = (row for row in plan.rows() if row.is_written)
    while some := list(islice(written, size)):
        said = [[str(row.verdict), row.label_id] for row in some]
        marshal.dump(([row.image_id for row in some], said), spool)
        total += len(some)
    marshal.dump(None, spool)
    spool.seek(0)
    return iter(lambda: marshal.load(spool), None), total
