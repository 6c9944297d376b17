"""No list tells, by how it can be asked, what it does not show: an unknown parameter changes nothing."""

from collections.abc import Callable, Iterable

import pytest
from django.contrib.auth.models import User
from django.db import connection, reset_queries
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gallery.models import Comment, Image, Membership, Project, Upload, UploadEntry
from labeling import batches
from labeling.models import Batch, LabelSet, Lease
from tests.conftest import picture
from tests.labeling import rows
from tests.walk import routes

# What leads from a row of ours to what nobody may see, and what lists of DRF and Django know by name.
LOOK_UPS = [
    f"{path}{lookup}={value}"
    for path in (
        "owner__password",
        "user__password",
        "uploaded_by__password",
        "decided_by__password",
        "created_by__email",
        "project__memberships__user__password",
        "project__memberships__user__username",
        "memberships__user__password",
        "image__uploaded_by__password",
        "label_set__project__memberships__user__email",
        "match__run__created_by__password",
        "annotation__decided_by__password",
        "reviews__user__password",
        "uploaded_by__auth_token_set__digest",
        "uploaded_by__is_superuser",
    )
    for lookup, value in (("__startswith", "p"), ("__regex", "(a%2B)%2B$"))
] + [
    *("ordering=uploaded_by__password", "ordering=-user__password", "order_by=user__password", "o=-1.2"),
    *("sort=uploaded_by__email", "fields=password", "include=password", "expand=user", "depth=5"),
    *("search=md5", "format=api", "format=admin", "id__in=1,2,3", "pk__gt=0", "limit=0", "offset=3"),
    *(
        "project=other",
        "project_id=2",
        "label_set__project=2",
        "user=1",
        "sha256__startswith=0",
        "role=owner",
    ),
    *(
        "probability__regex=.",
        "probability=0.5",
        "status__in=none",
        "label__name__startswith=c",
        "_method=put",
    ),
]
# Known by name where they stand: these sort or page, and are refused where they say something else.
KNOWN = [
    *("cursor=uploaded_by__password", "cursor=WzAsMV0%3D", "page_size=uploaded_by__password"),
    *("page_size=-1", "page_size=0", "page_size=100000000", "page=user__password", "page=-1"),
    *("label=uploaded_by__password", "status=uploaded_by__password", "label_set=uploaded_by__password"),
    *("mentions=user__password", "mentions=1", "resolved=user__password"),
    *("outcome=upload__uploaded_by__password", "image=uploaded_by__password"),
    *(
        "q=md5",
        "q=by:sven",
        "q=uploader:sven",
        "q=assigned:sven",
        "q=mentions:sven",
        "q=uploaded_by__password:p",
    ),
    *("q=name:", "q=name:image", "q=id:>0", "q=-label:cat", 'q="', "q=%00", "q=%ff"),
]


@pytest.fixture
def addresses(
    project: Project,
    owner: User,
    stranger: User,
    member: Callable[[str], User],
    add: Callable[..., list[Image]],
) -> dict[str, object]:
    """One of everything, of mine and of a stranger."""
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stranger, role="owner")
    [image] = add(("red.png", picture("red")))
    for each in (project, other):
        images = rows.images(each, 5)
        rows.match(rows.label_set(each, "cat", "dog"), images)
        upload = Upload.objects.create(project=each, uploaded_by=owner)
        UploadEntry.objects.create(upload=upload, position=0, name="x", outcome="added", image=images[0])
        comment = Comment.objects.create(image=images[0], user=owner, text=f"In {each.slug}")
        comment.mentions.add(owner)
    return {
        "projects": project.slug,
        "members": member("viewer").memberships.get().pk,
        "uploads": project.uploads.first().pk,
        "images": image.pk,
        "comments": Comment.objects.get(image__project=project).pk,
        "label-sets": LabelSet.objects.get(project=project).pk,
        "runs": project.runs.get().pk,
        "batches": batches.start(
            Batch(label_set=project.label_sets.get(), user=owner, kind="votes", votes=1), []
        ).pk,
    }


def ask(client: Client, address: str, parameter: str = "") -> tuple[HttpResponse, int]:
    reset_queries()
    # A queue is drawn up as for who asks for it the first time.
    Lease.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"{address}{'&' if '?' in address else '?'}{parameter}" if parameter else address)
        if answer.streaming:
            answer.streaming_content = list(answer.streaming_content)
    return answer, len(queries)


def told(answer: HttpResponse) -> object:
    """The rows that the answer holds: of JSON as they are, of a page by the queryset that it drew."""
    if answer.streaming:
        return b"".join(answer.streaming_content)
    if "json" in answer.get("Content-Type", ""):
        found = answer.json()
        found = found.get("results", found) if isinstance(found, dict) else found
        # Until when an image is held is counted from now.
        return (
            [row | {"until": None} for row in found]
            if answer.resolver_match.url_name == "api-queue"
            else found
        )
    context = answer.context
    if context is None:
        return answer.text
    drawn = [context.get(name) for name in ("images", "page", "memberships", "tokens", "image", "uploads")]
    return [
        [getattr(row, "pk", row) for row in rows] if isinstance(rows, Iterable) else str(rows)
        for rows in drawn
    ]


def lists() -> list:
    return [
        route
        for route in routes()
        if not route.path.startswith(("admin/", "accounts/", "readyz", "healthz", "api/v1/docs"))
    ]


def test_an_unknown_parameter_changes_neither_rows_nor_queries(
    addresses: dict[str, object], owner: User, login: Callable[[User], Client]
) -> None:
    client, wrong, asked = login(owner), [], 0
    for route in lists():
        address = route.address(addresses)
        if route.name in ("api-image-scores", "api-image-similar"):
            address += f"?label_set={addresses['label-sets']}"
        ask(client, address)
        plain, queries = ask(client, address)
        if plain.status_code != 200:
            continue
        asked, shown = asked + 1, told(plain)
        # All at once; one by one where a route refuses one of them.
        together = "&".join(LOOK_UPS)
        refuses = ask(client, address, together)[0].status_code == 400
        for parameter in LOOK_UPS if refuses else [together]:
            answer, number = ask(client, address, parameter)
            if answer.status_code == 400:
                continue
            if (answer.status_code, told(answer), number) != (200, shown, queries):
                wrong.append((route.name, parameter, answer.status_code, queries, number))
    assert asked > 20
    assert not wrong


def test_a_known_parameter_leads_to_no_other_row(
    addresses: dict[str, object], owner: User, login: Callable[[User], Client]
) -> None:
    client = login(owner)
    secrets = list(User.objects.exclude(password="").values_list("password", flat=True))
    strangers = {f"/images/{image.pk}/" for image in Project.objects.get(slug="other").images.all()}
    for route in lists():
        for parameter in KNOWN:
            answer, _ = ask(client, route.address(addresses), parameter)
            assert answer.status_code < 500, (route.name, parameter)
            said = b"".join(answer.streaming_content).decode("latin-1") if answer.streaming else answer.text
            assert not [address for address in strangers if f'"{address}' in said], (route.name, parameter)
            assert not [secret for secret in secrets if secret in said], (route.name, parameter)
