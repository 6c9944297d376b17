"""Invitations: a link lets one person in, once, and only while it should."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, quote

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.signing import Signer
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gallery import invitations
from gallery.access import Role
from gallery.models import Invitation, Membership, Project

Login = Callable[[User | None], Client]
NEW = {"username": "nina", "password1": "nina-secret-1", "password2": "nina-secret-1"}
JSON = "application/json"


@pytest.fixture(autouse=True)
def _no_failures_yet() -> None:
    cache.clear()


@pytest.fixture
def invitation(project: Project, owner: User) -> Invitation:
    return invitations.invite(project, owner, Role.LABELER)


def link_to(invitation: Invitation) -> str:
    return reverse("invitation", args=[invitations.token_of(invitation)])


def roles(project: Project) -> dict[str, str]:
    return {row.user.username: row.role for row in project.memberships.all()}


# Making, listing, revoking


def test_an_owner_makes_a_link_that_is_shown_once(project: Project, owner: User, login: Login) -> None:
    client, members = login(owner), reverse("members", args=["animals"])
    page = client.post(reverse("invite", args=["animals"]), {"role": "reviewer", "days": 7})
    made = Invitation.objects.get()
    assert page.context["link"] == f"http://testserver{link_to(made)}"
    assert page.context["link"] in page.text and "no-store" in page["Cache-Control"]
    assert timedelta(days=6) < made.expires_at - timezone.now() <= timedelta(days=7)
    listed = client.get(members).text
    assert link_to(made) not in listed and "Revoke the invitation as reviewer" in listed


def test_a_link_is_not_made_of_a_form_that_is_wrong(project: Project, owner: User, login: Login) -> None:
    page = login(owner).post(reverse("invite", args=["animals"]), {"role": "king", "days": 9999})
    assert set(page.context["invitation_form"].errors) == {"role", "days"}
    assert not Invitation.objects.exists()


def test_only_owners_see_invitations(
    project: Project, invitation: Invitation, member: Callable[[str], User], login: Login
) -> None:
    page = login(member("reviewer")).get(reverse("members", args=["animals"]))
    assert "Invitations" not in page.text and "Invite by link" not in page.text


def test_the_list_says_who_used_it(
    project: Project, invitation: Invitation, owner: User, stranger: User, login: Login
) -> None:
    invitations.accept(invitations.token_of(invitation), stranger)
    page = login(owner).get(reverse("members", args=["animals"])).text
    assert "used by sven" in page and "Revoke the invitation" not in page


def test_an_owner_revokes_a_link_and_it_opens_nothing(
    project: Project, invitation: Invitation, owner: User, stranger: User, login: Login
) -> None:
    url, revoke = link_to(invitation), reverse("invitation_revoke", args=[invitation.pk])
    assert "is revoked" in login(owner).post(revoke, follow=True).text
    for answer in (login(stranger).get(url), login(stranger).post(url), Client().get(url)):
        assert answer.status_code == 404 and "There is no such invitation" in answer.text
    assert "sven" not in roles(project)


def test_a_used_invitation_can_not_be_revoked(
    invitation: Invitation, owner: User, stranger: User, login: Login
) -> None:
    invitations.accept(invitations.token_of(invitation), stranger)
    revoke = reverse("invitation_revoke", args=[invitation.pk])
    assert "remove the member instead" in login(owner).post(revoke, follow=True).text
    with pytest.raises(ValidationError):
        invitations.revoke(invitation)
    assert Invitation.objects.exists()


def test_an_owner_of_another_project_revokes_nothing(
    invitation: Invitation, stranger: User, login: Login
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stranger, role=Role.OWNER)
    client = login(stranger)
    assert client.post(reverse("invitation_revoke", args=[invitation.pk])).status_code == 404
    assert client.delete(f"/api/v1/projects/other/invitations/{invitation.pk}/").status_code == 404
    assert Invitation.objects.exists()


# Joining


def test_who_is_logged_in_joins_by_a_button_and_never_by_looking(
    project: Project, invitation: Invitation, stranger: User, login: Login
) -> None:
    client, url = login(stranger), link_to(invitation)
    page = client.get(url)
    assert "Join “Animals” as labeler?" in page.text and "no-store" in page["Cache-Control"]
    assert client.head(url).status_code == 200
    assert roles(project) == {"olga": "owner"}
    assert client.post(url).url == "/projects/animals/"
    assert roles(project) == {"olga": "owner", "sven": "labeler"}
    assert client.get(url).url == "/projects/animals/", "who came by it is led on"
    used = Invitation.objects.get()
    assert used.used_by == stranger and used.used_at


def test_joining_needs_the_csrf_token(invitation: Invitation, stranger: User, project: Project) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(stranger)
    assert client.post(link_to(invitation)).status_code == 403
    assert "sven" not in roles(project)


def test_a_link_lets_one_person_in(
    project: Project, invitation: Invitation, stranger: User, login: Login
) -> None:
    second = User.objects.create_user("second")
    assert login(stranger).post(link_to(invitation)).status_code == 302
    for answer in (login(second).get(link_to(invitation)), login(second).post(link_to(invitation))):
        assert answer.status_code == 410 and "used already" in answer.text
    assert "second" not in roles(project)


@pytest.mark.parametrize("role", ["owner", "reviewer", "viewer"])
def test_a_member_keeps_the_role_and_uses_nothing_up(
    role: str, project: Project, invitation: Invitation, owner: User, member: Callable, login: Login
) -> None:
    user = owner if role == "owner" else member(role)
    client = login(user)
    assert "You are a member already" in client.get(link_to(invitation)).text
    assert client.post(link_to(invitation)).status_code == 302
    assert roles(project)[user.username] == role
    assert Invitation.objects.usable().exists()


def test_an_expired_link_lets_nobody_in(
    project: Project, invitation: Invitation, stranger: User, login: Login
) -> None:
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    client, url = login(stranger), link_to(invitation)
    for answer in (client.get(url), client.post(url), Client().get(url), Client().post(url)):
        assert answer.status_code == 410 and "has expired" in answer.text
    assert "sven" not in roles(project)


def forged(invitation: Invitation) -> list[str]:
    """A wrong signature, another kind of object's, another id with this one's, an unknown id, rubbish."""
    token = invitations.token_of(invitation)
    signature = token.partition(":")[2]
    return [
        f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        Signer().sign(invitation.pk),
        Signer(salt="gallery.upload").sign(invitation.pk),
        f"{invitation.pk + 1}:{signature}",
        invitations.SIGNER.sign(invitation.pk + 1),
        str(invitation.pk),
        "\x00",
    ]


def test_a_forged_link_and_an_unknown_one_sound_the_same(
    project: Project, invitation: Invitation, stranger: User, login: Login
) -> None:
    heard = set()
    for token in forged(invitation):
        url = reverse("invitation", args=[token])
        for client, ask in ((login(stranger), "get"), (login(stranger), "post"), (Client(), "get")):
            answer = getattr(client, ask)(url)
            assert answer.status_code == 404
            heard.add(str(answer.context["words"]))
        answer = login(stranger).post("/api/v1/invitations/accept/", {"token": token}, content_type=JSON)
        assert answer.status_code in (400, 404) and "sven" not in roles(project)
    assert len(heard) == 1


@pytest.mark.parametrize("fate", ["deactivated", "no owner any more", "no member any more", "deleted"])
def test_a_link_ends_with_the_right_to_invite(
    fate: str, project: Project, invitation: Invitation, owner: User, stranger: User, login: Login
) -> None:
    rows = Membership.objects.filter(user=owner)
    {
        "deactivated": lambda: User.objects.filter(pk=owner.pk).update(is_active=False),
        "no owner any more": lambda: rows.update(role=Role.REVIEWER),
        "no member any more": rows.delete,
        "deleted": owner.delete,
    }[fate]()
    assert login(stranger).post(link_to(invitation)).status_code in (404, 410)
    assert not project.memberships.filter(user=stranger).exists()


# Signing up


def sign_up(client: Client, **changes: str) -> HttpResponse:
    return client.post(reverse("account_signup"), NEW | changes)


@pytest.fixture
def guest(invitation: Invitation) -> Client:
    """Nobody yet, with the link open."""
    client = Client()
    page = client.get(link_to(invitation))
    assert page.status_code == 200 and reverse("account_signup") in page.text
    return client


def test_a_link_opens_sign_up_where_it_is_closed(project: Project, guest: Client) -> None:
    assert "Create an account" in guest.get(reverse("account_signup")).text
    assert "Sign up" in guest.get(reverse("account_login")).text
    assert sign_up(guest).url == "/projects/animals/"
    assert guest.get("/projects/animals/").status_code == 200
    assert roles(project) == {"olga": "owner", "nina": "labeler"}
    assert "invitation" not in guest.session


def test_it_opens_it_for_nobody_else(project: Project, guest: Client) -> None:
    other = Client()
    assert "Sign-up is closed" in other.get(reverse("account_signup")).text
    assert "Sign-up is closed" in sign_up(other).text
    assert not User.objects.filter(username="nina").exists()


def test_one_link_never_makes_two_accounts(project: Project, guest: Client, invitation: Invitation) -> None:
    second = Client()
    second.get(link_to(invitation))
    assert sign_up(guest).status_code == 302
    guest.post(reverse("account_logout"))
    for client in (guest, second):
        assert "Sign-up is closed" in sign_up(client, username="nora").text
        assert client.get(link_to(invitation)).status_code == 410
    assert not User.objects.filter(username="nora").exists()


def test_a_sign_up_whose_link_goes_meanwhile_makes_no_account(
    guest: Client, invitation: Invitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = invitations.accept

    def late(token: str, user: User) -> tuple[Membership, bool]:
        Invitation.objects.update(used_at=timezone.now())
        return accept(token, user)

    monkeypatch.setattr(invitations, "accept", late)
    answer = sign_up(guest)
    assert answer.status_code == 410 and "used already" in answer.text
    assert not User.objects.filter(username="nina").exists()


def test_log_in_from_the_sign_up_page_leads_back(guest: Client, invitation: Invitation) -> None:
    way = f"?next={quote(link_to(invitation))}"
    assert f"{reverse('account_signup')}{way}" in guest.get(link_to(invitation)).text
    page = guest.get(f"{reverse('account_signup')}{way}").text
    [there] = re.findall(r'href="/accounts/login/\?([^"]+)"', page)
    assert parse_qs(html.unescape(there)) == {"next": [link_to(invitation)]}


def test_a_form_that_is_wrong_uses_nothing_up(guest: Client) -> None:
    assert sign_up(guest, password2="another").status_code == 200
    assert Invitation.objects.usable().exists()


@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_sign_up_closes_again_with_the_link(ended: str, guest: Client, invitation: Invitation) -> None:
    if ended == "revoked":
        invitations.revoke(invitation)
    else:
        Invitation.objects.update(expires_at=timezone.now())
    assert "Sign-up is closed" in sign_up(guest).text
    assert not User.objects.filter(username="nina").exists()


def test_who_has_an_account_logs_in_and_comes_back(
    guest: Client, invitation: Invitation, stranger: User
) -> None:
    url = link_to(invitation)
    login = guest.post(url).url
    assert login.startswith(f"{reverse('account_login')}?next=/invitations/")
    answer = guest.post(login, {"login": "sven", "password": "sven-secret-1"})
    assert answer.url == url
    assert guest.post(url).url == "/projects/animals/"


@pytest.mark.parametrize("bad", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_no_invitation_leads_off_the_site(
    bad: str, guest: Client, invitation: Invitation, stranger: User, login: Login
) -> None:
    client = login(stranger)
    assert bad not in client.get(link_to(invitation), {"next": bad}).text
    Membership.objects.filter(user=stranger).delete()
    assert sign_up(guest, next=bad).url == "/projects/animals/"
    assert client.post(f"{link_to(invitation)}?next={bad}", {"next": bad}).status_code == 410


# The API


def test_the_same_by_the_api(project: Project, owner: User, stranger: User, login: Login) -> None:
    client, url = login(owner), "/api/v1/projects/animals/invitations/"
    made = client.post(url, {"role": "viewer", "days": 1}, content_type=JSON).json()
    assert made["role"] == "viewer" and made["url"].startswith("http://testserver/invitations/")
    [listed] = client.get(url).json()["results"]
    assert listed == {name: value for name, value in made.items() if name != "url"}

    token = {"token": made["url"].rstrip("/").rpartition("/")[2]}
    accept = "/api/v1/invitations/accept/"
    answer = login(owner).post(accept, token, content_type=JSON)
    assert (answer.status_code, answer.json()) == (200, {"project": "animals", "role": "owner"})
    answer = login(stranger).post(accept, token, content_type=JSON)
    assert (answer.status_code, answer.json()) == (201, {"project": "animals", "role": "viewer"})
    third = User.objects.create_user("third")
    answer = login(third).post(accept, token, content_type=JSON)
    assert answer.status_code == 410 and "used already" in answer.json()["detail"]
    assert client.get(url).json()["results"][0]["used_by"] == "sven"
    assert client.delete(f"{url}{made['id']}/").status_code == 400


def test_the_api_revokes(project: Project, invitation: Invitation, owner: User, login: Login) -> None:
    url = f"/api/v1/projects/animals/invitations/{invitation.pk}/"
    assert login(owner).delete(url).status_code == 204
    assert not Invitation.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"role": "king"}, {"role": "viewer", "days": 0}, {"role": "viewer", "days": 10**9}, []]
)
def test_the_api_refuses_what_is_wrong(body: object, project: Project, owner: User, login: Login) -> None:
    url = "/api/v1/projects/animals/invitations/"
    assert login(owner).post(url, body, content_type=JSON).status_code == 400


def test_nobody_picks_who_invited(project: Project, owner: User, stranger: User, login: Login) -> None:
    other = Project.objects.create(name="Other", slug="other")
    body = {"role": "viewer", "project": other.pk, "created_by": stranger.pk, "used_at": "2026-01-01T00:00Z"}
    login(owner).post("/api/v1/projects/animals/invitations/", body, content_type=JSON)
    made = Invitation.objects.get()
    assert (made.project, made.created_by, made.used_at) == (project, owner, None)
