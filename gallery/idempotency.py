"""Calls with an `Idempotency-Key`: done once, and answered the same however often they are sent.

After the IETF's draft "The Idempotency-Key HTTP Header Field".
"""

import hashlib
import uuid
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from gallery.access import User
from gallery.models import KeyedCall

KEPT = timedelta(hours=24)
# After so long without an answer its process counts as killed, and the call may be made again.
LEASE = timedelta(minutes=5)
LONGEST_KEY = 255


class Refused(Exception):
    status: int


class BadKey(Refused):
    status = 400


class Reused(Refused):
    status = 422


class AtWork(Refused):
    status = 409


def key_in(header: str) -> str:
    """The key, with or without the quotation marks of the draft. Raises BadKey."""
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise BadKey(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters, such as a UUID.")
    return key


def fingerprint(request: HttpRequest, takes_files: bool) -> str:
    """What tells one request from another: method, address, and the body or each of its files, in chunks.

    Raises what Django does where the body can't be read.
    """
    content_type = request.content_type
    digest = hashlib.sha256(repr((request.method, request.get_full_path(), content_type)).encode())
    if content_type != "multipart/form-data":
        digest.update(request.body)
    elif takes_files:
        digest.update(repr(list(request.POST.lists())).encode())
        for name, files in request.FILES.lists():
            for file in files:
                content = hashlib.sha256()
                for chunk in file.chunks():
                    content.update(chunk)
                file.seek(0)
                digest.update(repr((name, file.name, file.size, content.hexdigest())).encode())
    return digest.hexdigest()


def claim(user: User, key: str, request: HttpRequest, asked: str) -> KeyedCall:
    """The row of a call with the fingerprint `asked`: with a status, it is answered; else it is ours to do.

    Raises Reused or AtWork.
    """
    now = timezone.now()
    ours = {
        "method": request.method,
        "path": request.path[:500],
        "fingerprint": asked,
        "at": now,
        "token": uuid.uuid4(),
        "leased_until": now + LEASE,
    }
    row, is_new = KeyedCall.objects.get_or_create(user=user, key=key, defaults=ours)
    if is_new:
        return row
    is_free = Q(at__lt=now - KEPT) | Q(fingerprint=asked, status=None, leased_until__lt=now)
    blank = {"status": None, "content_type": "", "body": None}
    if KeyedCall.objects.filter(is_free, pk=row.pk).update(**ours, **blank):
        return KeyedCall.objects.get(pk=row.pk)
    if row.fingerprint != asked:
        raise Reused("This Idempotency-Key came with another request before. A new request wants a new key.")
    if row.status is None:
        raise AtWork("The request with this Idempotency-Key is still at work. Send it again in a moment.")
    return row


def keep(call: KeyedCall, status: int, content_type: str, body: bytes | None) -> None:
    """Answer the call for good, unless somebody else has taken it over by now."""
    _ours(call).update(status=status, content_type=content_type, body=body)


def forget(call: KeyedCall) -> None:
    """Let the call be made again."""
    _ours(call).delete()


def _ours(call: KeyedCall) -> QuerySet[KeyedCall]:
    return KeyedCall.objects.filter(pk=call.pk, token=call.token)


def prune() -> None:
    """Take away what is too old to be answered again."""
    KeyedCall.objects.filter(at__lt=timezone.now() - KEPT).delete()
