"""The pages of labelling, as the people of a project and others see them."""

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gallery.models import Image, Project, Upload
from labeling import beat, clip, runs, work
from labeling.models import Annotation, ImageAttempt, Label, LabelSet, Review, ScoringRun
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Four images, matched cat, dog, bird, cat, the least certain first."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 4), [0.4, 0.5, 0.6, 0.7])
    return made


@pytest.fixture
def client(owner: User, login: Callable[[User], Client]) -> Client:
    return login(owner)


def ids(label_set: LabelSet) -> list[int]:
    return list(label_set.project.images.order_by("pk").values_list("pk", flat=True))


def text(response: object) -> str:
    return response.content.decode()


def messages(response: object) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def address(name: str, label_set: LabelSet) -> str:
    if name in ("gallery", "label_set_new"):
        return reverse(name, args=[label_set.project.slug])
    if name in ("run", "run_cancel", "run_retry"):
        return reverse(name, args=[label_set.runs.first().pk])
    return reverse(name, args=[ids(label_set)[0] if name == "image" else label_set.pk])


def read(response: object) -> int:
    if getattr(response, "streaming", False):
        list(response.streaming_content)
    return response.status_code


def test_a_viewer_is_shown_no_action(animals: LabelSet, member: Callable, login: Callable) -> None:
    client = login(member("viewer"))
    for name in ("gallery", "image", "run"):
        page = text(client.get(address(name, animals)))
        assert reverse("decide", args=[animals.pk]) not in page
        assert reverse("review", args=[animals.pk]) not in page
        assert reverse("run_start", args=[animals.pk]) not in page


@pytest.mark.parametrize("name", ["image", "run", "review", "label_set_edit", "export", "progress"])
def test_an_id_beyond_the_database_is_not_found(client: Client, db: None, name: str) -> None:
    assert client.get(reverse(name, args=[10**25])).status_code == 404


# The gallery


def test_the_gallery_shows_labels_probabilities_and_states(
    animals: LabelSet, client: Client, owner: User
) -> None:
    first, second, third, _ = ids(animals)
    cat = animals.labels.get(name="cat")
    decide(animals, owner, [Decision(first, Verdict.ACCEPTED), Decision(third, Verdict.NONE)])
    decide(animals, owner, [Decision(second, Verdict.CORRECTED, cat.pk)])
    rows.images(animals.project, 1, start=50)
    page = client.get(address("gallery", animals))
    shown = {image.name: image for image in page.context["images"]}
    assert [image.status for image in page.context["images"]] == [
        "unscored",
        "unreviewed",
        "none",
        "corrected",
        "accepted",
    ]
    assert shown["image 00001.jpg"].label == cat
    for words in ("70 %", "40 %", "none of these", "not scored yet", 'alt="image 00003.jpg"', "Review"):
        assert words in text(page)
    assert "50 %" not in text(page), "the probability of what was corrected is none of the new label"


def test_sixty_a_page_with_numbers_below(project: Project, client: Client) -> None:
    many = rows.label_set(project, "cat", "dog")
    rows.match(many, rows.images(project, 130))
    first = client.get(address("gallery", many))
    assert len(first.context["images"]) == 60 and "1–60 of 130" in text(first)
    last = client.get(address("gallery", many), {"page": 3, "ordering": "id"})
    assert [image.name for image in last.context["images"]][-1] == "image 00129.jpg"
    assert "?page=2&amp;ordering=id" in text(last), "the filters go along"
    assert client.get(address("gallery", many), {"page": "x"}).context["page"].number == 1
    assert client.get(address("gallery", many), {"page": 99}).context["page"].number == 3


def gallery_queries(client: Client, project: Project, count: int) -> int:
    label_set = rows.label_set(project, "cat", "dog")
    rows.images(project, count, start=count * 1000)
    rows.match(label_set, list(project.images.all()))
    where = f"{address('gallery', label_set)}?label_set={label_set.pk}"
    client.get(where)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        page = client.get(where)
    assert len(page.context["images"]) >= count
    return len(captured)


def test_a_page_of_sixty_asks_no_more_than_a_page_of_one(project: Project, client: Client) -> None:
    one = gallery_queries(client, project, 1)
    sixty = gallery_queries(client, project, 60)
    assert one == sixty <= 20


@pytest.mark.parametrize("labels", [2, 60])
@pytest.mark.parametrize(("name", "limit"), [("image", 25), ("review", 40), ("run", 11), ("progress", 12)])
def test_the_other_pages_ask_a_bounded_number_of_times(
    project: Project,
    client: Client,
    name: str,
    limit: int,
    labels: int,
    django_assert_max_num_queries: object,
) -> None:
    label_set = rows.label_set(project, *(f"label {number}" for number in range(labels)))
    images = rows.images(project, 30)
    run = rows.match(label_set, images)
    ImageAttempt.objects.bulk_create(
        ImageAttempt(run=run, image=image, failed=True, reason="Broken.") for image in images
    )
    with django_assert_max_num_queries(limit):
        client.get(address(name, label_set))


