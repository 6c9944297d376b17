"""The one door for people's decisions: decide, undo, what comes next. No task writes here."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from gallery.access import User, allowed
from gallery.models import Image
from labeling import ordering
from labeling.models import UNREVIEWED, Annotation, LabelSet, Match, Review
from labeling.ordering import Key

Verdict = Review.Verdict
# Rows of one statement: SQLite holds its write lock no longer than that takes.
AT_ONCE = 200


@dataclass(frozen=True)
class Decision:
    """What a person says of an image: a label of the set, or `none` of them, or `skipped`.

    Without a label, `accepted` means the suggestion, as it stands when the decision is written.
    """

    image_id: int
    verdict: Verdict
    label_id: int | None = None


@transaction.atomic
def decide(label_set: LabelSet, user: User, decisions: Sequence[Decision]) -> uuid.UUID:
    """Write decisions down as one batch, which `undo` takes back whole. Returns the batch.

    Raises ValidationError, and then writes nothing: an image or label of another set, an image twice,
    or `accepted` where there is no suggestion.
    """
    batch = uuid.uuid4()
    ids = [decision.image_id for decision in decisions]
    labels = {label.pk: label for label in label_set.labels.all()}
    matches = {match.image_id: match for match in Match.objects.filter(label_set=label_set, image__in=ids)}
    known = set(Image.objects.filter(project=label_set.project_id, pk__in=ids).values_list("pk", flat=True))
    if len(set(ids)) < len(ids):
        raise ValidationError("An image stands twice in these reviews. Send each one once.")
    reviews = []
    for decision in decisions:
        if decision.image_id not in known:
            raise ValidationError(f"There is no image {decision.image_id} in this project.")
        if decision.label_id is not None and decision.label_id not in labels:
            raise ValidationError(f"There is no label {decision.label_id} in this label set.")
        match = matches.get(decision.image_id)
        verdict, label_id = _resolved(decision, match)
        reviews.append(
            Review(
                image_id=decision.image_id,
                label_set=label_set,
                user=user,
                label=labels.get(label_id),
                label_name=labels[label_id].name if label_id else "",
                verdict=verdict,
                suggested_name=labels[match.label_id].name if match else "",
                suggested_probability=match.probability if match else None,
                batch=batch,
            )
        )
    Review.objects.bulk_create(reviews, batch_size=AT_ONCE)
    _settle(label_set, ids)
    return batch


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


@dataclass(frozen=True)
class Undone:
    images: list[int]  # back to what they were before the batch
    kept: list[int]  # somebody decided after the batch, and that stands


@transaction.atomic
def undo(label_set: LabelSet, user: User, role: str, batch: uuid.UUID) -> Undone:
    """Take a batch back, except where somebody decided after it.

    Raises PermissionDenied for another person's batch, unless the role may undo for others.
    """
    reviews = list(label_set.reviews.filter(batch=batch, undone_by=None).exclude(verdict=Verdict.UNDONE))
    if any(review.user_id != user.pk for review in reviews) and "undo for others" not in allowed(role):
        raise PermissionDenied("Somebody else decided this. Ask a reviewer of the project to take it back.")
    standing = _effective(label_set, [review.image_id for review in reviews])
    kept = {
        review.image_id
        for review in reviews
        if any(other.pk > review.pk and _decides(other) for other in standing[review.image_id])
    }
    undone = [review for review in reviews if review.image_id not in kept]
    Review.objects.bulk_create(
        [
            Review(
                image_id=review.image_id,
                label_set=label_set,
                user=user,
                verdict=Verdict.UNDONE,
                label_id=review.label_id,
                label_name=review.label_name,
                undoes=review,
            )
            for review in undone
        ],
        batch_size=AT_ONCE,
    )
    images = [review.image_id for review in undone]
    _settle(label_set, images)
    return Undone(images, sorted(kept))


def last_batch(label_set: LabelSet, user: User) -> uuid.UUID | None:
    """What this person's next undo takes back: not what somebody decided about since."""
    standing = label_set.reviews.filter(undone_by=None).exclude(verdict=Verdict.UNDONE)
    later = standing.filter(image=OuterRef("image"), pk__gt=OuterRef("pk")).filter(DECIDES)
    last = standing.filter(~Exists(later), user=user).order_by("-id").first()
    return last.batch if last else None


