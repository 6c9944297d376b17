"""API v1 of projects, members and images. Changes go through the doors, as on the pages."""

from typing import Any, ClassVar

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ParseError, Throttled
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from gallery import access, invitations, media, members, problems, projects, uploads
from gallery.models import ApiToken, Image, Invitation, Membership, Project, Upload
from gallery.serializers import (
    AcceptSerializer,
    AddedProblemSerializer,
    AddedSerializer,
    FilesSerializer,
    ImageSerializer,
    InvitationMadeSerializer,
    InvitationSerializer,
    InviteSerializer,
    JoinedSerializer,
    MemberSerializer,
    ProblemSerializer,
    ProjectDetailSerializer,
    ProjectSerializer,
    RoleSerializer,
    TokenRequestSerializer,
    TokenSerializer,
    UploadSerializer,
)

# An answer that is told once, and kept nowhere: by no cache, and for no `Idempotency-Key`.
SECRET = {"Cache-Control": "no-store"}
# So many files are named in the sentences of a refusal; all of them stand beside it.
SHOWN_REFUSALS = 3


def checked(serializer: BaseSerializer) -> dict[str, Any]:
    """What the request says, once it is valid. Raises DRF's ValidationError."""
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


class Token(APIView):
    def get_permissions(self) -> list[AllowAny | IsAuthenticated]:
        return [AllowAny() if self.request.method == "POST" else IsAuthenticated()]

    def get_authenticators(self) -> list:
        # A login is nobody's yet; and a session's cookie must not ask it for a CSRF token.
        return [] if self.request and self.request.method == "POST" else super().get_authenticators()

    @extend_schema(
        request=TokenRequestSerializer,
        responses={
            200: TokenSerializer,
            401: OpenApiResponse(ProblemSerializer, "The username or the password is wrong."),
        },
        auth=[],
    )
    def post(self, request: Request) -> HttpResponse:
        """A token for a username and password. Ten failures in five minutes, and there is a wait."""
        credentials = checked(TokenRequestSerializer(data=request.data))
        name = credentials.pop("name")
        try:
            user = get_adapter().authenticate(request._request, **credentials)
        except ValidationError as error:
            raise Throttled(settings.LOGIN_WAIT, error.messages[0]) from error
        if user is None or not user.is_active:
            return problems.answer(401, "The username or the password is wrong.")
        row, token = ApiToken.objects.create(user, name=name)
        made = TokenSerializer({"token": token, "name": name, "expiry": row.expiry}).data
        return Response(made, headers=SECRET)

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Revoke the token that this request is made with."""
        if not isinstance(request.auth, ApiToken):
            raise ParseError("No token was sent: which one is to be revoked?")
        request.auth.delete()
        return Response(status=204)


class Projects(ListAPIView):
    """The projects that you are a member of."""

    serializer_class = ProjectSerializer
    queryset = Project.objects.all()

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.for_user(self.request.user)

    @extend_schema(responses={201: ProjectDetailSerializer})
    def post(self, request: Request) -> Response:
        """Make a project; you own it."""
        project = projects.create(request.user, **checked(ProjectSerializer(data=request.data)))
        project.role = access.Role.OWNER
        return Response(ProjectDetailSerializer(project).data, status=201)


class ProjectDetail(GenericAPIView):
    serializer_class = ProjectDetailSerializer

    def get(self, request: Request, slug: str) -> Response:
        """One project with its guidelines, and your role in it."""
        project = access.fetch(Project.objects, request.user, "view", slug=slug)
        return Response(ProjectDetailSerializer(project).data)

    def patch(self, request: Request, slug: str) -> Response:
        """Change its name, description or guidelines."""
        project = access.fetch(Project.objects, request.user, "edit project", slug=slug)
        asked = checked(ProjectDetailSerializer(project, data=request.data, partial=True))
        stored = {name: getattr(project, name) for name in ("name", "description", "guidelines")}
        return Response(ProjectDetailSerializer(projects.change(project, **stored | asked)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str) -> Response:
        """Delete the project, its images and every decision about them."""
        project = access.fetch(Project.objects, request.user, "delete project", slug=slug)
        uploads.delete_project(project)
        return Response(status=204)


class Members(ListAPIView):
    """The project's members."""

    serializer_class = MemberSerializer
    queryset = Membership.objects.all()

    def get_queryset(self) -> QuerySet[Membership]:
        project = access.fetch(Project.objects, self.request.user, "view", slug=self.kwargs["slug"])
        return project.memberships.select_related("user")

    @extend_schema(responses={201: MemberSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Give a user a role in the project."""
        project = access.fetch(Project.objects, request.user, "manage members", slug=slug)
        asked = checked(MemberSerializer(data=request.data))
        membership = members.add(project, asked["user"]["username"], asked["role"])
        return Response(MemberSerializer(membership).data, status=201)


class Member(GenericAPIView):
    serializer_class = MemberSerializer

    @extend_schema(request=RoleSerializer)
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """Change a member's role. A project keeps an owner."""
        membership = self.fetch(slug, pk, "manage members")
        asked = checked(RoleSerializer(data=request.data))
        return Response(MemberSerializer(members.change_role(membership, asked["role"])).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """Remove a member, or leave. What they did stays."""
        leaves = request.user.memberships.filter(pk=pk, project__slug=slug).exists()
        members.remove(self.fetch(slug, pk, "view" if leaves else "manage members"))
        return Response(status=204)

    def fetch(self, slug: str, pk: int, action: str) -> Membership:
        project = access.fetch(Project.objects, self.request.user, action, slug=slug)
        return get_object_or_404(project.memberships.select_related("user"), pk=pk)


class Invitations(ListAPIView):
    """The project's invitations, newest first. Their links are not told again."""

    serializer_class = InvitationSerializer
    queryset = Invitation.objects.all()

    def get_queryset(self) -> QuerySet[Invitation]:
        slug = self.kwargs["slug"]
        project = access.fetch(Project.objects, self.request.user, "manage members", slug=slug)
        return project.invitations.select_related("created_by", "used_by")

    @extend_schema(request=InviteSerializer, responses={201: InvitationMadeSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Make a link that lets one person in, once. It is told in this answer alone."""
        project = access.fetch(Project.objects, request.user, "manage members", slug=slug)
        made = invitations.invite(project, request.user, **checked(InviteSerializer(data=request.data)))
        made.url = request.build_absolute_uri(reverse("invitation", args=[invitations.token_of(made)]))
        return Response(InvitationMadeSerializer(made).data, status=201, headers=SECRET)


class InvitationDetail(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """Revoke an invitation that nobody has used: its link opens nothing any more."""
        project = access.fetch(Project.objects, request.user, "manage members", slug=slug)
        invitations.revoke(get_object_or_404(project.invitations, pk=pk))
        return Response(status=204)


class AcceptInvitation(APIView):
    @extend_schema(
        request=AcceptSerializer,
        responses={
            201: JoinedSerializer,
            200: OpenApiResponse(JoinedSerializer, "You are a member already; the invitation stays unused."),
            404: OpenApiResponse(description="There is no such invitation."),
            410: OpenApiResponse(description="It was used, or has expired."),
        },
    )
    def post(self, request: Request) -> Response:
        """Join the project that an invitation leads to."""
        asked = checked(AcceptSerializer(data=request.data))
        membership, new = invitations.accept(asked["token"], request.user)
        return Response(JoinedSerializer(membership).data, status=201 if new else 200)


class Images(ListAPIView):
    """The project's images, newest first."""

    serializer_class = ImageSerializer
    parser_classes: ClassVar = [MultiPartParser]
    queryset = Image.objects.all()

    def get_queryset(self) -> QuerySet[Image]:
        project = access.fetch(Project.objects, self.request.user, "view", slug=self.kwargs["slug"])
        return project.images.select_related("project", "uploaded_by")

    @extend_schema(
        request={"multipart/form-data": FilesSerializer},
        responses={
            201: AddedSerializer,
            202: OpenApiResponse(
                AddedSerializer, "A large ZIP is being unpacked: its report is the upload's."
            ),
            400: OpenApiResponse(
                AddedProblemSerializer, "Every file was refused; or the request lacks files."
            ),
            413: OpenApiResponse(AddedProblemSerializer, "Every file was refused as too large."),
            415: OpenApiResponse(
                AddedProblemSerializer, "Every file was refused as no picture that is read here."
            ),
            507: OpenApiResponse(AddedProblemSerializer, "The project or the disk is full."),
        },
    )
    def post(self, request: Request, slug: str) -> HttpResponse:
        """Add pictures, or a ZIP of them. A file that is refused stands in the answer with its reason."""
        project = access.fetch(Project.objects, request.user, "upload", slug=slug)
        asked = checked(FilesSerializer(data=request.data))
        upload = None
        if pk := asked.get("upload"):
            upload = get_object_or_404(project.uploads, pk=pk, uploaded_by=request.user)
        files = asked["files"]
        if "paths" in asked:
            # Of a name that comes with a file only the last part is kept.
            files = [File(file.file, path) for file, path in zip(files, asked["paths"], strict=True)]
        upload = uploads.add_images(project, request.user, files, upload)
        added, status = AddedSerializer(upload, context={"request": request}).data, upload.status_code
        if status < 400:
            return Response(added, status=status)
        why = [f"{entry.name}: {entry.reason}" for entry in upload.fresh[:SHOWN_REFUSALS]]
        return problems.answer(status, " ".join(["Nothing was added.", *why]), **added)


class UploadDetail(GenericAPIView):
    serializer_class = UploadSerializer

    def get(self, request: Request, pk: int) -> Response:
        """How far an upload is, and which files were refused."""
        upload = access.fetch(Upload.objects.select_related("project"), request.user, "view", pk=pk)
        return Response(UploadSerializer(upload).data)


class UploadStop(GenericAPIView):
    serializer_class = UploadSerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Stop unpacking a ZIP. What is in the project already stays."""
        upload = uploads.to_stop(request.user, pk)
        uploads.stop(upload, request.user)
        return Response(UploadSerializer(upload).data)


class ImageDetail(GenericAPIView):
    serializer_class = ImageSerializer

    def get(self, request: Request, pk: int) -> Response:
        """One image."""
        rows = Image.objects.select_related("project", "uploaded_by")
        image = access.fetch(rows, request.user, "view", pk=pk)
        return Response(ImageSerializer(image, context={"request": request}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete the image and every decision about it."""
        image = access.fetch(Image.everything, request.user, "delete images", pk=pk)
        uploads.delete_image(image)
        return Response(status=204)


class ImageFile(APIView):
    field = "file"

    @extend_schema(responses={(200, "image/*"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: int) -> HttpResponse:
        """The picture itself."""
        return media.serve(request, access.fetch(Image.everything, request.user, "view", pk=pk), self.field)