def test_a_script_is_answered_with_the_results_alone(animals: LabelSet, client: Client) -> None:
    response = client.get(address("gallery", animals), {"status": "unreviewed"}, **HTMX)
    assert text(response).lstrip().startswith('<div id="results">') and "<html" not in text(response)
    assert "HX-Request" in response["Vary"]
    back = client.get(address("gallery", animals), **HTMX, HTTP_HX_HISTORY_RESTORE_REQUEST="true")
    assert "<html" in text(back)


def test_filters_work_by_address_alone(animals: LabelSet, client: Client, owner: User) -> None:
    decide(animals, owner, [Decision(ids(animals)[0], Verdict.ACCEPTED)])
    page = client.get(address("gallery", animals), {"status": "accepted", "ordering": "probability"})
    assert [image.pk for image in page.context["images"]] == ids(animals)[:1]
    assert '<input type="hidden" name="q" value="status:accepted">' in text(page), (
        "an export takes them along"
    )


def test_filters_that_nothing_fits_can_be_cleared(animals: LabelSet, client: Client) -> None:
    page = text(client.get(address("gallery", animals), {"status": "none"}))
    assert "No image fits" in page and "Clear the search" in page


def test_each_part_of_the_search_can_be_taken_off(animals: LabelSet, client: Client) -> None:
    page = client.get(address("gallery", animals), {"q": "label:cat probability:<0.6", "ordering": "margin"})
    assert [image.pk for image in page.context["images"]] == ids(animals)[:1]
    here = f"?label_set={animals.pk}&amp;q="
    assert f'href="{here}probability%3A%3C0.6&amp;ordering=margin" hx-get' in text(page)
    assert f'href="{here}label%3Acat&amp;ordering=margin" hx-get' in text(page)
    assert 'value="label:cat probability:&lt;0.6"' in text(page) and 'data-keys="/"' in text(page)
    other = client.get(f"{address('gallery', animals)}?{page.context['selection'].chips[0].address}")
    assert [image.pk for image in other.context["images"]] == ids(animals)[:2]


def test_a_mistake_in_the_search_is_marked_and_nothing_is_shown(animals: LabelSet, client: Client) -> None:
    for more in ({}, HTMX):
        page = client.get(address("gallery", animals), {"q": 'label:cta + <b> status:"'}, **more)
        assert page.status_code == 200, "it is the page, with the line to be mended"
        shown = text(page)
        assert "<mark>label:cta</mark>" not in shown, "what can't be read comes first"
        assert "<mark>+</mark>" in shown and "<mark>status:&quot;" not in shown
        assert "A quote is opened here and never closed." in shown
        assert 'value="label:cta + &lt;b&gt; status:&quot;"' in shown and 'aria-invalid="true"' in shown
        assert "Nothing is searched yet" in shown and "/thumbnail/" not in shown
        assert reverse("review", args=[animals.pk]) not in shown, "there is nothing to review"
        assert '<input type="hidden" name="q" value="label:cta + &lt;b&gt; status:&quot;">' in shown
    page = text(client.get(address("gallery", animals), {"q": "label:cta"}))
    assert "<mark>label:cta</mark>" in page and "Did you mean “cat”?" in page
    assert client.get(reverse("export", args=[animals.pk]), {"q": "label:cta"}).status_code == 400
    assert client.get(address("image", animals), {"q": "label:cta"}).status_code == 200


def test_review_these_takes_the_search_along(animals: LabelSet, client: Client, owner: User) -> None:
    where = re.escape(reverse("review", args=[animals.pk]))
    page = text(client.get(address("gallery", animals), {"q": "label:cat"}))
    link = re.search(rf'href="{where}\?q=label%3Acat&amp;since=(\d+)"', page)
    assert abs(int(link[1]) - timezone.now().timestamp()) < 60
    assert 'these <span class="num">2</span>' in page
    decide(animals, owner, [Decision(ids(animals)[0], Verdict.ACCEPTED)])
    assert "this one" in text(client.get(address("gallery", animals), {"q": "label:cat"}))
    assert 'these <span class="num">' not in text(client.get(address("gallery", animals)))
    settled = text(client.get(address("gallery", animals), {"q": "by:me"}))
    assert "this one" in settled, "these are settled, and asked for"
    assert '<span id="review-button" hidden>' in text(client.get(address("gallery", animals), {"q": "id:0"}))


def test_the_choice_of_a_label_and_an_order_keep_the_rest_of_the_search(
    animals: LabelSet, client: Client
) -> None:
    cat, dog, _ = animals.labels.all()
    page = client.get(address("gallery", animals), {"q": "margin:<0.9 label:cat"})
    hidden = '<input type="hidden" name="q" value="margin:&lt;0.9">'
    assert hidden in text(page) and f'<option value="{cat.pk}" selected>' in text(page)
    chosen = {"q": "margin:<0.9", "label": dog.pk, "ordering": "margin"}
    page = client.get(address("gallery", animals), chosen)
    assert page.context["selection"].line == "margin:<0.9 label:dog"
    page = client.get(address("gallery", animals), {"q": "label:cat label:dog"})
    assert "As in the line" in text(page)
    assert '<input type="hidden" name="q" value="label:cat label:dog">' in text(page)


