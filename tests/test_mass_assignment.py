"""Nobody reaches into another project by an id or a field that a request should not have."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.utils import NestedObjects
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from gallery import projects, webhooks
from gallery.access import Role
from gallery.models import (
    ApiToken,
    Comment,
    Image,
    Membership,
    Project,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
)
from labeling import imports
from labeling.models import (
    Annotation,
    LabelImport,
    Match,
    NearDuplicate,
    Pick,
    Review,
    SavedView,
    ScoringRun,
    UnknownGroup,
    UnknownsRun,
)
from labeling.review import Decision, decide
from tests.conftest import picture
from tests.labeling import rows
from tests.test_access import TABLE
from tests.walk import routes

JSON = "application/json"
LABELS = b"file_name,label\nanimals-image,a\nx.jpg,b\n"
READ = ("get", "head", "options")
# By part of a path: fields that choose what a request is about.
CHOOSING = {"/review": ("label",), "/settle/": ("label",), "/assignments/": ("label", "status", "images")}


def furnish(project: Project, user: User) -> Project:
    """One of everything, with names that nobody else uses."""
    images = rows.images(project, 2)
    Image.objects.filter(project=project).update(name=f"{project.slug}-image", uploaded_by=user)
    label_set = rows.label_set(project, f"{project.slug}-cat", f"{project.slug}-dog")
    rows.match(label_set, images)
    decide(label_set, user, [Decision(images[0].pk, "accepted")])
    first, second = sorted(image.pk for image in images)
    NearDuplicate.objects.create(project=project, first_id=first, second_id=second, cosine=0.9, distance=9)
    Upload.objects.create(project=project, uploaded_by=user)
    Comment.objects.create(image=images[0], user=user, text=f"{project.slug}-comment")
    SavedView.objects.create(label_set=label_set, user=user, name=f"{project.slug}-view", is_shared=True)
    look = UnknownsRun.objects.create(label_set=label_set, model=rows.MODEL, state="done", created_by=user)
    look.groups.create(name=f"{project.slug}-moon", similarity=0.5, image_ids=[images[1].pk])
    Pick.objects.create(project=project, user=user, image_ids=[images[0].pk])
    hook, _ = webhooks.create(project, user, f"https://{project.slug}-hook.example/", ["run.finished"])
    webhooks.ping(hook)
    labels = f"sha256,label\n{images[1].sha256},{project.slug}-dog\n"
    imports.begin(project, label_set, user, ContentFile(labels.encode(), f"{project.slug}-labels.csv"))
    return project


@pytest.fixture
def mine(project: Project, owner: User) -> Project:
    return furnish(project, owner)


@pytest.fixture
def theirs(stranger: User) -> Project:
    ApiToken.objects.create(stranger)
    return furnish(projects.create(stranger, "Theirs"), stranger)


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def snapshot(project: Project) -> dict[tuple[str, Any], dict[str, Any]]:
    """Every row that hangs on the project, as it stands in the database."""
    collector = NestedObjects(using="default")
    collector.collect([project])
    found = [row for some in collector.data.values() for row in some]
    found += [row for some in collector.fast_deletes for row in some]
    return {
        (type(row).__name__, row.pk): type(row)._base_manager.filter(pk=row.pk).values().get()
        for row in found
    }


def foreign(theirs: Project, stranger: User) -> list[dict[str, object]]:
    """Fields that no request may set: first with rows of theirs, then of the user, then with other values."""
    label_set = theirs.label_sets.get()
    image, run, label = theirs.images.first(), theirs.runs.get(), label_set.labels.first()
    review, membership = label_set.reviews.first(), theirs.memberships.get()
    ids = {
        "id": image.pk,
        "pk": image.pk,
        "image": image.pk,
        "image_id": image.pk,
        "images": [image.pk],
        "label": label.pk,
        "label_id": label.pk,
        "label_set": label_set.pk,
        "label_set_id": label_set.pk,
        "label_sets": [label_set.pk],
        "run": run.pk,
        "run_id": run.pk,
        "match": image.pk,
        "membership": membership.pk,
        "memberships": [membership.pk],
        "members": [stranger.pk],
        "batch": str(review.batch_id),
        "undoes": review.pk,
        "comment": Comment.objects.get(image__project=theirs).pk,
        "mentions": [stranger.pk],
        "resolved_by": stranger.pk,
        "project": theirs.pk,
        "project_id": theirs.pk,
        "slug": theirs.slug,
    }
    people = dict.fromkeys(
        ("user", "user_id", "created_by", "created_by_id", "uploaded_by", "uploaded_by_id", "decided_by"),
        stranger.pk,
    )
    values = {
        "role": "owner",
        "state": "failed",
        "status": "accepted",
        "source": "import",
        "created_at": "2001-01-01T00:00:00Z",
        "uploaded_at": "2001-01-01T00:00:00Z",
        "at": "2001-01-01T00:00:00Z",
        "sha256": "0" * 64,
        "file": "images/1/x.png",
        "thumbnail": "images/1/x.png",
        "format": "JPEG",
        "width": 1,
        "size": 1,
        "total": 1,
        "done": 1,
        "failed": 1,
        "counts": {"added": 1},
        "model": "x@1",
        "probability": 1,
        "is_superuser": True,
        "is_staff": True,
        "token": "0" * 64,
        "expiry": "2101-01-01T00:00:00Z",
        "confirmed": "yes",
    }
    return [ids | people | values, ids | {"project": theirs.slug, "user": stranger.username}]


def right(mine: Project) -> dict[str, dict[str, object]]:
    """What each change says when it is meant well, by the name of its route."""
    label_set = mine.label_sets.get()
    image = mine.images.last()
    labels = [{"name": "a"}, {"name": "b"}]
    twins = list(mine.images.values_list("pk", flat=True))
    return {
        "api-duplicates": {"images": twins, "keep": twins[:1]},
        "api-duplicates-search": {},
        "api-set-aside": {"images": twins},
        "duplicates": {"image": twins, "keep": twins[:1]},
        "duplicates_label": {"image": twins, "label": label_set.labels.first().pk},
        "set_aside": {"image": twins},
        "api-token": {"username": "olga", "password": "olga-secret-1"},
        "api-projects": {"name": "More"},
        "api-project": {"name": "Zoo"},
        "api-members": {"username": "vera", "role": "viewer"},
        "api-member": {"role": "labeler"},
        "api-label-sets": {"name": "More", "labels": labels},
        "api-label-set": {"name": "Other"},
        "api-reviews": {"reviews": [{"image": image.pk, "verdict": "none"}]},
        "api-undo": {"batch": str(label_set.reviews.first().batch_id)},
        "api-webhooks": {"url": "https://example.org/", "events": ["run.finished"]},
        "api-webhook": {"is_active": True},
        "webhooks": {"url": "https://example.org/", "events": ["run.finished"]},
        "webhook": {"url": "https://example.org/", "events": ["run.finished"]},
        "api-picks": {"images": [image.pk]},
        "picks": {"images": f"[{image.pk}]"},
        "api-views": {"name": "More", "query": "status:unreviewed"},
        "api-view": {"name": "Other"},
        "views": {"name": "Many", "q": "status:unreviewed"},
        "saved_view": {"name": "Other"},
        "api-batches": {"images": [image.pk], "verdict": "none", "label": None},
        "bulk": {"image": image.pk, "what": "none"},
        "api-best-match": {"image_base64": "eA==", "text_input1": "a", "text_input2": "b"},
        "project_settings": {"name": "Zoo", "description": ""},
        "members": {"username": "vera", "role": "viewer"},
        "member": {"role": "labeler"},
        "tokens": {"days": 7},
        "project_new": {"name": "More", "labels": "cat\ndog"},
        "label_set_new": {"name": "More", "labels": "cat\ndog"},
        "label_set_edit": {"name": "Other", "labels": "animals-cat\nanimals-dog"},
        "imports": {"format": "csv", "label_set": label_set.pk},
        "api-imports": {"format": "csv", "confirm": True},
        "api-project-imports": {"format": "csv"},
        "import": {"label_0": "make"},
        "api-import-confirm": {"map": {}},
        "api-image-comments": {"text": "A fox."},
        "api-comment": {"resolved": True},
        "comments": {"text": "A fox."},
        "comment_resolve": {},
        "comment_delete": {"confirmed": "yes"},
        "decide": {"image": image.pk, "verdict": "none"},
        "settle": {"image": image.pk, "verdict": "none"},
        "undo": {"batch": str(label_set.reviews.first().batch_id)},
        "classes": {"label": label_set.labels.first().pk, "image": image.pk},
        "api-unknown-label": {"name": "moon"},
        "unknown_label": {"name": "moon", "set": "yes"},
        "api-assignments": {"members": [{"username": "olga"}]},
        "assignments": {
            "split": "equal",
            "order": "newest",
            "expected": "1",
            "member": mine.memberships.get(role=Role.OWNER).pk,
        },
    }


@pytest.fixture
def addresses(mine: Project, member: Callable[[str], User]) -> dict[str, object]:
    guest = member("viewer")
    User.objects.create_user("vera")
    return {
        "projects": mine.slug,
        "members": mine.memberships.get(user=guest).pk,
        "uploads": mine.uploads.get().pk,
        "images": mine.images.first().pk,
        "comments": Comment.objects.get(image__project=mine).pk,
        "label-sets": mine.label_sets.get().pk,
        "batches": mine.label_sets.get().batches.first().pk,
        "runs": mine.runs.get().pk,
        "views": SavedView.objects.get(label_set__project=mine).pk,
        "groups": UnknownGroup.objects.get(run__label_set__project=mine).pk,
        "picks": Pick.objects.get(project=mine).pk,
        "webhooks": mine.webhooks.get().pk,
        "webhook-deliveries": WebhookDelivery.objects.get(endpoint__project=mine).pk,
        "imports": mine.imports.get().pk,
    }


def mixed(meant: dict[str, object], extra: dict[str, object]) -> dict[str, object]:
    """The request with the extra fields, also in the objects inside it; what it means to say stays."""
    inside = {
        name: [extra | {"id": None} | row if name == "labels" else extra | row for row in value]
        for name, value in meant.items()
        if isinstance(value, list) and all(isinstance(row, dict) for row in value)
    }
    for label in inside.get("labels", []):
        label.pop("id")
    return extra | meant | inside


def sent(client: Client, name: str, address: str, method: str, body: dict[str, object]) -> HttpResponse:
    if name in ("imports", "api-imports", "api-project-imports"):
        return client.post(address, body | {"file": SimpleUploadedFile("l.csv", LABELS)})
    if not name.startswith("api-"):
        return client.post(
            address, {key: json.dumps(v) if isinstance(v, dict) else v for key, v in body.items()}
        )
    if name == "api-images":
        files = {"files": SimpleUploadedFile("p.png", picture("pink"))}
        return getattr(client, method)(address, files | {k: v for k, v in body.items() if k != "counts"})
    return getattr(client, method)(address, body, content_type=JSON)


def changes() -> Iterator[tuple[str, str, str]]:
    """Name, path and method of every route that changes something, but for the admin's and the log-in's."""
    for route in routes():
        if route.path.startswith(("admin/", "accounts/")):
            continue
        listed = {line["method"] for line in TABLE if line["path"] == route.path}
        methods = sorted(listed) if route.name.startswith("api-") else ["post"]
        yield from ((route.name, route, method) for method in methods if method not in READ)


def test_a_field_too_many_reaches_nobody_elses_rows(
    client: Client, owner: User, stranger: User, mine: Project, theirs: Project, addresses: dict[str, object]
) -> None:
    meant = right(mine)
    before = snapshot(theirs)
    refused = set()
    for extra in foreign(theirs, stranger):
        for name, route, method in changes():
            with transaction.atomic():
                # A label of theirs is refused: another test.
                # A label of theirs is refused, or chooses no image: another test.
                known = next((known for part, known in CHOOSING.items() if part in route.path), ())
                fields = {k: v for k, v in extra.items() if k not in known}
                body = mixed(meant.get(name, {}), fields)
                answer = sent(client, name, route.address(addresses), method, body)
                assert answer.status_code < 500, (name, answer.content)
                assert snapshot(theirs) == before, (name, method)
                assert "theirs-" not in answer.text, (name, method)
                belongs_to_me(owner, stranger, theirs, name)
                transaction.set_rollback(True)
            if name in meant and answer.status_code >= 400:
                refused.add((name, method, answer.text[:200]))
    # Whatever was meant well was done all the same; “x” is no picture, and a session has no token to revoke.
    assert {(name, method) for name, method, _ in refused} == {
        ("api-best-match", "post"),
        ("api-token", "delete"),
    }, refused


def belongs_to_me(owner: User, stranger: User, theirs: Project, name: str) -> None:
    """Nothing that is new is the stranger's, of a time or state that was asked for, or worth more rights."""
    others = Project.objects.exclude(pk=theirs.pk)
    for model, field in ((ScoringRun, "created_by"), (Image, "uploaded_by"), (Upload, "uploaded_by")):
        assert not model.objects.filter(project__in=others, **{field: stranger}).exists(), name
    assert not Review.objects.filter(label_set__project__in=others, user=stranger).exists(), name
    assert not Annotation.objects.filter(label_set__project__in=others, decided_by=stranger).exists(), name
    talk = Comment.objects.filter(image__project__in=others)
    assert not (talk.filter(user=stranger) | talk.filter(resolved_by=stranger)).exists(), name
    assert not talk.filter(mentions=stranger).exists() and not talk.filter(at__year=2001).exists(), name
    assert not others.filter(created_at__year=2001).exists(), name
    assert not others.filter(slug=theirs.slug).exists(), name
    assert not Image.objects.filter(sha256="0" * 64).exists(), name
    assert not Membership.objects.filter(project__in=others, user=stranger).exists(), name
    assert not Membership.objects.filter(role=Role.OWNER).exclude(user__in=(owner, stranger)).exists(), name
    assert not User.objects.filter(is_staff=True).exists(), name
    assert not ApiToken.objects.exclude(user=owner).exclude(user=stranger).exists(), name
    assert not ApiToken.objects.filter(expiry__year=2101).exists(), name
    assert not SavedView.objects.filter(label_set__project__in=others, user=stranger).exists(), name
    hooks = WebhookEndpoint.objects.filter(project__in=others)
    assert not hooks.filter(created_by=stranger).exists(), name
    assert not hooks.filter(created_at__year=2001).exists(), name
    looks = UnknownsRun.objects.filter(label_set__project__in=others)
    assert not looks.filter(created_by=stranger).exists(), name
    assert not LabelImport.objects.filter(project__in=others, user=stranger).exists(), name
    mixed_up = Match.objects.exclude(label__label_set=F("label_set"))
    assert not mixed_up.exists(), name


