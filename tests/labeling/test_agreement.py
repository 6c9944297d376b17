"""Kappa and shares, held against scikit-learn; and a script of votes, against a plain model."""

import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from sklearn.metrics import cohen_kappa_score

from gallery.models import Membership, Project
from labeling import agreement as counting
from labeling import batches, review
from labeling.agreement import Agreement, agreement
from labeling.models import LabelSet, Review
from labeling.review import Decision, Verdict, decide
from tests.labeling import rows

JSON = "application/json"
Login = Callable[[User | None], Client]
NAMES = ("cat", "dog", "bird", "none")


@pytest.fixture
def animals(project: Project) -> LabelSet:
    made = rows.label_set(project, "cat", "dog", "bird")
    made.votes = 2
    made.save()
    return made


@pytest.fixture
def people(project: Project, owner: User) -> list[User]:
    """Three: a labeler, a reviewer and the owner."""
    made = [User.objects.create_user("anna"), User.objects.create_user("rita")]
    for user, role in zip(made, ("labeler", "reviewer"), strict=True):
        Membership.objects.create(project=project, user=user, role=role)
    return [*made, owner]


def pictures(label_set: LabelSet, count: int, start: int = 0) -> list[int]:
    """Images with matches; CLIP says cat, dog, bird in turn."""
    images = rows.images(label_set.project, count, start)
    rows.match(label_set, images)
    return [image.pk for image in images]


def decision(label_set: LabelSet, image: int, name: str) -> Decision:
    if name == "none":
        return Decision(image, Verdict.NONE)
    return Decision(image, Verdict.CORRECTED, label_set.labels.get(name=name).pk)


def vote(label_set: LabelSet, user: User, images: Sequence[int], names: str, settles: bool = False) -> None:
    said = zip(images, names.split(), strict=False)
    decide(label_set, user, [decision(label_set, *each) for each in said if each[1] != "-"], settles=settles)


def figures(label_set: LabelSet, user: User, role: str = "owner") -> Agreement:
    return agreement(label_set, user, role)


def pairs(found: Agreement) -> dict[tuple[str, ...], tuple[float | None, int]]:
    return {
        tuple(found.names[user] for user in pair.users): (pair.kappa.value, pair.kappa.images)
        for pair in found.pairs
    }


def fleiss(ballots: Sequence[Sequence[str]]) -> float:
    """By the formula, of images with the same number of votes."""
    counts = [Counter(ballot) for ballot in ballots]
    votes = len(ballots[0])
    agreeing = [sum(n * (n - 1) for n in count.values()) / (votes * (votes - 1)) for count in counts]
    shares = Counter(answer for ballot in ballots for answer in ballot)
    chance = sum((n / (votes * len(ballots))) ** 2 for n in shares.values())
    return float((np.mean(agreeing) - chance) / (1 - chance))


# Figures


def test_cohens_kappa_is_scikit_learns(animals: LabelSet, people: list[User], owner: User) -> None:
    anna, rita, _ = people
    images = pictures(animals, 10)
    first = "cat dog bird none cat cat dog dog none cat"
    second = "cat dog cat none cat bird dog none none cat"
    vote(animals, anna, images, first)
    vote(animals, rita, images, second)
    found = figures(animals, owner)
    assert pairs(found) == {
        ("anna", "rita"): (pytest.approx(cohen_kappa_score(first.split(), second.split())), 10)
    }
    assert found.images == 10 and not found.is_cut and found.more_pairs == 0


def test_fleiss_kappa_is_that_of_the_known_example(project: Project, owner: User) -> None:
    """Fleiss' own kind of table, worked out on Wikipedia: 14 people, 10 subjects, 5 answers, kappa 0.210."""
    table = np.array(
        [
            *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
            *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
        ]
    )
    made = rows.label_set(project, *"abcde")
    made.votes = 9
    made.save()
    images = pictures(made, 10)
    labels = list(made.labels.values_list("pk", flat=True))
    ballots = [[label for label, n in zip(labels, row, strict=True) for _ in range(n)] for row in table]
    for number in range(14):
        user = User.objects.create_user(f"person {number}")
        said = [
            Decision(image, Verdict.CORRECTED, ballot[number])
            for image, ballot in zip(images, ballots, strict=True)
        ]
        decide(made, user, said)
    found = figures(made, owner).fleiss
    assert found.value == pytest.approx(0.20993, abs=1e-5)
    assert (found.images, found.votes, found.words) == (10, 14, "fair")


