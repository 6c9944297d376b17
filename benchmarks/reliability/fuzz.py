"""Whatever the API's schema allows, asked by four identities on a live site of its own.

    .venv/bin/python benchmarks/reliability/fuzz.py [--examples 25] [--seed 1]

The path parameters are mostly those of rows that are there. Prints answers by class for each identity, and
every failure; exits with 1 on an error of the server, an answer that the schema doesn't describe, or an
operation without a body that the owner never got done.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import checks

from tests.live import MAKE_RUN, Site, free_port, wait_for

CHECKS = [
    checks.not_a_server_error,
    checks.load_all_checks() or checks.CHECKS.get_one("status_code_conformance"),
    checks.CHECKS.get_one("content_type_conformance"),
    checks.CHECKS.get_one("response_schema_conformance"),
]
MAKE_ROWS = """
import json
from gallery.models import Membership, Upload
from knox.models import AuthToken
from labeling import work
from labeling.models import LabelSet, ScoringRun

work.until_none_is_left()
viewer, stranger = (User.objects.create_user(name) for name in ("vera", "sven"))
Membership.objects.create(project=project, user=viewer, role="viewer")
for number in range(8):
    label_sets.create(project, user, f"More {number}", [LabelSpec("red"), LabelSpec("blue")])
work.until_none_is_left()
people = {"owner": user, "viewer": viewer, "stranger": stranger}
print("ROWS" + json.dumps({
    "tokens": {name: AuthToken.objects.create(person)[1] for name, person in people.items()},
    "projects": [project.slug],
    "members": list(Membership.objects.values_list("pk", flat=True)),
    "images": list(project.images.values_list("pk", flat=True)),
    "uploads": list(Upload.objects.values_list("pk", flat=True)),
    "label-sets": list(LabelSet.objects.values_list("pk", flat=True)),
    "runs": list(ScoringRun.objects.values_list("pk", flat=True)),
}))
"""
ORDER = ["GET", "POST", "PATCH", "DELETE"]


def real(path: str, rows: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Path parameters of rows that are there, of the kind that the path names."""
    parts, found = path.split("/"), {}
    for before, part in zip(parts, parts[1:], strict=False):
        if part.startswith("{"):
            found[part.strip("{}")] = rng.choice(rows[before])
    return found


# ruff: noqa: B023
def fuzz(site: Site, rows: dict[str, Any], examples: int, number: int) -> list[str]:
    schema = schemathesis.openapi.from_url(f"{site.url}/api/v1/schema/")
    operations = [each.ok() for each in schema.get_all_operations()]
    # What takes rows away comes last, and the outermost row last of all.
    operations.sort(key=lambda each: (ORDER.index(each.method.upper()), -each.path.count("/")))
    failures: dict[str, str] = {}
    classes: dict[str, Counter] = defaultdict(Counter)
    done: Counter = Counter()
    for identity in ("viewer", "stranger", None, "owner"):
        token = rows["tokens"].get(identity)
        headers = {"Authorization": f"Token {token}"} if token else {}
        for operation in operations:
            name = f"{operation.method.upper()} {operation.path}"
            if operation.path == "/api/v1/token/" and operation.method.upper() == "DELETE":
                continue  # it would end this identity; tests/gallery/test_api.py does it
            rng = random.Random(f"{number} {identity} {name}")

            @seed(number)
            @settings(
                max_examples=examples,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def ask(case: schemathesis.Case) -> None:  # runs within this very turn of the loop
                if "{" in case.path and rng.random() < 0.8:
                    case.path_parameters = real(case.path, rows, rng)
                    if case.path.endswith("/scores/"):
                        case.query = {"label_set": rng.choice(rows["label-sets"])}
                answer = case.call(headers=headers, timeout=60)
                classes[identity or "anonymous"][f"{answer.status_code // 100}xx"] += 1
                done[name] += identity == "owner" and answer.status_code < 300
                try:
                    case.validate_response(answer, checks=CHECKS)
                except (AssertionError, BaseExceptionGroup) as error:
                    why = str(getattr(error, "exceptions", [error])[0]).split("\n")[0]
                    key = f"{identity or 'anonymous'} {name}: {answer.status_code} {why}"
                    if key not in failures:
                        print(key, answer.text[:200], flush=True)
                    failures.setdefault(key, answer.text[:200])

            try:
                ask()
            except Exception as error:
                failures.setdefault(
                    f"{identity or 'anonymous'} {name}: {type(error).__name__}", str(error)[:300]
                )
    for identity, counts in classes.items():
        total = sum(counts.values())
        shares = ", ".join(f"{each} {count / total:.0%}" for each, count in sorted(counts.items()))
        print(f"{identity:>10}: {total} cases, {shares}", flush=True)
    never = [f"{each.method.upper()} {each.path}" for each in operations]
    never = [name for name in never if not done[name]]
    print("never done by the owner:", ", ".join(never) or "none")
    missed = [f"{name}: the owner never got it done" for name in never if name.startswith("GET")]
    return [f"{key} {body}" for key, body in failures.items()] + missed


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code < 500
    except requests.RequestException:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=25, help="cases for each operation and identity")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        site, port = Site(Path(folder)), free_port()
        site.url = f"http://127.0.0.1:{port}"
        try:
            site.manage("migrate", "-v0")
            said = site.manage("shell", "-v0", "-c", MAKE_RUN.format(count=40) + MAKE_ROWS)
            rows = json.loads(said.split("ROWS")[1])
            site.start("start", "--port", str(port))
            wait_for(lambda: answers(f"{site.url}/healthz"), 60, "the site does not answer")
            failures = fuzz(site, rows, options.examples, options.seed)
        finally:
            site.kill_everything()
    print(f"{len(failures)} failures in {time.monotonic() - began:.0f} s")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
