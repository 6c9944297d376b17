"""API v1 of webhooks. Changes go through the door, as on the pages."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access, webhooks
from gallery.api import checked
from gallery.models import Project, WebhookDelivery, WebhookEndpoint


class WebhookSerializer(serializers.ModelSerializer):
    url = serializers.CharField(max_length=500, help_text="https:// or http://, of a public address.")
    events = serializers.ListField(
        child=serializers.ChoiceField(list(webhooks.EVENTS)), allow_empty=False, max_length=20
    )
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = WebhookEndpoint
        fields = ["id", "url", "events", "is_active", "off_because", "created_by", "created_at", "tried_at"]
        fields += ["failures", "failing_since"]
        read_only_fields = ["off_because", "created_at", "tried_at", "failures", "failing_since"]


class NewWebhookSerializer(WebhookSerializer):
    class Meta(WebhookSerializer.Meta):
        fields = ["url", "events"]


class SecretSerializer(serializers.Serializer):
    secret = serializers.CharField(help_text="Shown this once: what signatures are checked with.")


class WebhookMadeSerializer(WebhookSerializer):
    secret = serializers.CharField(help_text="Shown this once: what signatures are checked with.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


class DeliverySerializer(serializers.ModelSerializer):
    message_id = serializers.CharField(read_only=True, help_text="The same on each try.")

    class Meta:
        model = WebhookDelivery
        fields = ["id", "message_id", "event", "state", "attempts", "created_at", "next_at", "sent_at"]
        fields += ["status", "seconds", "answer", "error"]
        read_only_fields = fields


class DeliveryDetailSerializer(DeliverySerializer):
    headers = serializers.DictField(child=serializers.CharField(), help_text="Of the last try.")

    class Meta(DeliverySerializer.Meta):
        fields = [*DeliverySerializer.Meta.fields, "headers", "body"]
        read_only_fields = fields


class Webhooks(ListAPIView):
    """The addresses that are told what happens in the project, newest first."""

    serializer_class = WebhookSerializer
    queryset = WebhookEndpoint.objects.all()

    def get_queryset(self) -> QuerySet[WebhookEndpoint]:
        slug = self.kwargs["slug"]
        project = access.fetch(Project.objects, self.request.user, "edit project", slug=slug)
        return project.webhooks.select_related("created_by")

    @extend_schema(request=NewWebhookSerializer, responses={201: WebhookMadeSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Have an address told of events. Its secret is told in this answer alone."""
        project = access.fetch(Project.objects, request.user, "edit project", slug=slug)
        asked = checked(NewWebhookSerializer(data=request.data))
        made, made_secret = webhooks.create(project, request.user, **asked)
        made.secret = made_secret
        return Response(WebhookMadeSerializer(made).data, status=201)


def endpoint(request: Request, pk: int) -> WebhookEndpoint:
    rows = WebhookEndpoint.objects.select_related("project", "created_by")
    return access.fetch(rows, request.user, "edit project", pk=pk)


def delivery(request: Request, pk: int) -> WebhookDelivery:
    rows = WebhookDelivery.objects.select_related("endpoint__project")
    return access.fetch(rows, request.user, "edit project", pk=pk)


class WebhookDetail(GenericAPIView):
    serializer_class = WebhookSerializer

    def get(self, request: Request, pk: int) -> Response:
        """One webhook, and how it fares."""
        return Response(WebhookSerializer(endpoint(request, pk)).data)

    def patch(self, request: Request, pk: int) -> Response:
        """Change its address or events, or switch it off or on. Switched on, it gets what waited."""
        row = endpoint(request, pk)
        asked = checked(WebhookSerializer(row, data=request.data, partial=True))
        return Response(WebhookSerializer(webhooks.change(row, **asked)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Delete it, with all that waits for it and what was delivered."""
        endpoint(request, pk).delete()
        return Response(status=204)


class WebhookSecret(GenericAPIView):
    serializer_class = SecretSerializer

    @extend_schema(request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Give it another secret, told in this answer alone. Nothing is signed with the old one any more."""
        return Response({"secret": webhooks.roll(endpoint(request, pk))})


class WebhookPing(GenericAPIView):
    serializer_class = DeliverySerializer

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Send a test: the event `ping`, in the background."""
        return Response(DeliverySerializer(webhooks.ping(endpoint(request, pk))).data, status=202)


class Deliveries(ListAPIView):
    """What was delivered to it in the last 30 days, or waits to be, newest first."""

    serializer_class = DeliverySerializer
    queryset = WebhookDelivery.objects.all()

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        return endpoint(self.request, self.kwargs["pk"]).deliveries.defer("body", "headers")


class Delivery(GenericAPIView):
    serializer_class = DeliveryDetailSerializer

    def get(self, request: Request, pk: int) -> Response:
        """One delivery, with the body and the headers that were sent."""
        return Response(DeliveryDetailSerializer(delivery(request, pk)).data)


class Resend(GenericAPIView):
    serializer_class = DeliverySerializer

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Deliver it once more, with the id that it had, in the background."""
        return Response(DeliverySerializer(webhooks.resend(delivery(request, pk))).data, status=202)
