"""What a person has to review, and in which order."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from gallery.access import User
from gallery.models import Image
from labeling import ordering
from labeling.models import Annotation, LabelSet, Match, Review
from labeling.ordering import Key
from labeling.review import DECIDES, Verdict

# Least certain first, and what the person skipped last.
QUEUE = (Key("was_skipped"), Key("probability"), Key("image_id"))


def queue(label_set: LabelSet, user: User) -> QuerySet[Match]:
    """What this person has to review, in its order: the suggestions that nobody has decided about."""
    # Of matches, not of images with all that is known of them: each decision asks for its neighbours.
    settled = Annotation.objects.filter(label_set=label_set, image=OuterRef("image"))
    waiting = label_set.matches.filter(~Exists(settled))
    return ordering.ordered(waiting.annotate(was_skipped=_was_skipped(label_set, user, "image")), QUEUE)


def _was_skipped(label_set: LabelSet, user: User, image: str) -> ExpressionWrapper:
    skipped = label_set.reviews.filter(user=user, verdict=Verdict.SKIPPED, undone_by=None)
    # One list for the whole query: an EXISTS would be asked of each row, several times over.
    return ExpressionWrapper(Q(**{f"{image}__in": skipped.values("image")}), models.BooleanField())


@dataclass(frozen=True)
class Place:
    """An image in a person's queue; the ids of those before and after it are looked up when asked for.

    Before the queue stand the images that this person has decided about, the newest last. After the last one
    comes the first: so long as any other waits, there is a next.
    """

    label_set: LabelSet
    user: User
    image: Image

    @cached_property
    def previous(self) -> int | None:
        if self._decided_here:
            return self._decided.filter(pk__lt=self._decided_here.pk).values_list("image", flat=True).last()
        before = ordering.before(self._others, QUEUE, self._key).first()
        return before or self._decided.values_list("image", flat=True).last()

    @cached_property
    def next(self) -> int | None:
        if self._decided_here:
            decided = self._decided.filter(pk__gt=self._decided_here.pk)
            after = decided.values_list("image", flat=True).first()
        else:
            after = ordering.after(self._others, QUEUE, self._key).first()
        return after or self._others.first()

    @property
    def _key(self) -> dict[str, Any]:
        image = self.image
        return {"was_skipped": image.was_skipped, "probability": image.probability, "image_id": image.pk}

    @property
    def _others(self) -> QuerySet[int]:
        waiting = queue(self.label_set, self.user).exclude(image=self.image.pk)
        return waiting.values_list("image_id", flat=True)

    @property
    def _decided(self) -> QuerySet[Review]:
        """What this person decided about other images."""
        return _decisions(self.label_set, self.user).exclude(image=self.image.pk)

    @cached_property
    def _decided_here(self) -> Review | None:
        return _decisions(self.label_set, self.user).filter(image=self.image.pk).last()


def _decisions(label_set: LabelSet, user: User) -> QuerySet[Review]:
    standing = label_set.reviews.filter(DECIDES, user=user, undone_by=None)
    return standing.exclude(verdict=Verdict.UNDONE)


def place(label_set: LabelSet, user: User, image_id: int | None = None) -> Place | None:
    """Where the image stands in the queue, also one that is reviewed already; without an id, the first.

    None where there is no such image, or nothing left to review.
    """
    if image_id is None:
        image_id = queue(label_set, user).values_list("image_id", flat=True).first()
    images = label_set.images().annotate(was_skipped=_was_skipped(label_set, user, "pk"))
    image = images.filter(pk=image_id).first() if image_id else None
    return Place(label_set, user, image) if image else None
