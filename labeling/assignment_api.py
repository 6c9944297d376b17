"""API v1 of who is to review which images."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import QueryDict
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from gallery import access
from gallery.api import checked
from gallery.models import Membership
from gallery.serializers import IdField
from labeling import assignments, batches
from labeling.api import Conflict
from labeling.assignments import Order, Plan, Split
from labeling.filters import ImageFilter
from labeling.models import STATUSES, LabelSet

MOST_IMAGES, MOST_MEMBERS = 100_000, 1000


class AssignedSerializer(serializers.Serializer):
    username = serializers.CharField(source="member.user.username")
    role = serializers.ChoiceField(access.Role.choices, source="member.role")
    assigned = serializers.IntegerField()
    done = serializers.IntegerField(help_text="Settled, or answered by this member.")
    left = serializers.IntegerField()


class AssignedToMembersSerializer(serializers.Serializer):
    members = AssignedSerializer(many=True)


class MemberShareSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    share = serializers.FloatField(required=False, min_value=0.01, max_value=100, help_text="In percent.")
    count = serializers.IntegerField(required=False, min_value=1, help_text="In images.")


class AssignSerializer(serializers.Serializer):
    members = MemberShareSerializer(
        many=True,
        allow_empty=False,
        max_length=MOST_MEMBERS,
        help_text="All with a share, all with a count, or all with neither: in equal parts.",
    )
    images = serializers.ListField(
        child=IdField(), required=False, max_length=MOST_IMAGES, help_text="Of these alone; else of all."
    )
    q = serializers.CharField(required=False, max_length=1000, help_text="A search line, as in the gallery.")
    label = IdField(required=False)
    status = serializers.ChoiceField(STATUSES, required=False)
    probability__lt = serializers.FloatField(required=False)
    probability__gt = serializers.FloatField(required=False)
    margin__lt = serializers.FloatField(required=False)
    margin__gt = serializers.FloatField(required=False)
    order = serializers.ChoiceField(Order.choices, default=Order.UNCERTAIN)
    count = serializers.IntegerField(required=False, min_value=1, help_text="No more images than that.")
    expected = serializers.IntegerField(
        required=False, help_text="How many assignments it makes: where it would be others, none (409)."
    )

    def validate_members(self, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kinds = {tuple(sorted(set(member) & {"share", "count"})) for member in members}
        if len(kinds) > 1 or kinds == {("count", "share")}:
            raise serializers.ValidationError("Give each member a share, or each a count, or none either.")
        if len({member["username"] for member in members}) < len(members):
            raise serializers.ValidationError("A member stands twice in this list.")
        return members


class GivenSerializer(serializers.Serializer):
    batch = serializers.UUIDField(source="pk", help_text="Undo takes it.")
    username = serializers.CharField(source="assignee.username")
    total = serializers.IntegerField()
    state = serializers.CharField(help_text="`running`: a worker is at it.")


class AssignmentsSerializer(serializers.Serializer):
    matching = serializers.IntegerField()
    free = serializers.IntegerField(help_text="Of the matching ones, those that could be given.")
    batches = GivenSerializer(many=True, help_text="One for each member who gets any.")


class Assignments(GenericAPIView):
    serializer_class = AssignSerializer

    @extend_schema(responses=AssignedToMembersSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """How much each member was given and has done; of who may not assign, their own alone."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "view", pk=pk)
        found = assignments.of_members(label_set)
        if "assign" not in access.allowed(label_set.role):
            found = [row for row in found if row.member.user_id == request.user.pk]
        return Response(AssignedToMembersSerializer({"members": found}).data)

    @extend_schema(
        responses={
            201: AssignmentsSerializer,
            409: OpenApiResponse(description="It would be other than the expected number; nothing is given."),
        }
    )
    def post(self, request: Request, pk: int) -> Response:
        """Give images to members to review, no image to more people than votes are asked for."""
        label_set = access.fetch(LabelSet.objects.select_related("project"), request.user, "assign", pk=pk)
        asked = checked(AssignSerializer(data=request.data))
        plan = _plan(label_set, request.user, asked)
        if asked.get("expected", plan.total) != plan.total:
            raise Conflict(f"It would be {plan.total} by now, not {asked['expected']}. Nothing was given.")
        made = batches.assign(label_set, request.user, plan.parts, asked.get("q", ""))
        names = {member.user_id: member.user for member, _ in plan.parts}
        for batch in made:
            batch.assignee = names[batch.assignee_id]
        answer = {"matching": plan.matching, "free": plan.free, "batches": made}
        return Response(AssignmentsSerializer(answer).data, status=201)


def _plan(label_set: LabelSet, user: access.User, asked: dict[str, Any]) -> Plan:
    """Raises ValidationError."""
    params = QueryDict(mutable=True)
    params.update({name: asked[name] for name in ImageFilter.base_filters if name in asked})
    filters = ImageFilter(params, label_set.images(), label_set=label_set, user=user)
    if not filters.is_valid():
        raise ValidationError(filters.form.errors.as_data())
    images = filters.qs
    if "images" in asked:
        images = images.filter(pk__in=asked["images"])
    given = asked["members"]
    split = {"share": Split.PERCENT, "count": Split.NUMBER}
    kind = next((name for name in split if name in given[0]), None)
    amounts = [member[kind] for member in given] if kind else []
    members = _members(label_set, [member["username"] for member in given])
    return assignments.plan(
        label_set, images, members, split.get(kind, Split.EQUAL), amounts, asked.get("count"), asked["order"]
    )


def _members(label_set: LabelSet, usernames: list[str]) -> list[Membership]:
    known = {member.user.username: member for member in assignments.reviewers(label_set.project)}
    for name in usernames:
        if name not in known:
            raise ValidationError({"members": f"“{name}” is no member who may review."})
    return [known[name] for name in usernames]