def test_an_empty_project_says_how_pictures_get_in(
    project: Project, client: Client, member: Callable, login: Callable
) -> None:
    empty = rows.label_set(project, "cat", "dog")
    page = text(client.get(address("gallery", empty)))
    assert "No images yet" in page and reverse("project_upload", args=["animals"]) in page
    assert 'id="refresh"' in page, "the first pictures show without a reload"
    assert reverse("project_upload", args=["animals"]) not in text(
        login(member("viewer")).get(address("gallery", empty))
    )


def test_a_project_without_labels_shows_its_images_and_asks_for_labels(
    project: Project, client: Client, member: Callable, login: Callable
) -> None:
    rows.images(project, 3)
    where = reverse("gallery", args=["animals"])
    page = text(client.get(where))
    assert "Which labels are there?" in page and page.count("/thumbnail/") == 3
    assert page.count('class="tile ') == 3
    assert "Which labels are there?" not in text(login(member("labeler")).get(where))


def test_several_label_sets_can_be_switched(animals: LabelSet, client: Client) -> None:
    other = rows.label_set(animals.project, "indoors", "outdoors")
    page = client.get(address("gallery", animals))
    assert page.context["label_set"] == animals and f"?label_set={other.pk}" in text(page)
    page = client.get(address("gallery", animals), {"label_set": other.pk})
    assert page.context["label_set"] == other
    assert {image.status for image in page.context["images"]} == {"unscored"}
    elsewhere = rows.label_set(Project.objects.create(name="E", slug="e"), "a", "b")
    page = client.get(address("gallery", animals), {"label_set": elsewhere.pk})
    assert page.context["label_set"] == animals


def test_names_are_shown_as_text(animals: LabelSet, client: Client) -> None:
    Image.objects.update(name="<script>alert(1)</script>.jpg")
    Label.objects.filter(name="cat").update(name='"><b>cat')
    for name in ("gallery", "image", "review", "run", "label_set_edit"):
        page = text(client.get(address(name, animals)))
        assert "<script>alert" not in page and "<b>cat" not in page


@pytest.mark.parametrize("name", ["gallery", "image", "review", "run"])
def test_the_starter_model_is_named_where_it_labelled(animals: LabelSet, client: Client, name: str) -> None:
    assert clip.STARTER_NOTE not in text(client.get(address(name, animals)))
    animals.runs.update(model=f"{clip.STARTER_NAME}@0123")
    assert clip.STARTER_NOTE in text(client.get(address(name, animals)))


# How the work stands


def strip(client: Client, label_set: LabelSet, seen: str = "") -> object:
    return client.get(address("progress", label_set), {"seen": seen}, **HTMX)


@pytest.fixture
def settled(animals: LabelSet, monkeypatch: pytest.MonkeyPatch) -> LabelSet:
    """The same label set, with a worker online and the model that it was scored with."""
    monkeypatch.setattr(runs, "is_outdated", lambda run: False)
    beat.beat("here:1")
    return animals


def test_nothing_is_said_or_asked_for_when_nothing_goes_on(settled: LabelSet, client: Client) -> None:
    page = text(client.get(address("gallery", settled)))
    assert "every 1s" not in page and 'class="run' not in page
    page = text(strip(client, settled))
    assert "every 1s" not in page and "4 images labelled" in page, "where it went on a moment ago"


@pytest.mark.parametrize(
    ("state", "words", "polls"),
    [
        ("queued", "Labelling is about to begin", True),
        ("running", "Labelling 4 of 5 images", True),
        ("done", "1 image waits to be labelled", True),
        ("failed", "Labelling stopped at 4 of 5 images", False),
        ("cancelled", "Labelling was cancelled at 4 of 5 images", False),
    ],
)
def test_each_state_of_a_run_has_its_words(
    settled: LabelSet, client: Client, state: str, words: str, polls: bool
) -> None:
    rows.images(settled.project, 1, start=50)
    settled.runs.update(state=state, error="The disk burnt." if state == "failed" else "")
    page = text(strip(client, settled))
    assert words in page and ("every 1s" in page) is polls
    assert ("The disk burnt." in page) == (state == "failed")
    assert ("Cancel" in page) == (state in ("queued", "running"))


def test_the_grid_is_told_when_images_changed_and_only_then(settled: LabelSet, client: Client) -> None:
    version = client.get(address("gallery", settled)).context["work"].version
    assert "HX-Trigger" not in strip(client, settled, version)
    rows.images(settled.project, 1, start=50)
    assert strip(client, settled, version)["HX-Trigger"] == '{"images-changed": {}}'


def test_work_that_waits_for_a_worker_says_so(settled: LabelSet, client: Client) -> None:
    beat.WorkerBeat.objects.update(at=timezone.now() - timedelta(seconds=31))
    assert "offline" not in text(strip(client, settled)), "nothing waits for one"
    settled.runs.update(state="queued")
    assert "The worker is offline" in text(strip(client, settled))
    beat.beat("here:1")
    assert "offline" not in text(strip(client, settled))


