"""Webhooks from a real site: its own queue delivers them, beside the labelling, and after a kill."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gallery import outbound
from tests.gallery.test_webhook_pages import verifier
from tests.live import Site, wait_for
from tests.receiver import Receiver, receiving

MAKE_HOOK = """
from django.contrib.auth.models import User
from gallery import webhooks
from gallery.models import Project

project = Project.objects.get()
endpoint, secret = webhooks.create(project, User.objects.get(), "{url}", webhooks.EVENTS)
webhooks.ping(endpoint)
print(secret)
"""
RUN = "SELECT state FROM labeling_scoringrun"
DELIVERIES = "SELECT event, state, attempts FROM gallery_webhookdelivery ORDER BY id"
RINGS = "SELECT count(*) FROM django_q_task WHERE func = 'gallery.tasks.deliver_webhooks'"


class HookedSite(Site):
    def environment(self) -> dict[str, str]:
        return super().environment() | {"WEBHOOKS_PRIVATE": "on"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = HookedSite(tmp_path)
    yield site
    site.kill_everything()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def held(receiver: Receiver) -> Iterator[threading.Event]:
    """The receiver answers nobody until this is set."""
    released = threading.Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        released.wait(120)

    receiver.answer = hold
    yield released
    released.set()


def make_hook(site: Site, receiver: Receiver) -> str:
    """Its secret."""
    return site.manage("shell", "-v0", "-c", MAKE_HOOK.format(url=receiver.url)).strip()


def test_a_slow_receiver_does_not_hold_up_a_scoring_run(
    site: Site, receiver: Receiver, held: threading.Event
) -> None:
    site.make_run(24)
    secret = make_hook(site, receiver)
    site.start("worker")
    wait_for(lambda: receiver.got, 60, "nothing was sent")
    # The request that it holds takes longer than that.
    wait_for(lambda: site.value(RINGS), outbound.TOTAL_SECONDS - 1, "the queue waits for the receiver")
    wait_for(lambda: site.value(RUN) == "done", 60, "the run did not end")
    receiver.answer = 200
    held.set()
    # The beat comes to what failed the first time, and to what was written since.
    wait_for(
        lambda: {state for _, state, _ in site.rows(DELIVERIES)} == {"delivered"},
        60,
        "it was not tried again",
    )
    events = {json.loads(got.body)["event"]: got for got in receiver.got}
    assert set(events) == {"ping", "run.finished"}
    for got in events.values():
        assert verifier()(secret, got.headers, got.body.encode())
    told = json.loads(events["run.finished"].body)["data"]
    assert (told["state"], told["done"], told["total"]) == ("done", 24, 24)


def test_a_killed_workers_delivery_is_taken_up_again(
    site: Site, receiver: Receiver, held: threading.Event
) -> None:
    site.make_run(1)
    make_hook(site, receiver)
    site.start("worker")
    wait_for(lambda: receiver.got, 60, "nothing was sent")
    site.kill_everything()
    assert ("ping", "waiting", 1) in site.rows(DELIVERIES)
    receiver.answer = 200
    # Its lease is over.
    site.rows("UPDATE gallery_webhookdelivery SET next_at = sent_at WHERE attempts = 1")
    site.start("worker")
    wait_for(lambda: ("ping", "delivered", 2) in site.rows(DELIVERIES), 60, "nobody took it up")
    pings = [got for got in receiver.got if '"ping"' in got.body]
    assert len(pings) == 2 and len({got.headers["Webhook-Id"] for got in pings}) == 1
