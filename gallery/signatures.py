"""What a webhook is signed with, after the Standard Webhooks specification.

A secret is derived from SECRET_KEY and an endpoint's salt, and stored nowhere: a copy of the database signs
nothing.
"""

import hashlib
import hmac
import secrets
from base64 import b64encode

from django.utils.crypto import salted_hmac

PREFIX = "whsec_"


def new_salt() -> str:
    return secrets.token_hex(32)


def secret(salt: str) -> str:
    """What the receiver checks signatures with, as it is shown once."""
    return PREFIX + b64encode(_key(salt)).decode()


def fingerprint(salt: str) -> str:
    """Tells one secret from another, and not what it is."""
    return hashlib.sha256(_key(salt)).hexdigest()[:16]


def headers(salt: str, message_id: str, timestamp: int, body: str) -> dict[str, str]:
    """What goes with `body`: who can tell the signature is right knows that the secret's owner sent it."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    signature = b64encode(hmac.digest(_key(salt), signed, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": f"v1,{signature}",
    }


def _key(salt: str) -> bytes:
    return salted_hmac("gallery.webhook", salt, algorithm="sha256").digest()
