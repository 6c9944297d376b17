"""Makes the backup of this version that later versions are tested to bring up to date. Run once a release:

    .venv/bin/python tests/upgrade/make.py

Writes VERSION.zip beside itself, which is never overwritten, and VERSION.json with what is in it: a small
site with a row of every model, drawn pictures, and, as on any site, work that waits.
"""

import io
import json
import os
import random
import sys
import tempfile
import zipfile
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="clipsite-upgrade-")
os.environ |= {"DATA_DIR": FOLDER.name, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}

import django

django.setup()

from django.apps import apps
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db.models import F
from knox.models import AuthToken

import clipsite
from gallery import backups, members, projects, uploads
from gallery.access import Role
from gallery.models import Image, Upload
from labeling import beat, label_sets, review, work
from labeling.label_sets import LabelSpec
from labeling.models import ImageAttempt, LabelSet, Review
from labeling.review import Decision, Verdict
from labeling.starter import drawing

MOST_BYTES = 300_000
PICTURES, SIDE = 12, 96
PASSWORD = "upgrade-secret-1"
LABELS = [
    LabelSpec("red", ["a red thing", "something red"]),
    LabelSpec("green"),
    LabelSpec("blue"),
    LabelSpec("yellow"),
]
rng = random.Random(2026)


def drawn(number: int, format: str = "PNG") -> ContentFile:
    out = io.BytesIO()
    drawing.draw(drawing.random_drawing(rng), rng, SIDE).save(out, format)
    return ContentFile(out.getvalue(), f"{number:02}.{format.lower()}")


def people() -> dict[str, User]:
    made = {
        name: User.objects.create_user(name, password=PASSWORD) for name in ("olga", "rita", "lars", "vera")
    }
    User.objects.filter(username="olga").update(is_superuser=True, is_staff=True)
    return made


def pictures(olga: User) -> LabelSet:
    """A project with four members, scored pictures, and names that were refused or known already."""
    project = projects.create(olga, "Upgrade", "What an older version left.")
    for name, role in (("rita", Role.REVIEWER), ("lars", Role.LABELER), ("vera", Role.VIEWER)):
        members.add(project, name, role)
    files = [drawn(number, "JPEG" if number % 2 else "PNG") for number in range(PICTURES)]
    again, bad = ContentFile(files[0].read(), "again.png"), ContentFile(b"no picture", "bad.png")
    files[0].seek(0)
    uploads.add_images(project, olga, [*files, again, bad])
    label_set = label_sets.create(project, olga, "Colours", LABELS, ["a photo of a {label}.", "{label}"])
    work.until_none_is_left()
    run, image = label_set.runs.get(), project.images.last()
    ImageAttempt.objects.create(run=run, image=image, attempts=3, failed=True, reason="It took too long.")
    return label_set


def decisions(label_set: LabelSet, people: dict[str, User]) -> None:
    """Every verdict, two people of two minds, one batch taken back, and another decision after that."""
    ids = list(label_set.project.images.order_by("pk").values_list("pk", flat=True))
    labels = list(label_set.labels.all())
    say = [Decision(image, Verdict.ACCEPTED) for image in ids[:4]]
    review.decide(label_set, people["olga"], say)
    batch = review.decide(
        label_set,
        people["lars"],
        [
            Decision(ids[2], Verdict.NONE),
            Decision(ids[4], Verdict.NONE),
            Decision(ids[5], Verdict.SKIPPED),
            Decision(ids[6], Verdict.CORRECTED, labels[3].pk),
        ],
    )
    review.undo(label_set, people["rita"], Role.REVIEWER, batch)
    review.decide(label_set, people["rita"], [Decision(ids[4], Verdict.CORRECTED, labels[2].pk)])
    review.decide(
        label_set, people["rita"], [Decision(ids[7], Verdict.NONE), Decision(ids[8], Verdict.SKIPPED)]
    )


def waiting(label_set: LabelSet, lars: User) -> None:
    """A ZIP that is not unpacked yet, and a run that nobody began."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in (50, 51):
            archive.writestr(f"{number}.png", drawn(number).read())
    upload = Upload(project=label_set.project, uploaded_by=lars, state=Upload.State.OPEN, total=2)
    upload.created_at -= timedelta(hours=1)  # so that nobody can be at it
    upload.archive.save("archive.zip", ContentFile(packed.getvalue()))
    label_sets.create(label_set.project, lars, "Shapes", [LabelSpec("circle"), LabelSpec("square")])


def history() -> list[list]:
    """Who said what of which image, in order, seeing what; an undo with what it took back."""
    fields = ("image__name", "user__username", "label_name", "verdict", "suggested_name", "undoes__verdict")
    return [list(row) for row in Review.objects.order_by("pk").values_list(*fields)]


def main() -> None:
    call_command("migrate", verbosity=0)
    users = people()
    label_set = pictures(users["olga"])
    decisions(label_set, users)
    waiting(label_set, users["lars"])
    beat.beat("a machine of then:1")
    _, token = AuthToken.objects.create(users["olga"], expiry=None)
    counts = {
        model._meta.label_lower: model.objects.count()
        for name in ("auth", "gallery", "labeling", "knox")
        for model in apps.get_app_config(name).get_models()
    }
    unseen = {name for name, count in counts.items() if not count} - {"auth.group"}
    assert not unseen, f"no row of {unseen}"
    said = {
        "counts": counts,
        "history": history(),
        "answers": [
            list(row)
            for row in label_set.annotations.order_by("image_id").values_list(
                "image__name", "label__name", "status", "decided_by__username"
            )
        ],
        "matches": list(label_set.matches.order_by("image_id").values_list(F("label__name"), flat=True)),
        "hashes": list(Image.objects.order_by("pk").values_list("sha256", flat=True)),
        "token": token,
        "password": PASSWORD,
    }
    target = Path(__file__).with_name(f"{clipsite.__version__}.zip")
    backups.write(target)
    target.chmod(0o644)
    assert target.stat().st_size <= MOST_BYTES, f"{target.stat().st_size:,} bytes"
    target.with_suffix(".json").write_text(json.dumps(said, indent=1) + "\n")
    print(f"Wrote {target} ({target.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
