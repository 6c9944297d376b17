"""Every page as it is seen: no accessibility violation, nothing wider than the window, light and dark."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.live import Site, wait_for

MAKE_PAGES = """
import io, random
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from gallery import comments, invitations, projects, set_aside, uploads, webhooks
from gallery.models import ApiToken, Invitation
from labeling import batches, imports, label_sets, layouts
from labeling.label_sets import LabelSpec
from labeling.models import NearDuplicate, SavedView
from labeling.models import SavedView, UnknownsRun
from labeling.review import Decision, decide
from labeling.starter import drawing

olga = User.objects.get(username="olga")
project = projects.create(olga, "Pages", "What these pictures are for. " + "Averylongword" * 8)
rng = random.Random(3)
def files():
    for number in range(6):
        out = io.BytesIO()
        drawing.draw(drawing.random_drawing(rng), rng, 200).save(out, "PNG")
        yield ContentFile(out.getvalue(), f"{number} " + "long-name" * 20 * (number == 0) + ".png")
    yield ContentFile(b"rubbish", "broken.jpg")
uploads.add_images(project, olga, files())
names = ["red circle", "blue square", "x" * 200, *(f"label number {n}" for n in range(20))]
label_set = label_sets.create(project, olga, "Labels", [LabelSpec(name) for name in names])
images = list(project.images.all())
decide(label_set, olga, [Decision(images[0].pk, "corrected", label_set.labels.first().pk)], settles=True)
decide(label_set, olga, [Decision(images[1].pk, "none")], settles=True)
batches.ask_votes(label_set, olga, 2)
for name, label in (("vera", label_set.labels.all()[2]), ("sven", label_set.labels.all()[4])):
    given = [Decision(image.pk, "corrected", label.pk) for image in images[2:4]]
    decide(label_set, User.objects.get(username=name), given)
comments.resolve(comments.add(images[-1], olga, "Is it " + "averylongword" * 9 + "?"), olga)
for text in ("@olga: look\\n\\nat this", "Averylongword" * 20):
    comments.add(images[-1], olga, text)
look = UnknownsRun.objects.create(
    label_set=label_set, model="x@1", state="done", looked=6, unknown=2, created_by=olga,
    finished_at="2026-01-01T00:00Z",
    outliers=[dict(image=images[5].pk, label="x" * 200, similarity=0.12, nearest=0.41, far=4.2)])
for name in ("star", "y" * 200):
    look.groups.create(name=name, alternatives=["moon", "averylongword" * 9], near="x" * 200,
                       similarity=0.7, image_ids=[image.pk for image in images[4:]])
look.groups.create(name="cross", similarity=0.7, label=label_set.labels.all()[2])
long = "averylongword" * 9
project.guidelines = "\\n".join([
    "# How to label", "## Hard cases", "| What | is |", "|---|--:|", f"| {long} | {long} |", "", "- one",
    "  - two", "", f"1. `code` and [a link](https://example.org/{long})", "", "> quoted", "",
    f"    {long} {long}"])
project.save()
SavedView.objects.create(label_set=label_set, user=olga, name="Long " + "x" * 70, query="name:" + "y" * 200)
vera = User.objects.get(username="vera")
SavedView.objects.create(label_set=label_set, user=vera, name="Hers", is_shared=True)
twins = list(project.images.order_by("pk")[:4])
for one, other in ((twins[0], twins[1]), (twins[1], twins[2])):
    NearDuplicate.objects.get_or_create(
        first=one, second=other, defaults=dict(project=project, cosine=0.9, distance=9))
set_aside.set_aside(project, [twins[3].pk], olga)
layouts.start(project, olga)
hook, _ = webhooks.create(project, olga, "https://hooks.invalid/" + "averylongword" * 9, webhooks.EVENTS)
off, _ = webhooks.create(project, olga, "http://hooks.invalid:8080/", ["image.settled"])
webhooks.change(off, is_active=False)
given_up = webhooks.ping(hook)
hook.deliveries.update(
    state="failed", attempts=8, sent_at=given_up.created_at, seconds=1.2, status=500,
    error="It answered 500.", answer="averylongword" * 20, headers={"Webhook-Id": given_up.message_id})
