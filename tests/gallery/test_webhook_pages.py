"""Pages and API of webhooks: for owners alone, the secret told once, answers shown as text."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from gallery import courier, webhooks
from gallery.models import Project, WebhookEndpoint
from gallery.webhooks import State
from tests.receiver import Receiver, receiving

API = "/api/v1"
DOCS = Path(__file__).parent.parent.parent / "docs" / "webhooks.md"


@pytest.fixture
def receiver(settings: object) -> Iterator[Receiver]:
    settings.WEBHOOKS_PRIVATE = True
    with receiving() as one:
        yield one


@pytest.fixture
def client(owner: User, login: Callable[[User | None], Client]) -> Client:
    return login(owner)


def verifier() -> Callable[[str, dict, bytes], bool]:
    """The function that the documentation shows."""
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    return names["is_genuine"]


def secret_in(page: str) -> str:
    return re.search(r'id="secret"[^>]*>(whsec_[^<]+)<', page)[1]


def test_what_arrives_is_genuine_by_the_verifier_of_the_documentation(
    client: Client, project: Project, receiver: Receiver
) -> None:
    url = f"{API}/projects/animals/webhooks/"
    asked = {"url": receiver.url, "events": ["run.finished"]}
    made = client.post(url, asked, content_type="application/json").json()
    webhooks.notify(project, "run.finished", {"name": "Ünïcode"})
    courier.deliver_due()
    [got] = receiver.got
    is_genuine = verifier()
    assert is_genuine(made["secret"], got.headers, got.body.encode())
    assert not is_genuine(made["secret"], got.headers, got.body.encode() + b" ")
    assert not is_genuine("whsec_" + "A" * 44, got.headers, got.body.encode())
    old = got.headers | {"Webhook-Timestamp": str(int(got.headers["Webhook-Timestamp"]) - 400)}
    assert not is_genuine(made["secret"], old, got.body.encode())
    rolled = client.post(f"{API}/webhooks/{made['id']}/secret/").json()["secret"]
    client.post(f"{API}/webhooks/{made['id']}/ping/")
    courier.deliver_due()
    ping = receiver.got[1]
    assert is_genuine(rolled, ping.headers, ping.body.encode())
    assert not is_genuine(made["secret"], ping.headers, ping.body.encode())


def test_the_secret_is_told_once_and_never_again(
    client: Client, project: Project, receiver: Receiver
) -> None:
    form = {"url": receiver.url, "events": ["run.finished", "image.settled"]}
    answer = client.post(reverse("webhooks", args=["animals"]), form)
    assert "no-store" in answer.headers["Cache-Control"]
    secret = secret_in(answer.content.decode())
    endpoint = project.webhooks.get()
    client.post(reverse("webhook_ping", args=[endpoint.pk]))
    courier.deliver_due()
    delivery = endpoint.deliveries.get()
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    pages = [
        client.get(reverse("webhooks", args=["animals"])),
        client.get(endpoint.get_absolute_url()),
        client.get(delivery.get_absolute_url()),
        client.get(f"{API}/projects/animals/webhooks/"),
        client.get(f"{API}/webhooks/{endpoint.pk}/"),
        client.get(f"{API}/webhooks/{endpoint.pk}/deliveries/"),
        client.get(f"{API}/webhook-deliveries/{delivery.pk}/"),
        root.get(reverse("admin:gallery_webhookendpoint_change", args=[endpoint.pk])),
    ]
    for page in pages:
        assert page.status_code == 200
        assert secret not in page.content.decode() and endpoint.salt not in page.content.decode()
    stored = WebhookEndpoint.objects.values().get()
    assert secret.removeprefix("whsec_") not in str(stored)
    rolled = client.post(reverse("webhook_secret", args=[endpoint.pk]), {"confirmed": "yes"})
    assert secret_in(rolled.content.decode()) != secret


def test_an_owner_adds_changes_switches_and_deletes_a_webhook_on_the_pages(
    client: Client, project: Project
) -> None:
    page = reverse("webhooks", args=["animals"])
    client.post(page, {"url": "https://example.org/a", "events": ["run.finished"]})
    endpoint = project.webhooks.get()
    client.post(endpoint.get_absolute_url(), {"url": "https://example.org/b", "events": ["upload.done"]})
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.events) == ("https://example.org/b", ["upload.done"])
    switch = reverse("webhook_switch", args=[endpoint.pk])
    for button, is_on in (("off", False), ("on", True)):
        client.post(switch, {button: "1"})
        endpoint.refresh_from_db()
        assert endpoint.is_active == is_on
    delete = reverse("webhook_delete", args=[endpoint.pk])
    assert "Delete the webhook to https://example.org/b?" in client.post(delete).content.decode()
    assert project.webhooks.exists(), "asked back first"
    client.post(delete, {"confirmed": "yes"})
    assert not project.webhooks.exists()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"url": "http://127.0.0.1/", "events": ["run.finished"]}, "isn&#x27;t public"),
        ({"url": "ftp://example.org/", "events": ["run.finished"]}, "begins with https://"),
        ({"url": "https://a:b@example.org/", "events": ["run.finished"]}, "username or a password"),
        ({"url": "https://example.org/"}, "Choose at least one event."),
    ],
)
def test_a_wrong_webhook_is_refused_on_the_form(
    client: Client, project: Project, form: dict, words: str
) -> None:
    answer = client.post(reverse("webhooks", args=["animals"]), form).content.decode()
    assert words in answer
    assert not project.webhooks.exists()
    endpoint, _ = webhooks.create(
        project, project.memberships.get().user, "https://example.org/", ["upload.done"]
    )
    assert words in client.post(endpoint.get_absolute_url(), form).content.decode()
    endpoint.refresh_from_db()
    assert endpoint.url == "https://example.org/"


def test_a_delivery_is_looked_into_and_sent_again(
    client: Client, project: Project, receiver: Receiver, owner: User
) -> None:
    endpoint, _ = webhooks.create(project, owner, receiver.url, ["run.finished"])
    answer = client.post(reverse("webhook_ping", args=[endpoint.pk]))
    courier.deliver_due()
    page = client.get(answer.url).content.decode()
    assert "&lt;b&gt;thanks&lt;/b&gt;" in page and "<b>thanks" not in page
    delivery = endpoint.deliveries.get()
    for sent in (delivery.message_id, "Webhook-Signature: v1,", "&quot;event&quot;: &quot;ping&quot;"):
        assert sent in page
    assert "200" in client.get(endpoint.get_absolute_url()).content.decode()
    client.post(reverse("webhook_resend", args=[delivery.pk]))
    assert len(receiver.got) == 1, "not in the request"
    courier.deliver_due()
    assert [got.headers["Webhook-Id"] for got in receiver.got] == [delivery.message_id] * 2


def test_what_was_switched_off_says_why_and_takes_no_test(
    client: Client, project: Project, receiver: Receiver, owner: User
) -> None:
    endpoint, _ = webhooks.create(project, owner, receiver.url, ["run.finished"])
    receiver.answer = 410
    delivery = webhooks.ping(endpoint)
    courier.deliver_due()
    assert courier.GONE in client.get(endpoint.get_absolute_url()).content.decode()
    for name, row in (("webhook_ping", endpoint), ("webhook_resend", delivery)):
        answer = client.post(reverse(name, args=[row.pk]), follow=True)
        assert "switch it on first" in answer.content.decode()
    for path in (f"webhooks/{endpoint.pk}/ping", f"webhook-deliveries/{delivery.pk}/resend"):
        assert client.post(f"{API}/{path}/").status_code == 400
    assert endpoint.deliveries.count() == 1


def test_the_api_says_and_changes_what_the_pages_do(
    client: Client, project: Project, receiver: Receiver
) -> None:
    url = f"{API}/projects/animals/webhooks/"
    asked = {"url": receiver.url, "events": ["upload.done", "run.finished"]}
    made = client.post(url, asked, content_type="application/json")
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    [row] = client.get(url).json()["results"]
    assert row == {name: value for name, value in made.json().items() if name != "secret"}
    assert (row["events"], row["is_active"], row["created_by"]) == (
        ["run.finished", "upload.done"],
        True,
        "olga",
    )
    one = f"{API}/webhooks/{row['id']}/"
    for wrong in ({"events": []}, {"events": ["x"]}, {"url": "x"}, {"events": None}, {"is_active": None}):
        assert client.patch(one, wrong, content_type="application/json").status_code == 400, wrong
    changed = client.patch(one, {"is_active": False}, content_type="application/json").json()
    assert (changed["is_active"], changed["url"]) == (False, receiver.url)
    client.patch(one, {"is_active": True}, content_type="application/json")
    ping = client.post(f"{one}ping/")
    assert (ping.status_code, ping.json()["state"]) == (202, State.WAITING)
    courier.deliver_due()
    [delivery] = client.get(f"{one}deliveries/").json()["results"]
    assert (delivery["state"], delivery["status"], delivery["message_id"]) == (
        "delivered",
        200,
        ping.json()["message_id"],
    )
    detail = client.get(f"{API}/webhook-deliveries/{delivery['id']}/").json()
    assert json.loads(detail["body"])["id"] == detail["headers"]["Webhook-Id"] == delivery["message_id"]
    again = client.post(f"{API}/webhook-deliveries/{delivery['id']}/resend/")
    assert (again.status_code, again.json()["state"]) == (202, State.WAITING)
    assert client.delete(one).status_code == 204
    assert not project.webhooks.exists()


def test_members_who_are_no_owners_get_nowhere_and_strangers_find_nothing(
    project: Project, owner: User, stranger: User, member: Callable, login: Callable
) -> None:
    endpoint, _ = webhooks.create(project, owner, "https://example.org/hook", ["run.finished"])
    delivery = webhooks.ping(endpoint)
    gets = ["/projects/animals/webhooks/", f"/webhooks/{endpoint.pk}/", f"/webhook-deliveries/{delivery.pk}/"]
    gets += [API + path for path in gets] + [f"{API}/webhooks/{endpoint.pk}/deliveries/"]
    posts = [f"/webhooks/{endpoint.pk}/{what}/" for what in ("switch", "secret", "ping", "delete")]
    posts += [f"/webhook-deliveries/{delivery.pk}/resend/"]
    posts += [f"{API}/webhooks/{endpoint.pk}/{what}/" for what in ("secret", "ping")]
    posts += [f"{API}/webhook-deliveries/{delivery.pk}/resend/"]
    before = WebhookEndpoint.objects.values().get()
    for user, status in ((member("reviewer"), 403), (stranger, 404)):
        client = login(user)
        assert {client.get(path).status_code for path in gets} == {status}
        assert {client.post(path, {"confirmed": "yes"}).status_code for path in posts} == {status}
        assert client.delete(f"{API}/webhooks/{endpoint.pk}/").status_code == status
    assert WebhookEndpoint.objects.values().get() == before
    assert endpoint.deliveries.count() == 1


def test_the_settings_lead_to_the_webhooks(client: Client, project: Project) -> None:
    page = client.get(reverse("project_settings", args=["animals"])).content.decode()
    assert reverse("webhooks", args=["animals"]) in page
