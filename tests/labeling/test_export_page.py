"""The page of an export: what it says beforehand is what comes out."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from gallery.models import Image, Project
from labeling import clip
from labeling.export_formats import FORMATS
from labeling.models import Fingerprint, LabelSet
from labeling.review import Decision, Verdict, decide
from tests.conftest import picture
from tests.labeling import rows


@pytest.fixture
def settled(project: Project, owner: User, add: Callable[..., list[Image]]) -> LabelSet:
    images = add(
        *((f"{number}.png", picture(shade)) for number, shade in enumerate(("red", "blue", "green")))
    )
    made = rows.label_set(project, "cat", "dog")
    rows.match(made, images)
    decide(made, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images[:2]])
    return made


def page(client: Client, label_set: LabelSet, status: int = 200, **params: str) -> str:
    answer = client.get(reverse("export_page", args=[label_set.pk]), params)
    assert answer.status_code == status
    return unescape(answer.text)


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_is_shown_and_its_curl_line_brings_what_was_shown(
    settled: LabelSet, owner: User, login: Callable[[User | None], Client], format: str
) -> None:
    client = login(owner)
    shown = page(client, settled, format=format, q="label:cat", split="80/20", seed="3")
    assert re.search(r"<strong class=\"num\">1</strong> image\b", shown)
    address = re.search(r"'(http://[^']+)'", shown)[1]
    assert "q=label" in address and "seed=3" in address
    download = client.get(address.removeprefix("http://testserver"))
    assert download.status_code == 200
    content = b"".join(download.streaming_content)
    assert b"0.png" in content or format == "parquet" or b'"0"' in content
    assert (
        client.get(f"{reverse('export', args=[settled.pk])}?{address.partition('?')[2]}").status_code == 200
    )


def test_suggestions_are_counted_where_they_are_asked_for(
    settled: LabelSet, owner: User, login: Callable[[User | None], Client]
) -> None:
    assert ">2</strong>" in page(login(owner), settled)
    assert ">3</strong>" in page(login(owner), settled, include="suggested")


def test_what_cannot_be_exported_so_is_said_on_the_page_and_by_the_download(
    settled: LabelSet, owner: User, login: Callable[[User | None], Client]
) -> None:
    settled.labels.filter(name="dog").update(name="ca*t")
    settled.labels.filter(name="cat").update(name="ca:t")
    shown = page(login(owner), settled, 400, format="imagefolder")
    assert "would share the folder “ca_t”" in shown and 'id="export-download"' not in shown
    refused = login(owner).get(reverse("export", args=[settled.pk]), {"format": "imagefolder"})
    assert refused.status_code == 400 and "would share the folder" in refused.text
    other = page(login(owner), settled, split="60/20/20")
    assert '<option value="60/20/20" selected>' in other and "Select a valid choice" not in other
    for params in ({"split": "50/60"}, {"q": "label:cow"}, {"columns": "nothing"}, {"size": "1"}):
        assert 'role="alert"' in page(login(owner), settled, 400, **params)
        typed = login(owner).get(reverse("export_page", args=[settled.pk]), params, HTTP_HX_REQUEST="true")
        assert (typed.status_code, 'role="alert"' in typed.text) == (200, True), "htmx shows it"
        address = reverse("api-export", args=[settled.pk])
        assert login(owner).get(address, params).status_code == 400


def test_it_asks_as_often_for_many_as_for_few(
    settled: LabelSet,
    owner: User,
    login: Callable[[User | None], Client],
    django_assert_num_queries: Callable,
    django_assert_max_num_queries: Callable,
) -> None:
    client, address = login(owner), reverse("export_page", args=[settled.pk])
    client.get(address)
    with django_assert_num_queries(15) as few:
        client.get(address)
    images = rows.images(settled.project, 300)
    rows.match(settled, images)
    decide(settled, owner, [Decision(image.pk, Verdict.ACCEPTED) for image in images])
    # Of a few rows it looks whether that was all.
    with django_assert_max_num_queries(len(few)):
        client.get(address)


def test_a_split_says_what_was_not_compared_yet(
    settled: LabelSet, owner: User, login: Callable[[User | None], Client]
) -> None:
    said = "3 images aren't compared for"
    assert said in page(login(owner), settled, split="80/20") and said not in page(login(owner), settled)
    for image in settled.project.images.all():
        Fingerprint.objects.create(image=image, hash=1, windows=b"", sharpness=1, compared=clip.current().key)
    assert "compared for" not in page(login(owner), settled, split="80/20")


def test_viewers_see_it_and_strangers_do_not(
    settled: LabelSet, member: Callable[[str], User], stranger: User, login: Callable[[User | None], Client]
) -> None:
    address = reverse("export_page", args=[settled.pk])
    assert login(member("viewer")).get(address).status_code == 200
    assert login(stranger).get(address).status_code == 404
    assert login(None).get(address).status_code == 302
    assert login(stranger).get(reverse("coming_from")).status_code == 200
