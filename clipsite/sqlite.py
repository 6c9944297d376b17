"""What to know about the SQLite that this Python brings along."""

import sqlite3

from django.db import connection

# Releases of older lines that got the correction as well; of all others, 3.51.3 and later have it.
CORRECTED = {(3, 44): 6, (3, 50): 7}


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite has the “WAL-reset bug” of https://www.sqlite.org/wal.html#walresetbug."""
    correction = CORRECTED.get(version[:2])
    return version < (3, 51, 3) and (correction is None or version < (*version[:2], correction))


def warning() -> str:
    """What to say of the database in use where its SQLite has that bug; else nothing."""
    if connection.vendor != "sqlite" or not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return ""
    return (
        f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug: very rarely, two processes that write at "
        "once damage the database or lose a change. Keep backups, and run the site with a Python whose "
        "SQLite is 3.51.3 or newer (3.50.7 and 3.44.6 will do), or on Postgres (DATABASE_URL)."
    )
