"""The one door for label sets: make one, change one. Either starts a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from gallery.access import User, allowed
from gallery.models import Project
from labeling import runs, votes
from labeling.models import ACTIVE, Label, LabelSet, default_templates

MOST_LABELS, MOST_PROMPTS = 1000, 10_000
# Prompts of one label, or templates; a longer one than CLIP reads is a mistake.
MOST_TEXTS, LONGEST_TEXT = 100, 500


@dataclass(frozen=True)
class LabelSpec:
    """A label as a person writes it. With the id of one that is there, that one is renamed."""

    name: str
    prompts: list[str] = field(default_factory=list)
    id: int | None = None


@transaction.atomic
def create(
    project: Project,
    user: User | None,
    name: str,
    labels: Sequence[LabelSpec],
    templates: Sequence[str] | None = None,
    votes: int | None = None,
) -> LabelSet:
    """Make a label set and score the project's images with it. Raises ValidationError.

    `votes`: how many people's answers settle an image, 1 to 9.
    """
    if votes is not None and not 1 <= votes <= 9:
        raise ValidationError({"votes": "From 1 to 9 votes can be asked for."})
    label_set = LabelSet.objects.create(
        project=project, name=name, templates=_templates(templates), votes=votes or 1
    )
    _write_labels(label_set, labels)
    _check_prompts(label_set)
    runs.start(project, label_set, user)
    return label_set


@transaction.atomic
def change(
    label_set: LabelSet,
    user: User | None,
    name: str | None = None,
    labels: Sequence[LabelSpec] | None = None,
    templates: Sequence[str] | None = None,
) -> LabelSet:
    """Change what is given, and score again where that changes what CLIP is asked.

    Raises ValidationError, and LabelSet.DoesNotExist where it is deleted by now.

    People's decisions stay: a label that an image was given can be renamed, not removed.
    """
    # Held until the end; where somebody has deleted it in the meantime, it does not come back.
    LabelSet.objects.select_for_update().get(pk=label_set.pk)
    if name is not None:
        label_set.name = name
    if templates is not None:
        label_set.templates = _templates(templates)
    # Not the votes, of which the object at hand may be older.
    label_set.save(update_fields=["name", "templates"])
    if labels is not None:
        _write_labels(label_set, labels)
    _check_prompts(label_set)
    last = label_set.runs.first()
    if last is None or runs.asks_otherwise(last):
        runs.start(label_set.project, label_set, user)
    return label_set


@transaction.atomic
def add(label_set: LabelSet, user: User | None, name: str, prompts: Sequence[str] = ()) -> Label:
    """Give the label set one label more, and score again. Raises as `change`, also for one that is there."""
    LabelSet.objects.select_for_update().get(pk=label_set.pk)
    labels, name = list(label_set.labels.all()), name.strip()
    if not name:
        raise ValidationError({"labels": "Give the label a name."})
    if there := next((label for label in labels if label.name.casefold() == name.casefold()), None):
        raise ValidationError({"labels": f"“{there.name}” is a label already. Choose another name."})
    specs = [LabelSpec(label.name, label.prompts, label.pk) for label in labels]
    change(label_set, user, labels=[*specs, LabelSpec(name, list(prompts))])
    return label_set.labels.get(name=name)


def check_deletable(label_set: LabelSet, role: str) -> None:
    """Raises PermissionDenied where people's decisions would go with the label set, but for an owner."""
    decided = label_set.annotations(manager="everything").count()
    if decided and "delete project" not in allowed(role):
        images = "1 image" if decided == 1 else f"{decided:,} images"
        raise PermissionDenied(f"People labelled {images} with this label set. Ask an owner to delete it.")


@transaction.atomic
def delete(label_set: LabelSet, role: str) -> None:
    """Delete a label set with its matches. Raises PermissionDenied as `check_deletable`."""
    check_deletable(label_set, role)
    for run in label_set.runs.filter(state__in=ACTIVE):
        runs.cancel(run)
    # Of imports that nobody has said yes to.
    waiting = [row.file for row in label_set.imports.exclude(file="").only("file")]
    label_set.delete()
    for file in waiting:
        transaction.on_commit(partial(file.storage.delete, file.name))


