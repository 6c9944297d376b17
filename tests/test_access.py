"""docs/access.csv is true: every route, method and person, tried. What isn't listed there fails."""

import base64
import csv
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from gallery import comments, invitations, uploads, webhooks
from gallery.access import ACTIONS, Role, allowed
from gallery.models import (
    ApiToken,
    Comment,
    Image,
    Invitation,
    Membership,
    Project,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
)
from labeling import imports, picks, review
from labeling.models import (
    DuplicateDecision,
    LabelImport,
    LabelSet,
    NearDuplicate,
    SavedView,
    UnknownGroup,
    UnknownsRun,
)
from labeling.review import Decision, Verdict
from tests.conftest import SHAPES, picture

CSV = Path(__file__).parent.parent / "docs" / "access.csv"
METHODS = ("get", "post", "put", "patch", "delete")
PEOPLE = ("anonymous", "stranger", *Role.values, "superuser")
LABELS = b"file_name,label\nred circle.png,red circle\nblue square.png,blue square\n"
# Routes of others, whose further methods are theirs to answer.
OTHERS = ("accounts/", "admin/")
HOOK = {"url": "https://example.org/hook", "events": ["run.finished"]}
OPEN = ("api/v1/token/", "api/v1/schema/", "api/v1/docs/", "healthz", "readyz", "admin/logout/")
MODEL = re.compile(r"admin/(account|auth|gallery|labeling)/\w+/")

with CSV.open() as file:
    TABLE = list(csv.DictReader(file))
CELLS = [(line, who) for line in TABLE for who in PEOPLE if line[who]]


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path


def listed(path: str) -> str:
    """A route as the table has it: the pages of all models in the admin stand there once."""
    return MODEL.sub("admin/<app>/<model>/", path)


ROUTES = list(routes(get_resolver().url_patterns))


class House(NamedTuple):
    """One of everything, and somebody of every role."""

    people: dict[str, User | None]
    guest: User
    project: Project
    label_set: LabelSet
    image: Image
    invitation: Invitation
    comment: Comment


@pytest.fixture
def house(
    owner: User, stranger: User, project: Project, scored: LabelSet, member: Callable[[str], User]
) -> House:
    members = {role: member(role) for role in Role.values if role != Role.OWNER}
    guest = User.objects.create_user("guest", "guest@example.org")
    # An owner, so that the other one may leave.
    Membership.objects.create(project=project, user=guest, role=Role.OWNER)
    root = User.objects.create_superuser("root", password="root-secret-1")
    people = {"anonymous": None, "stranger": stranger, **members, "owner": owner, "superuser": root}
    image = scored.images().first()
    invitation = invitations.invite(project, owner, Role.VIEWER)
    comment = comments.add(image, guest, "Is this a fox?")
    return House(people, guest, project, scored, image, invitation, comment)


@pytest.fixture(autouse=True)
def _no_login_counted() -> Iterator[None]:
    cache.clear()
    yield


# What stands for the parts of a path, by the segment before them.
def part(house: House, path: str, name: str) -> object:
    before = path[: path.index(f":{name}>" if f":{name}>" in path else f"<{name}>")].split("/")[-2]
    # Each is made only where it is asked for: there are thousands of requests.
    make: dict[str, Callable[[], object]] = {
        "batches": lambda: batch_of(house, house.guest)["batch"],
        "projects": lambda: house.project.slug,
        "images": lambda: house.image.pk,
        "label-sets": lambda: house.label_set.pk,
        "runs": lambda: house.label_set.runs.first().pk,
        "ready-sets": lambda: "cifar-10",
        "uploads": lambda: house.project.uploads.first().pk,
        "picks": lambda: picks.pick(house.project, house.guest, [house.image.pk]).pk,
        "members": lambda: house.project.memberships.get(user=house.guest).pk,
        "comments": lambda: house.comment.pk,
        "views": lambda: view_of(house, house.guest).pk,
        "webhooks": lambda: webhook_of(house).pk,
        "webhook-deliveries": lambda: delivery_of(house).pk,
        "groups": lambda: group_of(house).pk,
        "imports": lambda: import_of(house).pk,
        "invitations": lambda: (
            house.invitation.pk if name == "pk" else invitations.token_of(house.invitation)
        ),
    }
    return make[before]()


