"""The gallery's rows in Django's admin. What has a door on the pages goes through the same one here."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Count, Model, Q, QuerySet
from django.forms import BaseInlineFormSet, CheckboxInput, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gallery import members, uploads
from gallery.access import Role
from gallery.models import (
    ApiToken,
    Comment,
    Image,
    Invitation,
    KeyedCall,
    Membership,
    Project,
    Upload,
    UploadEntry,
    WebhookDelivery,
    WebhookEndpoint,
    free_slug,
)

admin.site.site_header = admin.site.site_title = "clipsite"
# The site's own log-in page counts failures; the admin's would not.
admin.site.login = secure_admin_login(admin.site.login)


class ReadOnly:
    """Rows that are looked at and never touched."""

    def has_add_permission(self, *args: Any) -> bool:
        return False

    def has_change_permission(self, *args: Any) -> bool:
        return False

    def has_delete_permission(self, *args: Any) -> bool:
        return False


class ByDoor(admin.ModelAdmin):
    """Saves through a door, and shows on the form what the door refuses."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ValidationError as refusal:
            messages.error(request, " ".join(refusal.messages))
            return redirect(request.get_full_path())


class TextFilter(admin.ListFilter):
    """Rows in which one of the `lookups` has what somebody types: no list of thousands to choose from."""

    template = "admin/text_filter.html"
    parameter_name: str
    lookups: tuple[str, ...]

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        # No database takes this character.
        self.value = params.pop(self.parameter_name, [""])[-1].replace("\0", "").strip()
        self.used_parameters = {self.parameter_name: self.value} if self.value else {}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str]:
        return [self.parameter_name]

    def queryset(self, request: HttpRequest, rows: QuerySet) -> QuerySet:
        either = Q()
        for lookup in self.lookups if self.value else ():
            either |= Q(**{f"{lookup}__icontains": self.value})
        return rows.filter(either)

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """What the form sends along, so that the other filters stay."""
        others = [pair for pair in changelist.params.items() if pair[0] != self.parameter_name]
        yield {"others": others, "without": changelist.get_query_string(remove=[self.parameter_name])}


class ByProject(TextFilter):
    title, parameter_name = "project", "project"
    lookups = ("name", "slug")

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        fields = {field.name for field in model._meta.get_fields()}
        path = "project__" if "project" in fields else "label_set__project__"
        self.lookups = tuple(path + lookup for lookup in ByProject.lookups)


class Cascading:
    """Rows that go with everything in them, the read-only rows included."""

    def get_deleted_objects(self, rows: QuerySet, request: HttpRequest) -> tuple:
        deleted, counts, _, protected = super().get_deleted_objects(rows, request)
        return deleted, counts, set(), protected


class KeepsAnOwner(BaseInlineFormSet):
    def clean(self) -> None:
        super().clean()
        kept = [
            form.cleaned_data for form in self.forms if form.is_valid() and form not in self.deleted_forms
        ]
        if not any(row.get("role") == Role.OWNER for row in kept):
            raise ValidationError("A project needs an owner.")


class MembershipInline(admin.TabularInline):
    model = Membership
    formset = KeepsAnOwner
    autocomplete_fields = ["user"]
    extra = 1


@admin.register(Project)
class ProjectAdmin(Cascading, admin.ModelAdmin):
    list_display = ["name", "slug", "image_count", "member_count", "created_at"]
    search_fields = ["name", "slug", "description"]
    list_filter = ["created_at"]
    date_hierarchy = "created_at"
    readonly_fields = ["slug", "created_at"]
    inlines = [MembershipInline]
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                images_in=Count("images", filter=Q(images__set_aside_at=None), distinct=True),
                members_in=Count("memberships", distinct=True),
            )
        )

    @admin.display(description="images", ordering="images_in")
    def image_count(self, project: Project) -> int:
        return project.images_in

    @admin.display(description="members", ordering="members_in")
    def member_count(self, project: Project) -> int:
        return project.members_in

    def save_model(self, request: HttpRequest, obj: Project, form: ModelForm, change: bool) -> None:
        obj.slug = obj.slug or free_slug(obj.name)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Project) -> None:
        uploads.delete_project(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Project]) -> None:
        for project in queryset:
            uploads.delete_project(project)


@admin.register(Membership)
class MembershipAdmin(ByDoor):
    list_display = ["user", "project", "role"]
    list_select_related = ["user", "project"]
    list_filter = ["role"]
    search_fields = ["user__username", "project__name", "project__slug"]
    readonly_fields = ["project", "user"]
    # One by one: the last owner of a project stays.
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        if obj and obj.role == Role.OWNER and obj.project.memberships.filter(role=Role.OWNER).count() == 1:
            return False
        return super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Membership, form: ModelForm, change: bool) -> None:
        members.change_role(obj, obj.role)

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        members.remove(obj)


admin.site.unregister(User)


