from typing import Any

from rest_framework import serializers

from gallery.access import Role
from gallery.invitations import DAYS, MOST_DAYS
from gallery.models import Image, Invitation, Membership, Project, Upload, UploadEntry

BIGGEST_ID = 2**63 - 1


class IdField(serializers.IntegerField):
    """The id of a row, within what a database can look up."""

    def __init__(self, **options: object) -> None:
        super().__init__(min_value=1, max_value=BIGGEST_ID, **options)


class FieldProblemSerializer(serializers.Serializer):
    pointer = serializers.CharField(
        help_text="JSON pointer into the body, such as `/labels/3/name`; without a body, a parameter."
    )
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """Why a request was refused, as RFC 9457 has it."""

    type = serializers.CharField(help_text="`about:blank`: the status says it all.")
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, and what to do, in sentences.")
    errors = FieldProblemSerializer(many=True, required=False, help_text="Where fields are wrong.")


class TokenRequestSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=4096, trim_whitespace=False)
    name = serializers.CharField(max_length=100, default="Made by the API", help_text="What it is for.")


class TokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="Shown this once. Send it as `Authorization: Token …`.")
    name = serializers.CharField()
    expiry = serializers.DateTimeField()


class ProjectSerializer(serializers.ModelSerializer):
    role = serializers.ChoiceField(Role.choices, read_only=True, help_text="Yours.")

    class Meta:
        model = Project
        fields = ["slug", "name", "description", "created_at", "role"]
        read_only_fields = ["slug", "created_at"]


class ProjectDetailSerializer(ProjectSerializer):
    class Meta(ProjectSerializer.Meta):
        fields = [*ProjectSerializer.Meta.fields, "guidelines"]


class MemberSerializer(serializers.ModelSerializer):
    username = serializers.CharField(source="user.username", max_length=150)

    class Meta:
        model = Membership
        fields = ["id", "username", "role"]
        extra_kwargs = {"role": {"required": True}}


class RoleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Membership
        fields = ["role"]
        extra_kwargs = {"role": {"required": True}}


class InviteSerializer(serializers.Serializer):
    role = serializers.ChoiceField(Role.choices)
    days = serializers.IntegerField(
        min_value=1, max_value=MOST_DAYS, default=DAYS, help_text="For how long the link works."
    )


class InvitationSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    used_by = serializers.CharField(source="used_by.username", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Invitation
        fields = ["id", "role", "created_by", "created_at", "expires_at", "used_at", "used_by"]
        read_only_fields = fields


class InvitationMadeSerializer(InvitationSerializer):
    url = serializers.URLField(read_only=True, help_text="Told this once; it ends with the token.")

    class Meta(InvitationSerializer.Meta):
        fields = [*InvitationSerializer.Meta.fields, "url"]
        read_only_fields = fields


class AcceptSerializer(serializers.Serializer):
    token = serializers.CharField(max_length=200, help_text="What the invitation's link ends with.")


class JoinedSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField("slug", read_only=True)

    class Meta:
        model = Membership
        fields = ["project", "role"]
        read_only_fields = fields


class ImageSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField("slug", read_only=True)
    uploaded_by = serializers.CharField(
        source="uploaded_by.username", read_only=True, default=None, allow_null=True
    )
    file = serializers.HyperlinkedIdentityField("api-image-file", help_text="The original, as a download.")
    thumbnail = serializers.HyperlinkedIdentityField(
        "api-image-thumbnail", help_text="WebP, at most 320 pixels a side."
    )

    class Meta:
        model = Image
        fields = [
            *("id", "project", "name", "sha256", "width", "height", "format", "size"),
            *("uploaded_by", "uploaded_at", "file", "thumbnail"),
        ]
        read_only_fields = fields


class FilesSerializer(serializers.Serializer):
    files = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True),
        help_text="Pictures, or a ZIP of pictures. Repeat the field for several.",
    )
    paths = serializers.ListField(
        child=serializers.CharField(max_length=1000),
        required=False,
        help_text="The name of each file with its folders, which a file's own name can't have.",
    )
    upload = IdField(
        required=False, help_text="Of an earlier answer: these files belong to the same act of adding."
    )

    def validate(self, said: dict[str, Any]) -> dict[str, Any]:
        if len(said.get("paths", said["files"])) != len(said["files"]):
            raise serializers.ValidationError({"paths": "Give a path for each file, in the same order."})
        return said


class DuplicateSerializer(serializers.ModelSerializer):
    image = serializers.IntegerField(
        source="image_id", allow_null=True, help_text="The same picture, here before."
    )
    reason = serializers.CharField(help_text="Where it was set aside: that, and how to bring it back.")

    class Meta:
        model = UploadEntry
        fields = ["name", "image", "reason"]


class RefusedSerializer(serializers.ModelSerializer):
    class Meta:
        model = UploadEntry
        fields = ["name", "reason"]


class AddedSerializer(serializers.Serializer):
    """What became of the files of one request."""

    upload = serializers.IntegerField(source="pk")
    state = serializers.ChoiceField(
        Upload.State.choices, help_text="`open`: a large ZIP is still being unpacked."
    )
    added = serializers.SerializerMethodField()
    duplicates = serializers.SerializerMethodField()
    refused = serializers.SerializerMethodField()

    def get_added(self, upload: Upload) -> ImageSerializer(many=True):
        images = [entry.image for entry in self._fresh(upload, UploadEntry.Outcome.ADDED)]
        return ImageSerializer(images, many=True, context=self.context).data

    def get_duplicates(self, upload: Upload) -> DuplicateSerializer(many=True):
        return DuplicateSerializer(self._fresh(upload, UploadEntry.Outcome.DUPLICATE), many=True).data

    def get_refused(self, upload: Upload) -> RefusedSerializer(many=True):
        return RefusedSerializer(self._fresh(upload, UploadEntry.Outcome.REFUSED), many=True).data

    def _fresh(self, upload: Upload, outcome: str) -> list[UploadEntry]:
        return [entry for entry in upload.fresh if entry.outcome == outcome]


class AddedProblemSerializer(ProblemSerializer, AddedSerializer):
    """Every file was refused: a problem that tells of each of them as well."""


class UploadSerializer(serializers.ModelSerializer):
    """How far an upload is, counted in files."""

    project = serializers.SlugRelatedField("slug", read_only=True)
    total = serializers.SerializerMethodField()
    done = serializers.SerializerMethodField()
    added = serializers.SerializerMethodField()
    duplicates = serializers.SerializerMethodField()
    refused = serializers.SerializerMethodField(help_text="The first thousand.")

    class Meta:
        model = Upload
        fields = [
            "id",
            "project",
            "state",
            "error",
            "total",
            "done",
            "added",
            "duplicates",
            "refused",
            "created_at",
        ]

    def get_total(self, upload: Upload) -> int:
        return max(upload.total, self.get_done(upload))

    def get_done(self, upload: Upload) -> int:
        return sum(upload.counts.values())

    def get_added(self, upload: Upload) -> int:
        return upload.counts[UploadEntry.Outcome.ADDED]

    def get_duplicates(self, upload: Upload) -> int:
        return upload.counts[UploadEntry.Outcome.DUPLICATE]

    def get_refused(self, upload: Upload) -> RefusedSerializer(many=True):
        refused = upload.entries.filter(outcome=UploadEntry.Outcome.REFUSED)
        return RefusedSerializer(refused[:1000], many=True).data
