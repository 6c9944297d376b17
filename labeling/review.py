"""The one door for people's decisions: decide, undo, redo, clear. No task decides anything of its own."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from gallery import webhooks
from gallery.access import User, allowed
from gallery.models import Image
from labeling import leases, votes
from labeling.models import Annotation, Batch, BatchPart, LabelSet, Match, Review
from labeling.votes import DECIDES

Verdict, Kind, State = Review.Verdict, Batch.Kind, Batch.State
# Rows of one statement: SQLite holds its write lock no longer than that takes.
AT_ONCE = 200


@dataclass(frozen=True)
class Decision:
    """What a person says of an image: a label of the set, or `none` of them, or `skipped`.

    Without a label, `accepted` means the suggestion, as it stands when the decision is written. `seen`: the
    `version` of the answer that the person saw; without it, whatever is there is answered anew.
    """

    image_id: int
    verdict: Verdict
    label_id: int | None = None
    seen: str | None = None


class Stale(Exception):
    """Somebody else decided in the meantime: nothing was written."""

    def __init__(self, answers: Sequence[Annotation | None], names: Sequence[str]) -> None:
        self.sentences = [_told(answer, name) for answer, name in zip(answers, names, strict=True)]
        super().__init__(" ".join(self.sentences))


def _told(answer: Annotation | None, name: str) -> str:
    """Who decided what, in words."""
    if answer is None:
        return f"{name}: the decision that you saw was taken back in the meantime. Nothing was changed."
    who = answer.decided_by.get_username() if answer.decided_by else "Somebody"
    if answer.status == Annotation.Status.DISPUTED:
        return f"{name}: people disagree about it by now. Nothing was changed."
    what = f"is {answer.label.name}" if answer.label else "has none of these labels"
    return f"{name}: {who} decided in the meantime that it {what}. Nothing was changed."


def version(answer: Annotation | None) -> str:
    """Tells one settled answer of an image from every other; empty where there is none."""
    return answer.decided_at.isoformat() if answer else ""


@transaction.atomic
def decide(
    label_set: LabelSet,
    user: User,
    decisions: Sequence[Decision],
    settles: bool = False,
    leave_stale: bool = False,
) -> uuid.UUID:
    """Write decisions down as one batch, which `undo` takes back whole. Returns the batch's id.

    `settles`: a reviewer's word, which stands over people's votes. Raises ValidationError, and then writes
    nothing: an image or label of another set, an image twice, or `accepted` where there is no suggestion;
    and Stale where an answer is not the one that was seen, unless those are to be left as they are and there
    are others.
    """
    ids = [decision.image_id for decision in decisions]
    names = _locked(label_set, ids)
    if len(set(ids)) < len(ids):
        raise ValidationError("An image stands twice in these reviews. Send each one once.")
    for image_id in ids:
        if image_id not in names:
            raise ValidationError(f"There is no image {image_id} in this project.")
    stale = _stale(label_set, decisions)
    if stale and (not leave_stale or len(stale) == len(decisions)):
        raise Stale(list(stale.values()), [names[image_id] for image_id in stale])
    decisions = [decision for decision in decisions if decision.image_id not in stale]
    batch = Batch(label_set=label_set, user=user, total=len(decisions))
    reviews = _reviews(batch, decisions, settles)
    if len({(review.verdict, review.label_id) for review in reviews}) == 1:
        batch.verdict, batch.label = reviews[0].verdict, reviews[0].label
        batch.label_name = reviews[0].label_name
    batch.save(force_insert=True)
    Review.objects.bulk_create(reviews, batch_size=AT_ONCE)
    settle(batch, [review.image_id for review in reviews])
    # Said what there is to say, the person needs it no longer, and another vote may be asked for.
    leases.drop(label_set, user, ids)
    return batch.pk


def _locked(label_set: LabelSet, image_ids: Collection[int]) -> dict[int, str]:
    """Those of the images that the project has, with their names; nobody else decides meanwhile."""
    rows = Image.objects.filter(project=label_set.project_id, pk__in=image_ids).order_by("pk")
    return dict(rows.select_for_update(no_key=True).values_list("pk", "name"))


def _stale(label_set: LabelSet, decisions: Sequence[Decision]) -> dict[int, Annotation | None]:
    """The present answers of images about which the person saw another one."""
    seen = {decision.image_id: decision.seen for decision in decisions if decision.seen is not None}
    if not seen:
        return {}
    answers = label_set.annotations.filter(image__in=seen).select_related("label", "decided_by")
    present = {answer.image_id: answer for answer in answers}
    return {
        image_id: present.get(image_id)
        for image_id, version_seen in seen.items()
        if version(present.get(image_id)) != version_seen
    }


def _reviews(batch: Batch, decisions: Sequence[Decision], settles: bool = False) -> list[Review]:
    """The rows, not saved yet. Raises ValidationError."""
    label_set = batch.label_set
    labels = {label.pk: label for label in label_set.labels.all()}
    ids = [decision.image_id for decision in decisions]
    matches = {match.image_id: match for match in Match.objects.filter(label_set=label_set, image__in=ids)}
    reviews = []
    for decision in decisions:
        if decision.label_id is not None and decision.label_id not in labels:
            raise ValidationError(f"There is no label {decision.label_id} in this label set.")
        match = matches.get(decision.image_id)
        verdict, label_id = _resolved(decision, match)
        reviews.append(
            Review(
                image_id=decision.image_id,
                label_set=label_set,
                user_id=batch.user_id,
                label=labels.get(label_id),
                label_name=labels[label_id].name if label_id else "",
                verdict=verdict,
                suggested_name=labels[match.label_id].name if match else "",
                suggested_probability=match.probability if match else None,
                batch=batch,
                settles=settles and verdict != Verdict.SKIPPED,
            )
        )
    return reviews


def _resolved(decision: Decision, match: Match | None) -> tuple[Verdict, int | None]:
    """The verdict and label to store: a label is accepted where CLIP said the same, else corrected."""
    if decision.verdict in (Verdict.NONE, Verdict.SKIPPED):
        if decision.label_id is not None:
            raise ValidationError(f"Image {decision.image_id} is {decision.verdict}, and yet has a label.")
        return decision.verdict, None
    suggested = match.label_id if match else None
    label_id = decision.label_id or suggested
    if label_id is None or decision.verdict not in (Verdict.ACCEPTED, Verdict.CORRECTED):
        raise ValidationError(f"Image {decision.image_id} has no suggestion yet: say which label it has.")
    if decision.verdict == Verdict.CORRECTED and decision.label_id is None:
        raise ValidationError(f"Image {decision.image_id} is corrected to what? Give a label.")
    return (Verdict.ACCEPTED if label_id == suggested else Verdict.CORRECTED), label_id


def decide_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Write the part of a large batch that is about these images, inside a transaction.

    Returns how many were left: gone, without the suggestion that was to be accepted, or decided about by
    somebody after the batch was asked for.
    """
    if batch.label_name and batch.label_id is None:
        raise ValidationError(f"The label {batch.label_name} was deleted in the meantime.")
    label_set = batch.label_set
    there = _locked(label_set, image_ids)
    if batch.verdict == Verdict.ACCEPTED and batch.label_id is None:
        matched = label_set.matches.filter(image__in=there).values_list("image_id", flat=True)
        there = {image_id: there[image_id] for image_id in matched}
    decided = _decided_since(batch, there)
    decisions = [
        Decision(image_id, Verdict(batch.verdict), batch.label_id)
        for image_id in image_ids
        if image_id in there and image_id not in decided
    ]
    reviews = Review.objects.bulk_create(_reviews(batch, decisions), batch_size=AT_ONCE)
    _settle_by(batch, reviews)
    return len(image_ids) - len(decisions)