webhooks.ping(hook)
projects.create(olga, "Empty")
lines = ["file_name,label"]
lines += [f"{image.name},{'red circle' if image.pk % 2 else 'y' * 199}" for image in images]
lines += [f"{long * 3}.png,red circle", "x.png,red circle,accepted", f"{images[0].name},blue square"]
def labels(name):
    return ContentFile("\\n".join(lines).encode(), name)
written = imports.begin(project, label_set, olga, labels("written.csv"))
# Without a new label: it would begin another run.
imports.confirm(written, imports.Choices(make=False, truth=True))
read = imports.begin(project, label_set, olga, labels(f"{long * 2}.csv"))
new_one = imports.begin(project, None, olga, labels("new.csv"))
failed = imports.begin(project, None, olga, ContentFile(b"file_name,colour\\nx,y", "failed.csv"))
assert failed.state == "failed" and new_one.state == "done" and written.step == "write", failed.error
invited = projects.create(User.objects.get(username="vera"), "Invited " + "Averylongword" * 6)
for role in ("owner", "labeler", "viewer"):
    made = invitations.invite(project, olga, role)
used = invitations.invite(project, olga, "viewer")
invitations.accept(invitations.token_of(used), User.objects.get(username="sven"))
Invitation.objects.filter(pk=made.pk).update(expires_at="2026-01-01T00:00Z")
ApiToken.objects.create(olga, name="Nightly import of what the cameras saw, " + "Averylongword" * 4)
open_one = invitations.invite(invited, User.objects.get(username="vera"), "labeler")
made_imports = [row.pk for row in (written, read, new_one, failed)]
print(invitations.token_of(made), invitations.token_of(open_one), *made_imports)
"""
PATHS = [
    "/",
    "/projects/new/",
    "/projects/new/?ready=caltech-101",
    "/projects/pages/",
    "/projects/pages/?status=none",
    "/projects/pages/?status=disputed",
    "/projects/pages/?q=label:%22red+circle%22+-name:%22long+long%22+probability:%3C0.999",
    "/projects/pages/?q=label:nothing+probability:%3Cmuch+status:none",
    "/projects/pages/?q=red+circle+-+blue",
    "/projects/pages/?q=red+%2B",
    "/coming-from/",
    "/label-sets/{label_set}/export/formats/?include=suggested",
    "/label-sets/{label_set}/export/formats/?format=hugging-face&split=80/10/10&q=label:nothing",
    "/search/",
    "/search/?q=a+striped+star",
    "/search/?q=label:x",
    "/projects/empty/",
    "/projects/pages/map/",
    "/projects/pages/map/?q=label:nothing",
    "/projects/empty/map/",
    "/projects/pages/upload/",
    "/projects/pages/members/",
    "/projects/pages/settings/",
    "/projects/pages/webhooks/",
    "/projects/empty/webhooks/",
    "/webhooks/{hook}/",
    "/webhook-deliveries/{delivery}/",
    "/projects/pages/guidelines/",
    "/projects/pages/duplicates/",
    "/projects/empty/duplicates/",
    "/projects/pages/set-aside/",
    "/projects/empty/set-aside/",
    "/projects/empty/guidelines/",
    "/projects/pages/label-sets/new/",
    "/projects/pages/label-sets/new/?ready=quality",
    "/label-sets/{label_set}/edit/",
    "/label-sets/{label_set}/review/",
    "/label-sets/{label_set}/disputes/",
    "/label-sets/{label_set}/agreement/",
    "/label-sets/{label_set}/views/",
    "/label-sets/{label_set}/classes/",
    "/label-sets/{label_set}/classes/?label={label}",
    "/label-sets/{label_set}/statistics/",
    "/label-sets/{label_set}/statistics/?order=weakest",
    "/label-sets/{label_set}/assignments/",
    "/label-sets/{label_set}/unknowns/",
    "/label-sets/{label_set}/history/",
    "/label-sets/{label_set}/history/?kind=votes",
    "/batches/{batch}/",
    "/images/{image}/",
    "/images/{commented}/",
    "/images/{commented}/comments/",
    "/account/mentions/",
    "/runs/{run}/",
    "/uploads/{upload}/",
    "/projects/pages/imports/",
    "/projects/empty/imports/",
    "/imports/{written}/",
    "/imports/{read}/",
    "/imports/{new}/",
    "/imports/{failed}/",
    "/images/{image}/similar/",
    "/images/{image}/why/",
    "/account/tokens/",
    "/account/keys/",
    "/invitations/{open_link}/",
    "/invitations/{expired}/",
    "/invitations/forged/",
    "/accounts/password/change/",
    "/accounts/email/",
    "/accounts/logout/",
    "/api/v1/docs/",
    "/no-such-page/",
]


@pytest.fixture(scope="module")
def ids(site: Site, browser: Browser) -> dict[str, object]:
    expired, open_link, *imported = site.manage("shell", "-v0", "-c", MAKE_PAGES).split()
    label_set = site.value("SELECT id FROM labeling_labelset ORDER BY id DESC LIMIT 1")
    state = f"SELECT state FROM labeling_scoringrun WHERE label_set_id = {label_set}"
    wait_for(lambda: site.value(state) == "done", 60, "the pictures are not labelled")
    return {
        "expired": expired,
        "open_link": open_link,
        "label_set": label_set,
        "label": site.value(f"SELECT max(label_id) FROM labeling_match WHERE label_set_id = {label_set}"),
        "image": site.value(f"SELECT max(image_id) FROM labeling_match WHERE label_set_id = {label_set}"),
        "commented": site.value("SELECT max(image_id) FROM gallery_comment"),
        "run": site.value("SELECT max(id) FROM labeling_scoringrun"),
        "batch": uuid.UUID(
            site.value(f"SELECT max(id) FROM labeling_batch WHERE label_set_id = {label_set}")
        ),
        "upload": site.value("SELECT max(id) FROM gallery_upload"),
        "hook": site.value("SELECT min(id) FROM gallery_webhookendpoint"),
        "delivery": site.value("SELECT min(id) FROM gallery_webhookdelivery"),
        **dict(zip(("written", "read", "new", "failed"), imported, strict=True)),
    }


# What axe finds in Swagger's own markup, which is not ours to change.
SWAGGER = {"nested-interactive", "heading-order", "region"}


def problems(page: Page) -> Iterator[str]:
    docs = page.url.endswith("/api/v1/docs/")
    if docs:
        page.wait_for_selector("#swagger-ui .opblock")
    for violation in Axe().run(page).response["violations"]:
        if docs and violation["id"] in SWAGGER:
            continue
        yield f"{violation['id']}: {[node['html'][:160] for node in violation['nodes'][:3]]}"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        yield f"{wide} px wider than the window"
    if page.locator("h1").count() != 1:
        yield "not one h1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page(open_page: Callable[..., Page], ids: dict[str, object], width: int, scheme: str) -> None:
    page = open_page(viewport={"width": width, "height": 850}, color_scheme=scheme, bypass_csp=True)
    found = {}
    for path in PATHS:
        page.goto(path.format(**ids))
        if trouble := list(problems(page)):
            found[path] = trouble
    nobody = open_page(None, viewport={"width": width, "height": 850}, color_scheme=scheme, bypass_csp=True)
    for path in (
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/password/reset/",
        "/invitations/{open_link}/",
        "/accounts/signup/?invited",
    ):
        nobody.goto(path.format(**ids))
        if trouble := list(problems(nobody)):
            found[path] = trouble
    assert not found
