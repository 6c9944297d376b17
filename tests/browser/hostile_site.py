"""Projects that have a hostile text in every field and file name."""

import json

from tests.browser.conftest import PASSWORD
from tests.live import Site, wait_for

# Whatever becomes an element or an attribute carries `data-xss`, asks for /xss, or calls xss().
PAYLOADS = [
    "<script data-xss>xss(1)</script>",
    '"><img data-xss src=/xss onerror=xss(2)>',
    "'><svg data-xss onload=xss(3)>",
    "</title><script data-xss>xss(4)</script>",
    "</textarea><input data-xss autofocus onfocus=xss(5)>",
    "</script><script data-xss>xss(6)</script>",
    '" onmouseover="xss(7)" data-xss="',
    "' onfocus='xss(8)' autofocus data-xss='",
    "--><b data-xss onclick=xss(9)>9</b><!--",
    "javascript:xss(10)//",
    '<a data-xss href="javascript:xss(11)">11</a>',
    "data:text/html,<script data-xss>xss(12)</script>",
    "{{7*7}}${7*7}<%=7*7%>{%raise%}{label}",
    '=HYPERLINK("/xss","14")+cmd|\'/c\'!A1',
    '<i data-xss hx-get=/xss hx-trigger=load hx-on::load="xss(15)">',
    '<iframe data-xss srcdoc="<script>parent.xss(16)</script>">',
    "\u202eRTL\u2066<svg/onload=xss(17) data-xss>",
    "\ufeff\u200b\x0b<img/data-xss/src=/xss\x0conerror=xss(18)>",
    "&lt;script data-xss&gt;xss(19)&lt;/script&gt;",
    "</style><style data-xss>*{background:url(/xss)}</style>",
    "\\x3cscript data-xss\\x3exss(21)\\u003c/script\\u003e",
    '<form data-xss action=//evil.example><base href="/xss/"><meta http-equiv=refresh content="0;url=/xss">',
]
OWNER = '"><svg data-xss onload=xss(0)>'
MAKE = """
import csv, io, json, random, zipfile
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from allauth.account.models import EmailAddress
from gallery import comments, projects, set_aside, uploads
from gallery import webhooks
from gallery.models import Membership, Project, Upload, WebhookEndpoint
from labeling import imports, label_sets
from labeling.label_sets import LabelSpec
from labeling.models import ImageAttempt, NearDuplicate, ScoringRun, UnknownsRun
from labeling.review import Decision, decide
from labeling.starter import drawing

PAYLOADS = json.loads({payloads!r})
owner = User.objects.create_user({owner!r}, email='"<b/data-xss>"@example.org', password={password!r})
owner.first_name, owner.last_name = PAYLOADS[0][:150], PAYLOADS[1][:150]
owner.save()
EmailAddress.objects.create(user=owner, email=owner.email, primary=True)
Group.objects.create(name=PAYLOADS[0])
people = [User.objects.create_user(payload, password="x") for payload in PAYLOADS]

def packed(texts, room):
    packs = [""]
    for text in texts:
        if len(packs[-1] + text) > room:
            packs.append("")
        packs[-1] += text
    return packs

rng = random.Random(5)
def picture():
    out = io.BytesIO()
    drawing.draw(drawing.random_drawing(rng), rng, 64).save(out, "PNG")
    return out.getvalue()

names = packed(PAYLOADS, 120)
projects.create(owner, "Empty" + PAYLOADS[0], "\\n".join(PAYLOADS))
for number, name in enumerate(names):
    project = projects.create(owner, name, "\\n".join(PAYLOADS))
    first = number == 0
    if first:
        for user in people:
            Membership.objects.create(project=project, user=user, role="labeler")
    some = PAYLOADS if first else PAYLOADS[:2]
    files = [ContentFile(picture(), payload) for payload in some]
    files += [ContentFile(b"rubbish", payload) for payload in some]
    files += [ContentFile(files[0].read(), PAYLOADS[-1])]
    files[0].seek(0)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for payload in some:
            archive.writestr("in a ZIP " + payload, picture())
            archive.writestr("bad in a ZIP " + payload, b"rubbish")
    files.append(ContentFile(out.getvalue(), "all" + PAYLOADS[0] + ".zip"))
    uploads.add_images(project, owner, files)
    Upload.objects.create(project=project, uploaded_by=owner, state="failed", error="".join(PAYLOADS)[:300])
    labels = [LabelSpec(payload, [payload]) for payload in some] + [LabelSpec("plain")]
    templates = [payload + " {{label}}" for payload in some]
    label_set = label_sets.create(project, owner, name, labels, templates)
    label_sets.create(project, owner, "plain" + name[:100], labels[:3])
    run = label_set.runs.first()
    for image in project.images.all():
        ImageAttempt.objects.get_or_create(
            run=run, image=image, defaults=dict(attempts=1, failed=True, reason=image.name[:200]))
    given = list(label_set.labels.all())
    shown = list(project.images.order_by("pk")[:3])
    NearDuplicate.objects.get_or_create(
        first=shown[0], second=shown[1], defaults=dict(project=project, cosine=1, distance=0))
    set_aside.set_aside(project, [shown[2].pk], owner)
    for image, user in zip(project.images.all(), people):
        decide(label_set, user, [Decision(image.pk, "corrected", rng.choice(given).pk)])
    ScoringRun.objects.filter(pk=run.pk).update(error="".join(PAYLOADS))
    last = project.images.last().pk
    lines = [["file_name", "label"]]
    lines += [[each.name, payload] for each in project.images.all() for payload in PAYLOADS[:3]]
    lines += [[payload, payload] for payload in PAYLOADS]
    table = io.StringIO()
    csv.writer(table).writerows(lines)
    table = ContentFile(table.getvalue().encode(), PAYLOADS[0].replace("/", "") + ".csv")
    came = imports.begin(project, label_set, owner, table)
    look = UnknownsRun.objects.create(
        label_set=label_set, model="x@1", state="done", finished_at="2026-01-01T00:00Z",
        outliers=[dict(image=last, label=each, similarity=0, nearest=0, far=4) for each in PAYLOADS])
    for payload in PAYLOADS:
        look.groups.create(
            name=payload, alternatives=PAYLOADS, near=payload, similarity=0.5, image_ids=[last])
    UnknownsRun.objects.create(
        label_set=label_set, model="x@1", state="failed", error="".join(PAYLOADS)[:300])
    hook, _ = webhooks.create(project, owner, "https://hooks.invalid/", webhooks.EVENTS)
    webhooks.notify(project, "import.done", dict(names=PAYLOADS))
    hostile = "".join(PAYLOADS)
    hook.deliveries.update(
        state="failed", answer=hostile, error=hostile[:300], headers=dict.fromkeys(PAYLOADS, hostile))
    WebhookEndpoint.objects.filter(pk=hook.pk).update(
        url=hostile[:500], is_active=False, off_because=hostile[-300:])
    if first:
        for user, payload in zip(people, PAYLOADS):
            said = comments.add(image, user, payload + " @" + owner.username + " @" + user.username)
        comments.resolve(comments.add(image, owner, PAYLOADS[0]), people[1])
        Project.objects.filter(pk=project.pk).update(guidelines="\\n\\n".join(
            mark + payload for payload in PAYLOADS
            for mark in ("", "# ", "- ", "> ", "[", "![x](", "[x](", "```", "    ", "|a|\\n|-|\\n|")))
        ids = dict(
            comments=said.pk,
            projects=project.slug, images=image.pk, runs=run.pk, uploads=project.uploads.last().pk,
            members=project.memberships.last().pk, decided=project.images.first().pk)
        ids |= {{"webhooks": hook.pk, "webhook-deliveries": hook.deliveries.last().pk}}
        ids["label-sets"], ids["imports"] = label_set.pk, came.pk
for admin in User.objects.filter(username="ada"):
    for payload in PAYLOADS:
        LogEntry.objects.create(user=admin, object_repr=payload, object_id="1", change_message=payload,
                                action_flag=CHANGE)
print("IDS" + json.dumps(ids | dict(slugs=list(owner.memberships.values_list("project__slug", flat=True)))))
"""


def make(site: Site) -> dict[str, object]:
    """Returns the ids that addresses want, by what they are of."""
    script = MAKE.format(payloads=json.dumps(PAYLOADS), owner=OWNER, password=PASSWORD)
    printed = site.manage("shell", "-v0", "-c", script)
    going_on = "SELECT count(*) FROM labeling_scoringrun WHERE state IN ('queued', 'running')"
    wait_for(lambda: site.value(going_on) == 0, 60, "the pictures are not labelled")
    return json.loads(printed.rpartition("IDS")[2])
