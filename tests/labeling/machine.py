"""The door for decisions as a state machine, held step by step against a plain model of what people expect.

Each step goes through the real doors: decisions, undo, redo, clear, scoring anew by the real model, labels
and images that come and go, another number of votes. After each, every answer is the same on both sides.
"""

from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gallery import projects, uploads
from gallery.access import Role
from gallery.models import Image
from labeling import batches, clip, embeddings, label_sets, review, work
from labeling.label_sets import LabelSpec
from labeling.models import Review
from labeling.review import Decision, Undone, Verdict
from labeling.scoring import unit
from tests.labeling import rows

# Few, so that people often come to the same one.
IMAGES, PEOPLE = 4, 3
NAMES = ["red circle", "blue square", "green triangle", "yellow star", "a cat", "a dog"]
TEMPLATES = ["a photo of a {label}.", "{label}", "a drawing of a {label}"]


@dataclass
class Said:
    """One person's word about one image."""

    tick: int
    user: int
    image: int
    label: int | None
    skips: bool
    settles: bool = False
    stands: bool = True

    @property
    def decides(self) -> bool:
        return self.stands and not self.skips


@dataclass
class Action:
    """One batch: what it says, or what it took back."""

    id: UUID
    user: int
    kind: str
    tick: int
    says: list[Said] = field(default_factory=list)
    reverses: "Action | None" = None
    reversed: bool = False


class Model:
    """What people expect of decisions, written down as plainly as can be."""

    def __init__(self) -> None:
        self.tick, self.votes = 0, 1
        self.says: list[Said] = []
        self.actions: list[Action] = []

    def now(self) -> int:
        self.tick += 1
        return self.tick

    def decided_later(self, said: Said, tick: int) -> bool:
        """Whether what was said is overtaken by what somebody said after `tick`."""
        return any(
            other.decides
            and other.image == said.image
            and other.tick > tick
            and (self.votes == 1 or other.settles or other.user == said.user)
            for other in self.says
        )

    def decide(self, batch: UUID, user: int, words: dict[int, int | None | str], settles: bool) -> None:
        action = Action(batch, user, "decide", self.now())
        for image, word in words.items():
            skips = word == "skip"
            label = None if skips else word
            said = Said(self.now(), user, image, label, skips, settles and not skips)
            action.says.append(said)
        self.says += action.says
        self.actions.append(action)

    def undo(self, action: Action, only: int | None = None) -> tuple[set[int], set[int], list[Said]]:
        """The images that go back, those that stay, and what is taken back."""
        standing = [said for said in action.says if said.stands and only in (None, said.image)]
        back = [said for said in standing if not self.decided_later(said, said.tick)]
        for said in back:
            said.stands = False
        kept = {said.image for said in standing} - {said.image for said in back}
        return {said.image for said in back}, kept, back

    def redo(self, undoing: Action) -> tuple[set[int], set[int], list[Said]]:
        again = [
            Said(self.now(), said.user, said.image, said.label, said.skips, said.settles)
            for said in undoing.says
            if not self.decided_later(said, undoing.tick)
        ]
        self.says += again
        kept = {said.image for said in undoing.says} - {said.image for said in again}
        return {said.image for said in again}, kept, again

    def next_undo(self, user: int) -> Action | None:
        for action in reversed(self.actions):
            if action.user == user and action.kind != "undo":
                alive = [said for said in action.says if said.stands]
                if any(not self.decided_later(said, said.tick) for said in alive):
                    return action
        return None

    def next_redo(self, user: int) -> Action | None:
        for action in reversed(self.actions):
            if action.user == user and action.kind == "decide":
                return None
            if action.user == user and action.kind == "undo" and not action.reversed:
                return action
        return None

    def answer(self, image: int) -> tuple[str, int | None, int | None] | None:
        """Settled how, with which label, by whom; None where it is open."""
        words = [said for said in self.says if said.decides and said.image == image]
        if not words:
            return None
        final = words[-1] if self.votes == 1 else next((w for w in reversed(words) if w.settles), None)
        if final is None:
            last_of_each = {said.user: said for said in words}
            if len(last_of_each) < self.votes:
                return None
            if len({said.label for said in last_of_each.values()}) > 1:
                return ("disputed", None, None)
            final = words[-1]
        return ("none" if final.label is None else "labelled", final.label, final.user)

    def forget(self, image: int) -> None:
        self.says = [said for said in self.says if said.image != image]
        for action in self.actions:
            action.says = [said for said in action.says if said.image != image]


