"""Whatever the API's schema allows, and what it doesn't, asked by four identities at a live site.

    .venv/bin/python benchmarks/reliability/fuzz.py [--examples 40] [--seed 1] [--short]

Most cases name rows that are there, and half of them send what makes sense. Prints the answers by class for
each identity and operation. An error of the server, an answer that the schema doesn't describe, or an
operation that the owner never got done misses the bar.
"""

import argparse
import base64
import io
import json
import random
import signal
import sys
import threading
import time
import uuid
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from visitors import PASSWORD, PATIENCE, Site, live_site, open_site, pictures, verdict

from tests.live import MAKE_RUN

WATCHED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
MAKE_ROWS = """
import json, uuid
from gallery import comments, invitations, members, webhooks
from gallery.models import ApiToken, Upload
from django.core.files.base import ContentFile
from labeling import duplicates, imports, picks, review, saved_views, work
from labeling.models import LabelSet, NearDuplicate, ScoringRun, UnknownGroup, UnknownsRun

viewer, stranger, mia = (User.objects.get(username=name) for name in ("vera", "sven", "mia"))
user.set_password({password!r})
user.save()
members.add(project, "vera", "viewer")
for number in range(12):
    label_sets.create(project, user, f"More {{number}}", [LabelSpec("red"), LabelSpec("blue")])
work.until_none_is_left()
first = LabelSet.objects.order_by("pk").first()
images = sorted(project.images.values_list("pk", flat=True))
shown = list(project.images.all())
said = [comments.add(shown[number], user, f"Comment {{number}}").pk for number in range(40)]
views = [saved_views.save(first, user, "owner", f"View {{number}}").pk for number in range(40)]
batches = [review.decide(first, user, [review.Decision(pk, review.Verdict("none"))]) for pk in images[:10]]
pairs = [images[start:start + 2] for start in range(10, 40, 2)]
for first_id, second_id in pairs:
    NearDuplicate.objects.create(project=project, first_id=first_id, second_id=second_id, distance=1)
decisions = [duplicates.decide(project, user, pair, pair[:1]) for pair in pairs[:5]]
look = UnknownsRun.objects.create(label_set=first, state="done")
groups = [UnknownGroup.objects.create(run=look, similarity=0.5, image_ids=images[:5]).pk for _ in images]
hooks = [webhooks.create(project, user, "https://example.org/", webhooks.EVENTS)[0] for _ in range(15)]
pings = [webhooks.ping(hook).pk for hook in hooks for _ in "123"]
spare = []
for number in range(40):
    other = projects.create(user, f"Spare {{number}}")
    members.add(other, "vera", "viewer")
    made = invitations.invite(other, user, "viewer")
    member = members.add(other, "mia", "viewer")
    spare.append({{"slug": other.slug, "members": member.pk, "invitations": made.pk,
                   "token": invitations.token_of(made)}})
people = {{"owner": user, "viewer": viewer, "stranger": stranger}}
print("ROWS" + json.dumps({{
    "tokens": {{name: [ApiToken.objects.create(each)[1] for _ in "12"] for name, each in people.items()}},
    "slug": project.slug, "spare": spare, "batches": [str(batch) for batch in batches],
    "images": images, "uploads": list(Upload.objects.values_list("pk", flat=True)),
    "label-sets": list(LabelSet.objects.exclude(pk=first.pk).values_list("pk", flat=True)),
    "runs": list(ScoringRun.objects.values_list("pk", flat=True)),
    "comments": said, "views": views, "pairs": pairs[5:], "decisions": [each.pk for each in decisions],
    "aside": [pair[1] for pair in pairs[:5]], "groups": groups,
    "webhooks": [hook.pk for hook in hooks], "webhook-deliveries": pings,
    "imports": [
        imports.begin(project, first, user, ContentFile(b"file_name,label\\na.jpg,b", "labels.csv")).pk
        for _ in images
    ],
    "picks": [picks.pick(project, user, images[:3]).pk for _ in "12"],
    "labels": list(first.labels.values_list("pk", flat=True)), "first": first.pk,
}}))
"""
# Below a project: what is asked of the one that has pictures.
OF_ONE_PROJECT = ("images", "imports", "label-sets", "duplicates", "set-aside", "map", "picks", "search")
OF_ONE_PROJECT += ("webhooks",)
# What takes rows away comes last, and the outermost row last of all.
ORDER = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass
class Asking:
    """What is asked of, and what came of it."""

    rows: dict[str, Any]
    examples: int
    seed: int
    told_to_stop: threading.Event
    answers: dict[str, dict[str, Counter]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def fail(self, what: str, said: str) -> None:
        if what not in self.failures:
            print(f"FAILED {what}: {said[:400]}", flush=True)
        self.failures.setdefault(what, said[:400])


def real(path: str, rows: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Path parameters of rows that are there, of the kind that the path names."""
    spare = rng.choice(rows["spare"])
    inner = path.partition("{slug}/")[2].split("/")[0]
    found = {}
    if "{slug}" in path:
        found["slug"] = rows["slug"] if inner in OF_ONE_PROJECT else spare["slug"]
    if "{group}" in path:
        found |= {"id": rows["first"], "group": rng.choice(rows["groups"])}
    elif "{id}" in path:
        kind = path.split("/{id}")[0].split("/")[-1]
        found["id"] = spare[kind] if kind in spare else rng.choice(rows[kind])
    if "{key}" in path:
        found["key"] = "cifar-10"
    if path.endswith("/reviews/undo/"):
        found["id"] = rows["first"]
    return found


def sensible(name: str, rows: dict[str, Any], rng: random.Random) -> dict[str, Any] | None:
    """A body that such an operation gets from a program that means well. None where any will do."""
    role = rng.choice(["viewer", "labeler"])
    picture = base64.b64encode(next(pictures(rng.randrange(1000), 1, 64))[1]).decode()
    pair = rng.choice(rows["pairs"])
    bodies = {
        "POST /api/v1/token/": {"username": "olga", "password": PASSWORD},
        "POST /api/v1/projects/": {"name": "One more"},
        "PATCH /api/v1/projects/{slug}/": {"description": "Changed"},
        "POST /api/v1/projects/{slug}/members/": {"username": "sven", "role": role},
        "PATCH /api/v1/projects/{slug}/members/{id}/": {"role": role},
        "POST /api/v1/projects/{slug}/invitations/": {"role": role, "days": 3},
        "POST /api/v1/invitations/accept/": {"token": rng.choice(rows["spare"])["token"]},
        "POST /api/v1/projects/{slug}/webhooks/": {"url": "https://example.org/", "events": ["run.finished"]},
        "PATCH /api/v1/webhooks/{id}/": {"is_active": True},
        "POST /api/v1/projects/{slug}/label-sets/": {
            "name": f"Made {rng.random()}",
            "labels": [{"name": "red"}, {"name": "blue"}],
        },
        "PATCH /api/v1/label-sets/{id}/": {"name": f"Named {rng.random()}"},
        "POST /api/v1/label-sets/{id}/reviews/": {
            "reviews": [{"image": rng.choice(rows["images"]), "verdict": rng.choice(["none", "skipped"])}]
        },
        "POST /api/v1/label-sets/{id}/reviews/undo/": {"batch": rng.choice(rows["batches"])},
        "POST /api/v1/label-sets/{id}/batches/": {"images": [rng.choice(rows["images"])], "verdict": "none"},
        "POST /api/v1/label-sets/{id}/assignments/": {"members": [{"username": "olga"}]},
        "POST /api/v1/projects/{slug}/duplicates/": {"images": pair, "keep": pair[:1]},
        "POST /api/v1/projects/{slug}/duplicates/undo/": {"decision": rng.choice(rows["decisions"])},
        "POST /api/v1/projects/{slug}/set-aside/": {"images": [rng.choice(rows["aside"])]},
        "POST /api/v1/projects/{slug}/picks/": {"images": rows["images"][:3]},
        "POST /api/v1/label-sets/{id}/unknowns/groups/{group}/label/": {
            "name": f"Found {rng.random()}",
            "set": False,
        },
        "POST /api/v1/imports/{id}/confirm/": {"map": {"b": rng.choice(["red", ""])}},
        "PATCH /api/v1/comments/{id}/": {"resolved": True},
        "PATCH /api/v1/views/{id}/": {"name": f"View {rng.random()}"},
        "POST /image_text_similarity_best_match": {
            "image_base64": picture,
            "text_input1": "red",
            "text_input2": "blue",
        },
    }
    return bodies.get(name)


def files(rng: random.Random) -> list[tuple[str, tuple[str, bytes]]]:
    """Pictures, rubbish and a ZIP of both, some of them or all."""
    name, good = next(pictures(rng.randrange(100_000), 1, 64))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in/" + name, good)
        archive.writestr("in/rubbish.png", rng.randbytes(200))
    zipped = packed.getvalue()
    offered = [
        (name, good),
        ("half.jpg", good[: len(good) // 2]),
        ("rubbish.png", rng.randbytes(200)),
        ("empty.gif", b""),
        ("all.zip", zipped),
        ("half.zip", zipped[: len(zipped) // 2]),
    ]
    return [("files", each) for each in rng.sample(offered, rng.randint(1, 3))]


def shown(rng: random.Random) -> list[tuple[str, tuple[str, bytes]]]:
    """A picture to search by."""
    return [("picture", next(pictures(rng.randrange(100_000), 1, 64)))]


def labels(rng: random.Random) -> list[tuple[str, tuple[str, bytes]]]:
    """A file of labels, whole or not."""
    table = b"file_name,label\r\na.jpg,red\r\n"
    return [("file", rng.choice([("labels.csv", table), ("labels.jsonl", b'{"file_name": "a.jpg"}')]))]


SENDS_FILES = {
    "POST /api/v1/projects/{slug}/imports/": labels,
    "POST /api/v1/label-sets/{id}/import/": labels,
    "POST /api/v1/projects/{slug}/images/": files,
    "POST /api/v1/projects/{slug}/search/": shown,
}


def ask_all(operation: Any, identity: str, asking: Asking, mode: GenerationMode, examples: int) -> None:
    """All cases of one operation by one identity. Raises SystemExit once it is told to stop."""
    if asking.told_to_stop.is_set():
        sys.exit(143)
    method, path = operation.method.upper(), operation.path
    name, rows = f"{method} {path}", asking.rows
    rng = random.Random(f"{asking.seed} {identity} {name} {mode}")
    tokens = rows["tokens"].get(identity)
    # A token that is revoked by this is one that nothing else is asked with.
    token = tokens and tokens[name == "DELETE /api/v1/token/"]
    headers = {"Authorization": f"Token {token}"} if token else {}
    counts = asking.answers.setdefault(identity, {}).setdefault(name, Counter())
    checks = [CHECKS.get_one(check) for check in WATCHED]

    @seed(asking.seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        more: dict[str, Any] = {}
        # The first of all does, so that few examples are enough.
        makes_sense = mode == GenerationMode.POSITIVE and (not counts or rng.random() < 0.5)
        if "{" in path and (makes_sense or rng.random() < 0.8):
            case.path_parameters = real(path, rows, rng)
        if makes_sense:
            if method == "GET":
                scores = path.endswith("/scores/")
                case.query = {"label_set": rng.choice(rows["label-sets"])} if scores else {}
            if name in SENDS_FILES:
                case.body, more["files"] = schemathesis.core.NOT_SET, SENDS_FILES[name](rng)
            elif (body := sensible(name, rows, rng)) is not None:
                case.body = body
            # A key of its own: one that another case has had would be refused.
            case.headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = case.call(headers=headers, timeout=PATIENCE, **more)
        counts[f"{answer.status_code // 100}xx"] += 1
        try:
            case.validate_response(answer, checks=checks)
        except (AssertionError, BaseExceptionGroup) as error:
            why = [str(each) for each in getattr(error, "exceptions", [error])]
            kind = why[0].split("\n")[0]
            asking.fail(f"{identity} {name} {answer.status_code} {kind}", " ".join(why) + answer.text[:200])

    try:
        ask()
    except Exception as error:
        asking.fail(f"{identity} {name} {type(error).__name__}", str(error))


def strict_schema(site: Site) -> dict[str, Any]:
    """The schema as the site tells it, but an answer with a field that isn't described breaks it."""
    headers = {"Accept": "application/vnd.oai.openapi+json"}
    schema = requests.get(f"{site.url}/api/v1/schema/", headers=headers, timeout=PATIENCE).json()
    for name, each in schema["components"]["schemas"].items():
        if "properties" in each and not name.endswith("Request"):
            each.setdefault("additionalProperties", False)
    return schema


def fuzz(site: Site, asking: Asking) -> None:
    schema = schemathesis.openapi.from_dict(strict_schema(site))
    schema.config.update(base_url=site.url)
    operations = [each.ok() for each in schema.get_all_operations()]
    operations.sort(key=lambda each: (ORDER.index(each.method.upper()), -each.path.count("/")))
    for operation in operations:
        began = time.monotonic()
        for identity in ("owner", "viewer", "stranger", "anonymous"):
            ask_all(operation, identity, asking, GenerationMode.POSITIVE, asking.examples)
            if operation.body or operation.query:
                ask_all(operation, identity, asking, GenerationMode.NEGATIVE, asking.examples // 3 or 1)
        tell(f"{operation.method.upper()} {operation.path}", asking, time.monotonic() - began)


def tell(name: str, asking: Asking, seconds: float) -> None:
    said = [
        f"{identity} " + " ".join(f"{count}×{kind}" for kind, count in sorted(counts[name].items()))
        for identity, counts in asking.answers.items()
    ]
    print(f"{name}: {'; '.join(said)} ({seconds:.0f} s)", flush=True)


def never_done(asking: Asking) -> list[str]:
    """The operations that the owner never got done."""
    counts = asking.answers["owner"]
    return [name for name in counts if not counts[name]["2xx"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=40, help="cases for each operation and identity")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="6 examples")
    options = parser.parse_args()
    # Hypothesis would catch an exception out of the handler: one is raised between its runs.
    told_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.set())
    load_all_checks()
    began = time.monotonic()
    with live_site("vera", "sven", "mia") as site:
        said = site.manage(
            "shell", "-v0", "-c", MAKE_RUN.format(count=40) + MAKE_ROWS.format(password=PASSWORD)
        )
        rows = json.loads(said.split("ROWS")[1])
        asking = Asking(rows, 6 if options.short else options.examples, options.seed, told_to_stop)
        open_site(site)
        fuzz(site, asking)
    for identity, counts in asking.answers.items():
        total = sum(counts.values(), Counter())
        shares = ", ".join(f"{kind} {count / total.total():.0%}" for kind, count in sorted(total.items()))
        print(f"{identity:>10}: {total.total()} cases, {shares}")
    missed = never_done(asking)
    print(*(f"the owner never got it done: {name}" for name in missed), sep="\n")
    print(f"{len(asking.failures)} failures in {time.monotonic() - began:.0f} s")
    return verdict(not asking.failures and not missed)


if __name__ == "__main__":
    sys.exit(main())
