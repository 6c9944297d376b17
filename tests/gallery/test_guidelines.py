"""A project's guidelines: owners write them, members read them, and whatever stands in them does no harm."""

import re
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from gallery import guidelines
from gallery.access import Role
from gallery.models import Project
from labeling.models import LabelSet

VIEWER, LABELER, REVIEWER, OWNER = Role.values
JSON = "application/json"
HTMX = {"HTTP_HX_REQUEST": "true"}
Login = Callable[[User | None], Client]
Member = Callable[[str], User]
TEXT = "# Foxes\n\nA *fox* has a **white** tip.\n\n- red\n- silver"
PAGE, SETTINGS = ("/projects/animals/guidelines/", "/projects/animals/settings/")


# What Markdown becomes


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# One\n\n## Two\n\n# One", "<h3>One</h3>\n<h4>Two</h4>\n<h3>One</h3>\n"),
        ("## Begins low\n\n##### Skips", "<h3>Begins low</h3>\n<h4>Skips</h4>\n"),
        ("# a\n## b\n### c\n#### d\n##### e", "<h3>a</h3>\n<h4>b</h4>\n<h5>c</h5>\n<h6>d</h6>\n<h6>e</h6>\n"),
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>\n"),
        ("3. x\n4. y", '<ol start="3">\n<li>x</li>\n<li>y</li>\n</ol>\n'),
        ("> said", "<blockquote>\n<p>said</p>\n</blockquote>\n"),
        ("```python\nx < 1\n```", "<pre><code>x &lt; 1\n</code></pre>\n"),
        (
            "[here](https://example.org/ 'Why')",
            '<p><a href="https://example.org/" title="Why" target="_blank" '
            'rel="noopener noreferrer nofollow">here</a></p>\n',
        ),
        ("![A fox](/images/7/preview/)", '<p><img src="/images/7/preview/" alt="A fox"></p>\n'),
        ("", ""),
    ],
)
def test_markdown_becomes_html(text: str, html: str) -> None:
    assert guidelines.render(text) == html


def test_a_table_keeps_its_alignment_without_a_style() -> None:
    html = guidelines.render("|a|b|c|\n|:-|:-:|-:|\n|1|2|3|")
    assert '<th>a</th>\n<th class="text-center">b</th>\n<th class="text-end">c</th>' in html
    assert '<td class="text-end">3</td>' in html and "style" not in html
    assert html.startswith('<div class="prose-table" role="group" aria-label="Table" tabindex="0">\n<table>')
    assert html.endswith("</table>\n</div>\n")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/x.png",
        "//evil.example/images/1/preview/",
        "http://evil.example/images/1/preview/",
        "data:image/png;base64,AAAA",
        "/images/1/file/",
        "/accounts/logout/",
        "/images/1/preview/../../../account/",
        "/images/1/preview/?x",
    ],
)
def test_a_picture_from_elsewhere_is_only_what_it_shows(address: str) -> None:
    assert guidelines.render(f"![A fox]({address})") == "<p>A fox</p>\n"


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '<https://example.org/" onmouseover=alert(1)>',
    "[x](https://example.org/ '\" onmouseover=\"alert(1)')",
    '![x](/images/1/preview/ "\\" onerror=\\"alert(1)")',
    '![" onerror="alert(1)](/images/1/preview/)',
    '```x" onclick="alert(1)\n```',
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<style>*{display:none}</style>",
    "<form action=//evil.example><input name=password>",
    "<div hx-get=/account/tokens/ hx-trigger=load>",
    "<!--><script>alert(1)</script-->",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "|<b onclick=alert(1)>|\n|-|\n|<script>|",
]


