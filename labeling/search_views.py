"""Pages of search: by a picture that is not in the project, and over all projects."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from gallery.access import fetch
from gallery.answers import TYPING, address, refused
from gallery.decoding import BadPicture
from gallery.models import Project
from labeling import clip, found, probes
from labeling.board import chosen_label_set


@login_required
@require_POST
def search_picture(request: HttpRequest, slug: str) -> HttpResponse:
    """Search by a picture that is not kept."""
    project = fetch(Project.objects.all(), request.user, "view", slug=slug)
    picture = request.FILES.get("picture")
    if picture is None:
        return refused(request, ["Choose a picture to search by."])
    try:
        probe = probes.show(project, request.user, picture)
    except BadPicture as error:
        return refused(request, [str(error)], error.status)
    except clip.ModelUnusable as error:
        return refused(request, [str(error)], 503)
    label_set, _ = chosen_label_set(project, request.POST.get("label_set"))
    asked = {"label_set": label_set.pk} if label_set else {}
    page = project.get_absolute_url() if label_set else reverse("search")
    more = asked if label_set else {"project": project.slug}
    return redirect(f"{page}?{urlencode(more | {'q': f'picture:{probe.pk}'})}")


@login_required
@require_safe
def search_all(request: HttpRequest) -> HttpResponse:
    """The pictures of one or of all of a user's projects that fit some words."""
    answer = found.find(request.user, request.GET.get("q", ""), request.GET.get("project", ""))
    if answer.mistakes and TYPING in request.GET:
        return HttpResponse(status=204)  # it is not finished yet: what was found before stays
    response = render(request, "labeling/search.html", {"answer": answer})
    if TYPING in request.GET:
        response["HX-Replace-Url"] = address(request)
    return response
