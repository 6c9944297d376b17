"""The door for people's decisions, on real rows."""

import uuid

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError

from gallery.access import Role
from gallery.models import Image, Membership, Project
from labeling import label_sets, leases, review, runs, work
from labeling.label_sets import LabelSpec
from labeling.models import Annotation, Batch, Label, LabelSet, Lease, Match, Review
from labeling.review import Decision, Verdict, decide, undo
from labeling.review import next_undo as last_batch
from tests.labeling import rows


@pytest.fixture
def animals(project: Project) -> LabelSet:
    """Six images of which CLIP is ever surer: cat, dog, bird, cat, dog, bird."""
    made = rows.label_set(project, "cat", "dog", "bird")
    rows.match(made, rows.images(project, 6), [0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    return made


@pytest.fixture
def colleague(project: Project) -> User:
    user = User.objects.create_user("carla")
    Membership.objects.create(project=project, user=user, role=Role.LABELER)
    return user


def image(label_set: LabelSet, number: int) -> Image:
    return label_set.images().get(name=f"image {number:05}.jpg")


def label(label_set: LabelSet, name: str) -> Label:
    return label_set.labels.get(name=name)


def say(label_set: LabelSet, user: User, number: int, verdict: str, name: str = "") -> uuid.UUID:
    given = label(label_set, name).pk if name else None
    return decide(label_set, user, [Decision(image(label_set, number).pk, Verdict(verdict), given)])


def answer(label_set: LabelSet, number: int) -> tuple[str, str] | None:
    found = Annotation.objects.filter(label_set=label_set, image=image(label_set, number)).first()
    return (found.status, found.label.name if found.label else "") if found else None


# Deciding


def test_accepting_settles_the_suggestion(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "accepted")
    annotation = Annotation.objects.get()
    assert (annotation.label.name, annotation.status, annotation.source) == ("cat", "accepted", "human")
    assert annotation.decided_by == owner and annotation.decided_at == Review.objects.get().at


def test_another_label_corrects_and_the_same_label_accepts(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "accepted", "dog")
    say(animals, owner, 1, "corrected", "dog")
    assert answer(animals, 0) == ("corrected", "dog"), "whatever the verdict was called"
    assert answer(animals, 1) == ("accepted", "dog")


def test_none_of_these_settles_an_image_without_a_label(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "none")
    assert answer(animals, 0) == ("none", "")


def test_a_review_keeps_what_clip_said_then(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 2, "corrected", "cat")
    row = Review.objects.get()
    assert (row.suggested_name, row.suggested_probability, row.label_name) == ("bird", 0.6, "cat")


def test_the_last_decision_stands(animals: LabelSet, owner: User, colleague: User) -> None:
    say(animals, owner, 0, "accepted")
    say(animals, colleague, 0, "corrected", "bird")
    assert answer(animals, 0) == ("corrected", "bird")
    assert Annotation.objects.get().decided_by == colleague
    assert Review.objects.count() == 2


def test_a_skip_decides_nothing_and_takes_nothing_back(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "skipped")
    assert answer(animals, 0) is None
    say(animals, owner, 1, "accepted")
    say(animals, owner, 1, "skipped")
    assert answer(animals, 1) == ("accepted", "dog")


def test_an_unscored_image_takes_a_label_and_no_bare_yes(animals: LabelSet, owner: User) -> None:
    (bare,) = rows.images(animals.project, 1, start=50)
    with pytest.raises(ValidationError, match="no suggestion yet"):
        decide(animals, owner, [Decision(bare.pk, Verdict.ACCEPTED)])
    say(animals, owner, 50, "accepted", "cat")
    assert answer(animals, 50) == ("corrected", "cat"), "nobody suggested it"
    assert Review.objects.get().suggested_name == ""


def test_corrected_needs_a_label(animals: LabelSet, owner: User) -> None:
    with pytest.raises(ValidationError, match="corrected to what"):
        say(animals, owner, 0, "corrected")


def test_undone_is_no_verdict_to_give(animals: LabelSet, owner: User) -> None:
    with pytest.raises(ValidationError):
        say(animals, owner, 0, "undone")
    assert not Review.objects.exists()


@pytest.mark.django_db
def test_labels_and_images_of_elsewhere_are_refused_and_nothing_is_written(
    animals: LabelSet, owner: User
) -> None:
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    (their_image,) = rows.images(elsewhere, 1)
    their_label = rows.label_set(animals.project, "tree", "house").labels.first()
    fine = Decision(image(animals, 0).pk, Verdict.ACCEPTED)
    for bad in (
        Decision(their_image.pk, Verdict.NONE),
        Decision(10**9, Verdict.NONE),
        Decision(image(animals, 1).pk, Verdict.ACCEPTED, their_label.pk),
        Decision(image(animals, 0).pk, Verdict.NONE),
    ):
        with pytest.raises(ValidationError):
            decide(animals, owner, [fine, bad])
    assert not Review.objects.exists() and not Annotation.objects.exists()


def test_five_hundred_decisions_are_one_batch_in_few_statements(
    project: Project, owner: User, django_assert_max_num_queries: object
) -> None:
    many = rows.label_set(project, "cat", "dog")
    pictures = rows.images(project, 500)
    rows.match(many, pictures)
    decisions = [Decision(picture.pk, Verdict.ACCEPTED) for picture in pictures]
    with django_assert_max_num_queries(21):
        batch = decide(many, owner, decisions)
    assert Annotation.objects.filter(status="accepted").count() == 500
    assert set(Review.objects.values_list("batch", flat=True)) == {batch}
    with django_assert_max_num_queries(21):
        undone = undo(many, owner, Role.OWNER, batch)
    assert len(undone.images) == 500 and not undone.kept
    assert not Annotation.objects.exists()
    assert Review.objects.count() == 1000, "history only grows"


def test_who_said_something_of_an_image_holds_it_no_longer(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    ids = [image(animals, number).pk for number in range(4)]
    leases.hold(animals, owner, "one", last=ids[:3])
    leases.hold(animals, colleague, "one", last=ids[3:])
    say(animals, owner, 0, "accepted")
    say(animals, owner, 1, "skipped")
    say(animals, owner, 3, "none")
    assert [(lease.image_id, lease.user) for lease in Lease.objects.order_by("image_id")] == [
        (ids[2], owner),
        (ids[3], colleague),
    ]


# Undoing


def test_undo_brings_back_what_was_before(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "accepted")
    second = say(animals, owner, 0, "corrected", "dog")
    undone = undo(animals, owner, Role.OWNER, second)
    assert undone.images == [image(animals, 0).pk] and undone.kept == []
    assert answer(animals, 0) == ("accepted", "cat")
    row = Review.objects.last()
    assert row.verdict == "undone" and row.undoes.batch_id == second and row.user == owner


def test_undo_takes_a_whole_batch_back(animals: LabelSet, owner: User) -> None:
    both = [Decision(image(animals, number).pk, Verdict.NONE) for number in (0, 1)]
    batch = decide(animals, owner, both)
    undo(animals, owner, Role.OWNER, batch)
    assert not Annotation.objects.exists()


def test_undoing_twice_takes_back_the_one_before(animals: LabelSet, owner: User) -> None:
    say(animals, owner, 0, "accepted")
    say(animals, owner, 1, "none")
    for expected in (1, 0):
        batch = last_batch(animals, owner)
        assert undo(animals, owner, Role.OWNER, batch).images == [image(animals, expected).pk]
    assert last_batch(animals, owner) is None
    assert not Annotation.objects.exists()


def test_undoing_the_same_batch_again_does_nothing(animals: LabelSet, owner: User) -> None:
    batch = say(animals, owner, 0, "accepted")
    undo(animals, owner, Role.OWNER, batch)
    assert undo(animals, owner, Role.OWNER, batch) == review.Undone([], [])
    assert Review.objects.count() == 2


def test_what_somebody_decided_later_stays(animals: LabelSet, owner: User, colleague: User) -> None:
    batch = decide(animals, owner, [Decision(image(animals, n).pk, Verdict.ACCEPTED) for n in (0, 1)])
    say(animals, colleague, 0, "corrected", "bird")
    undone = undo(animals, owner, Role.OWNER, batch)
    assert undone.images == [image(animals, 1).pk] and undone.kept == [image(animals, 0).pk]
    assert answer(animals, 0) == ("corrected", "bird") and answer(animals, 1) is None


def test_only_a_reviewer_undoes_for_others(animals: LabelSet, owner: User, colleague: User) -> None:
    batch = say(animals, owner, 0, "accepted")
    with pytest.raises(PermissionDenied):
        undo(animals, colleague, Role.LABELER, batch)
    assert answer(animals, 0) == ("accepted", "cat")
    assert undo(animals, colleague, Role.REVIEWER, batch).images
    assert answer(animals, 0) is None


def test_undo_passes_over_what_somebody_decided_since(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    first, second = image(animals, 0).pk, image(animals, 1).pk
    mine = decide(animals, owner, [Decision(first, Verdict.NONE)])
    decide(animals, owner, [Decision(second, Verdict.NONE)])
    decide(animals, colleague, [Decision(second, Verdict.ACCEPTED)])
    assert last_batch(animals, owner) == mine
    assert undo(animals, owner, "labeler", mine).images == [first]
    assert last_batch(animals, owner) is None


def test_a_skip_of_somebody_else_does_not_hinder_an_undo(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    mine = decide(animals, owner, [Decision(image(animals, 0).pk, Verdict.NONE)])
    decide(animals, colleague, [Decision(image(animals, 0).pk, Verdict.SKIPPED)])
    assert last_batch(animals, owner) == mine
    undone = undo(animals, owner, "labeler", mine)
    assert (undone.images, undone.kept) == ([image(animals, 0).pk], [])
    assert not Annotation.objects.exists()


def test_the_last_batch_is_ones_own(animals: LabelSet, owner: User, colleague: User) -> None:
    mine = say(animals, owner, 0, "accepted")
    say(animals, colleague, 1, "accepted")
    assert last_batch(animals, owner) == mine


def test_a_batch_of_another_label_set_is_not_undone_here(animals: LabelSet, owner: User) -> None:
    other = rows.label_set(animals.project, "tree", "house")
    batch = say(animals, owner, 0, "accepted")
    assert undo(other, owner, Role.OWNER, batch) == review.Undone([], [])
    assert answer(animals, 0) == ("accepted", "cat")


# Scoring again, and labels that change


def test_scoring_again_leaves_reviews_and_annotations_alone(scored: LabelSet, owner: User) -> None:
    pictures = list(scored.project.images.order_by("pk"))
    decide(
        scored, owner, [Decision(pictures[0].pk, Verdict.NONE), Decision(pictures[1].pk, Verdict.ACCEPTED)]
    )
    decide(scored, owner, [Decision(pictures[2].pk, Verdict.SKIPPED)])
    before = list(Review.objects.values()), list(Annotation.objects.values())
    runs.start(scored.project, scored, owner)
    work.until_none_is_left()
    assert scored.runs.first().state == "done" and scored.runs.count() == 2
    assert (list(Review.objects.values()), list(Annotation.objects.values())) == before


def test_a_label_that_was_given_is_renamed_and_not_removed(scored: LabelSet, owner: User) -> None:
    first = scored.project.images.order_by("pk").first()
    given = Match.objects.get(image=first).label
    decide(scored, owner, [Decision(first.pk, Verdict.ACCEPTED)])
    others = [LabelSpec(other.name) for other in scored.labels.exclude(pk=given.pk)]
    with pytest.raises(ValidationError, match="given to 1 image"):
        label_sets.change(scored, owner, labels=others)
    assert scored.labels.count() == 4, "nothing was changed"
    label_sets.change(scored, owner, labels=[LabelSpec("renamed", id=given.pk), *others])
    assert Annotation.objects.get().label.name == "renamed"
    assert Review.objects.get().label_name == given.name, "history says what was said"


# Somebody else in the meantime


def test_a_decision_about_what_was_not_seen_is_refused_and_overwrites_nothing(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    say(animals, colleague, 0, "corrected", "dog")
    seen_before = Decision(image(animals, 0).pk, Verdict.ACCEPTED, seen="")
    with pytest.raises(review.Stale) as stale:
        decide(animals, owner, [seen_before])
    [sentence] = stale.value.sentences
    assert colleague.username in sentence and "dog" in sentence
    answer = Annotation.objects.get(image=image(animals, 0))
    assert answer.decided_by == colleague and Review.objects.count() == 1
    decide(animals, owner, [Decision(answer.image_id, Verdict.NONE, seen=review.version(answer))])
    assert Annotation.objects.get(image=answer.image_id).status == "none"


def test_of_many_those_that_somebody_decided_about_can_be_left(
    animals: LabelSet, owner: User, colleague: User
) -> None:
    say(animals, colleague, 0, "corrected", "dog")
    asked = [Decision(image(animals, number).pk, Verdict.ACCEPTED, seen="") for number in (0, 1)]
    decide(animals, owner, asked, leave_stale=True)
    assert Annotation.objects.get(image=image(animals, 0)).decided_by == colleague
    assert Annotation.objects.get(image=image(animals, 1)).decided_by == owner
    batches = Batch.objects.count()
    with pytest.raises(review.Stale):  # an empty batch would be left in the history
        decide(animals, owner, asked, leave_stale=True)
    assert Batch.objects.count() == batches