def _decided_since(batch: Batch, image_ids: Collection[int]) -> set[int]:
    """Images about which somebody decided after the batch was asked for."""
    # By when it was asked for: what waited before this one may have been written a moment ago.
    newer = batch.label_set.reviews.filter(
        DECIDES, image__in=image_ids, batch__at__gt=batch.at, undone_by=None
    )
    if votes.asked(batch.label_set) > 1:
        newer = newer.filter(Q(settles=True) | Q(user=batch.user_id))
    return set(newer.values_list("image_id", flat=True))


def _settle_by(batch: Batch, reviews: Sequence[Review]) -> None:
    """Where the last word settles, it is one of these, just written."""
    by_last_word = votes.asked(batch.label_set) == 1
    last_words = {review.image_id: [review] for review in reviews} if by_last_word else None
    settle(batch, [review.image_id for review in reviews], last_words)


def import_part(batch: Batch, part: BatchPart) -> int:
    """Write the part of an import: a verdict, and a label's id or none, for each image.

    Inside a transaction. Returns how many were left: the image or the label is gone, or somebody decided
    after the import was asked for.
    """
    label_set = batch.label_set
    there = _locked(label_set, part.image_ids)
    decided = _decided_since(batch, there)
    labels = {label.pk: label for label in label_set.labels.all()}
    matches = {match.image_id: match for match in label_set.matches.filter(image__in=there)}
    reviews = [
        Review(
            image_id=image_id,
            label_set=label_set,
            user_id=batch.user_id,
            label=labels.get(label_id),
            label_name=labels[label_id].name if label_id else "",
            verdict=verdict,
            suggested_name=labels[match.label_id].name if (match := matches.get(image_id)) else "",
            suggested_probability=match.probability if match else None,
            batch=batch,
            imported=True,
            # Whoever may import may settle as well.
            settles=votes.asked(label_set) > 1,
        )
        for image_id, (verdict, label_id) in zip(part.image_ids, part.said, strict=True)
        if image_id in there and image_id not in decided and (label_id is None or label_id in labels)
    ]
    Review.objects.bulk_create(reviews, batch_size=AT_ONCE)
    _settle_by(batch, reviews)
    return len(part.image_ids) - len(reviews)