class Decisions(RuleBasedStateMachine):
    """`people`, in the roles of owner, labeler and reviewer, on a project of its own."""

    number = 0

    @initialize(asked=st.integers(1, PEOPLE))
    def begin(self, asked: int) -> None:
        type(self).number += 1
        self.people = [
            User.objects.create(username=f"person {person} of {self.number}") for person in range(PEOPLE)
        ]
        self.project = projects.create(self.people[0], f"Machine {self.number}")
        self.images = [image.pk for image in rows.images(self.project, IMAGES)]
        width = clip.engine().embed_texts(["anything"]).shape[1]
        vectors = unit(np.random.default_rng(self.number).normal(size=(IMAGES, width)))
        embeddings.save(self.images, vectors, clip.current().key)
        specs = [LabelSpec(name) for name in NAMES[:2]]
        self.label_set = label_sets.create(self.project, self.people[0], "Labels", specs)
        work.until_none_is_left()
        self.model, self.reviews = Model(), 0
        self.ask_votes(asked)

    def teardown(self) -> None:
        if hasattr(self, "project"):
            uploads.delete_project(self.project)
            User.objects.filter(pk__in=[person.pk for person in self.people]).delete()

    def labels(self) -> list[int]:
        return list(self.label_set.labels.values_list("pk", flat=True))

    def suggestions(self) -> dict[int, int]:
        return dict(self.label_set.matches.values_list("image_id", "label_id"))

    # What people do

    @rule(
        person=st.integers(0, PEOPLE - 1),
        words=st.dictionaries(
            st.integers(0, IMAGES - 1), st.sampled_from(["accept", "skip", "none", 0, 1, 2, 3]), min_size=1
        ),
        settles=st.booleans(),
    )
    def decide(self, person: int, words: dict[int, str | int], settles: bool) -> None:
        labels, suggestions = self.labels(), self.suggestions()
        decisions, meant = [], {}
        for index, word in words.items():
            if index >= len(self.images):
                continue
            image = self.images[index]
            label = labels[word % len(labels)] if isinstance(word, int) else None
            verdict = {"accept": "accepted", "skip": "skipped", "none": "none"}.get(word, "corrected")
            decisions.append(Decision(image, Verdict(verdict), label))
            meant[image] = {"accept": suggestions[image], "skip": "skip", "none": None}.get(word, label)
        if decisions:
            batch = review.decide(self.label_set, self.people[person], decisions, settles=settles)
            self.model.decide(batch, person, meant, settles)

    def compare(self, undone: Undone, images: set[int], kept: set[int]) -> UUID | None:
        assert (set(undone.images), set(undone.kept)) == (images, kept)
        return self.label_set.batches.first().pk if images else None

    def take_back(self, action: Action, person: int) -> None:
        undone = review.undo(self.label_set, self.people[person], Role.REVIEWER, action.id)
        images, kept, back = self.model.undo(action)
        if made := self.compare(undone, images, kept):
            self.model.actions.append(Action(made, person, "undo", self.model.now(), back, action))

    @rule(person=st.integers(0, PEOPLE - 1))
    def undo(self, person: int) -> None:
        expected = self.model.next_undo(person)
        assert review.next_undo(self.label_set, self.people[person]) == (expected and expected.id)
        if expected:
            self.take_back(expected, person)

    @precondition(lambda self: self.model.actions)
    @rule(person=st.integers(0, PEOPLE - 1), which=st.integers(0, 100))
    def undo_any(self, person: int, which: int) -> None:
        """Also days later, and another person's."""
        action = self.model.actions[which % len(self.model.actions)]
        if action.kind == "undo":
            return
        if action.user != person:
            with pytest.raises(PermissionDenied):
                review.undo(self.label_set, self.people[person], Role.LABELER, action.id)
        self.take_back(action, person)

    @rule(person=st.integers(0, PEOPLE - 1))
    def redo(self, person: int) -> None:
        undoing = self.model.next_redo(person)
        assert review.next_redo(self.label_set, self.people[person]) == (undoing and undoing.id)
        if undoing is None:
            return
        undone = review.redo(self.label_set, self.people[person], Role.LABELER, undoing.id)
        images, kept, again = self.model.redo(undoing)
        if made := self.compare(undone, images, kept):
            undoing.reversed = True
            self.model.actions.append(Action(made, person, "redo", self.model.now(), again, undoing))

    @rule(person=st.integers(0, PEOPLE - 1), which=st.integers(0, IMAGES - 1))
    def clear(self, person: int, which: int) -> None:
        if which >= len(self.images):
            return
        image = self.images[which]
        words = [said for said in self.model.says if said.decides and said.image == image]
        own = [said for said in words if said.user == person]
        last = (own if self.model.votes > 1 and own else words)[-1:]
        undone = review.clear(self.label_set, self.people[person], Role.REVIEWER, image)
        if not last:
            assert undone == Undone([], [])
            return
        [action] = [
            action for action in self.model.actions if last[0] in action.says and action.kind != "undo"
        ]
        images, kept, back = self.model.undo(action, only=image)
        if made := self.compare(undone, images, kept):
            self.model.actions.append(Action(made, person, "undo", self.model.now(), back, action))

    # What goes on around them

    @rule(template=st.sampled_from(TEMPLATES))
    def rescore(self, template: str) -> None:
        label_sets.change(self.label_set, self.people[0], templates=[template])
        work.until_none_is_left()

    @precondition(lambda self: len(self.labels()) < len(NAMES))
    @rule()
    def add_label(self) -> None:
        present = list(self.label_set.labels.all())
        specs = [LabelSpec(label.name, id=label.pk) for label in present] + [LabelSpec(NAMES[len(present)])]
        label_sets.change(self.label_set, self.people[0], labels=specs)
        work.until_none_is_left()

    @precondition(lambda self: len(self.images) > 2)
    @rule(which=st.integers(0, IMAGES - 1))
    def delete_image(self, which: int) -> None:
        image = self.images.pop(which % len(self.images))
        uploads.delete_image(Image.objects.get(pk=image))
        self.model.forget(image)
        self.reviews = Review.objects.filter(label_set=self.label_set).count()

    @rule(votes=st.integers(1, PEOPLE))
    def ask_votes(self, votes: int) -> None:
        batches.ask_votes(self.label_set, self.people[0], votes)
        self.model.votes = votes

    @rule(image=st.integers(0, IMAGES - 1), person=st.integers(0, PEOPLE - 1))
    def decide_nonsense(self, image: int, person: int) -> None:
        """Writes nothing."""
        wrong = Decision(self.images[image % len(self.images)], Verdict.CORRECTED, 10**9)
        right = Decision(self.images[(image + 1) % len(self.images)], Verdict.NONE)
        with pytest.raises(ValidationError):
            review.decide(self.label_set, self.people[person], [right, wrong])

    # What always holds

    @invariant()
    def every_answer_is_as_expected(self) -> None:
        if not hasattr(self, "model"):
            return
        by_pk = {person.pk: index for index, person in enumerate(self.people)}
        stored = {
            answer.image_id: (
                "labelled" if answer.status in ("accepted", "corrected") else answer.status,
                answer.label_id,
                by_pk.get(answer.decided_by_id),
            )
            for answer in self.label_set.annotations.all()
        }
        expected = {image: answer for image in self.images if (answer := self.model.answer(image))}
        assert stored == expected

    @invariant()
    def history_only_grows(self) -> None:
        if hasattr(self, "model"):
            count = Review.objects.filter(label_set=self.label_set).count()
            assert count >= self.reviews
            self.reviews = count
