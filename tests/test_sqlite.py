"""A SQLite that can damage the database is named, and stops nothing."""

import sqlite3

import pytest
from django.db import connection

from clipsite import sqlite


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 40, 1), True),
        ((3, 43, 2), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 7), False),
        ((3, 45, 0), True),
        ((3, 49, 9), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 50, 12), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 51, 10), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_which_versions_have_the_bug(version: tuple[int, ...], has_it: bool) -> None:
    assert sqlite.has_wal_reset_bug(version) is has_it


def test_a_version_with_the_bug_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")
    warning = sqlite.warning()
    for words in ("SQLite 3.40.1 has the WAL-reset bug", "damage the database", "3.51.3", "DATABASE_URL"):
        assert words in warning


def test_nothing_is_said_of_a_newer_one_or_of_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert sqlite.warning() == ""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(connection, "vendor", "postgresql")
    assert sqlite.warning() == ""
