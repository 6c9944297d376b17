"""API v1 of labels that come in: a file is read, shown, and written once it is confirmed."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from gallery.models import Project
from labeling import imports
from labeling.api import Conflict
from labeling.import_formats import FORMATS
from labeling.import_plan import Choices
from labeling.models import ACTIVE, LabelImport, LabelSet

IMPORTS = LabelImport.objects.select_related("project", "label_set", "user")


class ImportRowSerializer(serializers.Serializer):
    place = serializers.CharField(help_text="In the file.")
    name = serializers.CharField(help_text="Of the image, as the file has it.")
    label = serializers.CharField()
    sentence = serializers.CharField(help_text="Why it is not taken.")


class FileLabelSerializer(serializers.Serializer):
    label = serializers.CharField()
    count = serializers.IntegerField(help_text="Rows that have it.")


class UnknownLabelSerializer(FileLabelSerializer):
    near = serializers.CharField(help_text="A label here that is nearly called so, or empty.")


class ImportReportSerializer(serializers.Serializer):
    """What a file would do."""

    rows = serializers.IntegerField()
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Rows by what becomes of them: `new`, `same`, `conflict`, `unmatched`, `unlabelled`, "
        "`prediction`, `unknown` (its label), `error`.",
    )
    labels = FileLabelSerializer(many=True, help_text="In the order of the file.")
    unknown = UnknownLabelSerializer(many=True)
    error = ImportRowSerializer(many=True, help_text="The first fifty, as of the next two.")
    unmatched = ImportRowSerializer(many=True)
    conflict = ImportRowSerializer(many=True)
    written = serializers.IntegerField(required=False, help_text="Images, once the import is written.")


class ImportSerializer(serializers.ModelSerializer):
    label_set = serializers.IntegerField(source="label_set_id", allow_null=True)
    project = serializers.SlugRelatedField("slug", read_only=True)
    user = serializers.CharField(source="user.username", allow_null=True, default=None)
    upload = serializers.IntegerField(
        source="upload_id", allow_null=True, help_text="Of the pictures that came along."
    )
    batch = serializers.UUIDField(source="batch_id", allow_null=True, help_text="Take it back by this.")
    report = serializers.SerializerMethodField()

    class Meta:
        model = LabelImport
        fields = ["id", "project", "label_set", "user", "name", "format", "step", "state", "error"]
        fields += ["rows_read", "upload", "report", "choices", "batch", "created_at", "finished_at"]
        read_only_fields = fields

    def get_report(self, row: LabelImport) -> ImportReportSerializer(allow_null=True):
        return row.report or None


class ChoicesSerializer(serializers.Serializer):
    make = serializers.BooleanField(default=True, help_text="Make labels that aren't here yet.")
    map = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=200),
        default=dict,
        help_text="`{the file's label: a label here}`; an empty one leaves its rows out.",
    )
    replace = serializers.BooleanField(default=False, help_text="Other decisions that people made.")
    truth = serializers.BooleanField(default=False, help_text="As ground truth, which settles nothing.")
    none = serializers.BooleanField(default=False, help_text="Images without a label are none of these.")
    predictions = serializers.BooleanField(default=False, help_text="Take predictions for labels.")


class ImportRequestSerializer(serializers.Serializer):
    file = serializers.FileField(help_text="Labels, or a ZIP of labels and pictures.")
    format = serializers.ChoiceField(list(FORMATS), required=False, help_text="Told by the file, if missing.")
    confirm = serializers.BooleanField(
        default=False, help_text="Write it as soon as it is read, with the choices that are given by default."
    )


def _answer(row: LabelImport) -> Response:
    row = IMPORTS.get(pk=row.pk)
    return Response(ImportSerializer(row).data, status=202 if row.state in ACTIVE else 201)


class ImportPages(ListAPIView):
    """What is shared by imports into a label set, and into a project that has none yet."""

    serializer_class = ImportSerializer
    parser_classes: ClassVar = [MultiPartParser]
    queryset = LabelImport.objects.all()

    def begin(self, request: Request, project: Project, label_set: LabelSet | None) -> Response:
        asked: dict[str, Any] = checked(ImportRequestSerializer(data=request.data))
        choices = Choices() if asked["confirm"] else None
        try:
            row = imports.begin(
                project, label_set, request.user, asked["file"], asked.get("format", ""), choices
            )
        except ValidationError as error:
            raise ValidationError({"file": error.messages}) from error
        return _answer(row)


ANSWERS = {
    201: ImportSerializer,
    202: OpenApiResponse(ImportSerializer, description="A worker reads it; ask for it again."),
}


class LabelSetImports(ImportPages):
    """The imports into a label set, newest first."""

    def get_queryset(self) -> QuerySet[LabelImport]:
        label_set = access.fetch(LabelSet.objects, self.request.user, "view", pk=self.kwargs["pk"])
        return IMPORTS.filter(label_set=label_set)

    @extend_schema(request=ImportRequestSerializer, responses=ANSWERS)
    def post(self, request: Request, pk: int) -> Response:
        """Read a file of labels. It is written when that is confirmed, or at once with `confirm`."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "import", pk=pk)
        return self.begin(request, label_set.project, label_set)


class ProjectImports(ImportPages):
    """The imports into a project, newest first."""

    def get_queryset(self) -> QuerySet[LabelImport]:
        project = access.fetch(Project.objects, self.request.user, "view", slug=self.kwargs["slug"])
        return IMPORTS.filter(project=project)

    @extend_schema(request=ImportRequestSerializer, responses=ANSWERS)
    def post(self, request: Request, slug: str) -> Response:
        """Read a file of labels, which become a label set of their own when that is confirmed."""
        project = access.fetch(Project.objects, request.user, "import", slug=slug)
        return self.begin(request, project, None)


class ImportDetail(GenericAPIView):
    serializer_class = ImportSerializer

    def get(self, request: Request, pk: int) -> Response:
        """How far an import is, and what it would do or did."""
        return Response(ImportSerializer(access.fetch(IMPORTS, request.user, "view", pk=pk)).data)


class ImportConfirm(GenericAPIView):
    serializer_class = ChoicesSerializer

    @extend_schema(responses=ANSWERS | {409: OpenApiResponse(description="It isn't read, or is written.")})
    def post(self, request: Request, pk: int) -> Response:
        """Write an import that was read, as one batch."""
        row = access.fetch(IMPORTS, request.user, "import", pk=pk)
        choices = Choices(**checked(ChoicesSerializer(data=request.data)))
        try:
            imports.confirm(row, choices)
        except ValidationError as error:
            if hasattr(error, "error_dict"):
                raise
            raise Conflict(error.messages) from error
        return _answer(row)


class ImportCancel(GenericAPIView):
    serializer_class = ImportSerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Drop an import that isn't written, or take the ground truth back that it brought."""
        row = access.fetch(IMPORTS, request.user, "import", pk=pk)
        if not imports.cancel(row):
            imports.take_back_truth(row)
        return Response(ImportSerializer(IMPORTS.get(pk=pk)).data)