def body(house: House, path: str, method: str) -> dict:
    """What a right request to the route says."""
    image, files = house.image.pk, {"files": SimpleUploadedFile("pink.png", picture("pink"))}
    shown = SimpleUploadedFile("shown.png", picture("red"))
    specs, labels = [{"name": "a"}, {"name": "b"}], {"file": SimpleUploadedFile("labels.csv", LABELS)}
    names = "\n".join(f"{colour} {shape}" for colour, shape in SHAPES)
    typed = {"name": "More", "labels": names, "templates": "a photo of a {label}."}
    log_in = {"username": "olga", "password": "olga-secret-1"}
    texts = {"text_input1": "red", "text_input2": "blue"}
    twins = twins_of(house) if "duplicates" in path else []
    return {
        ("projects/<slug:slug>/settings/", "post"): {"name": "Zoo", "description": ""},
        ("projects/<slug:slug>/delete/", "post"): {"confirm": "Animals"},
        ("projects/<slug:slug>/members/", "post"): {"username": "sven", "role": "viewer"},
        ("members/<int:pk>/", "post"): {"role": "labeler"},
        ("projects/<slug:slug>/upload/", "post"): files,
        ("projects/<slug:slug>/imports/", "post"): labels | {"label_set": house.label_set.pk},
        ("api/v1/projects/<slug:slug>/imports/", "post"): labels,
        ("api/v1/label-sets/<int:pk>/import/", "post"): labels,
        ("projects/<slug:slug>/picks/", "post"): {"images": f"[{image}]"},
        ("label-sets/<int:pk>/labels/add/", "post"): {"name": "moon", "words": "a moon"},
        ("projects/<slug:slug>/search/picture/", "post"): {"picture": shown},
        ("api/v1/projects/<slug:slug>/search/", "post"): {"picture": shown},
        ("api/v1/projects/<slug:slug>/picks/", "post"): {"images": [image]},
        ("projects/new/", "post"): typed,
        ("projects/<slug:slug>/label-sets/new/", "post"): typed,
        ("label-sets/<int:pk>/edit/", "post"): typed,
        ("label-sets/<int:pk>/reviews/", "post"): {"image": image, "verdict": "accepted"},
        ("label-sets/<int:pk>/review/leave/", "post"): {"queue": "one", "until": "2026-01-01T00:00:00Z"},
        ("label-sets/<int:pk>/disputes/settle/", "post"): {"image": image, "verdict": "none"},
        ("label-sets/<int:pk>/views/", "post"): {"name": "Mine", "q": "status:unreviewed"},
        ("views/<int:pk>/", "post"): {"name": "Other"},
        ("api/v1/label-sets/<int:pk>/views/", "post"): {"name": "Mine", "query": "status:unreviewed"},
        ("api/v1/views/<int:pk>/", "patch"): {"name": "Other"},
        ("label-sets/<int:pk>/bulk/", "post"): {"image": image, "what": "accepted"},
        ("api/v1/label-sets/<int:pk>/batches/", "post"): {"images": [image], "verdict": "accepted"},
        ("label-sets/<int:pk>/classes/", "post"): {
            "label": house.label_set.labels.first().pk,
            "image": image,
        },
        ("projects/<slug:slug>/duplicates/", "post"): {"image": twins, "keep": image},
        ("projects/<slug:slug>/duplicates/label/", "post"): {
            "image": twins,
            "label": house.label_set.labels.first().pk,
        },
        ("projects/<slug:slug>/duplicates/undo/", "post"): {"decision": decision_of(house, path)},
        ("projects/<slug:slug>/set-aside/", "post"): {"image": image},
        ("api/v1/projects/<slug:slug>/duplicates/", "post"): {"images": twins, "keep": [image]},
        ("api/v1/projects/<slug:slug>/duplicates/undo/", "post"): {"decision": decision_of(house, path)},
        ("api/v1/projects/<slug:slug>/set-aside/", "post"): {"images": [image]},
        ("label-sets/<int:pk>/assignments/", "post"): {
            "split": "equal",
            "order": "newest",
            "expected": len(SHAPES),
            "member": house.project.memberships.get(user=house.people["labeler"]).pk,
        },
        ("label-sets/<int:pk>/unknowns/groups/<int:group>/label/", "post"): {"name": "moon", "set": "yes"},
        ("api/v1/label-sets/<int:pk>/unknowns/groups/<int:group>/label/", "post"): {"name": "moon"},
        ("projects/<slug:slug>/webhooks/", "post"): HOOK,
        ("webhooks/<int:pk>/", "post"): HOOK,
        ("api/v1/projects/<slug:slug>/webhooks/", "post"): HOOK,
        ("api/v1/webhooks/<int:pk>/", "patch"): {"is_active": True},
        ("account/tokens/", "post"): {"name": "Import", "days": 7},
        ("projects/<slug:slug>/invitations/", "post"): {"role": "viewer", "days": 7},
        ("api/v1/account/keys/", "put"): {"keys": {"skip": ["q"]}},
        ("images/<int:pk>/comments/", "post"): {"text": "A fox."},
        ("accounts/login/", "post"): {"login": "olga", "password": "olga-secret-1"},
        ("accounts/password/reset/", "post"): {"email": "nobody@example.org"},
        ("api/v1/token/", "post"): log_in,
        ("api/v1/projects/", "post"): {"name": "More"},
        ("api/v1/projects/<slug:slug>/", "patch"): {"name": "Zoo"},
        ("api/v1/projects/<slug:slug>/members/", "post"): {"username": "sven", "role": "viewer"},
        ("api/v1/projects/<slug:slug>/members/<int:pk>/", "patch"): {"role": "labeler"},
        ("api/v1/projects/<slug:slug>/invitations/", "post"): {"role": "viewer"},
        ("api/v1/invitations/accept/", "post"): {"token": invitations.token_of(house.invitation)},
        ("api/v1/projects/<slug:slug>/images/", "post"): files,
        ("api/v1/images/<int:pk>/comments/", "post"): {"text": "A fox."},
        ("api/v1/comments/<int:pk>/", "patch"): {"resolved": True},
        ("api/v1/projects/<slug:slug>/label-sets/", "post"): {"name": "More", "labels": specs},
        ("api/v1/label-sets/<int:pk>/", "patch"): {"name": "Other"},
        ("api/v1/label-sets/<int:pk>/reviews/", "post"): {
            "reviews": [{"image": image, "verdict": "accepted"}]
        },
        ("api/v1/label-sets/<int:pk>/assignments/", "post"): {"members": [{"username": "labeler"}]},
        ("image_text_similarity_best_match", "post"): texts
        | {"image_base64": base64.b64encode(picture()).decode()},
    }.get((path, method), {"confirmed": "yes"} if not path.startswith("api/") else {})


