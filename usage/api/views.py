"""Who am I and what did I use: a key's own view of its limits, budgets and events."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit.openapi import answers
from kit.rest import AsyncAPIView, respond
from tenants.api import callers
from tenants.keys import Caller
from usage import reports
from usage.api import parameters

_KEY = answers({"type": "object"}, 403)
_USAGE = answers({"type": "object"}, 400, 403)


class KeyView(AsyncAPIView):
    """The key that asks."""

    @extend_schema(operation_id="get_key", responses=_KEY, tags=["key"])
    async def get(self, request: Request) -> Response:
        """Show the key's scopes, limits and budgets with what is used, reserved and left."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        return respond(_key(caller) | {"budgets": await reports.budgets(caller)}, request=request)


class UsageView(AsyncAPIView):
    """The key's own usage events."""

    @extend_schema(
        operation_id="list_usage",
        responses=_USAGE,
        tags=["key"],
        parameters=[
            OpenApiParameter(
                "from",
                OpenApiTypes.DATE,
                description="First day, in the tenant's time zone; default: first of the month.",
            ),
            OpenApiParameter("to", OpenApiTypes.DATE, description="Last day; default: today."),
            OpenApiParameter("skill", OpenApiTypes.STR),
            OpenApiParameter("model", OpenApiTypes.STR),
            OpenApiParameter("state", OpenApiTypes.STR, enum=["open", "settled", "released", "estimated"]),
            OpenApiParameter("limit", OpenApiTypes.INT, description="Page size, 1 to 200; default 50."),
            OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before."),
        ],
    )
    async def get(self, request: Request) -> Response:
        """List the key's usage events, newest first, with totals over the filter."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        wanted, limit, before = parameters.read(request.query_params, today=await reports.today(caller))
        page, position = await reports.events(caller, wanted, before=before, limit=limit)
        content = {
            "data": page,
            "has_more": position is not None,
            "next_cursor": parameters.cursor(position),
            "period": {
                "from": wanted.first_day.isoformat(),
                "to": wanted.last_day.isoformat(),
                "timezone": caller.tenant_timezone,
            },
            "totals": await reports.totals(caller, wanted),
        }
        return respond(content, request=request)


def _key(caller: Caller) -> dict[str, object]:
    return {
        "id": caller.public_id,
        "type": "key",
        "name": caller.name,
        "display": caller.display,
        "environment": caller.environment,
        "tenant": {"slug": caller.tenant_slug, "timezone": caller.tenant_timezone},
        "scopes": {
            "skills": sorted(caller.allowed_skills) or "all",
            "verbs": sorted(caller.allowed_verbs) or "all",
            "models": sorted(caller.allowed_models) or "all",
        },
        "limits": {
            "requests_per_minute": caller.requests_per_minute,
            "tokens_per_minute": caller.tokens_per_minute,
            "concurrent_calls": caller.concurrent_calls,
        },
        "expires_at": caller.expires_at.isoformat() if caller.expires_at else None,
    }