def settle_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Settle these images anew, by the votes that are asked for now."""
    settle(batch, image_ids)
    return 0


@dataclass(frozen=True)
class Undone:
    images: list[int]  # back to what they were before the batch
    kept: list[int]  # somebody decided after the batch, and that stands


def may_reverse(batch: Batch, user: User, role: str) -> bool:
    """Whether it is the person's own batch, or the role undoes for others."""
    return batch.user_id == user.pk or "undo for others" in allowed(role)


def check_may_reverse(batch: Batch, user: User, role: str) -> None:
    """Raises PermissionDenied."""
    if not may_reverse(batch, user, role):
        raise PermissionDenied("Somebody else decided this. Ask a reviewer of the project to take it back.")


@transaction.atomic
def undo(label_set: LabelSet, user: User, role: str, batch_id: uuid.UUID) -> Undone:
    """Take a batch back, except where somebody decided after it.

    Raises PermissionDenied for another person's batch, unless the role may undo for others.
    """
    batch = label_set.batches.filter(pk=batch_id).exclude(kind=Kind.UNDO).first()
    if batch is None:
        return Undone([], [])
    batch.label_set = label_set
    check_may_reverse(batch, user, role)
    undoing = Batch(label_set=label_set, user=user, kind=Kind.UNDO, reverses=batch)
    return _reversed(undoing, undo_part, list(standing(batch).values_list("image_id", flat=True)))


@transaction.atomic
def redo(label_set: LabelSet, user: User, role: str, batch_id: uuid.UUID) -> Undone:
    """Take the undoing of a batch back, except where somebody decided after it. Raises as `undo`."""
    undoing = label_set.batches.filter(pk=batch_id, kind=Kind.UNDO, reversed_by=None).first()
    if undoing is None:
        return Undone([], [])
    undoing.label_set = label_set
    check_may_reverse(undoing, user, role)
    batch = Batch(label_set=label_set, user=user, kind=Kind.REDO, reverses=undoing)
    return _reversed(batch, redo_part, list(undoing.reviews.values_list("image_id", flat=True)))


def _reversed(batch: Batch, part: Callable[[Batch, Sequence[int]], int], image_ids: list[int]) -> Undone:
    """Reverse in one go. No row is left behind by what changes nothing."""
    batch.save(force_insert=True)
    part(batch, image_ids)
    images = list(batch.reviews.order_by("pk").values_list("image_id", flat=True))
    if images:
        batch.total = len(images)
        batch.save(update_fields=["total"])
    else:
        batch.delete()
    return Undone(images, sorted(set(image_ids) - set(images)))


def standing(batch: Batch) -> QuerySet[Review]:
    """What of the batch was not taken back."""
    return batch.reviews.filter(undone_by=None).exclude(verdict=Verdict.UNDONE).order_by("pk")


