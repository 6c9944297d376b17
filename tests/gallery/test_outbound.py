"""Where webhooks may go: to public addresses alone, the one that was checked, with its own certificate."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gallery import outbound
from gallery.outbound import Refused
from tests.live import free_port
from tests.receiver import receiving

# What leads to this machine or its own network, however it is written.
PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "0", "0.0.0.0"),
    *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1"),
    *("192.0.2.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:8.8.8.8]", "[::127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fe80::1]"),
    *("[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]"),
    *("localhost", "LOCALHOST", "localhost.", "a.localhost"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "[2606:4700:4700::1111]", "example.org", "[2a00:1450:4001:82a::200e]"]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(Refused, match="isn't public"):
        outbound.check(f"http://{host}:8080/hook")
    # A name below localhost may be one that nobody knows.
    error = outbound.post(f"http://{host}:9/hook", {}, b"{}").error
    assert "isn't public" in error or (host, error) == ("a.localhost", "Its name is not known.")


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_is_taken(host: str) -> None:
    for scheme in ("http", "https"):
        outbound.check(f"{scheme}://{host}/hook?to=me")


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.org", "//example.org/", "ftp://example.org/", "file:///etc/passwd", "https://"),
        *("https://user:pass@example.org/", "https://user@example.org/"),
        *("https://example.org/a b", "https://exa\nmple.org/", "https://ex\u00e4mple.org/", "http://[::1"),
        *("https://example.org:0/", "https://example.org:99999/", "https://example.org:x/", "javascript:x"),
    ],
)
def test_what_is_no_address_is_refused_in_words(url: str, settings: object) -> None:
    settings.WEBHOOKS_PRIVATE = True
    with pytest.raises(Refused):
        outbound.check(url)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Each look-up of `evil.example` brings the next of these answers. Returns what was looked up."""
    asked, real = [], outbound.socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **options: object) -> list:
        if host != "evil.example":
            return real(host, port, *args, **options)
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [found for address in addresses for found in real(address, port, *args, **options)]

    monkeypatch.setattr(outbound.socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_leads_to_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        for answer in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]):
            resolving(monkeypatch, answer)
            said = outbound.post(f"http://evil.example:{receiver.port}/", {}, b"{}")
            assert said.error.startswith("evil.example leads to an address that isn't public.")
            assert "127" not in said.error, "what names mean inside is not told"
        assert receiver.got == []


def test_a_name_is_looked_up_once_and_what_was_checked_is_called(
    monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    """A name that changes its meaning between check and connection leads nowhere else."""
    called = []

    def connect(connection: object) -> None:
        called.append(connection.host)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(outbound.HTTPConnection, "connect", connect)
    asked = resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    outbound.post("http://evil.example/", {}, b"{}")
    assert (asked, called) == (["evil.example"], ["8.8.8.8"])


def test_of_several_addresses_the_next_is_tried(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    settings.WEBHOOKS_PRIVATE = True
    with receiving() as receiver:
        resolving(monkeypatch, ["127.0.0.3", "127.0.0.1"])
        answer = outbound.post(f"http://evil.example:{receiver.port}/", {}, b"{}")
        assert (answer.status, answer.error) == (200, "")
        assert receiver.got[0].headers["Host"] == f"evil.example:{receiver.port}"


def test_a_redirect_is_not_followed(settings: object) -> None:
    settings.WEBHOOKS_PRIVATE = True
    with receiving() as inside, receiving() as receiver:

        def redirect(handler: object) -> None:
            handler.send_response(307)
            handler.send_header("Location", inside.url)
            handler.end_headers()

        receiver.answer = redirect
        assert outbound.post(receiver.url, {}, b"{}").status == 307
        assert (len(receiver.got), inside.got) == (1, [])


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    settings.WEBHOOKS_PRIVATE = True
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with receiving() as receiver:
        assert outbound.post(receiver.url, {}, b"{}").status == 200


@pytest.fixture
def certified(tmp_path: Path) -> Callable[[str], ssl.SSLContext]:
    """`certified("a.example")` is a server's context with a certificate of that name, made here."""

    def make(name: str) -> ssl.SSLContext:
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key]
        command += ["-out", certificate, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    return make


def test_by_https_the_certificate_must_be_of_the_name_and_trusted(
    certified: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    settings.WEBHOOKS_PRIVATE = True
    names = []
    context = certified("evil.example")
    context.sni_callback = lambda _, name, __: names.append(name)
    with receiving(context) as receiver:
        url = f"https://evil.example:{receiver.port}/hook"
        resolving(monkeypatch, ["127.0.0.1"])
        assert "certificate can't be trusted: self-signed" in outbound.post(url, {}, b"{}").error
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert outbound.post(url, {}, b"{}").status == 200
        assert names == ["evil.example"] * 2
        wrong = outbound.post(f"https://localhost:{receiver.port}/hook", {}, b"{}")
        assert "certificate can't be trusted: Hostname mismatch" in wrong.error
        assert len(receiver.got) == 1