def test_failed_images_are_counted_and_can_be_retried(settled: LabelSet, client: Client) -> None:
    run = settled.runs.get()
    (broken,) = rows.images(settled.project, 1, start=50)
    ImageAttempt.objects.create(run=run, image=broken, failed=True, reason="Broken: the file ends too early.")
    page = text(strip(client, settled))
    assert "1 image could not be labelled" in page and reverse("run_retry", args=[run.pk]) in page
    page = text(client.get(address("run", settled)))
    assert "Broken: the file ends too early." in page and "image 00050.jpg" in page
    response = client.post(reverse("run_retry", args=[run.pk]))
    assert response.url == reverse("run", args=[run.pk])
    run.refresh_from_db()
    assert run.state == "running" and not run.image_attempts.exists()


def test_many_failed_images_are_shown_page_by_page(settled: LabelSet, client: Client) -> None:
    run = settled.runs.get()
    ImageAttempt.objects.bulk_create(
        ImageAttempt(run=run, image=image, failed=True, reason="Broken.")
        for image in rows.images(settled.project, 130, start=50)
    )
    first = text(client.get(address("run", settled)))
    assert "Retry 130 failed" in first and first.count("Broken.") == 100
    second = text(client.get(address("run", settled), {"page": 2}))
    assert "Page 2 of 2" in second and second.count("Broken.") == 30


def test_another_model_or_other_labels_are_told(animals: LabelSet, client: Client) -> None:
    page = text(strip(client, animals))
    assert "The model or the labels have changed" in page and "Score again" in page


