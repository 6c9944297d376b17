"""What the gallery shows beside the images themselves: what goes on, and how the work stands."""

from dataclasses import dataclass

from django.db.models import QuerySet

from gallery import comments
from gallery.models import Image, Project, Upload
from labeling import beat, clip, runs
from labeling.models import ACTIVE, STATUSES, LabelSet, ScoringRun
from labeling.runs import Progress, RunState


@dataclass(frozen=True)
class Work:
    """How far a label set's images are labelled, and what stands in the way."""

    run: ScoringRun | None
    progress: Progress
    images: int
    upload: Upload | None
    unpacked: int
    outdated: bool
    error: str

    @property
    def is_active(self) -> bool:
        return self.run is not None and self.run.state in ACTIVE

    @property
    def waiting(self) -> int:
        """Images that no run has come to yet, though one will by itself."""
        if self.run is None or self.run.state != RunState.DONE:
            return 0
        return max(0, self.images - self.progress.done - self.progress.failed)

    @property
    def goes_on(self) -> bool:
        """Whether something will change without anybody's doing."""
        return self.is_active or self.waiting > 0 or self.upload is not None

    @property
    def finished(self) -> int:
        return self.progress.done + self.progress.failed

    @property
    def state(self) -> str:
        if self.run is None:
            return ""
        return "waiting" if self.waiting else self.run.state

    @property
    def says(self) -> str:
        """How far it is, in words."""
        far = f"{self.finished:,} of {_images(self.images)}"
        waiting = f"{_images(self.waiting)} {'waits' if self.waiting == 1 else 'wait'} to be labelled"
        return {
            "": "",
            "waiting": waiting,
            RunState.QUEUED: "Labelling is about to begin",
            RunState.RUNNING: f"Labelling {far}",
            RunState.DONE: f"{_images(self.progress.done)} labelled",
            RunState.FAILED: f"Labelling stopped at {far}",
            RunState.CANCELLED: f"Labelling was cancelled at {far}",
        }[self.state]

    @property
    def is_stuck(self) -> bool:
        """Whether something waits for a worker, and none is there."""
        return self.goes_on and not beat.worker_is_online()

    @property
    def version(self) -> str:
        """Differs where the images of the page may differ."""
        run = f"{self.run.pk}.{self.run.state}" if self.run else "none"
        return f"{run}.{self.progress.done}.{self.progress.failed}.{self.images}"


def starter_note(run: ScoringRun | None) -> str:
    """What to know of the model that labelled these images, where it is the starter model."""
    is_starter = run is not None and run.model.startswith(f"{clip.STARTER_NAME}@")
    return clip.STARTER_NOTE if is_starter else ""


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def work(label_set: LabelSet, images: int | None = None) -> Work:
    """`images`: how many the project has, where that was counted before."""
    images = label_set.project.images.count() if images is None else images
    run = label_set.runs.defer("label_vectors").first()
    upload = label_set.project.uploads.filter(state=Upload.State.OPEN).first()
    if run:
        run.label_set, run.project = label_set, label_set.project
    outdated, error = _fitness(run)
    return Work(
        run=run,
        progress=runs.progress(run, images) if run else Progress(0, 0, 0),
        images=images,
        upload=upload,
        unpacked=upload.entries.count() if upload else 0,
        outdated=outdated,
        error=error,
    )


def _fitness(run: ScoringRun | None) -> tuple[bool, str]:
    """Whether the run is outdated, and what is wrong with the model in use."""
    try:
        return run is not None and run.state not in ACTIVE and runs.is_outdated(run), ""
    except clip.ModelUnusable as error:
        return False, str(error)


def with_labels(images: QuerySet[Image] | list[Image], label_set: LabelSet) -> list[Image]:
    """Images of `label_set.images()`, each with the name of its status, the labels that it names by id, and
    how many comments on it are open."""
    labels = {label.pk: label for label in label_set.labels.all()}
    images = comments.with_counts(images)
    for image in images:
        image.status_name = dict(STATUSES)[image.status]
        image.seen = image.decided_at.isoformat() if image.decided_at else ""
        image.label = labels.get(image.label_id)
        image.suggested = labels.get(image.suggested_id)
        image.runner_up = labels.get(image.runner_up_id)
    return images


def chosen_label_set(project: Project, wanted: str | None) -> tuple[LabelSet | None, list[LabelSet]]:
    """The label set that a page is about, and all that there are. The oldest, where none is asked for."""
    label_sets = list(project.label_sets.prefetch_related("labels"))
    by_id = {str(label_set.pk): label_set for label_set in label_sets}
    chosen = by_id.get(wanted) or (label_sets[0] if label_sets else None)
    for label_set in label_sets:
        label_set.project = project
    return chosen, label_sets