def test_fleiss_kappa_is_over_the_images_with_the_most_common_number_of_votes(
    animals: LabelSet, people: list[User], owner: User
) -> None:
    images = pictures(animals, 7)
    vote(animals, people[0], images, "cat dog bird cat dog cat dog")
    vote(animals, people[1], images, "cat dog dog none dog cat bird")
    vote(animals, people[2], images, "- - - - cat cat bird")
    found = figures(animals, owner).fleiss
    assert (found.votes, found.images) == (2, 4)
    two = [["cat", "cat"], ["dog", "dog"], ["bird", "dog"], ["cat", "none"]]
    assert found.value == pytest.approx(fleiss(two))
    vote(animals, people[2], images, "- cat - cat")
    found = figures(animals, owner).fleiss
    assert (found.votes, found.images) == (3, 5)


@pytest.mark.parametrize(
    ("kappa", "words"),
    [
        *(
            (-0.3, "poor"),
            (-0.01, "poor"),
            (0.0, "slight"),
            (0.2, "slight"),
            (0.204, "slight"),
            (0.21, "fair"),
        ),
        *((0.4, "fair"), (0.41, "moderate"), (0.6, "moderate"), (0.61, "substantial"), (0.8, "substantial")),
        *((0.81, "almost perfect"), (1.0, "almost perfect")),
        (None, "not defined: all these votes are the same"),
    ],
)
def test_a_kappa_is_put_into_words(kappa: float | None, words: str) -> None:
    assert counting.Kappa(kappa, 10, 2).words == words


def test_what_is_not_defined_is_said_and_no_figure(
    animals: LabelSet, people: list[User], owner: User, login: Login
) -> None:
    empty = login(owner).get(reverse("agreement", args=[animals.pk]))
    assert "No two people have answered the same image yet" in empty.text
    images = pictures(animals, 3)
    vote(animals, people[0], images, "cat cat cat")
    vote(animals, people[1], images, "cat cat cat")
    found = figures(animals, owner)
    assert found.fleiss.value is None and pairs(found) == {("anna", "rita"): (None, 3)}
    page = login(owner).get(reverse("agreement", args=[animals.pk])).text
    assert "not defined: all these votes are the same" in page and ">nan<" not in page
    told = login(owner).get(f"/api/v1/label-sets/{animals.pk}/agreement/").json()
    assert told["fleiss"]["kappa"] is None and told["pairs"][0]["kappa"] is None
    vote(animals, people[1], images[:1], "dog")
    assert figures(animals, owner).pairs[0].kappa.value == pytest.approx(0.0)


def test_shares_are_of_what_can_be_compared(animals: LabelSet, people: list[User], owner: User) -> None:
    anna, rita, _ = people
    images = pictures(animals, 5)  # CLIP: cat dog bird cat dog
    vote(animals, anna, images, "cat dog bird none dog")
    vote(animals, rita, images, "cat dog cat  none cat")
    vote(animals, owner, [images[2]], "bird", settles=True)
    first, second = figures(animals, owner).people
    assert (first.user, first.votes, second.user) == (anna.pk, 5, rita.pk)
    assert (first.settled.same, first.settled.of) == (4, 4), "one is disputed still"
    assert (second.settled.same, second.settled.of) == (3, 4)
    assert (first.clip.same, first.clip.of) == (4, 5)
    assert (second.clip.same, second.clip.of) == (2, 5)


