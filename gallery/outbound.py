"""The one way out: a POST to an address that somebody typed, bounded in time and size, to no private one."""

import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Url, parse_url

CONNECT_SECONDS, TOTAL_SECONDS = 3, 10
# What is read of an answer, and of how many addresses of one name a connection is tried.
ANSWER_BYTES, ADDRESSES = 2048, 4
# All that is global in IPv6 begins so; what stands for an IPv4 address (mapped, NAT64) does not.
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
NOT_PUBLIC = (
    "leads to an address that isn't public. Webhooks go to public addresses alone (WEBHOOKS_PRIVATE)."
)


class Refused(Exception):
    """Nothing is sent there, and why."""


@dataclass(frozen=True)
class Answer:
    """What came of a request: a status with the first characters of the answer, or an error in words."""

    status: int | None = None
    text: str = ""
    error: str = ""
    seconds: float = 0


@dataclass
class _Call:
    url: str
    headers: dict[str, str]
    body: bytes
    answer: Answer = field(default_factory=Answer)
    sock: socket.socket | None = None


def post(url: str, headers: dict[str, str], body: bytes) -> Answer:
    """Send `body` once, to exactly the address that was checked. No redirect is followed, no proxy asked.

    Raises nothing, and takes no longer than TOTAL_SECONDS, whatever the other side does.
    """
    call, began = _Call(url, headers, body), time.monotonic()
    # The look-up of a name knows no time-out, and an answer may come byte by byte: so it is left behind.
    thread = threading.Thread(target=_run, args=[call], daemon=True)
    thread.start()
    thread.join(TOTAL_SECONDS)
    answer = call.answer
    if thread.is_alive():
        _hang_up(call)
        if answer.status is None:
            answer = Answer(error=_no_answer())
    return replace(answer, seconds=time.monotonic() - began)


def parsed(url: str) -> Url:
    """The parts of an address that can be called. Raises Refused."""
    if not url.isascii() or any(character <= " " for character in url):
        raise Refused("An address has no spaces and no letters but those of ASCII.")
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise Refused("This can't be read as an address.") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise Refused("An address begins with https:// or http://, and a host.")
    if parts.auth is not None:
        raise Refused(
            "An address with a username or a password in it is not called: every page would show it."
        )
    if parts.port == 0:
        raise Refused("There is no port 0.")
    return parts


def check(url: str) -> None:
    """Raises Refused where it can be told from the address alone, with no look-up, that it is not called."""
    parts = parsed(url)
    host = _host(parts)
    if not settings.WEBHOOKS_PRIVATE and (host == "localhost" or host.endswith(".localhost")):
        raise Refused(f"{host} {NOT_PUBLIC}")
    with suppress(socket.gaierror):  # a name, which is looked up each time that it is called
        _check_public(host, _addresses(parts, socket.AI_NUMERICHOST))


def is_public(address: str) -> bool:
    """Whether the whole internet reaches it: no loopback, private, link-local, shared or multicast one."""
    found = ipaddress.ip_address(address)
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    return found.version == 4 or (found in GLOBAL_IPV6 and found.sixtofour is None and found.teredo is None)


def _check_public(host: str, addresses: list[str]) -> None:
    if not settings.WEBHOOKS_PRIVATE and not all(map(is_public, addresses)):
        # Not which address: that would tell what names mean inside.
        raise Refused(f"{host} {NOT_PUBLIC}")


def _host(parts: Url) -> str:
    return (parts.host or "").strip("[]").rstrip(".")


def _addresses(parts: Url, flags: int = 0) -> list[str]:
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    found = socket.getaddrinfo(_host(parts), port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _run(call: _Call) -> None:
    try:
        parts = parsed(call.url)
        # Looked up once: what is checked is what is called.
        addresses = _addresses(parts)
        _check_public(_host(parts), addresses)
        connection = _connected(call, parts, addresses[:ADDRESSES])
        try:
            _ask(call, parts, connection)
        finally:
            connection.close()
    except Exception as error:  # whatever another machine may bring about
        if call.answer.status is None:
            call.answer = Answer(error=_words(error, call)[:300])


def _connected(call: _Call, parts: Url, addresses: list[str]) -> HTTPConnection:
    for number, address in enumerate(addresses, start=1):
        connection = _connection(parts, address)
        try:
            connection.connect()
        except Exception:
            connection.close()
            if number == len(addresses):
                raise
        else:
            call.sock = connection.sock
            return connection
    raise Refused("This name has no address.")


def _connection(parts: Url, address: str) -> HTTPConnection:
    if parts.scheme == "http":
        return HTTPConnection(address, parts.port or 80, timeout=CONNECT_SECONDS)
    # The certificate must be of the name, though the address is called.
    return HTTPSConnection(
        address,
        parts.port or 443,
        timeout=CONNECT_SECONDS,
        server_hostname=_host(parts),
        cert_reqs="REQUIRED",
    )


def _ask(call: _Call, parts: Url, connection: HTTPConnection) -> None:
    # Later than `post` hangs up, which knows how long it took in all.
    connection.timeout = 2 * TOTAL_SECONDS
    connection.sock.settimeout(connection.timeout)
    connection.request(
        "POST",
        parts.request_uri,
        body=call.body,
        headers={"Host": parts.netloc, "User-Agent": "clipsite", "Connection": "close", **call.headers},
        preload_content=False,
        decode_content=False,
    )
    response = connection.getresponse()
    # Known before the rest of the answer, which may never end.
    call.answer = Answer(status=response.status)
    call.answer = Answer(status=response.status, text=_beginning(response))


def _beginning(response: BaseHTTPResponse) -> str:
    return response.read(ANSWER_BYTES).decode(errors="replace").replace("\0", "\ufffd")


def _no_answer() -> str:
    return f"No answer within {TOTAL_SECONDS} seconds."


def _hang_up(call: _Call) -> None:
    """End the thread that waits: what it reads from ends."""
    with suppress(OSError, AttributeError):
        call.sock.shutdown(socket.SHUT_RDWR)


def _words(error: BaseException, call: _Call) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, Refused):
        return str(error)
    if isinstance(cause, socket.gaierror):
        return "Its name is not known."
    if isinstance(cause, TimeoutError):
        return _no_answer() if call.sock else f"No connection within {CONNECT_SECONDS} seconds."
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"Its certificate can't be trusted: {cause.verify_message}."
    if isinstance(cause, OSError) and cause.strerror:
        return f"It could not be reached: {cause.strerror}."
    return f"It gave no answer that can be read ({type(error).__name__})."
