"""Many people take one invitation at the same moment, in a site's real database: one gets in."""

import json
from pathlib import Path

import pytest

from tests.live import Site

MAKE = """
import json, threading
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from gallery import invitations, projects
from gallery.models import Invitation

project = projects.create(User.objects.create_user("olga"), "Animals")
invitation = invitations.invite(project, User.objects.get(username="olga"), "labeler")
token = invitations.token_of(invitation)

def at_once(act, many):
    start, heard = threading.Barrier(len(many)), []
    def one(each):
        try:
            start.wait(20)
            heard.append(act(each))
        finally:
            connection.close()
    threads = [threading.Thread(target=one, args=[each]) for each in many]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    return heard
"""
JOIN = """
def take(user):
    try:
        return invitations.accept(token, user)[1]
    except invitations.Unusable as error:
        return error.status

heard = at_once(take, [User.objects.create_user(f"p{number}") for number in range(8)])
"""
SIGN_UP = """
def opened():
    client = Client(headers={"host": "localhost"})
    assert client.get(reverse("invitation", args=[token])).status_code == 200
    return client

def take(pair):
    number, client = pair
    secret = "long-secret-1"
    sent = {"username": f"p{number}", "password1": secret, "password2": secret}
    return client.post(reverse("account_signup"), sent).status_code

heard = at_once(take, list(enumerate(opened() for _ in range(6))))
"""
TELL = """
users = User.objects.exclude(username="olga").count()
print(json.dumps([heard, users, project.memberships.count()]))
"""


def outcome(site: Site, race: str) -> tuple[list[object], int, int]:
    """What each heard, how many users there are besides the owner, and how many members."""
    site.manage("migrate", "-v0")
    site.manage("collectstatic", "--noinput", "-v0")
    return tuple(json.loads(site.manage("shell", "-v0", "-c", MAKE + race + TELL).splitlines()[-1]))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_of_eight_who_take_one_link_at_the_same_moment_one_gets_in(site: Site) -> None:
    heard, _, members = outcome(site, JOIN)
    assert sorted(heard) == [True] + [410] * 7 and members == 2


def test_of_six_who_sign_up_with_one_link_at_the_same_moment_one_gets_an_account(site: Site) -> None:
    heard, users, members = outcome(site, SIGN_UP)
    # 200 is the page that sign-up is closed: for who came when it was taken already.
    assert heard.count(302) == 1 and len(heard) == 6 and set(heard) <= {200, 302, 410}
    assert (users, members) == (1, 2)
