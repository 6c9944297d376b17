"""What the queue calls: thin, and safe to repeat."""

from gallery.models import Project
from labeling import batches, imports, layouts, near, runs, unknown_runs, work, worker


def embed_project(project_id: int) -> None:
    """New images came in: have them embedded, and matched with every label set of the project."""
    if project := Project.objects.filter(pk=project_id).first():
        runs.follow(project)


def score() -> None:
    """The bell rang: there is work."""
    # People wait for their batches: those go before each chunk.
    batches.carry_out_waiting(worker.is_stopping)
    imports.carry_out_waiting(between=batches.carry_out_waiting)
    work.until_none_is_left(between=batches.carry_out_waiting)
    unknown_runs.find_waiting(between=batches.carry_out_waiting)


def find_near_duplicates(project_id: int) -> None:
    """Compare images that nobody compared yet with all others of the project."""
    near.look(project_id, between=batches.carry_out_waiting)


def draw_maps() -> None:
    """The bell rang: there is a map to draw."""
    layouts.draw_waiting(worker.is_stopping, between=lambda: batches.carry_out_waiting(worker.is_stopping))