def webhook_of(house: House) -> WebhookEndpoint:
    return house.project.webhooks.first() or webhooks.create(house.project, house.guest, **HOOK)[0]


def delivery_of(house: House) -> WebhookDelivery:
    endpoint = webhook_of(house)
    return endpoint.deliveries.first() or webhooks.ping(endpoint)


def twins_of(house: House) -> list[int]:
    """The ids of a group of near-duplicates, the house's image one of them."""
    other = house.project.images.exclude(pk=house.image.pk).first()
    first, second = sorted([house.image.pk, other.pk])
    pair = {"project": house.project, "first_id": first, "second_id": second}
    NearDuplicate.objects.get_or_create(**pair, defaults={"cosine": 1, "distance": 0})
    return [first, second]


def decision_of(house: House, path: str) -> int | None:
    """The id of a decision about near-duplicates, where the route is about one."""
    if not path.endswith("duplicates/undo/"):
        return None
    return DuplicateDecision.objects.create(project=house.project, user=house.guest).pk


def batch_of(house: House, user: User) -> dict:
    return {"batch": str(review.decide(house.label_set, user, [Decision(house.image.pk, Verdict.NONE)]))}


def undoing_of(house: House, user: User) -> dict:
    batch = uuid.UUID(batch_of(house, user)["batch"])
    review.undo(house.label_set, user, Role.OWNER, batch)
    return {"batch": str(house.label_set.batches.get(reverses=batch).pk)}


