"""Comments on images: the door, their pages and API, whom they mention, and who may do what."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from gallery import comments, members, uploads
from gallery.access import Role
from gallery.models import Comment, Image, Membership, Project
from labeling.models import LabelSet
from tests.conftest import picture
from tests.labeling import rows

VIEWER, LABELER, REVIEWER, OWNER = Role.values
JSON = "application/json"
HTMX = {"HTTP_HX_REQUEST": "true"}
Login = Callable[[User | None], Client]
Member = Callable[[str], User]


@pytest.fixture
def image(add: Callable[..., list[Image]]) -> Image:
    return add(("red.png", picture("red")))[0]


@pytest.fixture
def comment(image: Image, owner: User) -> Comment:
    return comments.add(image, owner, "Is this a fox?")


def page_of(image: Image) -> str:
    return reverse("comments", args=[image.pk])


def api_of(image: Image) -> str:
    return reverse("api-image-comments", args=[image.pk])


# Whom a text mentions

NAMES = ["anna", "anna.b", "anna.b.", "ann", "Bo", "bo@example.org", "x_y", "a-b+c", "Ömer", "10"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@anna", ["anna"]),
        ("Look, @anna: and @Bo!", ["anna", "Bo"]),
        ("(@anna), @anna, @anna", ["anna", "anna", "anna"]),
        ("@anna.b knows", ["anna.b"]),
        ("@anna.b. knows", ["anna.b."]),
        ("@anna. And", ["anna"]),
        ("@anna's", ["anna"]),
        ("@annabel", []),
        ("@anna_b", []),
        ("@annä", []),
        ("@ANNA and @bo", ["anna", "Bo"]),
        ("write to olga@anna", []),
        ("@bo@example.org", ["bo@example.org"]),
        ("@bo@example.com", ["Bo"]),
        ("@a-b+c, @x_y", ["a-b+c", "x_y"]),
        ("@ömer\n@10", ["Ömer", "10"]),
        ("@@anna", ["anna"]),
        ("@ anna", []),
        ("@", []),
        ("@nobody", []),
        ("", []),
    ],
)
def test_names_after_an_at_sign(text: str, found: list[str]) -> None:
    pieces = list(comments.pieces(text, NAMES))
    assert [name for _, name in pieces if name] == found
    assert "".join(piece for piece, _ in pieces) == text


@given(
    st.text("@aAnb._-+ \n", max_size=40), st.sets(st.text("aAnb@._-+", min_size=1, max_size=6), max_size=6)
)
def test_pieces_are_the_text_and_each_mention_is_written_out(text: str, names: set[str]) -> None:
    pieces = list(comments.pieces(text, names))
    assert "".join(piece for piece, _ in pieces) == text
    for piece, name in pieces:
        assert piece and (not name or (name in names and piece.lower() == f"@{name}".lower()))


def test_members_are_mentioned_and_nobody_else(
    image: Image, owner: User, stranger: User, member: Member
) -> None:
    viewer = member(VIEWER)
    made = comments.add(image, owner, "@viewer and @sven and @nobody, twice @viewer, and me: @olga")
    assert set(made.mentions.all()) == {viewer, owner}


def test_the_longest_of_two_members_names_is_meant(image: Image, owner: User, project: Project) -> None:
    for name in ("ann", "ann.lee"):
        Membership.objects.create(project=project, user=User.objects.create_user(name), role=VIEWER)
    made = comments.add(image, owner, "Ask @ann.lee.")
    assert [user.username for user in made.mentions.all()] == ["ann.lee"]


# The door


@pytest.mark.parametrize("text", ["", "  \r\n ", "x" * 2001, "a\x00b"])
def test_what_is_no_comment_is_refused(text: str, image: Image, owner: User, login: Login) -> None:
    with pytest.raises(ValidationError):
        comments.add(image, owner, text)
    client = login(owner)
    assert client.post(page_of(image), {"text": text}, **HTMX).status_code == 400
    assert client.post(api_of(image), {"text": text}, content_type=JSON).status_code == 400
    shown = client.post(page_of(image), {"text": text})
    assert shown.status_code == 200 and 'id="comment-problem"' in shown.text
    assert not Comment.objects.exists()


def test_a_text_is_stripped_and_a_line_ends_with_one_character(image: Image, owner: User) -> None:
    assert comments.add(image, owner, "  one\r\ntwo \n").text == "one\ntwo"
    assert len(comments.add(image, owner, "ab\r\n" * 666 + "ab").text) == 2000


def test_an_image_that_is_gone_takes_no_comment(image: Image, owner: User) -> None:
    stale = Image.objects.get()
    uploads.delete_image(image)
    with pytest.raises(ValidationError, match="deleted"):
        comments.add(stale, owner, "Too late")
    assert not Comment.objects.exists()


def test_comments_go_with_their_image(comment: Comment) -> None:
    uploads.delete_image(comment.image)
    assert not Comment.objects.exists()


def test_who_resolved_first_stays_and_a_comment_opens_again(
    comment: Comment, owner: User, member: Member
) -> None:
    comments.resolve(comment, owner)
    comment.refresh_from_db()
    at = comment.resolved_at
    comments.resolve(comment, member(LABELER))
    comment.refresh_from_db()
    assert (comment.resolved_by, comment.resolved_at) == (owner, at) and at
    comments.reopen(comment)
    comment.refresh_from_db()
    assert (comment.resolved_by, comment.resolved_at) == (None, None)


def test_a_comment_of_who_left_stays(comment: Comment, owner: User, member: Member, login: Login) -> None:
    labeler = member(LABELER)
    theirs = comments.add(comment.image, labeler, "Mine was the first")
    comments.resolve(theirs, labeler)
    mention = comments.add(comment.image, owner, "@labeler?")
    labeler.delete()
    html = login(owner).get(page_of(comment.image)).text
    assert "Somebody who left" in html and "Resolved by somebody who left" in html
    assert "Mine was the first" in html and not mention.mentions.exists()
    answer = login(owner).get(api_of(comment.image)).json()["results"]
    assert {row["user"] for row in answer} == {None, "olga"}


# Who may do what


@pytest.mark.parametrize(
    ("role", "status"), [(VIEWER, 403), (LABELER, 302), (REVIEWER, 302), (None, 404), ("nobody", 302)]
)
def test_who_comments(
    role: str | None, status: int, image: Image, stranger: User, member: Member, login: Login
) -> None:
    user = {None: stranger, "nobody": None}.get(role) if role in (None, "nobody") else member(role)
    answer = login(user).post(page_of(image), {"text": "Hello"})
    assert answer.status_code == status
    assert Comment.objects.exists() == (role in (LABELER, REVIEWER))
    api = login(user).post(api_of(image), {"text": "Hello"}, content_type=JSON)
    assert api.status_code == {302: 401 if role == "nobody" else 201}.get(status, status)


def test_a_viewer_reads_and_is_offered_no_form(comment: Comment, member: Member, login: Login) -> None:
    client = login(member(VIEWER))
    for address in (page_of(comment.image), comment.image.get_absolute_url()):
        html = client.get(address).text
        assert "Is this a fox?" in html
        assert 'id="comment-text"' not in html and "Resolve" not in html
    assert client.get(api_of(comment.image)).json()["results"][0]["text"] == "Is this a fox?"
    for name in ("comment_resolve", "comment_delete"):
        assert client.post(reverse(name, args=[comment.pk])).status_code == 403
    assert Comment.objects.get().resolved_at is None


def test_a_stranger_finds_no_comment(comment: Comment, stranger: User, login: Login) -> None:
    client = login(stranger)
    for name in ("comment_resolve", "comment_delete"):
        assert client.post(reverse(name, args=[comment.pk]), {"confirmed": "yes"}).status_code == 404
    api = reverse("api-comment", args=[comment.pk])
    assert client.patch(api, {"resolved": True}, content_type=JSON).status_code == 404
    assert client.delete(api).status_code == 404
    assert client.get(api_of(comment.image)).status_code == 404
    assert client.get(page_of(comment.image)).status_code == 404
    assert client.get(reverse("api-comments")).json()["results"] == []
    assert Comment.objects.get().resolved_at is None


@pytest.mark.parametrize(
    ("role", "own", "allowed"),
    [
        (VIEWER, True, False),  # who may not comment any more
        (LABELER, True, True),
        (LABELER, False, False),
        (REVIEWER, False, True),
        (OWNER, False, True),
    ],
)
def test_who_deletes(
    role: str, own: bool, allowed: bool, image: Image, owner: User, member: Member, login: Login
) -> None:
    user = member(role) if role != OWNER else owner
    writer = user if own else User.objects.create_user("writer")
    first, second = (Comment.objects.create(image=image, user=writer, text=text) for text in "ab")
    page = login(user).post(reverse("comment_delete", args=[first.pk]), {"confirmed": "yes"})
    api = login(user).delete(reverse("api-comment", args=[second.pk]))
    assert (page.status_code, api.status_code) == ((302, 204) if allowed else (403, 403))
    assert Comment.objects.count() == (0 if allowed else 2)
    with pytest.raises(Http404 if allowed else PermissionDenied):
        comments.to_delete(user, first.pk)


def test_a_member_who_is_removed_is_out(comment: Comment, project: Project, member: Member) -> None:
    labeler = member(LABELER)
    own = comments.add(comment.image, labeler, "Mine")
    members.remove(project.memberships.get(user=labeler))
    with pytest.raises(Http404):
        comments.to_delete(labeler, own.pk)


# The pages


def test_a_comment_is_written_read_resolved_and_opened_again(
    image: Image, member: Member, owner: User, login: Login
) -> None:
    client = login(member(LABELER))
    back = {"next": f"{image.get_absolute_url()}#comments"}
    answer = client.post(page_of(image), {"text": "What is it, @olga?"} | back)
    assert answer.url == back["next"]
    html = client.get(image.get_absolute_url()).text
    assert "Your comment is added." in html
    assert 'What is it, <mark class="mention">@olga</mark>?' in html
    assert '<mark class="mention is-me">@olga</mark>' in login(owner).get(image.get_absolute_url()).text
    pk = Comment.objects.get().pk
    resolve = reverse("comment_resolve", args=[pk])
    assert client.post(resolve).url == page_of(image)
    html = client.get(page_of(image)).text
    assert "1 resolved" in html and "Resolved by labeler" in html and "<details" in html
    client.post(resolve, {"reopen": "yes"})
    assert "resolved" not in client.get(page_of(image)).text.split('id="comments"')[1]


def test_a_script_gets_the_comments_alone(comment: Comment, owner: User, login: Login) -> None:
    client = login(owner)
    fragment = client.get(page_of(comment.image), **HTMX)
    assert "<html" not in fragment.text and 'data-count="1"' in fragment.text
    assert "HX-Request" in fragment["Vary"]
    answer = client.post(page_of(comment.image), {"text": "Yes"}, **HTMX)
    assert 'data-count="2"' in answer.text and 'data-happened="Your comment is added."' in answer.text
    answer = client.post(reverse("comment_resolve", args=[comment.pk]), **HTMX)
    assert 'data-count="1"' in answer.text and "1 resolved" in answer.text
    answer = client.post(reverse("comment_delete", args=[comment.pk]), {"confirmed": "yes"}, **HTMX)
    assert 'data-count="1"' in answer.text and "Is this a fox?" not in answer.text


def test_a_deletion_without_script_is_asked_about(comment: Comment, owner: User, login: Login) -> None:
    asked = login(owner).post(reverse("comment_delete", args=[comment.pk]))
    assert "Delete this comment?" in asked.text and Comment.objects.exists()


def test_what_was_typed_stays_when_it_is_refused(image: Image, owner: User, login: Login) -> None:
    html = login(owner).post(page_of(image), {"text": "y" * 2001}).text
    assert "at most 2,000 characters; this one has 2,001" in html and "y" * 2001 in html


def test_open_comments_come_before_resolved_ones_and_in_pages(
    image: Image, owner: User, login: Login
) -> None:
    for number in range(60):
        comments.add(image, owner, f"Number {number:02}.")
    for early in Comment.objects.order_by("-pk")[:30]:
        comments.resolve(early, owner)
    first, second = comments.thread(image), comments.thread(image, "2")
    assert [comment.text for comment in first.open] == [f"Number {number:02}." for number in range(30)]
    assert (len(first.resolved), len(second.open), len(second.resolved)) == (20, 0, 10)
    assert first.open_count == second.open_count == 30
    client = login(owner)
    assert "Earlier comments" in client.get(page_of(image)).text
    assert "Later comments" in client.get(page_of(image), {"page": 2}).text
    assert "Number 29." in client.get(page_of(image), {"page": "x"}).text


def test_names_for_completion_are_the_members(
    image: Image, member: Member, login: Login, owner: User
) -> None:
    member(VIEWER)
    html = login(owner).get(page_of(image)).text
    assert '<option value="viewer">' in html and '<option value="olga">' in html and "sven" not in html


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


def say(image: Image, owner: User, count: int) -> None:
    for number in range(count):
        user = User.objects.create_user(f"user-{image.pk}-{number}")
        Membership.objects.create(project=image.project, user=user, role=LABELER)
        comments.add(image, user, f"@olga and @{user.username}: look")
        comments.resolve(comments.add(image, user, f"@{user.username}: seen"), user)


@pytest.mark.parametrize(
    "address",
    [
        page_of,
        api_of,
        lambda image: image.get_absolute_url(),
        lambda image: reverse("mentions"),
        lambda image: reverse("api-comments"),
        lambda image: f"{reverse('api-comments')}?mentions=me",
    ],
)
def test_many_comments_cost_no_more_queries_than_one(
    address: Callable[[Image], str], scored: LabelSet, owner: User, login: Login
) -> None:
    few, many = scored.images()[:2]
    client = login(owner)
    say(few, owner, 1)
    client.get(address(few))
    one = queries(client, address(few))
    say(many, owner, 15)
    assert queries(client, address(many)) == one


# In the gallery and in review


def test_cards_show_how_many_comments_are_open(scored: LabelSet, owner: User, login: Login) -> None:
    image = scored.images().first()
    for text in ("One", "Two", "Three"):
        last = comments.add(image, owner, text)
    comments.resolve(last, owner)
    page = login(owner).get(scored.get_absolute_url())
    assert page.text.count('class="tile-comments"') == 1 and 'title="2 open comments"' in page.text
    # A card that is drawn again keeps its mark.
    decided = login(owner).post(
        reverse("decide", args=[scored.pk]), {"image": image.pk, "verdict": "none", "page": "gallery"}, **HTMX
    )
    assert 'title="2 open comments"' in decided.text


def test_a_project_without_labels_shows_them_too(image: Image, owner: User, login: Login) -> None:
    comments.add(image, owner, "Look")
    assert 'title="1 open comment"' in login(owner).get(image.project.get_absolute_url()).text


def test_counting_comments_is_one_query_for_a_page_of_cards(
    project: Project, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    images = rows.images(project, 60)
    for image in images[::2]:
        comments.add(image, owner, "Look")
    with django_assert_num_queries(1):
        counted = comments.with_counts(images)
    assert [image.open_comments for image in counted] == [1, 0] * 30
    with django_assert_num_queries(0):
        assert comments.with_counts([]) == []


def test_review_shows_the_number_and_brings_the_comments_only_when_asked(
    scored: LabelSet, owner: User, login: Login
) -> None:
    client = login(owner)
    address = reverse("review", args=[scored.pk])
    client.get(address)
    shown = client.get(address).context["image"]
    before = queries(client, address)
    comments.add(shown, owner, "Is this a fox?")
    html = client.get(address).text
    assert 'data-keys="c"' in html and 'aria-label="Comments: 1 open"' in html
    assert f'hx-get="{page_of(shown)}"' in html and "Is this a fox?" not in html
    assert queries(client, address) == before


# Comments that name somebody


@pytest.fixture
def named(image: Image, owner: User, stranger: User, member: Member) -> User:
    """A labeler whom comments in two projects name."""
    labeler = member(LABELER)
    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=stranger, role=OWNER)
    Membership.objects.create(project=other, user=labeler, role=VIEWER)
    comments.add(image, owner, "First, @labeler.")
    comments.add(rows.images(other, 1)[0], stranger, "Second, @labeler.")
    comments.add(image, owner, "Nobody is meant.")
    comments.resolve(comments.add(image, owner, "Done, @labeler."), owner)
    return labeler


def test_whom_comments_name_finds_the_open_ones_of_all_projects_newest_first(
    named: User, login: Login
) -> None:
    client = login(named)
    html = client.get(reverse("mentions")).text
    assert html.index("Second, ") < html.index("First, ")
    assert "Done, " not in html and "Nobody is meant." not in html
    assert html.count("Resolve</button>") == 1, "a viewer resolves nothing"
    assert "2<span" in html, "the number beside the name"
    api = client.get(reverse("api-comments"), {"mentions": "me"}).json()["results"]
    assert [(row["text"], row["project"]) for row in api] == [
        ("Second, @labeler.", "other"),
        ("First, @labeler.", "animals"),
    ]
    assert len(client.get(reverse("api-comments")).json()["results"]) == 4
    assert client.get(reverse("api-comments"), {"mentions": "olga"}).status_code == 400
    done = client.get(reverse("api-comments"), {"resolved": "true"}).json()["results"]
    assert [row["text"] for row in done] == ["Done, @labeler."]
    assert len(client.get(reverse("api-comments"), {"resolved": "false"}).json()["results"]) == 3


def test_who_left_a_project_finds_nothing_of_it(named: User, login: Login) -> None:
    members.remove(Membership.objects.get(user=named, project__slug="animals"))
    client = login(named)
    html = client.get(reverse("mentions")).text
    assert "First, " not in html and "Second, " in html
    texts = [row["text"] for row in client.get(reverse("api-comments")).json()["results"]]
    assert texts == ["Second, @labeler."]


def test_a_name_that_is_nowhere_has_no_badge(owner: User, login: Login, comment: Comment) -> None:
    html = login(owner).get(reverse("mentions")).text
    assert "Nothing waits for you" in html and "comment-head" not in html
    assert "badge-accent" not in html


def test_the_badge_is_one_query_and_only_on_pages(named: User, image: Image, login: Login) -> None:
    def asked(address: str, **extra: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address, **extra).status_code == 200
        return sum("gallery_comment_mentions" in query["sql"] for query in captured)

    client = login(named)
    assert asked(reverse("projects")) == 1
    assert asked(reverse("api-projects")) == 0
    assert asked(reverse("guidelines", args=["animals"]), **HTMX) == 0
    client = login(None)
    assert asked(reverse("account_login")) == 0


# The API


def test_the_api_says_all_of_a_comment(image: Image, owner: User, member: Member, login: Login) -> None:
    member(LABELER)
    client = login(owner)
    made = client.post(api_of(image), {"text": " Look, @labeler "}, content_type=JSON)
    assert made.status_code == 201
    row = made.json()
    assert row.pop("at") and row == {
        "id": Comment.objects.get().pk,
        "project": "animals",
        "image": image.pk,
        "user": "olga",
        "text": "Look, @labeler",
        "mentions": ["labeler"],
        "resolved": False,
        "resolved_by": None,
        "resolved_at": None,
    }
    address = reverse("api-comment", args=[row["id"]])
    done = client.patch(address, {"resolved": True}, content_type=JSON).json()
    assert (done["resolved"], done["resolved_by"]) == (True, "olga") and done["resolved_at"]
    again = client.patch(address, {"resolved": False}, content_type=JSON).json()
    assert (again["resolved"], again["resolved_by"], again["resolved_at"]) == (False, None, None)
    assert client.patch(address, {}, content_type=JSON).status_code == 400
    assert client.delete(address).status_code == 204


def test_a_list_of_comments_comes_in_pages(image: Image, owner: User, login: Login) -> None:
    for number in range(5):
        comments.add(image, owner, f"Number {number}")
    first = login(owner).get(api_of(image), {"page_size": 3}).json()
    assert [row["text"] for row in first["results"]] == ["Number 4", "Number 3", "Number 2"]
    second = login(owner).get(first["next"]).json()
    assert [row["text"] for row in second["results"]] == ["Number 1", "Number 0"]


# Hostile texts


def test_a_hostile_text_is_a_text(image: Image, owner: User, project: Project, login: Login) -> None:
    hostile = User.objects.create_user("<b>x</b>")
    Membership.objects.create(project=project, user=hostile, role=LABELER)
    comments.add(
        image, hostile, "<script>alert(1)</script> @<b>x</b> </textarea><img src=x onerror=alert(1)>"
    )
    client = login(hostile)
    for address in (page_of(image), image.get_absolute_url(), reverse("mentions")):
        html = client.get(address).text
        assert "<script>alert" not in html and "<img src=x" not in html and "<b>x" not in html
        assert '<mark class="mention is-me">@&lt;b&gt;x&lt;/b&gt;</mark>' in html