def test_votes_count_that_stand_on_images_with_an_answer(
    animals: LabelSet, people: list[User], owner: User, project: Project
) -> None:
    anna, rita, _ = people
    images = pictures(animals, 6)
    vote(animals, anna, images, "cat cat cat cat cat cat")
    vote(animals, rita, images, "dog cat cat - dog")
    vote(animals, rita, images, "cat")  # thought better of it
    review.undo(animals, rita, "reviewer", review.next_undo(animals, rita))
    vote(animals, owner, [images[3]], "dog", settles=True)  # no vote, and so one vote alone
    gone = User.objects.create_user("gone")
    vote(animals, gone, [images[5]], "dog")
    gone.delete()
    found = figures(animals, owner)
    assert pairs(found) == {("anna", "rita"): (pytest.approx(0.0), 4)}
    assert [person.votes for person in found.people] == [4, 4]


def test_images_that_wait_for_votes_are_left_out(animals: LabelSet, people: list[User], owner: User) -> None:
    """Else two figures would tell of a vote before its image is settled."""
    batches.ask_votes(animals, owner, 3)
    images = pictures(animals, 2)
    vote(animals, people[0], images, "cat cat")
    vote(animals, people[1], images, "dog dog")
    assert figures(animals, owner).images == 0
    vote(animals, people[2], images[:1], "dog")
    assert figures(animals, owner).images == 1