def undo_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Of the batch that `batch` reverses, take back what it says of these images, inside a transaction.

    One that reverses no batch takes back what settled each of them. Returns how many were left, since
    somebody decided after it.
    """
    _locked(batch.label_set, image_ids)
    if batch.reverses_id:
        reviews = list(standing(batch.reverses).filter(image__in=image_ids))
    else:
        reviews = _settling(batch.label_set, image_ids)
    deciding = effective(batch.label_set, image_ids)
    newer = _newer(batch.label_set, reviews, deciding)
    undone = [
        Review(
            image_id=review.image_id,
            label_set=batch.label_set,
            user_id=batch.user_id,
            verdict=Verdict.UNDONE,
            label_id=review.label_id,
            label_name=review.label_name,
            undoes=review,
            batch=batch,
        )
        for review in reviews
        if review.image_id not in newer
    ]
    Review.objects.bulk_create(undone, batch_size=AT_ONCE)
    gone = {review.undoes_id for review in undone}
    for review in undone:
        deciding[review.image_id] = [each for each in deciding[review.image_id] if each.pk not in gone]
    settle(batch, [review.image_id for review in undone], deciding)
    return len(image_ids) - len(undone)


def _settling(label_set: LabelSet, image_ids: Sequence[int]) -> list[Review]:
    """Of each image the answer that counts most: a reviewer's word where several vote, else the last one."""
    asked, found = votes.asked(label_set), []
    for answers in effective(label_set, image_ids).values():
        words = [review for review in answers if review.settles] if asked > 1 else []
        found.append((words or answers)[-1])
    return found


def redo_part(batch: Batch, image_ids: Sequence[int]) -> int:
    """Of the undoing that `batch` reverses, decide again what it took back of these images.

    Inside a transaction. Returns how many were left: somebody decided after it, or the label is gone.
    """
    _locked(batch.label_set, image_ids)
    undoings = list(
        batch.reverses.reviews.filter(image__in=image_ids).select_related("undoes").order_by("pk")
    )
    newer = _newer(batch.label_set, undoings, effective(batch.label_set, image_ids))
    again = [
        Review(
            image_id=undoing.image_id,
            label_set=batch.label_set,
            # Whose answer it is: another person may take the undoing back.
            user_id=undoing.undoes.user_id,
            label_id=undoing.undoes.label_id,
            label_name=undoing.undoes.label_name,
            verdict=undoing.undoes.verdict,
            suggested_name=undoing.undoes.suggested_name,
            suggested_probability=undoing.undoes.suggested_probability,
            settles=undoing.undoes.settles,
            imported=undoing.undoes.imported,
            batch=batch,
        )
        for undoing in undoings
        if undoing.image_id not in newer
        and (undoing.undoes.label_id is not None or not undoing.undoes.label_name)
    ]
    Review.objects.bulk_create(again, batch_size=AT_ONCE)
    settle(batch, [review.image_id for review in again])
    return len(image_ids) - len(again)


def _newer(
    label_set: LabelSet, reviews: Sequence[Review], deciding: Mapping[int, Sequence[Review]]
) -> set[int]:
    """The images about which somebody decided after these reviews, one an image, so that they are settled.

    Where several votes are asked for, another person's vote doesn't stand in the way of one's own.
    """
    asked = votes.asked(label_set)
    return {
        review.image_id
        for review in reviews
        for other in deciding[review.image_id]
        if other.pk > review.pk
        and (asked == 1 or other.settles or other.user_id == (review.undoes or review).user_id)
    }


@transaction.atomic
def clear(label_set: LabelSet, user: User, role: str, image_id: int, seen: str | None = None) -> Undone:
    """Take back what stands of one image: one's own answer, or for a reviewer the one that settled it.

    The batch that it was part of keeps its other images. Raises PermissionDenied as `undo`, and Stale where
    another answer stands than the one that was `seen`.
    """
    names = _locked(label_set, [image_id])
    if names and (stale := _stale(label_set, [Decision(image_id, Verdict.SKIPPED, seen=seen)])):
        raise Stale(list(stale.values()), list(names.values()))
    answers = effective(label_set, names)[image_id]
    own = [review for review in answers if review.user_id == user.pk]
    last = (own if votes.asked(label_set) > 1 and own else answers)[-1:]
    if not last:
        return Undone([], [])
    [review] = last
    if review.user_id != user.pk:
        check_may_reverse(review.batch, user, role)
    undoing = Batch(label_set=label_set, user=user, kind=Kind.UNDO, reverses=review.batch)
    return _reversed(undoing, undo_part, [image_id])