@pytest.fixture
def crossed(mine: Project, theirs: Project) -> list[tuple[str, str, dict[str, object]]]:
    """Requests about mine in which one id is theirs: method, address, body."""
    label_set, other = mine.label_sets.get(), theirs.label_sets.get()
    image, their_image, their_label = mine.images.first(), theirs.images.first(), other.labels.first()
    api, batch = f"/api/v1/label-sets/{label_set.pk}", str(other.reviews.first().batch_id)
    labels = [{"id": their_label.pk, "name": "x"}, {"name": "y"}]
    member = theirs.memberships.get()
    token = ApiToken.objects.get().token_key
    pages = f"/label-sets/{label_set.pk}"
    comment = Comment.objects.get(image__project=theirs).pk
    group = UnknownGroup.objects.get(run__label_set=other).pk
    return [
        ("post", f"{api}/reviews/", {"reviews": [{"image": their_image.pk, "verdict": "none"}]}),
        (
            "post",
            f"{api}/reviews/",
            {"reviews": [{"image": image.pk, "label": their_label.pk, "verdict": "corrected"}]},
        ),
        ("post", f"{api}/reviews/undo/", {"batch": batch}),
        ("patch", f"{api}/", {"labels": labels}),
        ("post", "/api/v1/projects/animals/label-sets/", {"name": "x", "labels": labels}),
        ("get", f"/api/v1/images/{image.pk}/scores/?label_set={other.pk}", {}),
        ("get", f"/api/v1/images/{their_image.pk}/scores/?label_set={label_set.pk}", {}),
        ("get", f"{api}/matches/?label={their_label.pk}", {}),
        ("get", f"{api}/export/?label={their_label.pk}&include=suggested", {}),
        ("patch", f"/api/v1/projects/animals/members/{member.pk}/", {"role": "viewer"}),
        ("delete", f"/api/v1/projects/animals/members/{member.pk}/", {}),
        ("form", f"{pages}/reviews/", {"image": their_image.pk, "verdict": "none"}),
        ("form", f"{pages}/reviews/", {"image": [image.pk, their_image.pk], "verdict": "none"}),
        ("form", f"{pages}/reviews/", {"image": image.pk, "label": their_label.pk}),
        ("form", f"{pages}/classes/", {"label": label_set.labels.first().pk, "image": their_image.pk}),
        ("form", f"{pages}/classes/", {"label": their_label.pk, "image": image.pk}),
        ("get", f"{pages}/classes/?label={their_label.pk}", {}),
        ("get", f"{pages}/classes/?again={batch}", {}),
        ("post", f"{api}/assignments/", {"members": [{"username": "olga"}], "images": [their_image.pk]}),
        ("post", f"{api}/assignments/", {"members": [{"username": "olga"}], "label": their_label.pk}),
        ("post", f"{api}/assignments/", {"members": [{"username": "sven"}]}),
        ("form", f"{pages}/assignments/", {"member": member.pk, "split": "equal", "order": "newest"}),
        ("form", f"{pages}/assignments/undo/", {"batch": batch}),
        ("form", f"{pages}/reviews/undo/", {"batch": batch}),
        ("form", f"{pages}/reviews/undo/", {"batch": str(uuid.uuid4())}),
        ("post", f"/api/v1{pages}/batches/", {"images": [their_image.pk], "verdict": "none"}),
        (
            "post",
            f"/api/v1{pages}/batches/",
            {"images": [image.pk], "verdict": "corrected", "label": their_label.pk},
        ),
        ("post", f"/api/v1/batches/{batch}/undo/", {}),
        ("post", f"/api/v1/batches/{batch}/stop/", {}),
        ("get", f"/api/v1/batches/{batch}/", {}),
        ("form", f"{pages}/bulk/", {"image": [image.pk, their_image.pk], "what": "none"}),
        ("form", f"{pages}/bulk/", {"image": image.pk, "what": their_label.pk}),
        ("form", f"/batches/{batch}/undo/", {}),
        ("form", f"/batches/{batch}/stop/", {}),
        ("get", f"/batches/{batch}/", {}),
        ("form", f"/members/{member.pk}/", {"role": "viewer"}),
        ("form", f"/members/{member.pk}/", {"remove": "yes"}),
        ("form", reverse("token_revoke"), {"token_key": token}),
        ("form", f"/images/{their_image.pk}/comments/", {"text": "x"}),
        ("form", f"/comments/{comment}/resolve/", {}),
        ("form", f"/comments/{comment}/delete/", {"confirmed": "yes"}),
        ("post", f"/api/v1/images/{their_image.pk}/comments/", {"text": "x"}),
        ("patch", f"/api/v1/comments/{comment}/", {"resolved": True}),
        ("delete", f"/api/v1/comments/{comment}/", {}),
        ("get", "/api/v1/comments/", {}),
        ("get", "/api/v1/comments/?mentions=me", {}),
        ("patch", f"/api/v1/views/{other.views.get().pk}/", {"name": "x"}),
        ("delete", f"/api/v1/views/{other.views.get().pk}/", {}),
        ("form", f"/views/{other.views.get().pk}/", {"name": "x"}),
        ("post", "/api/v1/projects/animals/picks/", {"images": [their_image.pk]}),
        ("form", "/projects/animals/picks/", {"images": f"[{their_image.pk}]"}),
        ("get", f"/api/v1/picks/{theirs.picks.get().pk}/", {}),
        ("get", f"/api/v1/projects/animals/map/?label_set={other.pk}&q=label:their-cat", {}),
        ("get", f"/projects/animals/map/?label_set={other.pk}", {}),
        ("get", f"{api}/matches/?q=label:their-cat", {}),
        ("get", f"{api}/matches/?q=id:{their_image.pk}", {}),
        ("get", f"/projects/animals/?label_set={other.pk}", {}),
        ("get", f"/projects/animals/?label={their_label.pk}", {}),
        ("get", f"/images/{image.pk}/?label_set={other.pk}", {}),
        ("get", f"{pages}/review/?image={their_image.pk}", {}),
        *_crossed_twins(mine, theirs),
        ("form", f"{pages}/unknowns/groups/{group}/label/", {"name": "x"}),
        ("form", f"{pages}/unknowns/groups/{group}/dismiss/", {}),
        ("form", f"{pages}/unknowns/groups/{group}/show/", {}),
        ("form", f"/label-sets/{other.pk}/unknowns/groups/{group}/label/", {"name": "x"}),
        ("post", f"{api}/unknowns/groups/{group}/label/", {"name": "x"}),
        ("delete", f"{api}/unknowns/groups/{group}/", {}),
        ("post", f"/api/v1/imports/{theirs.imports.get().pk}/confirm/", {}),
        ("post", f"/api/v1/imports/{theirs.imports.get().pk}/cancel/", {}),
        ("get", f"/api/v1/imports/{theirs.imports.get().pk}/", {}),
        ("form", f"/imports/{theirs.imports.get().pk}/", {}),
        ("form", f"/imports/{theirs.imports.get().pk}/cancel/", {}),
        ("form", "/projects/animals/imports/", {"label_set": other.pk}),
        ("form", f"/uploads/{theirs.uploads.get().pk}/folders/", {"label_set": label_set.pk}),
        ("form", f"/uploads/{mine.uploads.get().pk}/folders/", {"label_set": other.pk}),
        ("upload", "/api/v1/projects/animals/images/", {"upload": theirs.uploads.get().pk}),
    ]