def _templates(templates: Sequence[str] | None) -> list[str]:
    templates = _texts(templates or []) or default_templates()
    for template in templates:
        if "{label}" not in template:
            raise ValidationError(
                {"templates": f"“{template}” has no {{label}} in it: where does the label go?"}
            )
    _check_texts("templates", "The label set", templates)
    return templates


def _write_labels(label_set: LabelSet, specs: Sequence[LabelSpec]) -> None:
    specs = [LabelSpec(spec.name.strip(), _texts(spec.prompts), spec.id) for spec in specs]
    specs = [spec for spec in specs if spec.name or spec.prompts]
    _check(specs)
    by_id = {label.pk: label for label in label_set.labels.all()}
    named = {spec.id for spec in specs if spec.id is not None}
    if unknown := named - by_id.keys():
        raise ValidationError({"labels": f"There is no label {min(unknown)} in this label set."})
    by_name = {label.name: label for label in by_id.values() if label.pk not in named}
    kept = []
    for position, spec in enumerate(specs):
        label = by_id.get(spec.id) or by_name.get(spec.name) or Label(label_set=label_set)
        label.name, label.prompts, label.position = spec.name, spec.prompts, position
        kept.append(label)
    _remove([label for label in by_id.values() if label not in kept])
    # Two labels may swap their names: out of the way first, since a name is unique at every moment.
    for label in kept:
        if label.pk:
            Label.objects.filter(pk=label.pk).update(name=f"\x1f{label.pk}")
    for label in kept:
        label.save()


def _texts(texts: Sequence[str]) -> list[str]:
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValidationError("Prompts and templates are lists of texts.")
    return [text.strip() for text in texts if text.strip()]


def _check(specs: Sequence[LabelSpec]) -> None:
    names = [spec.name for spec in specs]
    twice = {name for name, count in Counter(names).items() if count > 1}
    ids = [spec.id for spec in specs if spec.id is not None]
    if len(set(ids)) < len(ids):
        raise ValidationError({"labels": "The same id stands at two labels."})
    if nameless := next((spec for spec in specs if not spec.name), None):
        raise ValidationError({"labels": f"“{nameless.prompts[0][:40]}” is a prompt of no label: name it."})
    if len(names) < 2:
        hint = " Write each on a line of its own." if any("," in name for name in names) else ""
        raise ValidationError({"labels": f"Give two labels or more: CLIP chooses between them.{hint}"})
    if len(names) > MOST_LABELS:
        raise ValidationError({"labels": f"{len(names):,} labels; at most {MOST_LABELS:,} are compared."})
    if twice:
        raise ValidationError({"labels": f"Given twice: {', '.join(sorted(twice))}."})
    if too_long := [name for name in names if len(name) > 200]:
        raise ValidationError({"labels": f"“{too_long[0][:40]}…” is longer than 200 characters."})
    for spec in specs:
        _check_texts("labels", f"“{spec.name[:40]}”", spec.prompts)


def _check_texts(field: str, whose: str, texts: Sequence[str]) -> None:
    if len(texts) > MOST_TEXTS:
        raise ValidationError(
            {field: f"{whose} has {len(texts):,} texts; at most {MOST_TEXTS} are averaged."}
        )
    if too_long := next((text for text in texts if len(text) > LONGEST_TEXT), None):
        reason = f"{whose} has a text that is longer than {LONGEST_TEXT} characters: “{too_long[:40]}…”."
        raise ValidationError({field: reason})


def _check_prompts(label_set: LabelSet) -> None:
    prompts = sum(len(label.prompts) or len(label_set.templates) for label in label_set.labels.all())
    if prompts > MOST_PROMPTS:
        reason = f"{prompts:,} prompts; at most {MOST_PROMPTS:,}. Give fewer templates or labels."
        raise ValidationError({"templates": reason})


def _remove(labels: Sequence[Label]) -> None:
    for label in labels:
        if given := label.annotations(manager="everything").count():
            images = "1 image" if given == 1 else f"{given:,} images"
            raise ValidationError(
                {
                    "labels": f"“{label.name}” was given to {images}. Give them another label first, "
                    "or rename it."
                }
            )
        if label.label_set.votes > 1 and (voted := votes.waiting_for(label)):
            images = "1 image" if voted == 1 else f"{voted:,} images"
            raise ValidationError(
                {
                    "labels": f"“{label.name}” is voted for on {images} not settled yet. Settle them first, "
                    "or rename it."
                }
            )
        label.delete()