def test_the_newest_images_count_where_they_are_many(
    animals: LabelSet, people: list[User], owner: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST_IMAGES", 4)
    images = pictures(animals, 4)
    vote(animals, people[0], images, "cat cat cat dog")
    vote(animals, people[1], images, "cat cat dog dog")
    found = figures(animals, owner)
    assert (found.images, found.is_cut) == (4, False)
    more = pictures(animals, 2, start=10)
    vote(animals, people[0], more, "cat dog")
    vote(animals, people[1], more, "cat dog")
    found = figures(animals, owner)
    assert (found.images, found.is_cut) == (4, True)
    expected = cohen_kappa_score(["cat", "dog", "cat", "dog"], ["cat", "dog", "dog", "dog"])
    assert pairs(found) == {("anna", "rita"): (pytest.approx(expected), 4)}
    assert "These are the newest 4 images" in login(owner).get(reverse("agreement", args=[animals.pk])).text


def test_pairs_and_the_table_of_fleiss_are_bounded(
    animals: LabelSet, people: list[User], owner: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST_PAIRS", 2)
    monkeypatch.setattr(counting, "MOST_CELLS", 8)
    images = pictures(animals, 5)
    for user, names in zip(people, ("cat dog cat dog cat", "cat dog dog dog cat", "cat"), strict=True):
        vote(animals, user, images, names)
    found = figures(animals, owner)
    assert [pair.kappa.images for pair in found.pairs] == [5, 1] and found.more_pairs == 1
    assert found.fleiss.images == 4
    page = login(owner).get(reverse("agreement", args=[animals.pk])).text
    assert "1 pair with fewer images is left out." in page


def test_the_page_costs_the_same_for_many(
    animals: LabelSet, people: list[User], owner: User, login: Login
) -> None:
    client = login(owner)
    addresses = reverse("agreement", args=[animals.pk]), f"/api/v1/label-sets/{animals.pk}/agreement/"

    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    def voted(count: int, start: int) -> None:
        images = pictures(animals, count, start)
        for user in people:
            decide(animals, user, [Decision(image, Verdict.ACCEPTED) for image in images])

    voted(3, 0)
    few = [queries(address) for address in addresses]
    voted(60, 3)
    assert [queries(address) for address in addresses] == few


def test_the_site_starts_without_statsmodels() -> None:
    code = (
        "import django, sys; django.setup(); import clipsite.urls, clipsite.wsgi, labeling.vote_views;"
        "sys.exit(bool({'statsmodels', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    env = {"DJANGO_SETTINGS_MODULE": "clipsite.settings", "DATA_DIR": str(settings.DATA_DIR), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=settings.BASE_DIR, env=env, check=True, timeout=60)


# Who is told what


@pytest.fixture
def voted(animals: LabelSet, people: list[User]) -> LabelSet:
    images = pictures(animals, 6)
    for user, names in zip(
        people, ("cat dog cat dog cat cat", "cat dog dog dog cat bird", "cat cat cat dog - -"), strict=True
    ):
        vote(animals, user, images, names)
    return animals


def test_a_reviewer_is_told_of_everybody_a_member_of_themselves(
    voted: LabelSet, people: list[User], member: Callable[[str], User], login: Login
) -> None:
    anna, rita, olga = people

    def told(user: User) -> tuple[set[tuple], list[str], str]:
        found = login(user).get(f"/api/v1/label-sets/{voted.pk}/agreement/").json()
        page = login(user).get(reverse("agreement", args=[voted.pk])).text
        assert found["fleiss"]["votes"] == 3 and found["images"] == 6
        return (
            {tuple(pair["users"]) for pair in found["pairs"]},
            [one["user"] for one in found["people"]],
            page,
        )

    for user in (rita, olga):
        pairs, names, page = told(user)
        assert pairs == {("anna", "rita"), ("olga", "anna"), ("olga", "rita")}
        assert names == ["anna", "rita", "olga"] and "anna and rita" in page
    pairs, names, page = told(anna)
    assert pairs == {("anna", None), (None, "anna")} and names == ["anna"]
    assert "anna and another member" in page and "rita" not in page and "olga" not in page
    pairs, names, page = told(member("viewer"))
    assert not pairs and not names and "anna" not in page and "rita" not in page


def test_a_stranger_is_told_nothing(voted: LabelSet, stranger: User, login: Login) -> None:
    for address in (reverse("agreement", args=[voted.pk]), f"/api/v1/label-sets/{voted.pk}/agreement/"):
        assert login(stranger).get(address).status_code == 404
    assert login(None).get(f"/api/v1/label-sets/{voted.pk}/agreement/").status_code == 401


# A script of votes


class Model:
    """What votes come to, said plainly: every action in a list, read anew for each question."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self.actions: list[dict] = []  # each: who, image, what, settles, undone

    def say(self, who: str, image: int, what: str, settles: bool = False) -> None:
        self.actions.append({"who": who, "image": image, "what": what, "settles": settles, "undone": False})

    def undo(self, who: str) -> None:
        """Their last action that stands and that nothing has overtaken: their own later one, or a word."""
        for at, action in reversed(list(enumerate(self.actions))):
            if action["who"] != who or action["undone"]:
                continue
            later = [
                other
                for other in self.actions[at + 1 :]
                if other["image"] == action["image"] and not other["undone"]
            ]
            if self.asked == 1:
                overtaken = bool(later)
            else:
                overtaken = any(other["settles"] or other["who"] == who for other in later)
            if not overtaken:
                action["undone"] = True
                return

    def standing(self, image: int) -> list[dict]:
        return [one for one in self.actions if one["image"] == image and not one["undone"]]

    def votes(self, image: int, words_too: bool = False) -> dict[str, str]:
        return {one["who"]: one["what"] for one in self.standing(image) if words_too or not one["settles"]}

    def answer(self, image: int) -> str:
        standing = self.standing(image)
        if not standing:
            return ""
        if self.asked == 1:
            return standing[-1]["what"]
        if words := [one for one in standing if one["settles"]]:
            return words[-1]["what"]
        votes = self.votes(image)
        if len(votes) < self.asked:
            return ""
        return votes.popitem()[1] if len(set(votes.values())) == 1 else "disputed"


def acted(clients: dict[str, Client], label_set: LabelSet, by_page: bool, who: str, **said: object) -> None:
    """A vote, a word or an undoing, by a form or by the API."""
    client, pk = clients[who], label_set.pk
    if said.get("undo"):
        batch = review.next_undo(label_set, User.objects.get(username=who))
        if by_page:
            address = reverse("settle_undo" if who != "anna" else "undo", args=[pk])
            assert client.post(address, {"page": "image"}).status_code == 302
        elif batch:
            body = {"batch": str(batch)}
            got = client.post(f"/api/v1/label-sets/{pk}/reviews/undo/", body, content_type=JSON)
            assert got.status_code == 200
        return
    label = None if said["what"] == "none" else label_set.labels.get(name=said["what"]).pk
    verdict = "corrected" if label else "none"
    if by_page:
        values = {"image": said["image"], "verdict": verdict} | ({"label": label} if label else {})
        address = reverse("settle" if said["settles"] else "decide", args=[pk])
        assert client.post(address, values).status_code == 302
    else:
        one = {"image": said["image"], "label": label, "verdict": verdict}
        body = {"reviews": [one], "settles": said["settles"]}
        got = client.post(f"/api/v1/label-sets/{pk}/reviews/", body, content_type=JSON)
        assert got.status_code == 201


def answers(label_set: LabelSet, images: Sequence[int]) -> list[str]:
    found = {row.image_id: row for row in label_set.annotations.select_related("label")}
    told = (found.get(image) for image in images)
    return ["" if row is None else row.label.name if row.label else row.status for row in told]


def expected_pairs(model: Model, images: Sequence[int]) -> dict[frozenset[str], tuple[float, int]]:
    """Cohen's kappa by scikit-learn, of each two people with votes on images that have an answer."""
    both: dict[frozenset[str], list[tuple[str, str]]] = defaultdict(list)
    for image in images:
        votes = model.votes(image)
        if model.answer(image) and len(votes) > 1:
            for one, other in combinations(sorted(votes), 2):
                both[frozenset((one, other))].append((votes[one], votes[other]))
    return {names: (cohen_kappa_score(*zip(*said, strict=True)), len(said)) for names, said in both.items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_script_of_votes_comes_to_what_a_plain_model_and_scikit_learn_say(
    animals: LabelSet, people: list[User], login: Login, seed: int
) -> None:
    rng, model = random.Random(seed), Model(2)
    images = pictures(animals, 80)
    clients = {user.username: login(user) for user in people}
    truth = {image: rng.choice(NAMES) for image in images}
    for step in range(220):
        who, by_page = rng.choice(sorted(clients)), rng.random() < 0.5
        kind = rng.random()
        if kind < 0.15:
            acted(clients, animals, by_page, who, undo=True)
            model.undo(who)
        else:
            image = rng.choice(images)
            what = truth[image] if rng.random() < 0.7 else rng.choice(NAMES)
            settles = who != "anna" and kind > 0.92
            acted(clients, animals, by_page, who, image=image, what=what, settles=settles)
            model.say(who, image, what, settles)
        if step % 20 == 0:
            assert answers(animals, images) == [model.answer(image) for image in images], step
    for asked in (2, 3, 1, 2):
        batches.ask_votes(animals, people[2], asked)
        model.asked = asked
        assert answers(animals, images) == [model.answer(image) for image in images], asked
    said = {model.answer(image) for image in images}
    assert {"disputed", ""} < said and Review.objects.filter(settles=True).count() > 3
    check_figures(animals, model, images, clients["olga"])


def check_figures(label_set: LabelSet, model: Model, images: Sequence[int], client: Client) -> None:
    """The page's and the API's."""
    expected = expected_pairs(model, images)
    assert len(expected) == 3
    found = client.get(f"/api/v1/label-sets/{label_set.pk}/agreement/").json()
    shown = client.get(reverse("agreement", args=[label_set.pk])).context["pairs"]
    for told in (
        {frozenset(pair["users"]): (pair["kappa"], pair["images"]) for pair in found["pairs"]},
        {frozenset((one, other)): (kappa.value, kappa.images) for one, other, kappa in shown},
    ):
        assert told == {names: (pytest.approx(kappa), count) for names, (kappa, count) in expected.items()}
    ballots = [list(model.votes(image).values()) for image in images if model.answer(image)]
    counted = Counter(len(ballot) for ballot in ballots if len(ballot) > 1)
    most = max(counted, key=lambda number: (counted[number], number))
    same = [ballot for ballot in ballots if len(ballot) == most]
    assert found["fleiss"]["kappa"] == pytest.approx(fleiss(same))
    assert (found["fleiss"]["images"], found["fleiss"]["votes"]) == (len(same), most)
    for person in found["people"]:
        voted = [
            (model.votes(image)[person["user"]], model.answer(image))
            for image in images
            if model.answer(image) and len(model.votes(image)) > 1 and person["user"] in model.votes(image)
        ]
        settled = [(vote, answer) for vote, answer in voted if answer != "disputed"]
        assert person["votes"] == len(voted)
        assert person["settled"] == {"same": sum(a == b for a, b in settled), "of": len(settled)}
