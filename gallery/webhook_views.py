"""Pages of a project's webhooks, for its owners: the addresses, their secrets, and what was delivered."""

import json

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gallery import access, webhooks
from gallery.access import allowed
from gallery.answers import asked_back
from gallery.forms import WebhookForm
from gallery.models import Project, WebhookDelivery, WebhookEndpoint

DELIVERIES_A_PAGE = 25
NEW_SECRET = "Whoever receives needs the new secret. Nothing is signed with the old one from this moment on."
# What a new webhook is told of, unless another choice is made.
EVERYTHING = {"events": list(webhooks.EVENTS)}
GONE_FOR_GOOD = "It is told nothing any more, and what waits for it goes with it."


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks_page(request: HttpRequest, slug: str) -> HttpResponse:
    project = access.fetch(Project.objects, request.user, "edit project", slug=slug)
    form = WebhookForm(request.POST) if request.method == "POST" else WebhookForm(initial=EVERYTHING)
    if request.method == "POST" and form.is_valid():
        try:
            made, secret = webhooks.create(project, request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            # Shown on this very page and nowhere else.
            made.role = project.role
            return _webhook_page(request, made, _form_of(made), secret)
    context = {
        "project": project,
        "may": allowed(project.role),
        "tab": "settings",
        "form": form,
        "endpoints": project.webhooks.all(),
    }
    return render(request, "gallery/webhooks.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    form = WebhookForm(request.POST) if request.method == "POST" else _form_of(endpoint)
    if request.method == "POST" and form.is_valid():
        try:
            webhooks.change(endpoint, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            endpoint = _endpoint(request, pk)
        else:
            messages.success(request, "Saved.")
            return redirect(endpoint)
    return _webhook_page(request, endpoint, form)


def _endpoint(request: HttpRequest, pk: int) -> WebhookEndpoint:
    rows = WebhookEndpoint.objects.select_related("project", "created_by")
    return access.fetch(rows, request.user, "edit project", pk=pk)


def _form_of(endpoint: WebhookEndpoint) -> WebhookForm:
    return WebhookForm(initial={"url": endpoint.url, "events": endpoint.events})


def _webhook_page(
    request: HttpRequest, endpoint: WebhookEndpoint, form: WebhookForm, secret: str = ""
) -> HttpResponse:
    deliveries = endpoint.deliveries.defer("body", "headers", "answer")
    context = {
        "endpoint": endpoint,
        "project": endpoint.project,
        "may": allowed(endpoint.role),
        "tab": "settings",
        "form": form,
        "secret": secret,
        "page": Paginator(deliveries, DELIVERIES_A_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "gallery/webhook.html", context)


@login_required
@require_POST
def webhook_switch(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    webhooks.change(endpoint, is_active="on" in request.POST)
    messages.success(request, f"The webhook is switched {'on' if endpoint.is_active else 'off'}.")
    return redirect(endpoint)


@login_required
@never_cache
@require_POST
def webhook_secret(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    if ask := asked_back(request, "Make a new secret?", NEW_SECRET, "Make a new secret"):
        return ask
    return _webhook_page(request, endpoint, _form_of(endpoint), webhooks.roll(endpoint))


@login_required
@require_POST
def webhook_ping(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    try:
        delivery = webhooks.ping(endpoint)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect(endpoint)
    return redirect(delivery)


@login_required
@require_POST
def webhook_delete(request: HttpRequest, pk: int) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    if ask := asked_back(request, f"Delete the webhook to {endpoint.url}?", GONE_FOR_GOOD, "Delete"):
        return ask
    endpoint.delete()
    messages.success(request, "The webhook is deleted.")
    return redirect("webhooks", endpoint.project.slug)


def _delivery(request: HttpRequest, pk: int) -> WebhookDelivery:
    rows = WebhookDelivery.objects.select_related("endpoint__project")
    return access.fetch(rows, request.user, "edit project", pk=pk)


@login_required
@require_safe
def webhook_delivery(request: HttpRequest, pk: int) -> HttpResponse:
    delivery = _delivery(request, pk)
    context = {
        "delivery": delivery,
        "endpoint": delivery.endpoint,
        "project": delivery.endpoint.project,
        "may": allowed(delivery.role),
        "tab": "settings",
        "body": json.dumps(json.loads(delivery.body), indent=2, ensure_ascii=False),
    }
    return render(request, "gallery/webhook_delivery.html", context)


@login_required
@require_POST
def webhook_resend(request: HttpRequest, pk: int) -> HttpResponse:
    delivery = _delivery(request, pk)
    try:
        webhooks.resend(delivery)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(delivery)
