from rest_framework import serializers

from gallery.models import Comment


class CommentSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField("slug", source="image.project", read_only=True)
    user = serializers.CharField(
        source="user.username",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="Nobody, where they left.",
    )
    mentions = serializers.SlugRelatedField(
        "username", many=True, read_only=True, help_text="Members whose names stood in the text after an @."
    )
    resolved = serializers.SerializerMethodField()
    resolved_by = serializers.CharField(
        source="resolved_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = Comment
        fields = [
            *("id", "project", "image", "user", "text", "mentions", "at"),
            *("resolved", "resolved_by", "resolved_at"),
        ]
        read_only_fields = ["image", "at", "resolved_at"]

    def get_resolved(self, comment: Comment) -> bool:
        return comment.resolved_at is not None


class ResolvedSerializer(serializers.Serializer):
    resolved = serializers.BooleanField()
