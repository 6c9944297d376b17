"""A list costs as many queries for many rows as for a few: the admin's, and pages not counted elsewhere."""

from collections.abc import Callable

import numpy as np
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery import invitations, set_aside, webhooks
from gallery.models import ApiToken, Invitation, KeyedCall, Membership, Project, Upload, UploadEntry
from labeling import layouts
from labeling.models import (
    DuplicateDecision,
    DuplicateSearch,
    Fingerprint,
    GroundTruth,
    ImageAttempt,
    LabelImport,
    LabelSet,
    MapLayout,
    NearDuplicate,
    Pick,
    SavedView,
    ScoringChunk,
    UnknownsRun,
    WorkerBeat,
)
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

FEW, MANY = 3, 30
LISTED = [*apps.get_app_config("gallery").get_models(), *apps.get_app_config("labeling").get_models()]


def make(owner: User, name: str, count: int) -> Project:
    """A project with `count` of everything."""
    project = Project.objects.create(name=name, slug=name)
    Membership.objects.create(project=project, user=owner, role="owner")
    for number in range(count):
        user = User.objects.create_user(f"{name}-{number}")
        Membership.objects.create(project=project, user=user, role="viewer")
        ApiToken.objects.create(owner)
        KeyedCall.objects.create(user=user, key=str(number), leased_until=timezone.now())
        invitation = invitations.invite(project, owner, "viewer")
        Invitation.objects.filter(pk=invitation.pk).update(used_by=user, used_at=timezone.now())
        WorkerBeat.objects.create(worker=f"{name}:{number}")
    images = rows.images(project, count)
    label_set = rows.label_set(project, *(f"label {number}" for number in range(count)))
    run = rows.match(label_set, images)
    decide(label_set, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images])
    for image in images:
        Upload.objects.create(project=project, uploaded_by=owner)
        ImageAttempt.objects.create(run=run, image=image)
        ScoringChunk.objects.create(run=run, image_ids=[image.pk], size=1)
        rows.label_set(project, "a", "b")
        user = User.objects.get(username=f"{name}-{images.index(image)}")
        SavedView.objects.create(label_set=label_set, user=user, name="To do", is_shared=True)
        Fingerprint.objects.create(image=image, hash=1, windows=b"", sharpness=1)
        DuplicateDecision.objects.create(project=project, user=user)
        came = LabelImport.objects.create(
            project=project, label_set=label_set, user=user, name="l.csv", format="csv"
        )
        GroundTruth.objects.create(
            label_set=label_set, image=image, label=label_set.labels.first(), source=came
        )
        other = Project.objects.create(name=f"{name} {image.pk}", slug=f"{name}-{image.pk}")
        DuplicateSearch.objects.create(project=other)
        look = UnknownsRun.objects.create(
            label_set=label_set, model=rows.MODEL, state="done", created_by=user
        )
        look.groups.create(name="moon", similarity=0.5, image_ids=[image.pk], label=label_set.labels.first())
    for first, second in zip(images[::2], images[1::2], strict=False):
        pair = {"first": first, "second": second, "cosine": 0.9, "distance": 9}
        NearDuplicate.objects.create(project=project, decided_by=owner, **pair)
    set_aside.set_aside(project, [image.pk for image in rows.images(project, count, start=1000)], owner)
    layouts.start(project)
    ids = np.array([image.pk for image in images[1:]], "<i8")
    places = np.arange(2 * len(ids), dtype="<f4").tobytes()
    project.layouts.update(state="done", image_ids=ids.tobytes(), points=places)
    for number in range(min(count, webhooks.MOST_ENDPOINTS)):
        webhooks.create(project, owner, f"https://example.org/{number}", webhooks.EVENTS)
    for _ in images:
        webhooks.ping(project.webhooks.first())
        MapLayout.objects.create(project=project, model="rows@1", state="failed")
        Pick.objects.create(project=project, user=owner, image_ids=[images[0].pk])
    upload = Upload.objects.create(project=project, uploaded_by=owner)
    for position, image in enumerate(images):
        UploadEntry.objects.create(upload=upload, position=position, name="x", outcome="added", image=image)
    return project


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    return login(User.objects.get(pk=owner.pk))


@pytest.mark.parametrize("model", LISTED)
def test_no_list_of_the_admin_asks_for_every_row(model: type[Model], owner: User, client: Client) -> None:
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    make(owner, "few", FEW)
    few = queries(client, address)
    make(owner, "many", MANY)
    assert queries(client, address) == few


def unlabelled(project: Project) -> str:
    LabelSet.objects.filter(project=project).delete()
    return reverse("gallery", args=[project.slug])


PAGES: dict[str, Callable[[Project], str]] = {
    "gallery without labels": unlabelled,
    "new label set": lambda project: reverse("label_set_new", args=[project.slug]),
    "label set": lambda project: reverse("label_set_edit", args=[project.label_sets.first().pk]),
    "label set as a file": lambda project: reverse("definition", args=[project.label_sets.first().pk]),
    "members": lambda project: reverse("members", args=[project.slug]),
    "tokens": lambda project: reverse("tokens"),
    "views": lambda project: reverse("views", args=[project.label_sets.first().pk]),
    "gallery with views": lambda project: reverse("gallery", args=[project.slug]),
    "views in the API": lambda project: reverse("api-views", args=[project.label_sets.first().pk]),
    "duplicates": lambda project: reverse("duplicates", args=[project.slug]),
    "duplicates in the API": lambda project: reverse("api-duplicates", args=[project.slug]),
    "set aside": lambda project: reverse("set_aside", args=[project.slug]),
    "set aside in the API": lambda project: reverse("api-set-aside", args=[project.slug]),
    "map": lambda project: reverse("map", args=[project.slug]),
    "points of the map": lambda project: reverse("api-map", args=[project.slug]) + "?q=status:accepted",
    "webhooks": lambda project: reverse("webhooks", args=[project.slug]),
    "webhook": lambda project: reverse("webhook", args=[project.webhooks.first().pk]),
    "webhooks in the API": lambda project: reverse("api-webhooks", args=[project.slug]),
    "deliveries in the API": lambda project: reverse(
        "api-webhook-deliveries", args=[project.webhooks.first().pk]
    ),
    "settings": lambda project: reverse("project_settings", args=[project.slug]),
    "imports": lambda project: reverse("imports", args=[project.slug]),
    "import": lambda project: reverse("import", args=[project.imports.first().pk]),
    "imports in the API": lambda project: reverse("api-imports", args=[project.label_sets.first().pk]),
    "imports of a project in the API": lambda project: reverse("api-project-imports", args=[project.slug]),
    "statistics": lambda project: reverse("statistics", args=[project.label_sets.first().pk]),
    "add images": lambda project: reverse("project_upload", args=[project.slug]),
}


@pytest.mark.parametrize("name", PAGES)
def test_no_page_asks_for_every_row(name: str, owner: User, client: Client) -> None:
    few = queries(client, PAGES[name](make(owner, "few", FEW)))
    assert queries(client, PAGES[name](make(owner, "many", MANY))) == few