@admin.register(User)
class PeopleAdmin(Cascading, UserAdmin):
    """Users go with their memberships and tokens, but for those whom a project needs as its owner."""

    def get_deleted_objects(self, rows: QuerySet[User], request: HttpRequest) -> tuple:
        deleted, counts, lacking, protected = super().get_deleted_objects(rows, request)
        needed = [
            f"Project: {project}. It needs an owner: make somebody else an owner first, or delete it."
            for project in members.owned_by_nobody_else(rows)
        ]
        return deleted, counts, lacking, [*protected, *needed]


@admin.register(Image)
class ImageAdmin(Cascading, admin.ModelAdmin):
    list_display = ["name", "project", "format", "width", "height", "size", "uploaded_by", "uploaded_at"]
    list_select_related = ["project", "uploaded_by"]
    list_filter = ("format", "uploaded_at", "set_aside_at", ByProject)
    search_fields = ["name", "sha256", "project__name", "project__slug"]
    search_help_text = "A name, a SHA-256, or a project."
    readonly_fields = [
        *(
            "picture",
            "project",
            "file",
            "thumbnail",
            "preview",
            "sha256",
            "width",
            "height",
            "format",
            "size",
        ),
        *("uploaded_by", "uploaded_at", "set_aside_at", "set_aside_by"),
    ]
    fields = ["name", *readonly_fields]
    # Its page opens to members alone, which who runs the site need not be.
    view_on_site = False
    # Counting ten thousands of rows for every page of a search helps nobody.
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        return Image.everything.order_by("-id")

    @admin.display(description="picture")
    def picture(self, image: Image) -> str:
        try:
            with image.thumbnail.open("rb") as file:
                content = b64encode(file.read()).decode()
        except FileNotFoundError:
            return "The file is missing."
        return format_html('<img src="data:image/webp;base64,{}" alt="">', content)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Image) -> None:
        uploads.delete_image(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        for image in queryset:
            uploads.delete_image(image)


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "project", "uploaded_by", "created_at", "state", "total", "error"]
    exclude = ["archive"]
    list_select_related = ["project", "uploaded_by"]
    list_filter = ["state", "created_at"]
    search_fields = ["project__name", "project__slug", "uploaded_by__username"]


@admin.register(UploadEntry)
class UploadEntryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["name", "upload", "outcome", "reason", "image"]
    list_select_related = ["upload", "image"]
    list_filter = ["outcome"]
    search_fields = ["name", "=upload__id"]
    show_full_result_count = False


@admin.register(Invitation)
class InvitationAdmin(ReadOnly, admin.ModelAdmin):
    """Invitations can be deleted, and their links with them, but made by owners alone."""

    list_display = ["project", "role", "created_by", "created_at", "expires_at", "used_by", "used_at"]
    list_select_related = ["project", "created_by", "used_by"]
    list_filter = ["role", "created_at"]
    search_fields = ["project__name", "project__slug", "created_by__username", "used_by__username"]

    def has_delete_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(ApiToken)
class TokenAdmin(ReadOnly, admin.ModelAdmin):
    """Tokens can be revoked. Their hash is shown nowhere, so they have no page of their own."""

    list_display = ["begins_with", "name", "user", "created", "expiry"]
    list_display_links = None
    list_select_related = ["user"]
    list_filter = ["created", "expiry"]
    search_fields = ["name", "user__username", "token_key__startswith"]
    actions = ["revoke"]

    def action_checkbox(self, obj: ApiToken) -> SafeString:
        # Django's own names the row by its str(), which is the hash.
        attrs = {"class": "action-select", "aria-label": f"Select the token {self.begins_with(obj)}"}
        return CheckboxInput(attrs, check_test=lambda value: False).render("_selected_action", obj.pk)

    @admin.display(description="token", ordering="token_key")
    def begins_with(self, token: ApiToken) -> str:
        return f"{token.token_key[:8]}…"

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        count, _ = queryset.delete()
        self.message_user(request, f"{count} revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gallery.delete_apitoken")

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        # Else who deletes a user would have to revoke their tokens first.
        return self.has_revoke_permission(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:gallery_apitoken_changelist")


@admin.register(KeyedCall)
class KeyedCallAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "user", "method", "path", "key", "status"]
    exclude = ["body"]
    list_select_related = ["user"]
    list_filter = ["at", "method", "status"]
    search_fields = ["user__username", "path", "key"]


@admin.register(Comment)
class CommentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "user", "image", "text", "resolved_at"]
    list_select_related = ["user", "image"]
    list_filter = ["at"]
    search_fields = ["text", "user__username", "image__name"]


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["url", "project", "is_active", "failures", "tried_at", "off_because"]
    # With the site's SECRET_KEY it is the secret.
    exclude = ["salt", "fingerprint"]
    list_select_related = ["project"]
    list_filter = ["is_active", "created_at"]
    search_fields = ["url", "project__name", "project__slug"]


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["created_at", "event", "endpoint", "state", "attempts", "status", "error"]
    list_select_related = ["endpoint"]
    list_filter = ["state", "event", "created_at"]
    search_fields = ["endpoint__url", "error"]
    show_full_result_count = False
