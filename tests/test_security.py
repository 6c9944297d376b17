"""What SECURITY.md promises: each promise names tests that are there, and those that have no other place."""

import ast
import re

import pytest
from django.conf import settings
from django.contrib.auth.hashers import identify_hasher, make_password
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

ROOT = settings.BASE_DIR
SECURITY = (ROOT / "SECURITY.md").read_text()
PROMISES = re.findall(r"^\| (?!promise|-)(.+) \| (.+) \|$", SECURITY, re.MULTILINE)
TESTS = sorted({tuple(name.split("::")) for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", SECURITY)})
HASHERS = settings.PASSWORD_HASHERS


def test_each_promise_names_its_test() -> None:
    assert len(PROMISES) > 15
    assert [promise for promise, held_by in PROMISES if not re.search(r"`tests/\S+::\w+`", held_by)] == []


@pytest.mark.parametrize(("path", "name"), TESTS, ids=[name for _, name in TESTS])
def test_the_test_of_a_promise_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_audit_looks_at_every_pin() -> None:
    files = sorted(path.name for path in ROOT.glob("*.txt"))
    [command] = re.findall(r"^/tmp/audit/bin/pip-audit (.+)$", SECURITY, re.MULTILINE)
    assert sorted(re.findall(r"-r (\S+)", command)) == files
    for name in files:
        lines = (ROOT / name).read_text().splitlines()
        for line in lines:
            assert re.match(r"#|-[rc] |[\w.-]+(\[\w+\])?==[\w.]+( |$)|$", line), f"{name}: {line}"


def test_a_session_ends_after_two_weeks(owner: User) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": "olga", "password": "olga-secret-1", "remember": "on"})
    cookie = client.cookies["sessionid"]
    assert cookie["max-age"] == "" or int(cookie["max-age"]) <= 14 * 86400
    assert client.session.get_expiry_age() <= 14 * 86400
    assert cookie["httponly"] and cookie["samesite"] == "Lax"


def test_passwords_are_stored_by_a_slow_salted_hash() -> None:
    with override_settings(PASSWORD_HASHERS=HASHERS):
        stored = [make_password("olga-secret-1") for _ in range(2)]
        assert stored[0] != stored[1], "each has a salt of its own"
        assert identify_hasher(stored[0]).algorithm == "pbkdf2_sha256"
        assert int(stored[0].split("$")[1]) >= 600_000
