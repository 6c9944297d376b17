"""Many people begin to review at the same moment, in a site's real database: no two get the same image."""

import json
from pathlib import Path

from tests.live import Site

MAKE = """
import json, threading
from django.contrib.auth.models import User
from django.db import connection
from gallery import projects
from labeling.models import Lease
from labeling.queue import Queue, fill
from tests.labeling import rows

olga = User.objects.create_user("olga")
label_set = rows.label_set(projects.create(olga, "Animals"), *(f"label {{n}}" for n in range(30)))
rows.match(label_set, rows.images(label_set.project, {images}))
people = [User.objects.create_user(f"p{{number}}") for number in range({people})]
start, got, failed = threading.Barrier(len(people)), {{}}, []

def begin(user):
    try:
        for order in ("uncertain", "teaches"):
            start.wait(20)
            got[user.pk, order] = fill(Queue(label_set, user, order))[0]
    except Exception as error:
        failed.append(repr(error))
        start.abort()
    finally:
        connection.close()

threads = [threading.Thread(target=begin, args=[user]) for user in people]
[thread.start() for thread in threads]
[thread.join(60) for thread in threads]
rows_left = list(Lease.objects.values_list("user", "image"))
print(json.dumps([failed, [[user, order, ids] for (user, order), ids in got.items()], rows_left]))
"""


def test_of_eight_who_begin_at_the_same_moment_no_two_get_the_same_image(tmp_path: Path) -> None:
    no_two_meet(Site(tmp_path))


def no_two_meet(site: Site) -> None:
    """With images for all of them, and with fewer than they would hold."""
    site.manage("migrate", "-v0")
    made = MAKE.format(images=120, people=8)
    failed, got, stored = json.loads(site.manage("shell", "-v0", "-c", made).splitlines()[-1])
    assert not failed and len(got) == 16
    holders: dict[int, set[int]] = {}
    for user, _, images in got:
        for image in images:
            holders.setdefault(image, set()).add(user)
    assert all(len(users) == 1 for users in holders.values())
    assert sorted(stored) == sorted([user, image] for image, users in holders.items() for user in users)
    assert all(images for _, order, images in got if order == "uncertain")