def _crossed_twins(mine: Project, theirs: Project) -> list[tuple[str, str, dict[str, object]]]:
    ours, others = (list(project.images.values_list("pk", flat=True)) for project in (mine, theirs))
    page, api, label = (
        "/projects/animals/duplicates/",
        "/api/v1/projects/animals/duplicates/",
        theirs.label_sets.get(),
    )
    decision = theirs.duplicate_decisions.create().pk
    return [
        ("form", page, {"image": others, "keep": others[0]}),
        ("form", page, {"image": [*ours, *others], "keep": ours[0]}),
        ("form", f"{page}undo/", {"decision": decision}),
        ("form", f"{page}label/", {"image": others, "label": mine.label_sets.get().labels.first().pk}),
        ("form", f"{page}label/", {"image": ours, "label": label.labels.first().pk}),
        ("post", api, {"images": others, "keep": others[:1]}),
        ("post", api, {"images": [*ours, others[0]], "keep": ours[:1]}),
        ("post", f"{api}undo/", {"decision": decision}),
        ("form", "/projects/animals/set-aside/", {"image": others}),
        ("post", "/api/v1/projects/animals/set-aside/", {"images": others}),
    ]


def test_an_id_of_theirs_in_a_request_about_mine_does_nothing(
    client: Client, mine: Project, theirs: Project, crossed: list[tuple[str, str, dict[str, object]]]
) -> None:
    before = snapshot(theirs), snapshot(mine), ApiToken.objects.count()
    for method, address, body in crossed:
        if method == "form":
            answer = client.post(address, body)
        elif method == "upload":
            answer = client.post(address, body | {"files": SimpleUploadedFile("p.png", picture("pink"))})
        elif method == "get":
            answer = client.get(address)
        else:
            answer = getattr(client, method)(address, body, content_type=JSON)
        said = b"".join(answer.streaming_content).decode() if answer.streaming else answer.text
        assert answer.status_code < 500 and "theirs-" not in said, (method, address)
        assert (snapshot(theirs), snapshot(mine), ApiToken.objects.count()) == before, (
            method,
            address,
            body,
        )