def answer_of(house: House, user: User) -> dict:
    batch_of(house, user)
    return {"image": house.image.pk}


def membership_of(house: House, user: User) -> Membership:
    """The user's own; a stranger has none, and tries another's."""
    own = house.project.memberships.filter(user=user)
    return own.first() or house.project.memberships.get(user=house.guest)


def upload_of(house: House, user: User) -> Upload:
    return Upload.objects.create(project=house.project, uploaded_by=user)


def comment_of(house: House, user: User) -> Comment:
    return Comment.objects.create(image=house.image, user=user, text="Mine")


def view_of(house: House, user: User) -> SavedView:
    return SavedView.objects.get_or_create(
        label_set=house.label_set, user=user, name="To do", defaults={"is_shared": True}
    )[0]


def import_of(house: House) -> LabelImport:
    """One that was read, and is not written."""
    there = house.project.imports.first()
    return there or imports.begin(house.project, house.label_set, house.guest, ContentFile(LABELS, "l.csv"))


def group_of(house: House) -> UnknownGroup:
    run, _ = UnknownsRun.objects.get_or_create(label_set=house.label_set, model="x@1", state="done")
    ids = [house.label_set.images().last().pk]
    return UnknownGroup.objects.get_or_create(run=run, name="moon", similarity=0.5, image_ids=ids)[0]


