from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Case, Count, Model, OuterRef, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gallery import access, invitations, media, reports, uploads
from gallery import members as members_door
from gallery import projects as projects_door
from gallery.access import ACTIONS, allowed
from gallery.answers import asked_back, next_address
from gallery.forms import (
    ROLE_WORDS,
    DeleteProjectForm,
    InvitationForm,
    MemberForm,
    ProjectForm,
    TokenForm,
    UploadForm,
    upload_limits,
)
from gallery.models import ApiToken, Image, Membership, Project, Upload, UploadEntry

PROJECTS_A_PAGE = 24
ENTRIES_A_PAGE = 200
THUMBNAILS = 4

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


def _sent(request: HttpRequest) -> QueryDict | None:
    """What a form is filled with: nothing, where it is only shown."""
    return request.POST if request.method == "POST" else None


@login_required
@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    rows = Project.objects.for_user(request.user).annotate(
        image_count=_count(Image, "project"), member_count=_count(Membership, "project"), **_newest_images()
    )
    page = Paginator(rows, PROJECTS_A_PAGE).get_page(request.GET.get("page"))
    for project in page.object_list:
        found = (getattr(project, f"newest_{number}") for number in range(THUMBNAILS))
        project.thumbnails = [image_id for image_id in found if image_id]
    return render(request, "gallery/projects.html", {"page": page})


def _count(model: type[Model], parent: str) -> Coalesce:
    rows = model.objects.filter(**{parent: OuterRef("pk")}).order_by().values(parent)
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


def _newest_images() -> dict[str, Subquery]:
    newest = Image.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")
    return {f"newest_{number}": Subquery(newest[number : number + 1]) for number in range(THUMBNAILS)}


@login_required
@get_or_post
def project_settings(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "edit project", slug=slug)
    form = ProjectForm(_sent(request), instance=project)
    if request.method == "POST" and form.is_valid():
        projects_door.change(project, **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("project_settings", slug)
    return _settings_page(request, project, form, DeleteProjectForm(project))


@login_required
@require_POST
def project_delete(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "delete project", slug=slug)
    form = DeleteProjectForm(project, request.POST)
    if form.is_valid():
        uploads.delete_project(project)
        messages.success(request, f"“{project.name}” and everything in it is deleted.")
        return redirect("projects")
    return _settings_page(request, project, ProjectForm(instance=project), form)


def _settings_page(
    request: HttpRequest, project: Project, form: ProjectForm, delete_form: DeleteProjectForm
) -> HttpResponse:
    context = {
        # As it is stored: the form has put what was typed into its own instance.
        "project": Project.objects.get(pk=project.pk),
        "may": allowed(project.role),
        "tab": "settings",
        "form": form,
        "delete_form": delete_form,
        "image_count": project.images(manager="everything").count(),
    }
    return render(request, "gallery/project_settings.html", context)


@login_required
@get_or_post
def members(request: HttpRequest, slug: str) -> HttpResponse:
    action = "manage members" if request.method == "POST" else "view"
    project = access.fetch(Project.objects, request.user, action, slug=slug)
    form = MemberForm(_sent(request))
    if request.method == "POST" and form.is_valid():
        try:
            added = members_door.add(project, form.cleaned_data["username"], form.cleaned_data["role"])
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{added.user} is a member now, as {added.get_role_display().lower()}.")
            return redirect("members", slug)
    return _members_page(request, project, form, InvitationForm(auto_id="id_invite_%s"))


def _members_page(
    request: HttpRequest, project: Project, form: MemberForm, invitation_form: InvitationForm, link: str = ""
) -> HttpResponse:
    may = allowed(project.role)
    context = {
        "project": project,
        "may": may,
        "tab": "members",
        "form": form,
        "invitation_form": invitation_form,
        "link": link,
        "memberships": project.memberships.select_related("user"),
        "roles": [(role, role.label, ROLE_WORDS[role]) for role in ACTIONS],
        "now": timezone.now(),
    }
    if "manage members" in may:
        context["invitations"] = project.invitations.select_related("created_by", "used_by")
    return render(request, "gallery/members.html", context)


@login_required
@never_cache
@require_POST
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "manage members", slug=slug)
    form, link = InvitationForm(request.POST, auto_id="id_invite_%s"), ""
    if form.is_valid():
        # Shown on this very page and nowhere else.
        made = invitations.invite(project, request.user, **form.cleaned_data)
        link = request.build_absolute_uri(reverse("invitation", args=[invitations.token_of(made)]))
    return _members_page(request, project, MemberForm(), form, link)


@login_required
@require_POST
def invitation_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "manage members", invitations=pk)
    try:
        invitations.revoke(project.invitations.get(pk=pk))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "The invitation is revoked: its link opens nothing any more.")
    return redirect("members", project.slug)


