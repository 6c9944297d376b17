"""The whole journey in the words of a client that was generated. Run by its own Python: the site isn't there.

python generated_journey.py URL PASSWORD PICTURE…
"""

import sys
import time
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import httpx
from generated import AuthenticatedClient, Client, models
from generated.api.label_sets import (
    label_sets_destroy,
    label_sets_export_retrieve,
    label_sets_import_create,
    label_sets_matches_list,
    label_sets_retrieve,
    label_sets_reviews_create,
    label_sets_reviews_undo_create,
)
from generated.api.projects import (
    projects_create,
    projects_destroy,
    projects_images_create,
    projects_label_sets_create,
    projects_retrieve,
)
from generated.api.runs import runs_retrieve
from generated.api.token import token_create, token_destroy
from generated.types import File

LABELS = ("red circle", "red square", "blue circle", "blue square", "green circle", "green square")
T = TypeVar("T")


def want(kind: type[T], answer: object) -> T:
    """The answer, which must be of this model: a refusal is of another one."""
    assert isinstance(answer, kind), answer
    return answer


def log_in(url: str, password: str) -> AuthenticatedClient:
    asked = models.TokenRequestRequest(username="olga", password=password, name="generated")
    token = want(models.Token, token_create.sync(client=Client(url), body=asked)).token
    return AuthenticatedClient(url, token=token, prefix="Token", timeout=httpx.Timeout(60))


def upload(client: AuthenticatedClient, slug: str, paths: list[Path]) -> models.Added:
    files = [File(BytesIO(path.read_bytes()), path.name, "image/jpeg") for path in paths]
    body = models.FilesRequest(files=files)
    return want(models.Added, projects_images_create.sync(slug, client=client, body=body))


def finished(client: AuthenticatedClient, label_set: int) -> models.Run:
    until = time.monotonic() + 100
    while time.monotonic() < until:
        newest = want(models.LabelSet, label_sets_retrieve.sync(label_set, client=client)).run
        assert newest is not None
        run = want(models.Run, runs_retrieve.sync(newest.id, client=client))
        # One that was done before the pictures came says so until the worker comes to them.
        if run.state == models.RunState.DONE and run.done + run.failed >= run.total:
            return run
        time.sleep(0.2)
    raise AssertionError(f"the run is still {run.state}, {run.done} of {run.total}")


def exported(client: AuthenticatedClient, label_set: int) -> list[str]:
    return want(str, label_sets_export_retrieve.sync(label_set, client=client)).splitlines()


def review(client: AuthenticatedClient, label_set: int) -> None:
    """Accept one image by its id; then take it back."""
    page = want(models.PaginatedMatchList, label_sets_matches_list.sync(label_set, client=client))
    first = page.results[0]
    decision = models.DecisionRequest(image=first.image, verdict=models.Verdict.ACCEPTED)
    body = models.ReviewsRequest(reviews=[decision])
    batch = want(models.Batch, label_sets_reviews_create.sync(label_set, client=client, body=body))
    assert [each.label for each in batch.decided] == [first.label]
    assert len([line for line in exported(client, label_set) if "accepted" in line]) == 1
    undo = models.UndoRequest(batch=batch.batch)
    undone = want(models.Undone, label_sets_reviews_undo_create.sync(label_set, client=client, body=undo))
    assert undone.undone == [first.image], undone


def bring_in(client: AuthenticatedClient, label_set: int, name: str) -> None:
    table = f"file_name,label\n{name},blue square\n".encode()
    body = models.ImportRequestRequest(file=File(BytesIO(table), "labels.csv", "text/csv"), confirm=True)
    made = want(models.Import, label_sets_import_create.sync(label_set, client=client, body=body))
    assert made.report is not None and made.report.written == 1, made
    lines = [line for line in exported(client, label_set) if name in line]
    assert len(lines) == 1 and ",blue square," in lines[0], lines


def main(url: str, password: str, *names: str) -> None:
    client, paths = log_in(url, password), [Path(name) for name in names]
    asked = models.ProjectRequest(name="Generated")
    slug = want(models.ProjectDetail, projects_create.sync(client=client, body=asked)).slug
    labels = models.LabelSetRequest(name="Kinds", labels=[models.LabelRequest(name) for name in LABELS])
    made = want(models.LabelSet, projects_label_sets_create.sync(slug, client=client, body=labels))
    added = upload(client, slug, paths)
    assert len(added.added) == len(paths) and not added.refused, added
    run = finished(client, made.id)
    assert run.total == len(paths), run
    review(client, made.id)
    bring_in(client, made.id, paths[0].name)
    assert label_sets_destroy.sync_detailed(made.id, client=client).status_code == 204
    assert projects_destroy.sync_detailed(slug, client=client).status_code == 204
    want(models.Problem, projects_retrieve.sync(slug, client=client))
    assert token_destroy.sync_detailed(client=client).status_code == 204
    sys.stdout.write("The whole journey is done.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
