"""The one door for webhooks: which addresses are told of which events, and what waits to be told.

What happened is written in the same transaction as the change; gallery/courier.py brings it there.
"""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from gallery import outbound, signatures
from gallery.access import User
from gallery.models import Project, WebhookDelivery, WebhookEndpoint

EVENTS = {
    "run.finished": "a scoring run ended: done, failed or cancelled",
    "image.settled": "people settled images, or took back what was settled",
    "upload.done": "images were uploaded, or could not be",
    "import.done": "an import of labels ended",
}
PING = "ping"
MOST_ENDPOINTS = 20
State = WebhookDelivery.State


def create(project: Project, user: User, url: str, events: Iterable[str]) -> tuple[WebhookEndpoint, str]:
    """Have an address told of events. Returns its row and its secret, which is told this once.

    Raises ValidationError.
    """
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if project.webhooks.count() >= MOST_ENDPOINTS:
            raise ValidationError(f"A project has at most {MOST_ENDPOINTS} webhooks. Delete one first.")
        endpoint = WebhookEndpoint(project=project, url=_checked(url), events=_known(events), created_by=user)
        secret = _give_secret(endpoint)
        endpoint.save()
    return endpoint, secret


def change(
    endpoint: WebhookEndpoint,
    url: str | None = None,
    events: Iterable[str] | None = None,
    is_active: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given. Raises ValidationError."""
    if url is not None:
        endpoint.url = _checked(url)
    if events is not None:
        endpoint.events = _known(events)
    endpoint.save(update_fields=["url", "events"])
    if is_active is not None and is_active != endpoint.is_active:
        _switch(endpoint, is_active)
    return endpoint


@transaction.atomic
def _switch(endpoint: WebhookEndpoint, on: bool) -> None:
    """Switched on it begins afresh, with what waited in the meantime."""
    endpoint.is_active, endpoint.off_because = on, ""
    endpoint.failures, endpoint.failing_since, endpoint.rests_until = 0, None, None
    endpoint.save(update_fields=["is_active", "off_because", "failures", "failing_since", "rests_until"])
    if on:
        endpoint.deliveries.filter(state=State.WAITING, token="").update(next_at=timezone.now())
        ring()


def roll(endpoint: WebhookEndpoint) -> str:
    """Give it another secret, which is told this once. From now on nothing is signed with the one before."""
    secret = _give_secret(endpoint)
    endpoint.save(update_fields=["salt", "fingerprint"])
    return secret


def _give_secret(endpoint: WebhookEndpoint) -> str:
    endpoint.salt = signatures.new_salt()
    endpoint.fingerprint = signatures.fingerprint(endpoint.salt)
    return signatures.secret(endpoint.salt)


def _checked(url: str) -> str:
    url = url.strip()
    if len(url) > WebhookEndpoint._meta.get_field("url").max_length:
        raise ValidationError({"url": "The address is too long: at most 500 characters."})
    try:
        outbound.check(url)
    except outbound.Refused as refusal:
        raise ValidationError({"url": str(refusal)}) from refusal
    return url


def _known(events: Iterable[str]) -> list[str]:
    asked = set(events)
    if not asked:
        raise ValidationError({"events": "Choose at least one event."})
    if unknown := asked - set(EVENTS):
        raise ValidationError({"events": f"There is no event {min(unknown)}. There are {', '.join(EVENTS)}."})
    return [event for event in EVENTS if event in asked]


def ping(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send a test. Raises ValidationError where it is switched off."""
    _must_be_on(endpoint)
    with transaction.atomic():
        delivery = _delivery(endpoint, PING, {})
        delivery.save()
        _now(endpoint)
    return delivery


def resend(delivery: WebhookDelivery) -> WebhookDelivery:
    """Deliver it once more, with the id that it had and all its tries before it.

    Raises ValidationError where its endpoint is switched off.
    """
    _must_be_on(delivery.endpoint)
    delivery.state, delivery.attempts, delivery.token = State.WAITING, 0, ""
    delivery.next_at = timezone.now()
    with transaction.atomic():
        delivery.save(update_fields=["state", "attempts", "token", "next_at"])
        _now(delivery.endpoint)
    return delivery


def _must_be_on(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_active:
        raise ValidationError("This webhook is switched off: switch it on first.")


def _now(endpoint: WebhookEndpoint) -> None:
    """Somebody waits for it: its rest after a failure is over."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(rests_until=None)
    ring()


def is_told(project: Project | int, event: str) -> bool:
    """Whether any endpoint is told of it: else nobody need count what there is to tell."""
    return bool(_told(project, event))


def _told(project: Project | int, event: str) -> list[WebhookEndpoint]:
    rows = WebhookEndpoint.objects.filter(project=project, is_active=True).select_related("project")
    return [endpoint for endpoint in rows if event in endpoint.events]


@transaction.atomic
def notify(
    project: Project | int, event: str, data: dict[str, Any], about: str = "", wait: timedelta = timedelta()
) -> None:
    """Write down that something happened, for each endpoint that is told of it; best where it is written.

    `data`: ids and counts. `about`: where news about the same is not on its way yet this takes its place, and
    `wait` is for how long more of it is waited for.
    """
    for endpoint in _told(project, event):
        delivery = _delivery(endpoint, event, data, about)
        delivery.next_at += wait
        if not (about and _replaced(delivery)):
            delivery.save()
        # What waits is found by the beat.
        if not wait:
            ring()


def _delivery(
    endpoint: WebhookEndpoint, event: str, data: dict[str, Any], about: str = ""
) -> WebhookDelivery:
    now = timezone.now()
    delivery = WebhookDelivery(endpoint=endpoint, event=event, about=about, created_at=now, next_at=now)
    delivery.body = _body(delivery, data)
    return delivery


def _body(delivery: WebhookDelivery, data: dict[str, Any]) -> str:
    body = {
        "id": delivery.message_id,
        "event": delivery.event,
        "at": delivery.created_at.isoformat(),
        "project": delivery.endpoint.project.slug,
        "data": data,
    }
    return json.dumps(body, separators=(",", ":"))


def _replaced(news: WebhookDelivery) -> bool:
    """Whether the same row says this now instead of what it said before."""
    unsent = WebhookDelivery.objects.filter(state=State.WAITING, sent_at=None)
    before = unsent.filter(endpoint=news.endpoint, event=news.event, about=news.about).first()
    if before is None:
        return False
    body = json.loads(news.body) | {"id": before.message_id}
    # Not where it went on its way just now.
    return bool(
        unsent.filter(pk=before.pk).update(body=json.dumps(body, separators=(",", ":")), next_at=news.next_at)
    )


def ring() -> None:
    """Tell the workers, once this is committed, that something is due. Ringing twice is harmless."""
    # Robust: where the queue can't be reached the rows stand all the same; the beat comes to them.
    transaction.on_commit(lambda: async_task("gallery.tasks.deliver_webhooks"), robust=True)