@never_cache
@get_or_post
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Where the link leads. It joins by POST alone, so that no preview of the link uses it up."""
    try:
        if request.method == "POST" and request.user.is_authenticated:
            return _joined(request, token)
        found = invitations.find(token)
        membership = found.project.memberships.filter(user_id=request.user.pk).first()
        if not membership:
            invitations.usable(token)
    except invitations.Unusable as error:
        return render(request, "gallery/invitation_ended.html", {"words": error}, status=error.status)
    if membership and found.used_by_id == request.user.pk:
        return redirect(found.project)
    if not request.user.is_authenticated:
        # Sign-up opens for whoever brings it along: clipsite.accounts.
        request.session["invitation"] = token
    if request.method == "POST":
        return redirect_to_login(request.path)
    words = ROLE_WORDS[found.role]
    context = {"invitation": found, "membership": membership, "words": words, "token": token}
    return render(request, "gallery/invitation.html", context)


def _joined(request: HttpRequest, token: str) -> HttpResponse:
    membership, new = invitations.accept(token, request.user)
    role = membership.get_role_display().lower()
    said = f"You are a member now, as {role}." if new else f"You were a member already, as {role}."
    messages.success(request, said)
    return redirect(membership.project)


@login_required
@require_POST
def member(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a member's role, or remove a member; everybody may remove themselves."""
    leaves = "remove" in request.POST and request.user.memberships.filter(pk=pk).exists()
    action = "view" if leaves else "manage members"
    project = access.fetch(Project.objects, request.user, action, memberships=pk)
    membership = project.memberships.select_related("user").get(pk=pk)
    try:
        if "remove" in request.POST:
            members_door.remove(membership)
            said = f"You left “{project.name}”." if leaves else f"{membership.user} is no member any more."
        else:
            members_door.change_role(membership, request.POST.get("role", ""))
            said = f"{membership.user} is {membership.get_role_display().lower()} now."
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("members", project.slug)
    messages.success(request, said)
    return redirect("projects") if leaves else redirect("members", project.slug)


@login_required
@get_or_post
def project_upload(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "upload", slug=slug)
    form = UploadForm(_sent(request), request.FILES or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            upload = uploads.add_images(project, request.user, form.cleaned_data["files"])
        except uploads.StorageFull as error:
            form.add_error("files", str(error))
            status = 507
        else:
            reports.tell(request, upload)
            if upload.status_code < 400:
                return redirect(project)
            status = upload.status_code
    context = {
        "project": project,
        "may": allowed(project.role),
        "tab": "images",
        "form": form,
        "uploads": project.uploads.select_related("uploaded_by").annotate(
            names=_count(UploadEntry, "upload")
        )[:5],
        "limits": upload_limits(),
    }
    return render(request, "gallery/project_upload.html", context, status=status)


@login_required
@require_safe
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    row = access.fetch(Upload.objects.select_related("project", "uploaded_by"), request.user, "view", pk=pk)
    outcome = request.GET.get("outcome", "")
    entries = row.entries.select_related("image").order_by(
        Case(When(outcome=UploadEntry.Outcome.REFUSED, then=0), default=1), "position"
    )
    if outcome in UploadEntry.Outcome.values:
        entries = entries.filter(outcome=outcome)
    context = {
        "upload": row,
        "project": row.project,
        "may": allowed(row.role),
        "tab": "images",
        "may_stop": uploads.asks_to_stop(row, request.user) in allowed(row.role),
        "outcome": outcome,
        "outcomes": [(value, label, row.counts[value]) for value, label in UploadEntry.Outcome.choices],
        "done": row.counts.total(),
        "folders": uploads.a_folder(row) if row.state == Upload.State.DONE else "",
        "page": Paginator(entries, ENTRIES_A_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "gallery/upload.html", context)


@login_required
@require_POST
def upload_stop(request: HttpRequest, pk: int) -> HttpResponse:
    row = uploads.to_stop(request.user, pk)
    detail = "What is unpacked already stays in the project."
    if ask := asked_back(request, "Stop unpacking the ZIP?", detail, "Stop"):
        return ask
    uploads.stop(row, request.user)
    return redirect(row)


@login_required
@require_safe
def image_file(request: HttpRequest, pk: int) -> HttpResponse:
    return media.serve(request, access.fetch(Image.everything, request.user, "view", pk=pk), "file")


@login_required
@require_safe
def image_thumbnail(request: HttpRequest, pk: int) -> HttpResponse:
    return media.serve(request, access.fetch(Image.everything, request.user, "view", pk=pk), "thumbnail")


@login_required
@require_safe
def image_preview(request: HttpRequest, pk: int) -> HttpResponse:
    return media.serve(request, access.fetch(Image.everything, request.user, "view", pk=pk), "preview")


@login_required
@require_POST
def image_delete(request: HttpRequest, pk: int) -> HttpResponse:
    image = access.fetch(Image.everything.select_related("project"), request.user, "delete images", pk=pk)
    detail = "Its labels and every decision about it go with it, for good."
    if ask := asked_back(request, f"Delete “{image.name}”?", detail, "Delete"):
        return ask
    uploads.delete_image(image)
    messages.success(request, f"“{image.name}” is deleted.")
    return redirect(next_address(request, image.project.get_absolute_url()))


@login_required
@never_cache
@get_or_post
def tokens(request: HttpRequest) -> HttpResponse:
    form = TokenForm(_sent(request))
    token = None
    if request.method == "POST" and form.is_valid():
        # Shown on this very page and nowhere else: only its hash is stored.
        days = timedelta(days=form.cleaned_data["days"])
        _, token = ApiToken.objects.create(request.user, expiry=days, name=form.cleaned_data["name"])
    context = {
        "form": form,
        "token": token,
        "tokens": ApiToken.objects.filter(user=request.user).order_by("-created"),
        "now": timezone.now(),
        "api": request.build_absolute_uri(reverse("api-projects")),
    }
    return render(request, "gallery/tokens.html", context)


@login_required
@require_POST
def token_revoke(request: HttpRequest) -> HttpResponse:
    token = get_object_or_404(ApiToken, user=request.user, token_key=request.POST.get("token_key", ""))
    token.delete()
    messages.success(request, "The token is revoked: nobody gets in with it any more.")
    return redirect("tokens")