def test_a_model_that_cannot_be_used_is_told(
    animals: LabelSet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable() -> None:
        raise clip.ModelUnusable("There is no model in that folder.")

    monkeypatch.setattr(clip, "current", unusable)
    assert "There is no model in that folder." in text(client.get(address("gallery", animals)))
    refused = client.post(address("run_start", animals))
    assert refused.status_code == 400 and "There is no model in that folder." in text(refused)


def test_a_zip_that_is_being_unpacked_shows_how_far(settled: LabelSet, client: Client) -> None:
    upload = Upload.objects.create(project=settled.project, state="open", total=90, beat_at=timezone.now())
    upload.entries.create(position=0, name="a.jpg", outcome="refused", reason="Broken.")
    page = text(strip(client, settled))
    assert "Unpacking 1 of 90" in page and "every 1s" in page


def test_start_and_cancel_without_a_script(scored: LabelSet, client: Client) -> None:
    response = client.post(address("run_start", scored), {"next": "/projects/animals/?status=none"})
    assert response.url == "/projects/animals/?status=none"
    run = scored.runs.first()
    assert run.state == "queued" and run.created_by.username == "olga"
    client.post(reverse("run_cancel", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_start_and_cancel_by_script_draw_the_strip_again(scored: LabelSet, client: Client) -> None:
    page = client.post(address("run_start", scored), **HTMX)
    assert text(page).strip().startswith('<div id="progress"') and "Cancel" in text(page)
    page = client.post(reverse("run_cancel", args=[scored.runs.first().pk]), **HTMX)
    assert "was cancelled" in text(page)


def test_scoring_again_in_the_background_ends_as_done(scored: LabelSet, client: Client) -> None:
    client.post(address("run_start", scored))
    work.until_none_is_left()
    page = client.get(address("run", scored))
    assert page.context["run"].state == "done" and page.context["progress"].done == 4


def test_a_run_that_a_newer_one_replaced_says_so(scored: LabelSet, client: Client) -> None:
    first = scored.runs.get()
    runs.start(scored.project, scored)
    page = text(client.get(reverse("run", args=[first.pk])))
    assert "A newer run has taken its place" in page


def test_a_run_without_labels_has_its_page(
    project: Project, client: Client, drawn: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.start(project, None)
    page = text(client.get(reverse("run", args=[run.pk])))
    assert "images are embedded only" in page
    assert client.post(reverse("run_cancel", args=[run.pk]), **HTMX).status_code == 302


def test_a_label_set_that_was_never_scored_can_be(project: Project, client: Client) -> None:
    bare = rows.label_set(project, "cat", "dog")
    page = text(strip(client, bare))
    assert "Nothing is labelled yet" in page and "Score again" in page


# Deciding


def decision(client: Client, label_set: LabelSet, data: dict, **headers: str) -> object:
    return client.post(address("decide", label_set), data, **headers)


def test_a_decision_without_a_script_goes_back_and_says_what_it_did(
    animals: LabelSet, client: Client
) -> None:
    back = f"/projects/animals/?label_set={animals.pk}&status=unreviewed"
    data = {"image": ids(animals)[0], "verdict": "accepted", "next": back}
    response = client.post(address("decide", animals), data, follow=True)
    assert response.redirect_chain == [(back, 302)]
    assert messages(response) == ["image 00000.jpg: accepted as cat"]
    assert Annotation.objects.get().status == "accepted"


def test_a_page_of_no_address_is_no_reason_to_fail(animals: LabelSet, client: Client) -> None:
    data = {"image": ids(animals)[0], "verdict": "none", "page": "gallery"}
    answer = decision(client, animals, data, **HTMX, HTTP_HX_CURRENT_URL="http://[")
    assert answer.status_code == 200 and Annotation.objects.exists()


@pytest.mark.parametrize("name", ["gallery", "image", "review"])
def test_accepted_is_the_label_that_was_seen(animals: LabelSet, client: Client, name: str) -> None:
    """Not the one that a run put in its place while the page was looked at."""
    page = text(client.get(address(name, animals)))
    form = page[: page.index("data-accept")].rpartition("<form")[2]
    seen = dict(re.findall(r'name="(image|label|page)" value="(\w+)"', form))
    match = animals.matches.get(image=seen["image"])
    animals.matches.filter(pk=match.pk).update(label=match.runner_up, runner_up=match.label)
    decision(client, animals, seen)
    annotation = Annotation.objects.get()
    assert (annotation.label_id, annotation.status) == (match.label_id, "corrected")


@pytest.mark.parametrize("bad", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_a_decision_never_leads_off_the_site(animals: LabelSet, client: Client, bad: str) -> None:
    for name in ("decide", "undo", "run_start"):
        data = {"image": ids(animals)[0], "verdict": "accepted", "next": bad}
        response = client.post(address(name, animals), data)
        assert response.url == animals.get_absolute_url()


def test_a_decision_by_script_draws_the_card_again(animals: LabelSet, client: Client) -> None:
    first = ids(animals)[0]
    data = {"image": first, "label": animals.labels.get(name="bird").pk, "page": "gallery"}
    current = f"http://testserver/projects/animals/?label_set={animals.pk}&status=unreviewed"
    page = text(decision(client, animals, data, **HTMX, HTTP_HX_CURRENT_URL=current))
    assert f'id="image-{first}"' in page and "state-corrected" in page and 'hx-swap-oob="true"' in page
    assert "image 00000.jpg: corrected to bird" in page and reverse("undo", args=[animals.pk]) in page
    assert f"/images/{first}/?label_set={animals.pk}&amp;q=status%3Aunreviewed" in page, "the filters stay"
    assert page.count('class="tile ') == 1


def test_several_images_in_one_decision(animals: LabelSet, client: Client) -> None:
    page = text(decision(client, animals, {"image": ids(animals)[:3], "verdict": "none"}, **HTMX))
    assert "3 images: none of these" in page and page.count('class="tile ') == 3
    assert len(set(Review.objects.values_list("batch", flat=True))) == 1
    undone = text(client.post(address("undo", animals), **HTMX))
    assert "Undone: 3 images" in undone and not Annotation.objects.exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "Say which image"),
        ({"verdict": "accepted"}, "Say which image"),
        ({"image": "x", "verdict": "accepted"}, "“x” is no id of an image."),
        ({"image": "1"}, "Say which label"),
        ({"image": "1", "label": "cat"}, "no id of a label"),
        ({"image": "999999", "verdict": "none"}, "There is no image 999999 in this project."),
        ({"image": "FIRST", "label": "999999"}, "There is no label 999999 in this label set."),
        ({"image": "FIRST", "verdict": "undone"}, "“undone” is no verdict"),
        ({"image": "FIRST", "verdict": "corrected"}, "Give a label."),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    animals: LabelSet, client: Client, data: dict, sentence: str
) -> None:
    data = {name: ids(animals)[0] if value == "FIRST" else value for name, value in data.items()}
    by_script = decision(client, animals, data, **HTMX)
    assert by_script.status_code == 400 and by_script["Content-Type"].startswith("text/plain")
    assert sentence in text(by_script)
    page = decision(client, animals, data)
    assert page.status_code == 400 and "<html" in text(page) and "Nothing was changed" in text(page)
    assert not Review.objects.exists()


def test_undo_says_what_stays(animals: LabelSet, client: Client, member: Callable, owner: User) -> None:
    first, second, *_ = ids(animals)
    decision(client, animals, {"image": [first, second], "verdict": "accepted"})
    decide(animals, member("labeler"), [Decision(first, Verdict.NONE)])
    client.get(address("gallery", animals))
    response = client.post(address("undo", animals), follow=True)
    assert messages(response) == ["Undone for image 00001.jpg; 1 stays: somebody decided later."]
    response = client.post(address("undo", animals), follow=True)
    assert messages(response) == ["There is nothing to undo."]


def test_nothing_to_undo_is_no_error(animals: LabelSet, client: Client) -> None:
    assert messages(client.post(address("undo", animals), follow=True)) == ["There is nothing to undo."]
    assert client.post(address("undo", animals), {"batch": "x"}, **HTMX).status_code == 400


def test_the_batch_of_another_needs_a_reviewer(
    animals: LabelSet, member: Callable, login: Callable, owner: User
) -> None:
    batch = decide(animals, owner, [Decision(ids(animals)[0], Verdict.ACCEPTED)])
    client = login(member("labeler"))
    assert client.post(address("undo", animals), {"batch": batch}).status_code == 403
    assert Annotation.objects.count() == 1
    assert login(member("reviewer")).post(address("undo", animals), {"batch": batch}).status_code == 302
    assert not Annotation.objects.exists()


# One by one


def test_review_goes_from_the_least_certain_on_without_a_script(animals: LabelSet, client: Client) -> None:
    where = address("review", animals)
    page = client.get(where)
    assert page.context["image"].name == "image 00000.jpg" and "0 of 4 reviewed" in text(page)
    verdicts = ["accepted", "skipped", "none"]
    for number, verdict in enumerate(verdicts):
        data = {"image": page.context["image"].pk, "verdict": verdict, "page": "review"}
        page = client.post(address("decide", animals), data, follow=True)
        assert page.context["image"].name == f"image {number + 1:05}.jpg"
    assert "2 of 4 reviewed" in text(page) and "2 left" in text(page)
    data = {"image": page.context["image"].pk, "label": animals.labels.get(name="dog").pk, "page": "review"}
    page = client.post(address("decide", animals), data, follow=True)
    assert page.context["image"].name == "image 00001.jpg", "what was skipped comes again at the end"
    assert "You skipped this one before" in text(page)
    data = {"image": page.context["image"].pk, "verdict": "accepted", "page": "review"}
    page = client.post(address("decide", animals), data, follow=True)
    assert page.context["place"] is None and "All 4 images are reviewed" in text(page)
    assert reverse("export", args=[animals.pk]) in text(page)


def test_review_by_script_brings_the_next_image_and_its_address(animals: LabelSet, client: Client) -> None:
    first, second, third, _ = ids(animals)
    data = {"image": first, "verdict": "accepted", "page": "review"}
    response = decision(client, animals, data, **HTMX)
    page = text(response)
    assert response["HX-Replace-Url"] == f"{address('review', animals)}?image={second}"
    assert page.lstrip().startswith('<div id="review"') and "image 00001.jpg" in page
    assert f'href="?image={third}" data-step="next"' in page, "the script fetches what comes next"
    assert "image 00000.jpg: accepted as cat" in page
    response = client.post(address("undo", animals), {"page": "review"}, **HTMX)
    assert response["HX-Replace-Url"].endswith(f"?image={first}") and "Undone: image 00000.jpg" in text(
        response
    )


def test_review_shows_every_label_with_its_probability_and_key(animals: LabelSet, client: Client) -> None:
    page = client.get(address("review", animals))
    assert [choice["label"].name for choice in page.context["choices"]] == ["cat", "dog", "bird"]
    assert all(choice["score"] for choice in page.context["choices"])
    for key in ("Enter", "1", "2", "3", "n", "s", "u ctrl+z", "shift+z", "Backspace", "f", "i", "z"):
        assert f'data-keys="{key}"' in text(page)


def test_labels_without_a_key_come_by_probability_and_can_be_found(project: Project, client: Client) -> None:
    many = rows.label_set(project, *(f"label {number:03}" for number in range(101)))
    rows.match(many, rows.images(project, 60))
    image = many.images().get(name="image 00050.jpg")
    page = client.get(address("review", many), {"image": image.pk})
    names = [choice["label"].name for choice in page.context["choices"]]
    assert names[:10] == [f"label {number:03}" for number in range(10)]
    assert names[10:12] == ["label 050", "label 051"] and len(names) == 101
    assert "Find a label" in text(page)


def test_one_image_can_be_looked_at_again(animals: LabelSet, client: Client, owner: User) -> None:
    first, second, third, _ = ids(animals)
    decide(animals, owner, [Decision(second, Verdict.ACCEPTED)])
    page = client.get(address("review", animals), {"image": second})
    assert page.context["place"].previous is None and page.context["place"].next == first
    ahead = client.get(address("review", animals), {"image": first})
    assert ahead.context["place"].previous == second, "a mistake that was just made is one step back"
    assert ahead.context["place"].next == third
    assert 'data-keys="Enter"' not in text(page), "nothing is accepted twice by mistake"
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    (theirs,) = rows.images(elsewhere, 1)
    assert client.get(address("review", animals), {"image": theirs.pk}).status_code == 404
    assert client.get(address("review", animals), {"image": "x"}).status_code == 404


def test_images_that_wait_for_clip_are_told_at_the_end(
    animals: LabelSet, client: Client, owner: User
) -> None:
    decide(animals, owner, [Decision(image, Verdict.ACCEPTED) for image in ids(animals)])
    rows.images(animals.project, 2, start=50)
    page = text(client.get(address("review", animals)))
    assert "All that is labelled is reviewed" in page and "2 images have no suggestion yet" in page


def test_reviewing_nothing_says_so(project: Project, client: Client) -> None:
    empty = rows.label_set(project, "cat", "dog")
    assert "No images yet" in text(client.get(address("review", empty)))


# One image


def test_an_image_shows_its_facts_scores_and_history(
    animals: LabelSet, client: Client, owner: User, member: Callable
) -> None:
    first = ids(animals)[0]
    image = Image.objects.get(pk=first)
    decide(animals, owner, [Decision(first, Verdict.CORRECTED, animals.labels.get(name="bird").pk)])
    batch = decide(animals, member("labeler"), [Decision(first, Verdict.NONE)])
    client.post(address("undo", animals), {"batch": batch})
    page = client.get(reverse("image", args=[first]), {"label_set": animals.pk})
    shown = text(page)
    for words in (
        *("64 × 48 pixels", "JPEG", "1000 bytes", image.sha256[:16], "rows@1", "dog", "20 %"),
        *("Settled answer", "corrected it to bird", "said none of these", "undone by olga"),
        *("CLIP said cat, 40 %", "0.800", "0.600"),
    ):
        assert words.replace(" bytes", "\xa0bytes") in shown, words
    assert [score.name for score in page.context["scores"]] == ["cat", "dog", "bird"]
    assert len(page.context["history"]) == 2


def test_an_image_knows_its_neighbours_in_the_filtered_gallery(animals: LabelSet, client: Client) -> None:
    first, second, third, fourth = ids(animals)
    where = reverse("image", args=[second])
    page = client.get(where)
    assert (page.context["place"].previous, page.context["place"].next) == (third, first)
    cat = animals.labels.get(name="cat")
    page = client.get(where, {"label": cat.pk, "ordering": "probability"})
    assert (page.context["place"].previous, page.context["place"].next) == (first, fourth)
    assert f"/images/{fourth}/?label_set={animals.pk}&amp;q=label%3Acat&amp;ordering=probability" in text(
        page
    )


def test_an_image_leads_back_to_its_page_of_the_gallery(project: Project, client: Client) -> None:
    many = rows.label_set(project, "cat", "dog")
    rows.match(many, rows.images(project, 70))
    page = text(client.get(reverse("image", args=[ids(many)[0]])))
    assert f"/projects/animals/?label_set={many.pk}&amp;page=2" in page and "70 of 70" in page


def test_an_image_is_decided_about_on_its_own_page(animals: LabelSet, client: Client) -> None:
    first = ids(animals)[0]
    where = f"{reverse('image', args=[first])}?label_set={animals.pk}"
    data = {"image": first, "label": animals.labels.get(name="dog").pk, "page": "image", "next": where}
    page = client.post(address("decide", animals), data, follow=True)
    assert page.redirect_chain == [(where, 302)] and "corrected to dog" in text(page)


def test_an_image_that_is_not_scored_and_one_without_labels(project: Project, client: Client) -> None:
    (image,) = rows.images(project, 1)
    where = reverse("image", args=[image.pk])
    assert "This project has no labels yet" in text(client.get(where))
    rows.label_set(project, "cat", "dog")
    assert "waits to be scored" in text(client.get(where))


def test_scores_of_an_image_come_from_its_stored_embedding(scored: LabelSet, client: Client) -> None:
    page = client.get(reverse("image", args=[ids(scored)[0]]))
    scores = page.context["scores"]
    assert len(scores) == 4 and sum(score.probability for score in scores) == pytest.approx(1)
    assert scores[0].label_id == page.context["image"].suggested_id
    assert page.context["run"] == scored.runs.get()


# Label sets


def typed(**changes: str) -> dict[str, str]:
    return {"name": "Kinds", "labels": "cat\ndog", "templates": ""} | changes


def test_labels_are_typed_one_a_line(project: Project, client: Client) -> None:
    rows.images(project, 2)
    where = reverse("label_set_new", args=["animals"])
    labels = " cat \n\nred car: a red car on a road | a red automobile\nratio 4:3"
    response = client.post(where, typed(labels=labels, templates="a {label}\nthe {label}."))
    made = LabelSet.objects.get()
    assert response.url == made.get_absolute_url()
    assert [(label.name, label.prompts) for label in made.labels.all()] == [
        ("cat", []),
        ("red car", ["a red car on a road", "a red automobile"]),
        ("ratio 4:3", []),
    ]
    assert made.templates == ["a {label}", "the {label}."]
    assert made.runs.get().state == "queued" and made.runs.get().created_by.username == "olga"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"labels": "cat"}, "labels", "Give two labels or more"),
        ({"labels": ""}, "labels", "required"),
        ({"labels": "cat\ncat"}, "labels", "Given twice: cat."),
        ({"labels": f"cat\n{'x' * 201}"}, "labels", "longer than 200 characters"),
        ({"labels": "\n".join(map(str, range(1001)))}, "labels", "1,001 labels"),
        ({"templates": "a photo"}, "templates", "where does the label go"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    project: Project, client: Client, changes: dict, field: str, words: str
) -> None:
    page = client.post(reverse("label_set_new", args=["animals"]), typed(**changes))
    assert page.status_code == 200
    assert words in " ".join(page.context["form"].errors[field])
    assert not LabelSet.objects.exists() and not ScoringRun.objects.exists()


def test_a_label_set_comes_back_as_it_was_typed(scored: LabelSet, client: Client) -> None:
    scored.labels.filter(position=0).update(name="odd: name", prompts=["one | two", "three"])
    page = client.get(address("label_set_edit", scored))
    form = page.context["form"]
    data = {name: form[name].value() for name in ("name", "labels", "templates")}
    before = list(scored.labels.values())
    response = client.post(address("label_set_edit", scored), data)
    assert response.status_code == 302 and list(scored.labels.values()) == before


def test_changed_prompts_score_again_and_a_new_name_of_the_set_does_not(
    scored: LabelSet, client: Client
) -> None:
    labels = "\n".join(label.name for label in scored.labels.all())
    client.post(
        address("label_set_edit", scored),
        typed(name="Renamed", labels=labels, templates="a photo of a {label}."),
    )
    scored.refresh_from_db()
    assert scored.name == "Renamed" and scored.runs.count() == 1
    client.post(address("label_set_edit", scored), typed(labels=labels, templates="{label}"))
    assert scored.runs.count() == 2 and scored.runs.first().state == "queued"


def test_a_line_that_is_reworded_renames_its_label(scored: LabelSet, client: Client) -> None:
    before = [label.pk for label in scored.labels.all()]
    names = [label.name for label in scored.labels.all()]
    client.post(address("label_set_edit", scored), typed(labels="\n".join(["crimson circle", *names[1:]])))
    assert [label.pk for label in scored.labels.all()] == before
    assert scored.labels.first().name == "crimson circle"
    client.post(address("label_set_edit", scored), typed(labels="\n".join([*names[1:], "crimson circle"])))
    assert [label.pk for label in scored.labels.all()] == [*before[1:], before[0]], "moved, not renamed"


def test_renaming_what_people_gave_to_images_is_asked_back(
    scored: LabelSet, client: Client, owner: User
) -> None:
    first = scored.labels.first()
    decide(scored, owner, [Decision(ids(scored)[0], Verdict.ACCEPTED, first.pk)])
    names = [label.name for label in scored.labels.all()]
    data = typed(labels="\n".join(["something else", *names[1:]]))
    page = client.post(address("label_set_edit", scored), data)
    assert "becomes “something else” on 1 image" in text(page)
    assert re.search(r'<input type="checkbox" name="rename"', text(page)), "there is a box to tick"
    first.refresh_from_db()
    assert first.name == names[0]
    assert client.post(address("label_set_edit", scored), data | {"rename": "on"}).status_code == 302
    assert Annotation.objects.get().label.name == "something else"


def test_removing_what_people_gave_to_images_is_refused(
    scored: LabelSet, client: Client, owner: User
) -> None:
    first = scored.labels.first()
    decide(scored, owner, [Decision(ids(scored)[0], Verdict.ACCEPTED, first.pk)])
    names = [label.name for label in scored.labels.all()]
    page = client.post(address("label_set_edit", scored), typed(labels="\n".join(names[1:])))
    assert "was given to 1 image" in text(page) and scored.labels.count() == 4


def test_the_prompts_are_shown_while_one_types(project: Project, client: Client) -> None:
    where = reverse("label_set_new", args=["animals"])
    data = typed(labels="red car\ncat", templates="a {label}\nnothing", preview="1")
    page = text(client.post(where, data, **HTMX))
    assert page.strip().startswith("<section") and "a red car" in page and "nothing" not in page
    page = text(client.post(where, typed(labels="red car: a Ferrari | a Lancia", preview="1"), **HTMX))
    assert "a Ferrari" in page and "a Lancia" in page
    whole = text(client.post(where, data))
    assert "<html" in whole and "a red car" in whole and not LabelSet.objects.exists()


def test_the_form_says_what_saving_does(animals: LabelSet, client: Client) -> None:
    page = text(client.get(address("label_set_edit", animals)))
    assert "all 4 images are scored again" in page and "no picture is decoded again" in page


def test_a_label_set_is_deleted_and_one_with_decisions_by_an_owner_alone(
    animals: LabelSet, client: Client, owner: User, member: Callable, login: Callable
) -> None:
    decide(animals, owner, [Decision(ids(animals)[0], Verdict.ACCEPTED)])
    reviewer = login(member("reviewer"))
    where = address("label_set_delete", animals)
    assert where not in text(reviewer.get(address("label_set_edit", animals)))
    assert reviewer.post(where).status_code == 403 and LabelSet.objects.exists()
    asked = client.post(where)
    assert "Decisions about 1 image go with it" in text(asked) and LabelSet.objects.exists()
    assert client.post(where, {"confirmed": "yes"}).url == animals.project.get_absolute_url()
    assert not LabelSet.objects.exists() and Image.objects.count() == 4


# Export from the page


def test_an_export_is_a_file_with_the_gallery_filters(animals: LabelSet, client: Client, owner: User) -> None:
    decide(animals, owner, [Decision(image, Verdict.ACCEPTED) for image in ids(animals)[:2]])
    response = client.get(address("export", animals), {"format": "jsonl"})
    assert response.streaming and "attachment" in response["Content-Disposition"]
    assert "animals-rows.jsonl" in response["Content-Disposition"]
    cat = animals.labels.get(name="cat")
    response = client.get(address("export", animals), {"label": cat.pk, "label_set": animals.pk})
    assert b"".join(response.streaming_content).count(b"\r\n") == 2


def test_an_export_that_cannot_be_made_says_why(animals: LabelSet, client: Client) -> None:
    response = client.get(address("export", animals), {"format": "xml"})
    assert response.status_code == 400 and "xml" in text(response)


def test_every_link_of_the_pages_leads_somewhere(animals: LabelSet, client: Client, owner: User) -> None:
    import re

    decide(animals, owner, [Decision(ids(animals)[0], Verdict.ACCEPTED)])
    seen: set[str] = set()
    for name in ("gallery", "image", "review", "run", "label_set_edit", "label_set_new"):
        where = address(name, animals)
        for href in re.findall(r'<a [^>]*href="([^"#]+)"', text(client.get(where))):
            target = href.replace("&amp;", "&")
            seen.add(where + target if target.startswith("?") else target)
    local = {link for link in seen if not urlsplit(link).netloc and "/file/" not in link}
    broken = {link: code for link in local if (code := read(client.get(link))) not in (200, 302)}
    assert len(local) > 15 and not broken
