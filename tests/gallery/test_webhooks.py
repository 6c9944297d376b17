"""Webhooks: what is told to whom, signed, tried again, given up, and never in the request."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gallery import courier, uploads, webhooks
from gallery.models import Image, Project, Upload, WebhookDelivery, WebhookEndpoint
from gallery.webhooks import EVENTS, State
from labeling import review, runs, work
from labeling.models import ACTIVE, LabelSet
from labeling.review import Decision, Verdict
from tests.conftest import picture
from tests.live import free_port, wait_for
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture(autouse=True)
def _this_machine_may_be_called(settings: object) -> None:
    settings.WEBHOOKS_PRIVATE = True


@pytest.fixture
def endpoint(project: Project, owner: User, receiver: Receiver) -> WebhookEndpoint:
    return webhooks.create(project, owner, receiver.url, EVENTS)[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """`clock(delta)` moves the time of the courier and the door on."""
    moved = [timedelta()]
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + moved[0])

    def move(delta: timedelta) -> None:
        moved[0] += delta

    return move


def delivered(endpoint: WebhookEndpoint, event: str) -> dict:
    """The data of the one delivery of this event."""
    return json.loads(endpoint.deliveries.get(event=event).body)["data"]


def past_the_delay(number: int) -> timedelta:
    return courier.DELAYS[number] * (1 + courier.JITTER) + timedelta(seconds=1)


# What is told


def test_a_ping_arrives_with_all_that_the_specification_asks_for(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    delivery = webhooks.ping(endpoint)
    assert receiver.got == [], "nothing is sent in the request"
    courier.deliver_due()
    [got] = receiver.got
    delivery.refresh_from_db()
    body = json.loads(got.body)
    assert body == {
        "id": delivery.message_id,
        "event": "ping",
        "at": delivery.created_at.isoformat(),
        "project": "animals",
        "data": {},
    }
    assert got.path == "/hook"
    assert got.headers["Webhook-Id"] == body["id"]
    assert abs(int(got.headers["Webhook-Timestamp"]) - time.time()) < 60
    assert got.headers["Webhook-Signature"].startswith("v1,")
    assert got.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert (delivery.state, delivery.status, delivery.attempts) == (State.DELIVERED, 200, 1)
    assert delivery.answer == "<b>thanks</b>"
    assert delivery.headers["Webhook-Signature"] == got.headers["Webhook-Signature"]
    assert 0 < delivery.seconds < 5


def test_a_run_that_is_done_failed_or_cancelled_is_told(
    label_set: LabelSet, endpoint: WebhookEndpoint
) -> None:
    run = label_set.runs.get()
    while run.state in ACTIVE:
        work.until_none_is_left()
        run.refresh_from_db()
    counts = {"total": 4, "done": 4, "failed": 0}
    about = {"run": run.pk, "label_set": label_set.pk, "error": ""}
    assert delivered(endpoint, "run.finished") == about | counts | {"state": "done"}
    endpoint.deliveries.all().delete()
    second = runs.start(label_set.project, label_set)
    runs.fail(second, "No memory.")
    runs.fail(second, "No memory.")
    told = delivered(endpoint, "run.finished")
    assert (told["run"], told["state"], told["error"]) == (second.pk, "failed", "No memory.")
    endpoint.deliveries.all().delete()
    third = runs.start(label_set.project, label_set)
    runs.cancel(third)
    runs.cancel(third)
    assert delivered(endpoint, "run.finished")["state"] == "cancelled"


def test_images_that_people_settle_together_are_told_together(
    scored: LabelSet, owner: User, endpoint: WebhookEndpoint
) -> None:
    ids = sorted(scored.project.images.values_list("pk", flat=True))
    batch = review.decide(scored, owner, [Decision(pk, Verdict.ACCEPTED) for pk in ids])
    told = delivered(endpoint, "image.settled")
    assert (told["label_set"], told["batch"], told["unsettled"]) == (scored.pk, str(batch), [])
    assert [image["image"] for image in told["images"]] == ids
    first = scored.annotations.get(image=ids[0])
    assert told["images"][0] == {
        "image": ids[0],
        "status": "accepted",
        "label": first.label_id,
        "name": first.label.name,
    }
    endpoint.deliveries.all().delete()
    review.undo(scored, owner, "owner", batch)
    told = delivered(endpoint, "image.settled")
    assert (told["images"], told["unsettled"], told["kind"]) == ([], ids, "undo")
    endpoint.deliveries.all().delete()
    review.decide(scored, owner, [Decision(ids[0], Verdict.SKIPPED)])
    assert not endpoint.deliveries.exists(), "a skip settles nothing"


def test_a_delivery_has_no_more_than_some_hundred_images(
    scored: LabelSet, owner: User, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "AT_ONCE", 3)
    ids = scored.project.images.values_list("pk", flat=True)
    review.decide(scored, owner, [Decision(pk, Verdict.ACCEPTED) for pk in ids])
    sizes = [len(json.loads(row.body)["data"]["images"]) for row in endpoint.deliveries.order_by("pk")]
    assert sizes == [3, 1]


def test_an_upload_in_many_requests_is_told_once_at_its_end(
    project: Project, owner: User, endpoint: WebhookEndpoint, clock: Callable, receiver: Receiver
) -> None:
    upload = None
    for colour in ("red", "blue", "red"):
        files = [ContentFile(picture(colour), f"{colour}.png")]
        upload = uploads.add_images(project, owner, files, upload)
        courier.deliver_due()
    assert receiver.got == [], "more may come"
    clock(uploads.MORE_TO_COME)
    courier.deliver_due()
    [got] = receiver.got
    told = json.loads(got.body)
    assert told["id"] == got.headers["Webhook-Id"]
    assert told["data"] == {
        "upload": upload.pk,
        "state": "done",
        "error": "",
        "added": 2,
        "duplicate": 1,
        "refused": 0,
    }
    uploads.add_images(project, owner, [ContentFile(b"x", "x.png")], upload)
    assert endpoint.deliveries.filter(event="upload.done").count() == 2, "the first was sent already"
    second, first = endpoint.deliveries.all()
    webhooks.resend(first)
    uploads.add_images(project, owner, [ContentFile(b"y", "y.png")], upload)
    assert json.loads(endpoint.deliveries.get(pk=first.pk).body) == told, "what was sent stays as it was"
    assert json.loads(endpoint.deliveries.get(pk=second.pk).body)["data"]["refused"] == 2


def test_an_upload_whose_zip_is_stopped_is_told(
    project: Project, owner: User, endpoint: WebhookEndpoint
) -> None:
    upload = Upload.objects.create(project=project, uploaded_by=owner, state=Upload.State.OPEN)
    uploads.stop(upload, owner)
    assert delivered(endpoint, "upload.done")["state"] == "failed"


def test_only_who_asked_for_an_event_is_told_of_it(project: Project, owner: User, stranger: User) -> None:
    wants, _ = webhooks.create(project, owner, "http://127.0.0.1:1/a", ["import.done"])
    webhooks.create(project, owner, "http://127.0.0.1:1/b", ["run.finished"])
    off, _ = webhooks.create(project, owner, "http://127.0.0.1:1/c", ["import.done"])
    webhooks.change(off, is_active=False)
    other = Project.objects.create(name="Other", slug="other")
    webhooks.create(other, stranger, "http://127.0.0.1:1/d", ["import.done"])
    webhooks.notify(project, "import.done", {"labels": 3})
    [delivery] = WebhookDelivery.objects.all()
    assert delivery.endpoint == wants
    assert json.loads(delivery.body)["data"] == {"labels": 3}


def test_where_nobody_is_told_it_costs_one_query(project: Project, owner: User) -> None:
    run = runs.start(project, None)
    with CaptureQueriesContext(connection) as asked:
        runs.fail(run, "No memory.")
    assert len([query for query in asked if "webhook" in query["sql"]]) == 1


def test_what_is_taken_back_is_not_told(project: Project, endpoint: WebhookEndpoint) -> None:
    """The event is written in the transaction of the change."""
    with pytest.raises(RuntimeError), transaction.atomic():
        webhooks.notify(project, "run.finished", {})
        raise RuntimeError
    assert not endpoint.deliveries.exists()


# Tried again


def test_after_a_500_it_is_tried_again_later_with_the_same_id(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Callable
) -> None:
    receiver.answer = 500
    delivery = webhooks.ping(endpoint)
    courier.deliver_due()
    courier.deliver_due()
    assert len(receiver.got) == 1, "not before its time"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.error) == (State.WAITING, 500, "It answered 500.")
    receiver.answer = 204
    clock(past_the_delay(0))
    courier.deliver_due()
    first, second = receiver.got
    assert first.headers["Webhook-Id"] == second.headers["Webhook-Id"]
    assert first.body == second.body
    assert first.headers["Webhook-Signature"] != second.headers["Webhook-Signature"], "of another time"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.attempts, delivery.error) == ("delivered", 204, 2, "")
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (0, None)


def test_after_a_refused_connection_it_is_tried_again(project: Project, owner: User, clock: Callable) -> None:
    endpoint, _ = webhooks.create(project, owner, f"http://127.0.0.1:{free_port()}/", EVENTS)
    delivery = webhooks.ping(endpoint)
    courier.deliver_due()
    delivery.refresh_from_db()
    assert delivery.error == "It could not be reached: Connection refused."
    assert (delivery.state, delivery.status) == (State.WAITING, None)
    with receiving() as receiver:
        webhooks.change(endpoint, url=receiver.url)
        clock(past_the_delay(0))
        courier.deliver_due()
        assert len(receiver.got) == 1


def test_it_is_given_up_after_the_last_try(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Callable
) -> None:
    receiver.answer = 500
    delivery = webhooks.ping(endpoint)
    waits = []
    for _ in range(len(courier.DELAYS) + 1):
        courier.deliver_due()
        delivery.refresh_from_db()
        waits.append(delivery.next_at - timezone.now())
        clock(max(waits[-1], timedelta()) + timedelta(seconds=1))
    assert delivery.state == State.FAILED
    assert len(receiver.got) == 8
    for waited, delay in zip(waits, courier.DELAYS, strict=False):
        assert delay * 0.9 < waited <= delay * (1 + courier.JITTER)
    clock(timedelta(days=3))
    courier.deliver_due()
    assert len(receiver.got) == 8
    webhooks.resend(delivery)
    receiver.answer = 200
    courier.deliver_due()
    assert receiver.got[-1].headers["Webhook-Id"] == delivery.message_id
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (State.DELIVERED, 1)


def test_an_endpoint_that_took_nothing_for_days_is_switched_off(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Callable
) -> None:
    receiver.answer = 503
    webhooks.ping(endpoint)
    courier.deliver_due()
    clock(courier.PATIENCE + timedelta(hours=1))
    courier.deliver_due()
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    assert endpoint.off_because == "It took nothing for 3 days. It answered 503."
    webhooks.notify(endpoint.project, "run.finished", {})
    assert endpoint.deliveries.count() == 1, "nothing more is written for it"
    clock(timedelta(days=1))
    courier.deliver_due()
    assert len(receiver.got) == 2
    with pytest.raises(ValidationError, match="switched off"):
        webhooks.ping(endpoint)
    receiver.answer = 200
    webhooks.change(endpoint, is_active=True)
    courier.deliver_due()
    assert len(receiver.got) == 3, "what waited goes out"
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.off_because, endpoint.failing_since) == (True, "", None)


def test_who_answers_410_is_switched_off_at_once(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.answer = 410
    webhooks.ping(endpoint)
    courier.deliver_due()
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.off_because) == (False, courier.GONE)


def test_a_delivery_whose_worker_died_is_taken_up_again(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Callable
) -> None:
    webhooks.ping(endpoint)
    dead = courier.claim()
    assert courier.claim() is None
    courier.deliver_due()
    assert receiver.got == [], "somebody is at it"
    clock(courier.LEASE + timedelta(seconds=1))
    courier.deliver_due()
    [got] = receiver.got
    assert got.headers["Webhook-Id"] == dead.message_id
    # Back from the dead, it writes nothing more.
    courier.note(dead, courier.Answer(status=500))
    assert endpoint.deliveries.get().state == State.DELIVERED


def test_of_two_who_claim_one_gets_it(endpoint: WebhookEndpoint) -> None:
    webhooks.ping(endpoint)
    seen = courier.due().get()
    assert courier.claim().pk == seen.pk
    assert not courier.due().exists()


def test_a_failing_endpoint_rests_as_a_whole(
    endpoint: WebhookEndpoint, receiver: Receiver, clock: Callable
) -> None:
    receiver.answer = 500
    for _ in range(5):
        webhooks.notify(endpoint.project, "run.finished", {})
    courier.deliver_due()
    assert len(receiver.got) == 1, "the others wait until it is tried again"
    receiver.answer = 200
    clock(past_the_delay(0))
    courier.deliver_due()
    assert len(receiver.got) == 6


def test_a_lost_ring_is_found_again(
    endpoint: WebhookEndpoint, clock: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = []
    monkeypatch.setattr(webhooks, "ring", lambda: rung.append(1))
    courier.ring_for_waiting()
    assert not rung
    webhooks.notify(endpoint.project, "run.finished", {})
    rung.clear()
    courier.ring_for_waiting()
    assert rung
    rung.clear()
    courier.claim()
    courier.ring_for_waiting()
    assert not rung, "somebody is at it"


def test_what_is_old_is_pruned(endpoint: WebhookEndpoint, clock: Callable) -> None:
    webhooks.ping(endpoint)
    clock(courier.KEPT - timedelta(hours=1))
    young = webhooks.ping(endpoint)
    courier.prune()
    assert endpoint.deliveries.count() == 2
    clock(timedelta(hours=2))
    courier.prune()
    assert list(endpoint.deliveries.all()) == [young]


# Slow ones


def test_one_stuck_endpoint_does_not_hold_up_others(
    endpoint: WebhookEndpoint, receiver: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gallery.outbound.TOTAL_SECONDS", 30)

    def once_all_others_have_theirs(handler: BaseHTTPRequestHandler) -> None:
        wait_for(lambda: len(receiver.got) == 20, 60, "the others wait for this one")
        handler.send_response(200)
        handler.end_headers()

    with receiving() as stuck:
        stuck.answer = once_all_others_have_theirs
        slow, _ = webhooks.create(endpoint.project, owner, stuck.url, ["import.done"])
        webhooks.notify(endpoint.project, "import.done", {})
        for _ in range(19):
            webhooks.notify(endpoint.project, "run.finished", {})
        courier.deliver_due()
    assert len(receiver.got) == 20
    delivery = slow.deliveries.get()
    assert (delivery.state, delivery.attempts, delivery.error) == (State.DELIVERED, 1, "")


@pytest.mark.parametrize("what", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte_ends_with_the_time(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, what: bytes
) -> None:
    monkeypatch.setattr("gallery.outbound.TOTAL_SECONDS", 2)
    cut_off = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(what)
        try:
            for _ in range(200):
                handler.wfile.write(b"x" if what.endswith(b"\r\n\r\n") else b"X: y\r\n")
                handler.wfile.flush()
                time.sleep(0.1)
        except OSError:
            cut_off.set()

    receiver.answer = trickle
    webhooks.ping(endpoint)
    courier.deliver_due()
    assert cut_off.wait(10), "the connection is closed"
    delivery = endpoint.deliveries.get()
    # With its status it was taken, whatever else it would still say.
    taken = what.endswith(b"\r\n\r\n")
    assert delivery.state == (State.DELIVERED if taken else State.WAITING)
    assert delivery.error == ("" if taken else "No answer within 2 seconds.")


def test_of_a_long_answer_the_beginning_is_read(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    def much(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"\0a" * 50_000)
        except OSError:
            pass

    receiver.answer = much
    webhooks.ping(endpoint)
    courier.deliver_due()
    delivery = endpoint.deliveries.get()
    assert delivery.state == State.DELIVERED
    assert delivery.answer == "\ufffda" * 1024


def test_what_is_no_http_is_an_error_in_words(project: Project, owner: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def rude() -> None:
            connection, _ = server.accept()
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            connection.close()

        threading.Thread(target=rude, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        endpoint, _ = webhooks.create(project, owner, url, EVENTS)
        webhooks.ping(endpoint)
        courier.deliver_due()
    assert endpoint.deliveries.get().error.startswith("It ")


# Secrets


def test_with_another_secret_key_nothing_is_signed_wrongly(
    endpoint: WebhookEndpoint, receiver: Receiver, settings: object
) -> None:
    settings.SECRET_KEY = "another-" * 8
    webhooks.ping(endpoint)
    courier.deliver_due()
    endpoint.refresh_from_db()
    assert (receiver.got, endpoint.is_active, endpoint.off_because) == ([], False, courier.LOST)
    webhooks.roll(endpoint)
    webhooks.change(endpoint, is_active=True)
    courier.deliver_due()
    assert len(receiver.got) == 1


def test_a_project_has_so_many_webhooks_at_most(project: Project, owner: User) -> None:
    for number in range(webhooks.MOST_ENDPOINTS):
        webhooks.create(project, owner, f"https://example.org/{number}", EVENTS)
    with pytest.raises(ValidationError, match="at most 20"):
        webhooks.create(project, owner, "https://example.org/more", EVENTS)


def test_events_are_known_ones(project: Project, owner: User) -> None:
    with pytest.raises(ValidationError, match="no event nonsense"):
        webhooks.create(project, owner, "https://example.org/", ["nonsense"])
    with pytest.raises(ValidationError, match="at least one"):
        webhooks.create(project, owner, "https://example.org/", [])


def test_with_its_project_a_webhook_is_gone(endpoint: WebhookEndpoint, project: Project) -> None:
    webhooks.ping(endpoint)
    uploads.delete_project(project)
    courier.deliver_due()
    assert not WebhookDelivery.objects.exists() and not Image.objects.exists()
