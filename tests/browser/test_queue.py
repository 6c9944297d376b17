"""Two people review one label set at the same time, by keys, and are never shown the same image."""

import random
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import until_keys_count
from tests.live import Site, wait_for

COUNT = 200
MAKE = f"""
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from gallery import projects
from gallery.models import Membership
from labeling.starter import drawing
from tests.labeling import rows

project = projects.create(User.objects.get(username="olga"), "Queue")
Membership.objects.create(project=project, user=User.objects.get(username="vera"), role="labeler")
rng, out = random.Random(3), io.BytesIO()
drawing.draw(drawing.random_drawing(rng), rng, 64).save(out, "WEBP")
picture = default_storage.save("images/queue.webp", ContentFile(out.getvalue()))
label_set = rows.label_set(project, *(f"label {{number}}" for number in range(6)))
rows.match(label_set, rows.images(project, {COUNT}))
project.images.update(preview=picture, thumbnail=picture)
print(label_set.pk)
"""


def shown(page: Page) -> str:
    """The id of the image that the page asks about; empty at the end."""
    field = page.locator("#review input[name=image]")
    return field.input_value() if field.count() else ""


def accept(page: Page, image: str) -> None:
    """Press the key once the picture is there to be seen, and wait for what comes after it."""
    until_keys_count(page)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "image => document.querySelector('#review input[name=image]')?.value !== image", arg=image
    )


def test_two_people_in_one_queue_never_meet(open_page: Callable[..., Page], site: Site) -> None:
    label_set = site.manage("shell", "-v0", "-c", MAKE).split()[-1]
    address = f"/label-sets/{label_set}/review/"
    people = {"olga": open_page("olga"), "vera": open_page("vera", viewport={"width": 390, "height": 850})}
    for page in people.values():
        page.goto(address)

    # Another order is there as soon as it is chosen, and goes along.
    people["vera"].get_by_label("Order").select_option("Newest")
    people["vera"].wait_for_url("**?order=newest")
    accept(people["vera"], first := shown(people["vera"]))
    assert "order=newest" in people["vera"].url
    # The decision is written, and what it drew is held.
    expect(people["vera"].locator(".review-progress")).to_contain_text("1 of")
    # Who leaves the page gives back what was not decided.
    held = (
        "SELECT COUNT(*) FROM labeling_lease JOIN auth_user ON auth_user.id = user_id WHERE username = 'vera'"
    )
    assert site.value(held) > 0
    people["vera"].goto("/")
    wait_for(lambda: site.value(held) == 0, 5, "what she held was not given back")
    people["vera"].goto(address)

    seen: dict[str, list[str]] = {"olga": [], "vera": [first]}
    rng, going = random.Random(5), ["olga", "vera"]
    while going:
        name = rng.choice(going)
        image = shown(people[name])
        if not image:
            going.remove(name)
            continue
        assert image not in seen["olga"] + seen["vera"]
        seen[name].append(image)
        accept(people[name], image)
    assert len({*seen["olga"], *seen["vera"]}) == COUNT and min(map(len, seen.values())) > 50
    for page in people.values():
        page.reload()
        expect(page.get_by_role("heading", name=f"All {COUNT} images are reviewed")).to_be_visible()
    assert site.value(f"SELECT COUNT(*) FROM labeling_lease WHERE label_set_id = {label_set}") == 0
