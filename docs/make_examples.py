"""Makes the examples of the API's description from the real thing: a fresh site, asked for everything once.

.venv/bin/python docs/make_examples.py
"""

import base64
import io
import json
import random
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx

from labeling.starter import drawing
from tests.live import Site, free_port, wait_for

EXAMPLES = ROOT / "gallery" / "api_examples.json"
PASSWORD = "olga-secret-1"
PEOPLE = ("olga", "vera", "sven")
MAKE_PEOPLE = f"""
from django.contrib.auth.models import User
for name in {PEOPLE}:
    User.objects.create_user(name, password={PASSWORD!r})
"""
SITE, DAY = "https://clipsite.example.org", datetime(2026, 1, 5, 9, tzinfo=UTC)
PATIENCE = 120
# Of a list it shows so many.
ITEMS = 2
# What only its holder may know is never shown, not even of a site that is gone.
SECRETS = {"token": "the-token", "secret": "the-secret", "password": "your-password"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
INVITATION = re.compile(r"(?<=/invitations/)[^/]+(?=/$)")
UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(-?)([0-9a-f]{4}\1){3}[0-9a-f]{12}(?![0-9a-f])")


class Recorder:
    """Asks a site, and keeps of each operation what was first sent and answered."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=PATIENCE)
        self.url, self.began = url, datetime.now(UTC)
        self.seen: dict[str, dict[str, Any]] = {}
        self.uuids: list[str] = []

    def ask(self, name: str, sent: object = None, **options: Any) -> Any:
        """The answer to an operation, as the schema names it, with the parts of its path filled in."""
        method, path = name.split()
        kinds = ("files", "params", "data", "headers")
        more = {kind: options.pop(kind) for kind in kinds if kind in options}
        answer = self.http.request(method, path.format(**options), json=sent, **more)
        if not answer.is_success:
            raise SystemExit(f"{name} {options}: {answer.status_code} {answer.text[:500]}")
        is_json = answer.headers.get("Content-Type", "") == "application/json"
        told = answer.json() if is_json else None
        example = {"status": answer.status_code}
        example |= {} if sent is None else {"request": self.plain(sent)}
        example |= {"response": self.plain(told)} if is_json else {}
        self.seen.setdefault(name, example)
        return told

    def until(self, name: str, holds: Callable[[Any], object], **options: Any) -> Any:
        """Ask again and again; keep the answer of which `holds` is true."""
        for _ in range(PATIENCE * 5):
            self.seen.pop(name, None)
            if holds(told := self.ask(name, **options)):
                return told
            time.sleep(0.2)
        raise SystemExit(f"{name}: still {told}")

    def plain(self, told: object, key: str = "") -> object:
        """The same wherever and whenever it is recorded, short, and without secrets."""
        if isinstance(told, dict):
            return {name: self.plain(value, name) for name, value in told.items()}
        if isinstance(told, list):
            return [self.plain(value) for value in told[:ITEMS]]
        if isinstance(told, float):
            return round(told, 4)
        if not isinstance(told, str):
            return told
        if key in SECRETS and told:
            return SECRETS[key]
        told = INVITATION.sub(SECRETS["token"], told.replace(self.url, SITE))
        told = UUID.sub(self.same_uuid, told)
        return TIME.sub(self.same_time, told)

    def same_uuid(self, match: re.Match) -> str:
        if match[0] not in self.uuids:
            self.uuids.append(match[0])
        return str(uuid.UUID(int=self.uuids.index(match[0]) + 1, version=4)).replace("-", match[1])

    def same_time(self, match: re.Match) -> str:
        passed = datetime.fromisoformat(match[0]) - self.began
        return f"{DAY + timedelta(minutes=round(passed / timedelta(minutes=1))):%Y-%m-%dT%H:%M:%SZ}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        port = free_port()
        site.manage("migrate", "-v0")
        site.manage("shell", "-v0", "-c", MAKE_PEOPLE)
        site.start("start", "--port", str(port))
        wait_for(lambda: "is at http" in (site.data_dir / "log.txt").read_text(), 60, "no site")
        try:
            seen = record(Recorder(f"http://127.0.0.1:{port}"))
        finally:
            site.kill_everything()
    EXAMPLES.write_text(json.dumps(dict(sorted(seen.items())), indent=1, ensure_ascii=False) + "\n")


def record(api: Recorder) -> dict[str, dict[str, Any]]:
    tokens = log_in(api)
    slug = make_project(api, tokens)
    images = upload(api, slug)
    labels = make_label_sets(api, slug)
    look_at(api, images, labels)
    review(api, images, labels, tokens)
    find(api, slug, images)
    bring_in(api, slug, labels)
    look_for_twins(api, slug)
    look_for_unknowns(api, images, labels)
    call_back(api, slug)
    delete(api, slug, images, labels)
    return api.seen


def log_in(api: Recorder) -> dict[str, str]:
    tokens = {}
    for name in PEOPLE:
        sent = {"username": name, "password": PASSWORD, "name": "Nightly import"}
        tokens[name] = api.ask("POST /api/v1/token/", sent)["token"]
    become(api, tokens["olga"])
    api.ask("PUT /api/v1/account/keys/", {"keys": {"skip": ["q"]}})
    api.ask("GET /api/v1/account/keys/")
    return tokens


def become(api: Recorder, token: str) -> None:
    api.http.headers["Authorization"] = f"Token {token}"


def make_project(api: Recorder, tokens: dict[str, str]) -> str:
    one = "/api/v1/projects/{slug}/"
    slug = api.ask("POST /api/v1/projects/", {"name": "Shapes", "description": "Drawn ones."})["slug"]
    api.ask(f"PATCH {one}", {"guidelines": "The filled shape counts, not its frame."}, slug=slug)
    vera = api.ask(f"POST {one}members/", {"username": "vera", "role": "labeler"}, slug=slug)["id"]
    api.ask(f"PATCH {one}members/{{id}}/", {"role": "reviewer"}, slug=slug, id=vera)
    api.ask(f"GET {one}members/", slug=slug)
    made = api.ask(f"POST {one}invitations/", {"role": "viewer", "days": 7}, slug=slug)
    token = made["url"].rstrip("/").split("/")[-1]
    other = api.ask(f"POST {one}invitations/", {"role": "viewer", "days": 7}, slug=slug)["id"]
    api.ask(f"GET {one}invitations/", slug=slug)
    api.ask(f"DELETE {one}invitations/{{id}}/", slug=slug, id=other)
    become(api, tokens["sven"])
    api.ask("POST /api/v1/invitations/accept/", {"token": token})
    become(api, tokens["olga"])
    api.ask("GET /api/v1/projects/")
    api.ask(f"GET {one}", slug=slug)
    return slug


def drawn(count: int, colour: str, shape: str, kind: str = "PNG") -> list[tuple[str, bytes]]:
    rng, files = random.Random(f"{colour} {shape}"), []
    for number in range(count):
        out = io.BytesIO()
        looks = (rng.choice(drawing.PATTERNS), 1, rng.choice(drawing.BACKGROUNDS), rng.choice(drawing.SIZES))
        drawing.draw(drawing.Drawing(colour, shape, *looks), rng, 96).save(out, kind)
        files.append((f"{colour} {shape} {number}.{kind.lower()}", out.getvalue()))
    return files


def upload(api: Recorder, slug: str) -> list[int]:
    """Two kinds with ten each, twenty stars that no label fits, a near-duplicate, rubbish, and one again."""
    files = drawn(10, "red", "circle") + drawn(10, "blue", "square") + drawn(20, "green", "star")
    files += [*drawn(1, "red", "circle", "WEBP"), ("notes.png", b"no picture"), ("again.png", files[0][1])]
    sent = [("files", each) for each in files]
    made = api.ask("POST /api/v1/projects/{slug}/images/", files=sent, slug=slug)
    api.ask("GET /api/v1/uploads/{id}/", id=made["upload"])
    api.ask("POST /api/v1/uploads/{id}/stop/", id=made["upload"])
    api.ask("GET /api/v1/projects/{slug}/images/", slug=slug)
    return [image["id"] for image in made["added"]]


def make_label_sets(api: Recorder, slug: str) -> dict[str, Any]:
    one, labels = "/api/v1/label-sets/{id}/", [{"name": "red circle"}, {"name": "blue square"}]
    labels[0]["prompts"] = ["a red disc", "a red circle"]
    sent = {"name": "Kinds", "templates": ["a photo of a {label}."], "labels": labels}
    made = api.ask("POST /api/v1/projects/{slug}/label-sets/", sent, slug=slug)
    voted = {"name": "Voted", "labels": labels, "votes": 2}
    made["voted"] = api.ask("POST /api/v1/projects/{slug}/label-sets/", voted, slug=slug)["id"]
    api.ask("GET /api/v1/projects/{slug}/label-sets/", slug=slug)
    api.ask(f"PATCH {one}", {"name": "Kinds of shapes"}, id=made["id"])
    run = api.ask(f"POST {one}runs/", id=made["voted"])["id"]
    api.until("GET /api/v1/runs/{id}/", lambda told: told["state"] == "done", id=run)
    run = api.ask(f"POST {one}runs/", id=made["id"])["id"]
    api.until("GET /api/v1/runs/{id}/", lambda told: told["state"] == "done", id=run)
    api.ask("POST /api/v1/runs/{id}/retry/", id=run)
    api.ask("POST /api/v1/runs/{id}/cancel/", id=run)
    api.ask(f"GET {one}", id=made["id"])
    api.ask(f"GET {one}definition/", id=made["id"], params={"format": "json"})
    api.ask("GET /api/v1/ready-sets/")
    api.ask("GET /api/v1/ready-sets/{key}/", key="cifar-10")
    return made


def look_at(api: Recorder, images: list[int], labels: dict[str, Any]) -> None:
    one = "/api/v1/images/{id}/"
    for what in ("", "file/", "thumbnail/"):
        api.ask(f"GET {one}{what}", id=images[0])
    for what in ("scores/", "similar/"):
        api.ask(f"GET {one}{what}", id=images[0], params={"label_set": labels["id"]})
    said = api.ask(f"POST {one}comments/", {"text": "@vera Is this a disc?"}, id=images[0])["id"]
    api.ask("PATCH /api/v1/comments/{id}/", {"resolved": True}, id=said)
    api.ask(f"GET {one}comments/", id=images[0])
    api.ask("GET /api/v1/comments/")
    api.ask("DELETE /api/v1/comments/{id}/", id=said)
    for what in ("matches/", "images/"):
        api.ask(f"GET /api/v1/label-sets/{{id}}/{what}", id=labels["id"])
    body = base64.b64encode(drawn(1, "red", "circle", "WEBP")[0][1]).decode()
    texts = {"text_input1": "a red circle", "text_input2": "a blue square"}
    api.ask("POST /image_text_similarity_best_match", {"image_base64": body, **texts})


def review(api: Recorder, images: list[int], labels: dict[str, Any], tokens: dict[str, str]) -> None:
    one, batches = "/api/v1/label-sets/{id}/", "/api/v1/batches/{id}/"
    of, blue = {"id": labels["id"]}, labels["labels"][1]["id"]
    sent = {"members": [{"username": "olga"}, {"username": "vera"}], "count": 4}
    api.ask(f"POST {one}assignments/", sent, **of)
    api.ask(f"GET {one}assignments/", **of)
    api.ask(f"GET {one}queue/", **of)
    api.ask(f"DELETE {one}queue/", **of)
    decided = [{"image": images[0], "verdict": "accepted"}]
    decided.append({"image": images[1], "verdict": "corrected", "label": blue})
    batch = api.ask(f"POST {one}reviews/", {"reviews": decided}, **of)["batch"]
    api.ask(f"POST {one}reviews/undo/", {"batch": batch}, **of)
    acts = api.ask(f"GET {one}batches/", **of)["results"]
    undone = next(act["id"] for act in acts if act["reverses"] == batch)
    api.ask(f"POST {one}reviews/redo/", {"batch": undone}, **of)
    api.ask(f"POST {one}reviews/clear/", {"image": images[1]}, **of)
    batch = api.ask(f"POST {one}batches/", {"images": images[1:3], "verdict": "none"}, **of)["id"]
    api.ask(f"GET {batches}", id=batch)
    api.ask(f"POST {batches}stop/", id=batch)
    api.ask(f"POST {batches}undo/", id=batch)
    for name, verdict in (("vera", "none"), ("olga", "accepted")):
        become(api, tokens[name])
        vote = [{"image": image, "verdict": verdict} for image in images[:2]]
        api.ask(f"POST {one}reviews/", {"reviews": vote}, id=labels["voted"])
    for what in ("disputes/", "agreement/"):
        api.ask(f"GET {one}{what}", id=labels["voted"])
    api.ask(f"GET {one}statistics/", **of)
    sent = {"name": "Hard ones", "query": "status:unreviewed", "is_shared": True}
    view = api.ask(f"POST {one}views/", sent, **of)["id"]
    api.ask(f"GET {one}views/", **of)
    api.ask("PATCH /api/v1/views/{id}/", {"name": "The hardest"}, id=view)
    api.ask("DELETE /api/v1/views/{id}/", id=view)


def find(api: Recorder, slug: str, images: list[int]) -> None:
    one, of = "/api/v1/projects/{slug}/", {"slug": slug}
    api.ask(f"GET {one}search/", params={"q": "a red circle", "limit": 2}, **of)
    api.ask(f"POST {one}search/", files={"picture": drawn(1, "pink", "heart")[0]}, **of)
    api.ask("GET /api/v1/search/", params={"q": "a red circle"})
    picked = api.ask(f"POST {one}picks/", {"images": images[:2]}, **of)["id"]
    api.ask("GET /api/v1/picks/{id}/", id=picked)


def bring_in(api: Recorder, slug: str, labels: dict[str, Any]) -> None:
    table = ("labels.csv", b"file_name,label\nblue square 9.png,blue square\n")
    name = "POST /api/v1/label-sets/{id}/import/"
    first = api.ask(name, files={"file": table}, id=labels["id"])["id"]
    api.ask("POST /api/v1/imports/{id}/confirm/", {"replace": False, "none": False}, id=first)
    api.ask("GET /api/v1/imports/{id}/", id=first)
    second = api.ask("POST /api/v1/projects/{slug}/imports/", files={"file": table}, slug=slug)["id"]
    api.ask("POST /api/v1/imports/{id}/cancel/", id=second)
    api.ask("GET /api/v1/label-sets/{id}/import/", id=labels["id"])
    api.ask("GET /api/v1/projects/{slug}/imports/", slug=slug)
    api.ask("GET /api/v1/label-sets/{id}/export/", id=labels["id"], params={"format": "coco"})


def look_for_twins(api: Recorder, slug: str) -> None:
    one, of = "/api/v1/projects/{slug}/", {"slug": slug}
    search, aside = f"{one}duplicates/search/", f"{one}set-aside/"
    api.ask(f"POST {search}", **of)
    api.until(f"GET {search}", lambda told: told["state"] == "done", **of)
    group = api.ask(f"GET {one}duplicates/", **of)["results"][0]
    ids = [member["image"]["id"] for member in group["members"]]
    made = api.ask(f"POST {one}duplicates/", {"images": ids, "keep": ids[:1]}, **of)
    api.ask(f"GET {aside}", **of)
    api.ask(f"POST {one}duplicates/undo/", {"decision": made["id"]}, **of)
    api.ask(f"POST {one}duplicates/", {"images": ids, "keep": ids[:1]}, **of)
    api.ask(f"POST {aside}", {"images": ids[1:]}, **of)
    api.ask(f"DELETE {search}", **of)
    api.ask(f"POST {one}map/", **of)
    api.until(f"GET {one}map/", lambda told: told["map"], **of)
    api.ask(f"POST {one}map/cancel/", **of)


def look_for_unknowns(api: Recorder, images: list[int], labels: dict[str, Any]) -> None:
    look, of = "/api/v1/label-sets/{id}/unknowns/", {"id": labels["id"]}
    # What people settled says what a label is like.
    for label, some in zip(labels["labels"], (images[:5], images[10:15]), strict=True):
        right = [{"image": image, "verdict": "corrected", "label": label["id"]} for image in some]
        api.ask("POST /api/v1/label-sets/{id}/reviews/", {"reviews": right}, **of)
    api.ask(f"POST {look}", **of)
    found = api.until(f"GET {look}", lambda told: told["found"], **of)
    api.ask(f"POST {look}cancel/", **of)
    group = found["groups"][0]["id"]
    api.ask(f"POST {look}groups/{{group}}/label/", {"name": "green triangle"}, group=group, **of)
    api.ask(f"DELETE {look}groups/{{group}}/", group=group, **of)


def call_back(api: Recorder, slug: str) -> None:
    one, of = "/api/v1/webhooks/{id}/", {"slug": slug}
    sent = {"url": "https://example.org/hook", "events": ["run.finished"]}
    hook = api.ask("POST /api/v1/projects/{slug}/webhooks/", sent, **of)["id"]
    api.ask("GET /api/v1/projects/{slug}/webhooks/", **of)
    sent = {"events": ["run.finished", "import.done"], "is_active": True}
    api.ask(f"PATCH {one}", sent, id=hook)
    ping = api.ask(f"POST {one}ping/", id=hook)["id"]
    api.ask("GET /api/v1/webhook-deliveries/{id}/", id=ping)
    api.ask("POST /api/v1/webhook-deliveries/{id}/resend/", id=ping)
    api.ask(f"GET {one}deliveries/", id=hook)
    api.ask(f"POST {one}secret/", id=hook)
    api.ask(f"GET {one}", id=hook)
    api.ask(f"DELETE {one}", id=hook)


def delete(api: Recorder, slug: str, images: list[int], labels: dict[str, Any]) -> None:
    api.ask("DELETE /api/v1/images/{id}/", id=images[-1])
    api.ask("DELETE /api/v1/label-sets/{id}/", id=labels["voted"])
    members = api.ask("GET /api/v1/projects/{slug}/members/", slug=slug)["results"]
    member = next(each["id"] for each in members if each["username"] == "sven")
    api.ask("DELETE /api/v1/projects/{slug}/members/{id}/", slug=slug, id=member)
    api.ask("DELETE /api/v1/projects/{slug}/", slug=slug)
    api.ask("DELETE /api/v1/token/")


if __name__ == "__main__":
    main()