# Whose thing a request is about, where that makes a difference: what its path and its body then say.
WHOSE: dict[str, Callable[[House, User], tuple[dict, dict]]] = {
    "members/<int:pk>/": lambda house, user: (
        {"pk": membership_of(house, user).pk},
        {"remove": "yes"},
    ),
    "api/v1/projects/<slug:slug>/members/<int:pk>/": lambda house, user: (
        {"pk": membership_of(house, user).pk},
        {},
    ),
    "label-sets/<int:pk>/reviews/undo/": lambda house, user: ({}, batch_of(house, user)),
    "api/v1/label-sets/<int:pk>/reviews/undo/": lambda house, user: ({}, batch_of(house, user)),
    "label-sets/<int:pk>/reviews/redo/": lambda house, user: ({}, undoing_of(house, user)),
    "api/v1/label-sets/<int:pk>/reviews/redo/": lambda house, user: ({}, undoing_of(house, user)),
    "label-sets/<int:pk>/reviews/clear/": lambda house, user: ({}, answer_of(house, user)),
    "api/v1/label-sets/<int:pk>/reviews/clear/": lambda house, user: ({}, answer_of(house, user)),
    "label-sets/<int:pk>/reviews/": lambda house, user: ({}, {"settles": "yes"}),
    "api/v1/label-sets/<int:pk>/reviews/": lambda house, user: ({}, {"settles": True}),
    "label-sets/<int:pk>/views/": lambda house, user: ({}, {"is_shared": "on"}),
    "api/v1/label-sets/<int:pk>/views/": lambda house, user: ({}, {"is_shared": True}),
    "views/<int:pk>/": lambda house, user: ({"pk": view_of(house, user).pk}, {}),
    "api/v1/views/<int:pk>/": lambda house, user: ({"pk": view_of(house, user).pk}, {}),
    "batches/<uuid:pk>/undo/": lambda house, user: ({"pk": batch_of(house, user)["batch"]}, {}),
    "batches/<uuid:pk>/stop/": lambda house, user: ({"pk": batch_of(house, user)["batch"]}, {}),
    "api/v1/batches/<uuid:pk>/undo/": lambda house, user: ({"pk": batch_of(house, user)["batch"]}, {}),
    "api/v1/batches/<uuid:pk>/stop/": lambda house, user: ({"pk": batch_of(house, user)["batch"]}, {}),
    "uploads/<int:pk>/stop/": lambda house, user: ({"pk": upload_of(house, user).pk}, {}),
    "api/v1/uploads/<int:pk>/stop/": lambda house, user: ({"pk": upload_of(house, user).pk}, {}),
    "api/v1/projects/<slug:slug>/images/": lambda house, user: ({}, {"upload": upload_of(house, user).pk}),
    "comments/<int:pk>/delete/": lambda house, user: ({"pk": comment_of(house, user).pk}, {}),
    "api/v1/comments/<int:pk>/": lambda house, user: ({"pk": comment_of(house, user).pk}, {}),
    "account/tokens/revoke/": lambda house, user: (
        {},
        {"token_key": ApiToken.objects.create(user)[0].token_key},
    ),
    "label-sets/<int:pk>/delete/": lambda house, user: ({}, {"x": batch_of(house, user)["batch"]}),
    "api/v1/label-sets/<int:pk>/": lambda house, user: ({}, {"x": batch_of(house, user)["batch"]}),
}


def address(house: House, path: str, parts: dict[str, object]) -> str:
    def value(match: re.Match) -> str:
        name = match["name"]
        return str(parts[name] if name in parts else part(house, path, name))

    if path.startswith("admin/"):
        return admin_address(house, path)
    path = path.replace(r"^confirm-email/(?P<key>[-:\w]+)/$", "confirm-email/abc/")
    path = path.replace(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$", "password/reset/key/1-a/"
    )
    query = f"?label_set={house.label_set.pk}" if path.endswith(("/scores/", "/similar/")) else ""
    return "/" + re.sub(r"<(?:\w+:)?(?P<name>\w+)>", value, path) + query


def admin_address(house: House, path: str) -> str:
    path = path.replace("^(?P<app_label>auth|account|gallery|labeling)/$", "gallery/")
    path = path.replace("(?P<url>.*)$", "nowhere/")
    # There is such a user; of the other models there may be one or none.
    return "/" + re.sub(r"<[^>]+>", str(house.guest.pk if "auth/user" in path else 1), path)


def ask(
    house: House, client: Client, path: str, method: str, user: User | None = None, case: str = ""
) -> HttpResponse:
    """The answer to a request that is right but for who asks. What it changes is taken back."""
    cookies = client.cookies.copy()
    with transaction.atomic():
        # Nobody has nothing of their own.
        whose = user if case == "own" and user else house.guest
        parts, more = WHOSE[path](house, whose) if case else ({}, {})
        url = address(house, path, parts)
        sent = {} if method == "get" else more if "remove" in more else body(house, path, method) | more
        if method == "get":
            answer = client.get(url)
        elif path.startswith(("api/", "image_text")) and not {"files", "file", "picture"} & sent.keys():
            answer = getattr(client, method)(url, sent, content_type="application/json")
        else:
            answer = getattr(client, method)(url, sent)
        if answer.streaming:
            list(answer.streaming_content)
        transaction.set_rollback(True)
    # Who logged out is in again.
    client.cookies = cookies
    cache.clear()
    return answer