class Elements(HTMLParser):
    """The tags and attributes of an HTML text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_harmless(html: str) -> None:
    for tag, attributes in Elements(html).found:
        assert tag in guidelines.TAGS
        if tag == "div":
            assert attributes == {
                "class": "prose-table",
                "role": "group",
                "aria-label": "Table",
                "tabindex": "0",
            }
            continue
        assert set(attributes) <= {"href", "title", "rel", "target", "src", "alt", "start", "class"}
        if tag == "a" and "href" in attributes:
            assert re.match(r"https?:|mailto:|[^:]*$|[/?#]", attributes["href"]), attributes
            assert attributes["rel"] == "noopener noreferrer nofollow"
        if tag == "img":
            assert guidelines.OURS.fullmatch(attributes["src"])
        assert attributes.get("class", "text-end") in ("text-end", "text-center")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_does_nothing(text: str) -> None:
    check_harmless(guidelines.render(text))
    check_harmless(guidelines.render(f"# {text}\n\n- {text}\n\n> {text}"))


@given(st.lists(st.sampled_from([*HOSTILE, *"[]()<>*_`#|-!\"'\n &;:/=", "\n\n", "javascript:", "a", "onx="])))
def test_no_mixture_of_hostile_pieces_gets_through(pieces: list[str]) -> None:
    check_harmless(guidelines.render("".join(pieces)))


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "![",
        "*",
        "*a ",
        "**a *b ",
        "_",
        "`",
        "> ",
        "- ",
        "[](",
        "[x](",
        "<",
        "|",
        "~~a ",
        "&#",
        "(",
        "\n",
    ],
)
def test_the_longest_and_deepest_text_takes_bounded_time_and_room(unit: str) -> None:
    text = (unit * 20_000)[:20_000]
    began = time.process_time()
    html = guidelines.render(text)
    assert time.process_time() - began < 10, "a second or less on an idle machine"
    assert len(html) < 2_000_000
    check_harmless(html)


def test_a_table_of_empty_cells_is_bounded_too() -> None:
    text = ("|a" * 2000 + "\n" + "|-" * 2000 + "\n" + "|\n" * 6000)[:20_000]
    assert len(guidelines.render(text)) < 2_000_000


# Who writes and who reads


@pytest.mark.parametrize("role", [VIEWER, LABELER, REVIEWER, OWNER])
def test_every_member_reads_them(
    role: str, project: Project, owner: User, member: Member, login: Login
) -> None:
    client = login(owner if role == OWNER else member(role))
    empty = client.get(PAGE).text
    assert "No guidelines yet" in empty and ("Write them" in empty) == (role == OWNER)
    Project.objects.update(guidelines=TEXT)
    html = client.get(PAGE).text
    assert "<h3>Foxes</h3>" in html and "<em>fox</em>" in html
    assert ("Edit the guidelines" in html) == (role == OWNER)
    fragment = client.get(PAGE, **HTMX)
    assert "<h3>Foxes</h3>" in fragment.text and "<html" not in fragment.text
    assert "HX-Request" in fragment["Vary"]
    assert client.get("/api/v1/projects/animals/").json()["guidelines"] == TEXT


def test_a_stranger_and_nobody_read_nothing(project: Project, stranger: User, login: Login) -> None:
    Project.objects.update(guidelines=TEXT)
    assert login(stranger).get(PAGE).status_code == 404
    assert login(None).get(PAGE).status_code == 302
    assert login(stranger).get("/api/v1/projects/animals/").status_code == 404


def test_an_owner_writes_them_on_the_settings_page(project: Project, owner: User, login: Login) -> None:
    client = login(owner)
    form = {"name": "Animals", "description": "", "guidelines": TEXT.replace("\n", "\r\n")}
    assert client.post(SETTINGS, form).status_code == 302
    assert Project.objects.get().guidelines == TEXT
    assert "A *fox* has a **white** tip." in client.get(SETTINGS).text


def test_an_owner_writes_them_by_the_api_and_what_is_not_named_stays(
    project: Project, owner: User, login: Login
) -> None:
    client = login(owner)
    answer = client.patch("/api/v1/projects/animals/", {"guidelines": TEXT}, content_type=JSON)
    assert answer.json()["guidelines"] == TEXT
    answer = client.patch("/api/v1/projects/animals/", {"name": "Zoo"}, content_type=JSON)
    assert (answer.json()["name"], answer.json()["guidelines"]) == ("Zoo", TEXT)
    assert "guidelines" not in client.get("/api/v1/projects/").json()["results"][0], "not in lists"


@pytest.mark.parametrize("role", [VIEWER, LABELER, REVIEWER])
def test_others_do_not_write_them(role: str, project: Project, member: Member, login: Login) -> None:
    client = login(member(role))
    form = {"name": "Animals", "guidelines": "Mine"}
    assert client.post(SETTINGS, form).status_code == 403
    assert client.patch("/api/v1/projects/animals/", form, content_type=JSON).status_code == 403
    assert Project.objects.get().guidelines == ""


def test_there_is_room_for_20000_characters(project: Project, owner: User, login: Login) -> None:
    client = login(owner)
    fits, too_long = "ab\r\n" * 6666 + "ab", "x" * 20_001
    form = {"name": "Animals", "description": ""}
    assert client.post(SETTINGS, form | {"guidelines": fits}).status_code == 302
    assert len(Project.objects.get().guidelines) == 20_000
    for text in (too_long, "a\x00b"):
        refused = client.post(SETTINGS, form | {"guidelines": text})
        assert refused.status_code == 200 and "errorlist" in refused.text
        body = {"guidelines": text}
        assert client.patch("/api/v1/projects/animals/", body, content_type=JSON).status_code == 400
    assert len(Project.objects.get().guidelines) == 20_000


def test_review_has_them_a_key_away_and_asks_for_them_only_then(
    scored: LabelSet, owner: User, login: Login
) -> None:
    Project.objects.update(guidelines=TEXT)
    html = login(owner).get(reverse("review", args=[scored.pk])).text
    assert 'data-keys="h"' in html and 'id="guidelines-dialog"' in html and f'hx-get="{PAGE}"' in html
    assert "Foxes" not in html


def test_their_page_costs_the_same_however_long_they_are(project: Project, owner: User, login: Login) -> None:
    client, numbers = login(owner), []
    for text in ("", "# A\n\n" * 3000):
        Project.objects.update(guidelines=text)
        with CaptureQueriesContext(connection) as asked:
            client.get(PAGE)
        numbers.append(len(asked))
    assert numbers[0] == numbers[1] <= 6
