"""A worker's side of webhooks: claim what is due, send it, write down what came of it.

A delivery is claimed by one conditional update that moves its `next_at` to the end of a lease: one whose
worker is killed is due again by itself. Each endpoint gets one at a time, and a failing one rests alone.
"""

import logging
import random
import threading
import uuid
from datetime import datetime, timedelta
from queue import SimpleQueue

from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from gallery import outbound, signatures, webhooks
from gallery.models import WebhookDelivery, WebhookEndpoint
from gallery.outbound import Answer
from gallery.webhooks import State

logger = logging.getLogger(__name__)

# Between two tries; after the last of them it is given up. And so long at most no other is sent there.
DELAYS = [
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=24),
]
LONGEST_REST = timedelta(minutes=5)
# So much longer at most, so that what failed together doesn't come again together.
JITTER = 0.25
# Longer than one takes.
LEASE = timedelta(seconds=60)
AT_ONCE = 8
# An endpoint that has taken nothing for so long is switched off.
PATIENCE = timedelta(days=3)
KEPT = timedelta(days=30)
PRUNED_AT_ONCE = 1000
LOST = "The site's SECRET_KEY is another one now, and this webhook's secret with it: roll the secret."
GONE = "It answered 410: it wants no more."

_at_it = threading.Lock()


def begin() -> None:
    """Deliver what is due, in a thread beside the labelling that this process does; one for all rings."""
    if _at_it.acquire(blocking=False):
        threading.Thread(target=_deliver_beside, daemon=True).start()


def _deliver_beside() -> None:
    try:
        deliver_due()
    except Exception:  # a database that is away: the beat rings again
        logger.exception("webhooks are left for later")
    finally:
        connections.close_all()
        _at_it.release()


def deliver_due() -> None:
    """Send all that is due, to several endpoints at once, and write down what came of each."""
    came: SimpleQueue[tuple[WebhookDelivery, Answer]] = SimpleQueue()
    under_way = 0
    while True:
        while under_way < AT_ONCE and (delivery := claim()):
            threading.Thread(target=_send, args=[delivery, came], daemon=True).start()
            under_way += 1
        if not under_way:
            return
        note(*came.get())
        under_way -= 1


def due() -> QuerySet[WebhookDelivery]:
    """What is to be sent now, and that nobody is at."""
    now = timezone.now()
    rests = Q(endpoint__rests_until__gt=now)
    waiting = WebhookDelivery.objects.filter(state=State.WAITING)
    held = waiting.filter(endpoint=OuterRef("endpoint"), next_at__gt=now).exclude(token="")
    return waiting.filter(~rests, ~Exists(held), endpoint__is_active=True, next_at__lte=now)


def claim() -> WebhookDelivery | None:
    """A delivery that is due, now held by this process and counted as tried, or None."""
    # Whose turn was longest ago comes first: a long list for one endpoint keeps no other waiting.
    in_turn = due().order_by(F("endpoint__tried_at").asc(nulls_first=True), "next_at", "id")
    while delivery := in_turn.select_related("endpoint").first():
        seen = {
            "pk": delivery.pk,
            "state": State.WAITING,
            "token": delivery.token,
            "next_at": delivery.next_at,
        }
        now, delivery.token = timezone.now(), uuid.uuid4().hex
        delivery.attempts, delivery.sent_at = delivery.attempts + 1, now
        delivery.headers = signatures.headers(
            delivery.endpoint.salt, delivery.message_id, int(now.timestamp()), delivery.body
        )
        if WebhookDelivery.objects.filter(**seen).update(
            token=delivery.token,
            attempts=delivery.attempts,
            sent_at=now,
            headers=delivery.headers,
            next_at=now + LEASE,
        ):
            WebhookEndpoint.objects.filter(pk=delivery.endpoint_id).update(tried_at=now)
            return delivery
    return None


def _send(delivery: WebhookDelivery, came: SimpleQueue) -> None:
    """Touches no row: it runs in a thread of its own."""
    endpoint = delivery.endpoint
    if signatures.fingerprint(endpoint.salt) != endpoint.fingerprint:
        answer = Answer(error=LOST)
    else:
        answer = outbound.post(endpoint.url, delivery.headers, delivery.body.encode())
    came.put((delivery, answer))


@transaction.atomic
def note(delivery: WebhookDelivery, answer: Answer) -> None:
    """Write down what came of an attempt, where the delivery is still held by who made it."""
    now, taken = timezone.now(), 200 <= (answer.status or 0) < 300
    jitter = random.uniform(1, 1 + JITTER)
    changes = {
        "token": "",
        "status": answer.status,
        "seconds": answer.seconds,
        "answer": answer.text,
        "error": "" if taken else answer.error or _refusal(answer.status),
    }
    if taken:
        changes["state"] = State.DELIVERED
    elif delivery.attempts > len(DELAYS):
        changes["state"] = State.FAILED
    else:
        changes["next_at"] = now + jitter * DELAYS[delivery.attempts - 1]
    endpoint = delivery.endpoint
    if not WebhookDelivery.objects.filter(pk=delivery.pk, token=delivery.token).update(**changes):
        return
    if not taken:
        _note_failure(endpoint, changes["error"], now, jitter)
    elif endpoint.failures:
        clean = {"failures": 0, "failing_since": None, "rests_until": None}
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**clean)


def _refusal(status: int | None) -> str:
    if status and 300 <= status < 400:
        return (
            f"It answered {status}, a redirect: those are not followed. Enter the address that it leads to."
        )
    return GONE if status == 410 else f"It answered {status}."


def _note_failure(endpoint: WebhookEndpoint, error: str, now: datetime, jitter: float) -> None:
    own = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    since = endpoint.failing_since or now
    rest = jitter * min(LONGEST_REST, DELAYS[min(endpoint.failures, len(DELAYS) - 1)])
    own.update(failures=F("failures") + 1, failing_since=since, rests_until=now + rest)
    if error in (GONE, LOST):
        own.update(is_active=False, off_because=error)
    elif now - since > PATIENCE:
        own.update(is_active=False, off_because=f"It took nothing for {PATIENCE.days} days. {error}"[:300])


def ring_for_waiting() -> None:
    """Ring where something is due and nobody is at it: a retry, or a ring that was lost."""
    if due().exists():
        webhooks.ring()


def prune() -> None:
    """Forget deliveries of long ago, some at a time."""
    old = WebhookDelivery.objects.filter(created_at__lt=timezone.now() - KEPT)
    WebhookDelivery.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE])).delete()