def by_session(user: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if user:
        client.force_login(user)
    return client


def by_token(user: User | None) -> Client:
    if not user:
        return by_session(None)
    _, token = ApiToken.objects.create(user)
    return Client(headers={"Authorization": f"Token {token}"}, raise_request_exception=False)


def is_api(path: str) -> bool:
    return path.startswith(("api/", "image_text"))


def outcome(answer: HttpResponse) -> str:
    """Its status, or “login” where it leads to the page to log in on."""
    to_login = answer.status_code == 302 and answer.url.startswith(("/accounts/login/", "/admin/login/"))
    return "login" if to_login else str(answer.status_code)


def paths_of(line: dict[str, str]) -> list[str]:
    return [path for path in dict.fromkeys(ROUTES) if listed(path) == line["path"]]


# The table


def test_every_route_is_listed_and_nothing_else() -> None:
    assert {listed(path) for path in ROUTES} == {line["path"] for line in TABLE}


def test_the_table_is_sorted_and_says_everything_once() -> None:
    keys = [(line["path"], METHODS.index(line["method"]), line["case"]) for line in TABLE]
    assert keys == sorted(set(keys))


def test_every_answer_is_what_the_table_says(house: House) -> None:
    wrong = []
    clients = {who: (by_token(user), by_session(user)) for who, user in house.people.items()}
    for line, who in CELLS:
        for path in paths_of(line):
            for client in clients[who] if is_api(path) else clients[who][1:]:
                # A session has no token to revoke.
                if path == "api/v1/token/" and line["method"] == "delete" and client is not clients[who][0]:
                    continue
                answer = ask(house, client, path, line["method"], house.people[who], line["case"])
                if outcome(answer) not in line[who].split(" or "):
                    wrong.append((path, line["method"], line["case"], who, outcome(answer)))
    assert not wrong


def test_other_methods_are_not_taken(house: House) -> None:
    client, wrong = by_session(house.people["owner"]), []
    for path in ROUTES:
        known = {line["method"] for line in TABLE if line["path"] == listed(path)}
        if path.startswith(OTHERS):
            continue
        for method in set(METHODS) - known:
            answer = ask(house, client, path, method)
            if answer.status_code != 405:
                wrong.append((path, method, answer.status_code))
    assert not wrong


def test_the_table_follows_from_the_roles() -> None:
    """Strangers, superusers among them, find nothing; a member whose role lacks the action is told so."""
    for line in TABLE:
        if not line["action"]:
            continue
        where = line["path"], line["method"], line["case"]
        assert line["anonymous"] == ("401" if is_api(line["path"]) else "login"), where
        assert {line["stranger"], line["superuser"]} == {"404"}, where
        for role in Role.values:
            refused = line["action"] not in allowed(role)
            assert (line[role] == "403") == refused, (*where, role)


def test_every_action_of_a_role_is_asked_for_somewhere() -> None:
    asked = {line["action"] for line in TABLE} - {""}
    assert asked == set().union(*ACTIONS.values())


def test_the_page_about_roles_says_what_the_code_says() -> None:
    told = dict(re.findall(r"^\| (\w+) \| (?:also )?(.*) \|$", (CSV.parent / "access.md").read_text(), re.M))
    assert {
        role: set(actions.split(", ")) for role, actions in told.items() if role in Role.values
    } == ACTIONS


def test_without_a_login_nothing_but_the_way_in_and_the_reference_opens() -> None:
    for line in TABLE:
        path = line["path"]
        if line["anonymous"] not in ("login", "401"):
            assert path.startswith(("accounts/", "invitations/<str")) or path in OPEN, path


# Tokens and sessions


def test_a_token_that_has_ended_opens_nothing(house: House) -> None:
    client = by_token(house.people["owner"])
    assert ask(house, client, "api/v1/projects/", "get").status_code == 200
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    ended = [line for line in TABLE if line["ended token"]]
    assert {line["path"] for line in ended} == {
        path for path in map(listed, ROUTES) if not path.startswith("admin/")
    }
    wrong = []
    for line in ended:
        answer = ask(house, client, line["path"], line["method"], house.guest, line["case"])
        ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
        if outcome(answer) not in line["ended token"].split(" or "):
            wrong.append((line["path"], line["method"], outcome(answer)))
    assert not wrong


def test_a_token_opens_no_page(house: House) -> None:
    client = by_token(house.people["owner"])
    for line in TABLE:
        if line["anonymous"] == "login" and line["method"] == "get":
            for path in paths_of(line):
                assert outcome(ask(house, client, path, "get")) == "login", path


def test_a_session_alone_changes_nothing(house: House) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.people["owner"])
    for line in TABLE:
        path, method = line["path"], line["method"]
        if method == "get" or path.startswith("admin/") or (path, method) == ("api/v1/token/", "post"):
            continue
        answer = ask(house, client, path, method)
        assert (answer.status_code, "CSRF" in answer.text or "form" in answer.text) == (403, True), (
            path,
            method,
        )