def next_undo(label_set: LabelSet, user: User) -> uuid.UUID | None:
    """What this person's next undo takes back: not what somebody decided about since."""
    rows = label_set.reviews.filter(batch=OuterRef("pk"), undone_by=None).exclude(verdict=Verdict.UNDONE)
    later = label_set.reviews.filter(DECIDES, undone_by=None, image=OuterRef("image"), pk__gt=OuterRef("pk"))
    if votes.asked(label_set) > 1:
        later = later.filter(Q(settles=True) | Q(user=OuterRef("user")))
    # Told by the batch where all of it was taken back: its rows are then not looked through one by one.
    whole = Batch.objects.filter(reverses=OuterRef("pk"), kind=Kind.UNDO, total__gte=OuterRef("total"))
    whole = whole.filter(~Exists(BatchPart.objects.filter(batch=OuterRef("pk"), left__gt=0)))
    own = label_set.batches.filter(user=user, kind__in=[Kind.DECIDE, Kind.REDO])
    last = own.filter(~Exists(whole), Exists(rows.filter(~Exists(later)))).first()
    return last.pk if last else None


def next_redo(label_set: LabelSet, user: User) -> uuid.UUID | None:
    """What this person's next redo brings back: the last undoing that no decision of theirs followed."""
    own = label_set.batches.filter(user=user)
    decided = own.filter(kind=Kind.DECIDE, at__gt=OuterRef("at"))
    undone = own.filter(~Exists(decided), kind=Kind.UNDO, reversed_by=None).first()
    return undone.pk if undone else None


def effective(label_set: LabelSet, image_ids: Iterable[int]) -> dict[int, list[Review]]:
    """Of each image, the reviews that decide something and were not taken back, oldest first."""
    deciding: dict[int, list[Review]] = defaultdict(list)
    rows = label_set.reviews.filter(DECIDES, image__in=list(image_ids), undone_by=None)
    for review in rows.order_by("id"):
        deciding[review.image_id].append(review)
    return deciding


def settle(
    batch: Batch, image_ids: Sequence[int], deciding: Mapping[int, Sequence[Review]] | None = None
) -> None:
    """Make the annotations of these images say what their standing reviews say, in the batch's transaction.

    `deciding`: those of the reviews that count, from who knows them already.
    """
    label_set = batch.label_set
    if deciding is None:
        deciding = effective(label_set, image_ids)
    asked = votes.asked(label_set)
    settled = {
        image_id: answer
        for image_id in image_ids
        if (answer := votes.settled(deciding[image_id], asked)) is not None
    }
    # Of images that were set aside as well: one may take back what was decided about them before.
    answers = Annotation.everything.filter(label_set=label_set)
    gone = answers.filter(image__in=set(image_ids) - set(settled))
    told = webhooks.is_told(label_set.project_id, "image.settled")
    unsettled = list(gone.values_list("image_id", flat=True)) if told else []
    gone.delete()
    Annotation.objects.bulk_create(
        [
            Annotation(
                image_id=image_id,
                label_set=label_set,
                label_id=answer.label_id,
                status=answer.status,
                source=Annotation.Source.IMPORT if answer.imported else Annotation.Source.HUMAN,
                decided_by_id=answer.user_id,
                decided_at=answer.at,
            )
            for image_id, answer in settled.items()
        ],
        update_conflicts=True,
        unique_fields=["image", "label_set"],
        update_fields=["label", "status", "source", "decided_by", "decided_at"],
        batch_size=AT_ONCE,
    )
    if told:
        _tell(batch, settled, unsettled)


def _tell(batch: Batch, settled: Mapping[int, votes.Answer], unsettled: Collection[int]) -> None:
    """Tell webhooks what people have settled or taken back, of many images at once."""
    changed, project = sorted([*settled, *unsettled]), batch.label_set.project_id
    names = dict(batch.label_set.labels.values_list("pk", "name"))
    about = {"label_set": batch.label_set_id, "batch": str(batch.pk), "kind": batch.kind}
    for start in range(0, len(changed), AT_ONCE):
        some = changed[start : start + AT_ONCE]
        images = [
            {"image": pk, "status": settled[pk].status, "label": settled[pk].label_id}
            | {"name": names.get(settled[pk].label_id, "")}
            for pk in some
            if pk in settled
        ]
        back = [pk for pk in some if pk not in settled]
        webhooks.notify(project, "image.settled", about | {"images": images, "unsettled": back})
