"""What is set aside in a project, on a page, and bringing it back."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from gallery import access, set_aside
from gallery.access import allowed
from gallery.answers import next_address, refused
from gallery.forms import is_id
from gallery.models import Project

A_PAGE = 60


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def set_aside_page(request: HttpRequest, slug: str) -> HttpResponse:
    action = "delete images" if request.method == "POST" else "view"
    project = access.fetch(Project.objects, request.user, action, slug=slug)
    if request.method == "POST":
        return _bring_back(request, project)
    page = Paginator(set_aside.of(project).select_related("set_aside_by"), A_PAGE).get_page(
        request.GET.get("page")
    )
    context = {
        "project": project,
        "may": allowed(project.role),
        "tab": "duplicates",
        "page": page,
        "next": request.get_full_path(),
    }
    return render(request, "gallery/set_aside.html", context)


def _bring_back(request: HttpRequest, project: Project) -> HttpResponse:
    ids = request.POST.getlist("image")
    if not ids or not all(map(is_id, ids)):
        return refused(request, ["Say which images are to come back, by their ids."])
    back = set_aside.bring_back(project, map(int, ids))
    if back:
        messages.success(
            request, f"{len(back)} image{' is' if len(back) == 1 else 's are'} back in the project."
        )
    else:
        messages.info(request, "It was back already.")
    return redirect(next_address(request, reverse("set_aside", args=[project.slug])))