def test_what_is_deleted_is_gone_for_everybody(house: House) -> None:
    client = by_session(house.people["owner"])
    there = {(line["path"], line["method"]): line for line in TABLE if line["action"]}
    urls = {key: address(house, key[0], {}) for key in there}
    uploads.delete_project(house.project)
    for (path, method), url in urls.items():
        assert getattr(client, method)(url).status_code == 404, (path, method)


def test_not_mine_and_not_there_look_the_same(house: House) -> None:
    """A stranger can't tell from an answer whether there is such a row."""
    client = by_session(house.people["stranger"])
    for line in TABLE:
        path, method = line["path"], line["method"]
        if not line["action"]:
            continue
        here = ask(house, client, path, method)
        missing = re.sub(r"/\d+/", "/99999999/", address(house, path, {})).replace("animals", "no-animals")
        there = getattr(client, method)(missing)
        assert (here.status_code, there.status_code) == (404, 404), path
        if is_api(path):
            assert here.content == there.content, path


def test_a_member_who_is_removed_is_out_at_once(house: House) -> None:
    client = by_session(house.people["reviewer"])
    assert ask(house, client, "projects/<slug:slug>/", "get").status_code == 200
    Membership.objects.filter(user=house.people["reviewer"]).delete()
    assert ask(house, client, "projects/<slug:slug>/", "get").status_code == 404


def test_a_user_who_is_switched_off_is_out_at_once(house: House) -> None:
    user = house.people["owner"]
    page, api = by_session(user), by_token(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert ask(house, page, "projects/<slug:slug>/", "get").status_code == 302
    assert ask(house, api, "api/v1/projects/", "get").status_code == 401


def test_a_method_is_what_it_is_called(house: House) -> None:
    """No header turns a reading request into a writing one."""
    client = by_session(house.people["owner"])
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        client.get("/api/v1/projects/animals/", headers={name: "DELETE"})
        client.get("/api/v1/projects/animals/?_method=DELETE")
    assert Project.objects.filter(pk=house.project.pk).exists()


def rows_of(house: House) -> list[Model]:
    return [house.project, house.label_set, house.image]


def test_a_member_of_another_project_is_none_here(house: House) -> None:
    """Ids under one's own slug name only what stands in it."""
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=house.people["stranger"], role=Role.OWNER)
    theirs = house.project.memberships.get(user=house.guest).pk
    client = by_session(house.people["stranger"])
    url = f"/api/v1/projects/other/members/{theirs}/"
    assert client.patch(url, {"role": "viewer"}, content_type="application/json").status_code == 404
    assert client.delete(url).status_code == 404
    batch = batch_of(house, house.guest) | {"x": str(uuid.uuid4())}
    assert client.post(f"/api/v1/label-sets/{house.label_set.pk}/reviews/undo/", batch).status_code == 404
