"""What the page of the map and the API show of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.core.exceptions import ValidationError
from django.http import QueryDict

from gallery.access import User
from gallery.models import Project
from labeling import beat, clip, layouts, picks, projection
from labeling.models import ACTIVE, STATUSES, Embedding, LabelSet, MapLayout
from labeling.selection import Selection, line_of

# Places are whole numbers from 0 to this: short to write down, and finer than any screen.
EXTENT = 65_535


@dataclass(frozen=True)
class Drawing:
    """The map that is shown, and the one that was asked for last."""

    shown: MapLayout | None
    newest: MapLayout | None

    @property
    def goes_on(self) -> bool:
        return self.newest is not None and self.newest.state in ACTIVE

    @property
    def percent(self) -> int:
        return progress(self.newest) if self.newest else 0

    @property
    def is_stuck(self) -> bool:
        return self.goes_on and not beat.worker_is_online()

    @property
    def version(self) -> str:
        """Differs where the points may differ."""
        shown = f"{self.shown.pk}.{self.shown.iteration}" if self.shown else "none"
        return f"{shown}.{self.newest.state}" if self.newest else shown


def drawing(project: Project) -> Drawing:
    return Drawing(layouts.shown(project), layouts.newest(project))


def progress(layout: MapLayout) -> int:
    """In per cent; 100 only once it is done."""
    if layout.state == MapLayout.State.DONE:
        return 100
    return min(99, 100 * layout.iteration // projection.ITERATIONS)


def points(project: Project, label_set: LabelSet | None, params: QueryDict, user: User) -> dict[str, Any]:
    """The images on the map, as columns of equal length, as `MapSerializer` describes them.

    Raises ValidationError where the search line has a mistake.
    """
    drawn = drawing(project)
    labels = list(label_set.labels.all()) if label_set else []
    ids, x, y = _places(drawn.shown)
    rows = _rows(project, label_set)
    there = [at for at, image_id in enumerate(ids) if image_id in rows]
    position = {label.pk: at for at, label in enumerate(labels)} | {None: -1}
    status = {value: at for at, (value, _) in enumerate(STATUSES)}
    on_map = [ids[at] for at in there]
    found = _found(label_set, params, user)
    return {
        "map": drawn.shown,
        "newest": drawn.newest,
        "labels": labels,
        "statuses": [{"value": value, "name": name} for value, name in STATUSES] if label_set else [],
        "images": on_map,
        "x": [x[at] for at in there],
        "y": [y[at] for at in there],
        "label": [position[rows[image_id][0]] for image_id in on_map] if label_set else [],
        "status": [status[rows[image_id][1]] for image_id in on_map] if label_set else [],
        "found": None if found is None else [int(image_id in found) for image_id in on_map],
        **_missing(rows.keys() - set(on_map)),
    }


def _places(layout: MapLayout | None) -> tuple[list[int], list[int], list[int]]:
    """Ids and whole coordinates: the map's larger side goes from 0 to EXTENT."""
    if layout is None:
        return [], [], []
    ids, places = layouts.read(layout)
    low, high = places.min(axis=0), places.max(axis=0)
    size = (high - low).max() or 1
    scaled = np.rint((places - (low + high) / 2) / size * EXTENT + EXTENT / 2).astype(int)
    return ids.tolist(), scaled[:, 0].tolist(), scaled[:, 1].tolist()


def _rows(project: Project, label_set: LabelSet | None) -> dict[int, tuple[int | None, str]]:
    """Label id and status of each image of the project."""
    if label_set is None:
        return dict.fromkeys(project.images.order_by().values_list("pk", flat=True), (None, ""))
    found = label_set.images().order_by().values_list("pk", "label_id", "status")
    return {image_id: (label_id, status) for image_id, label_id, status in found.iterator(chunk_size=10_000)}


def _found(label_set: LabelSet | None, params: QueryDict, user: User) -> set[int] | None:
    """The images that the search line finds; None where there is none."""
    if label_set is None or not line_of(label_set, params):
        return None
    selection = Selection(label_set, params, user)
    if selection.mistakes:
        raise ValidationError(selection.mistakes.messages)
    return set(selection.images.order_by().values_list("pk", flat=True))


def _missing(ids: set[int]) -> dict[str, int]:
    """How many images came since it was drawn, and how many no map could show yet."""
    if not ids:
        return {"missing": 0, "unembedded": 0}
    try:
        model = clip.current().key
    except clip.ModelUnusable:
        return {"missing": 0, "unembedded": len(ids)}
    embedded = Embedding.objects.filter(model=model, image__in=picks.listed(ids)).count()
    return {"missing": embedded, "unembedded": len(ids) - embedded}
