"""Pages on which people talk: comments on an image, those that name somebody, and a project's guidelines."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gallery import access
from gallery import comments as door
from gallery.access import allowed
from gallery.answers import asked_back, next_address, refused
from gallery.models import Comment, Image, Project

MENTIONS_A_PAGE = 50
COMMENTS = Comment.objects.select_related("image__project")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def comments(request: HttpRequest, pk: int) -> HttpResponse:
    action = "comment" if request.method == "POST" else "view"
    image = access.fetch(Image.objects.select_related("project"), request.user, action, pk=pk)
    problem = ""
    if request.method == "POST":
        try:
            door.add(image, request.user, request.POST.get("text", ""))
            return _answer(request, image, image.role, "Your comment is added.")
        except ValidationError as error:
            if request.htmx:
                return refused(request, error.messages)
            problem = " ".join(error.messages)
    context = _thread(image, image.role, request.GET.get("page"))
    context |= {"problem": problem, "typed": request.POST.get("text", "")}
    # A script that was sent elsewhere and comes back wants the page.
    fragment = request.htmx and not request.htmx.history_restore_request
    response = render(request, "gallery/_comments.html" if fragment else "gallery/comments.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _thread(image: Image, role: str, page: str | None = None) -> dict[str, Any]:
    thread = door.thread(image, page)
    return {
        "image": image,
        "project": image.project,
        "may": allowed(role),
        "thread": thread,
        "page": thread.page,
    }


def _answer(request: HttpRequest, image: Image, role: str, words: str) -> HttpResponse:
    """Draw the comments again on the page that asked, or go back to it."""
    if request.htmx:
        context = {"words": words, "go_on": next_address(request, "")}
        return render(request, "gallery/_comments.html", _thread(image, role) | context)
    messages.success(request, words)
    return redirect(next_address(request, reverse("comments", args=[image.pk])))


@login_required
@require_POST
def comment_delete(request: HttpRequest, pk: int) -> HttpResponse:
    comment = door.to_delete(request.user, pk)
    if ask := asked_back(request, "Delete this comment?", f"“{comment}” goes for good.", "Delete"):
        return ask
    door.delete(comment)
    return _answer(request, comment.image, comment.role, "The comment is deleted.")


@login_required
@require_POST
def comment_resolve(request: HttpRequest, pk: int) -> HttpResponse:
    comment = access.fetch(COMMENTS, request.user, "comment", pk=pk)
    if "reopen" in request.POST:
        door.reopen(comment)
        words = "The comment is open again."
    else:
        door.resolve(comment, request.user)
        words = "The comment is resolved."
    return _answer(request, comment.image, comment.role, words)


@login_required
@require_safe
def mentions(request: HttpRequest) -> HttpResponse:
    rows = door.naming(request.user).select_related("user", "image__project").prefetch_related("mentions")
    page = Paginator(rows, MENTIONS_A_PAGE).get_page(request.GET.get("page"))
    for comment in page.object_list:
        comment.may = allowed(comment.role)
    return render(request, "gallery/mentions.html", {"page": page})


@login_required
@require_safe
def guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "view", slug=slug)
    context = {"project": project, "may": allowed(project.role), "tab": "guidelines"}
    fragment = request.htmx and not request.htmx.history_restore_request
    response = render(request, "gallery/_guidelines.html" if fragment else "gallery/guidelines.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response