# Roles


@pytest.mark.parametrize("role", ["viewer", "labeler", "reviewer"])
def test_nobody_makes_themselves_more(
    role: str, mine: Project, member: Callable[[str], User], login: Callable[[User], Client]
) -> None:
    user = member(role)
    own = mine.memberships.get(user=user)
    client = login(user)
    for pk in (own.pk, mine.memberships.get(role=Role.OWNER).pk):
        api = f"/api/v1/projects/animals/members/{pk}/"
        assert client.patch(api, {"role": "owner"}, content_type=JSON).status_code == 403
        assert client.post(f"/members/{pk}/", {"role": "owner"}).status_code == 403
    add = {"username": "sven", "role": "owner"}
    User.objects.create_user("sven")
    assert client.post("/api/v1/projects/animals/members/", add, content_type=JSON).status_code == 403
    assert client.post("/projects/animals/members/", add).status_code == 403
    assert client.patch("/api/v1/projects/animals/", {"role": "owner"}, content_type=JSON).status_code == 403
    assert dict(mine.memberships.values_list("user__username", "role")) == {"olga": "owner", role: role}


@pytest.mark.parametrize("way", ["api role", "api remove", "page role", "page remove", "unknown role"])
def test_the_last_owner_stays(way: str, client: Client, mine: Project, member: Callable[[str], User]) -> None:
    member("reviewer")
    pk = mine.memberships.get(role=Role.OWNER).pk
    api, page = f"/api/v1/projects/animals/members/{pk}/", f"/members/{pk}/"
    answer = {
        "api role": lambda: client.patch(api, {"role": "viewer"}, content_type=JSON),
        "api remove": lambda: client.delete(api),
        "page role": lambda: client.post(page, {"role": "viewer"}, follow=True),
        "page remove": lambda: client.post(page, {"remove": "yes"}, follow=True),
        "unknown role": lambda: client.post(page, {"role": ""}, follow=True),
    }[way]()
    assert "A project needs an owner" in answer.text or (
        way == "unknown role" and "is no role" in answer.text
    )
    assert mine.memberships.get(role=Role.OWNER).user.username == "olga"
