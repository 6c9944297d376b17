"""A site that was set up with an earlier version keeps what it has."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps
from django.test import Client
from knox.crypto import hash_token

from gallery.models import ApiToken

TOKEN = "0123456789abcdef" * 4
pytestmark = pytest.mark.django_db(transaction=True)


def migrate(gallery: str) -> StateApps:
    executor = MigrationExecutor(connection)
    state = executor.migrate([("gallery", gallery)])
    return state.apps


def newest() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.fixture
def before(owner: User) -> Iterator[StateApps]:
    """The database of the version before, where tokens were knox's own."""
    yield migrate("0001_initial")
    newest()


def works(token: str) -> bool:
    return Client(headers={"Authorization": f"Token {token}"}).get("/api/v1/projects/").status_code == 200


def test_a_token_of_the_version_before_goes_on_working(before: StateApps, owner: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry) "
            "VALUES (%s, %s, %s, '2026-01-02 03:04:05+00:00', NULL)",
            [hash_token(TOKEN), TOKEN[:15], owner.pk],
        )
    newest()
    row = ApiToken.objects.get()
    assert works(TOKEN) and row.user == owner and row.name == "Made before tokens had names"
    assert row.created.isoformat() == "2026-01-02T03:04:05+00:00" and row.expiry is None
    owner.delete()
    assert not works(TOKEN)


def test_going_back_takes_the_tokens_along(owner: User) -> None:
    row, token = ApiToken.objects.create(owner, name="Import")
    migrate("0001_initial")
    with connection.cursor() as cursor:
        cursor.execute("SELECT digest, user_id FROM knox_authtoken")
        assert cursor.fetchall() == [(row.digest, owner.pk)]
    newest()
    assert works(token)


def test_where_knox_has_no_table_there_is_nothing_to_take_over(before: StateApps) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE knox_authtoken RENAME TO elsewhere")
    try:
        newest()
        assert not ApiToken.objects.exists()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO knox_authtoken")
