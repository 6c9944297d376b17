"""API v1 of a person's queue: what they are to review next, held for them."""

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from gallery import access
from gallery.api import checked
from labeling import leases, queue
from labeling.models import LabelSet


class QueueQuerySerializer(Serializer):
    q = serializers.CharField(
        required=False, allow_blank=True, default="", help_text="A search line of up to 1,000 characters."
    )
    since = serializers.FloatField(
        required=False,
        default=0,
        min_value=0,
        max_value=1e10,
        help_text="Where the line asks for settled images: what you decided later is done. Unix time.",
    )
    order = serializers.ChoiceField(list(queue.ORDERS.items()), default=queue.TEACHES)
    limit = serializers.IntegerField(min_value=1, max_value=queue.LIST, default=queue.LIST)


class QueuedSerializer(Serializer):
    """An image that waits for its person."""

    image = serializers.IntegerField(source="pk")
    file_name = serializers.CharField(source="name")
    label = serializers.IntegerField(source="suggested_id", help_text="What CLIP says.")
    probability = serializers.FloatField()
    margin = serializers.FloatField()
    seen = serializers.SerializerMethodField(help_text="To be sent along with the decision.")
    until = serializers.DateTimeField(help_text="Nobody else is shown it until then.")

    def get_seen(self, image: object) -> str:
        return image.decided_at.isoformat() if image.decided_at else ""


class QueueSerializer(Serializer):
    results = QueuedSerializer(many=True)


class QueueDetail(GenericAPIView):
    serializer_class = QueueSerializer

    @extend_schema(parameters=[QueueQuerySerializer])
    def get(self, request: Request, pk: int) -> Response:
        """Your next images, held for you for five minutes: nobody else gets them meanwhile.

        Asking again holds them longer. Fewer than `limit` where little is left, or where most of it looks
        alike; none where all is decided or others are at it.
        """
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        asked = checked(QueueQuerySerializer(data=request.query_params))
        try:
            whose = queue.asked_for(label_set, request.user, asked["order"], asked["q"], asked["since"])
        except DjangoValidationError as error:
            raise ValidationError({"q": error.messages}) from error
        ids, until = queue.fill(whose, ahead=asked["limit"] - 1)
        found = label_set.images().in_bulk(ids[: asked["limit"]])
        images = [found[image_id] for image_id in ids if image_id in found]
        for image in images:
            image.until = until
        return Response(QueueSerializer({"results": images}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Give all that you hold back, so that others get it at once."""
        label_set = access.fetch(LabelSet.objects, request.user, "review", pk=pk)
        leases.leave(label_set, request.user)
        return Response(status=204)