def _effective(label_set: LabelSet, image_ids: Iterable[int]) -> dict[int, list[Review]]:
    """Of each image, the reviews that were not taken back, oldest first."""
    standing: dict[int, list[Review]] = defaultdict(list)
    rows = label_set.reviews.filter(image__in=list(image_ids), undone_by=None)
    for review in rows.exclude(verdict=Verdict.UNDONE).order_by("id"):
        standing[review.image_id].append(review)
    return standing


def _settle(label_set: LabelSet, image_ids: Sequence[int]) -> None:
    """Make the annotations of these images say what their standing reviews say."""
    standing = _effective(label_set, image_ids)
    settled = {}
    for image_id in image_ids:
        decided = [review for review in standing[image_id] if _decides(review)]
        if decided:
            settled[image_id] = decided[-1]
    label_set.annotations.filter(image__in=set(image_ids) - set(settled)).delete()
    Annotation.objects.bulk_create(
        [
            Annotation(
                image_id=image_id,
                label_set=label_set,
                label_id=review.label_id,
                status=review.verdict,
                source=Annotation.Source.HUMAN,
                decided_by_id=review.user_id,
                decided_at=review.at,
            )
            for image_id, review in settled.items()
        ],
        update_conflicts=True,
        unique_fields=["image", "label_set"],
        update_fields=["label", "status", "source", "decided_by", "decided_at"],
        batch_size=AT_ONCE,
    )


# A skip decides nothing, and neither does a label that was deleted since.
DECIDES = Q(verdict=Verdict.NONE) | (Q(label__isnull=False) & ~Q(verdict=Verdict.SKIPPED))


def _decides(review: Review) -> bool:
    """The same of a review that is here."""
    return review.verdict == Verdict.NONE or (
        review.verdict != Verdict.SKIPPED and review.label_id is not None
    )


# Least certain first, and what the person skipped last.
QUEUE = (Key("was_skipped"), Key("probability"), Key("pk"))


def queue(label_set: LabelSet, user: User) -> QuerySet[Image]:
    """What this person has to review, in its order."""
    return ordering.ordered(_ranked(label_set, user).filter(status=UNREVIEWED), QUEUE)


def _ranked(label_set: LabelSet, user: User) -> QuerySet[Image]:
    skipped = label_set.reviews.filter(
        image=OuterRef("pk"), user=user, verdict=Verdict.SKIPPED, undone_by=None
    )
    return label_set.images().annotate(was_skipped=Exists(skipped))


@dataclass(frozen=True)
class Place:
    """An image in a person's queue, with the ids of those before and after it.

    Before the queue stand the images that this person has decided about, the newest last. After the last one
    comes the first: so long as any other waits, there is a next.
    """

    image: Image
    previous: int | None
    next: int | None


def place(label_set: LabelSet, user: User, image_id: int | None = None) -> Place | None:
    """Where the image stands in the queue, also one that is reviewed already; without an id, the first.

    None where there is no such image, or nothing left to review.
    """
    waiting = queue(label_set, user)
    image = _ranked(label_set, user).filter(pk=image_id).first() if image_id else waiting.first()
    if image is None:
        return None
    at = {key.name: getattr(image, key.name) for key in QUEUE}
    others = waiting.exclude(pk=image.pk).values_list("pk", flat=True)
    decided = label_set.reviews.filter(DECIDES, user=user, undone_by=None).exclude(verdict=Verdict.UNDONE)
    if here := decided.filter(image=image).last():
        neighbours = decided.exclude(image=image).values_list("image", flat=True)
        before, after = neighbours.filter(pk__lt=here.pk).last(), neighbours.filter(pk__gt=here.pk).first()
        return Place(image, before, after or others.first())
    before = ordering.before(others, QUEUE, at).first()
    if before is None:
        before = decided.exclude(image=image).values_list("image", flat=True).last()
    return Place(image, before, ordering.after(others, QUEUE, at).first() or others.first())
