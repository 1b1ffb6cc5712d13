"""The webhook endpoints: where a tenant is told, its secrets, and the log of what was sent."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit import clock, ids
from kit.rest import AsyncAPIView, respond
from skills.api import bodies, documentation
from skills.webhooks import delivery, endpoints
from tenants.api import callers

_ENDPOINT, _DELIVERY = "whe", "msg"
_ADD: dict[str, Any] = {
    "type": "object",
    "required": ["url"],
    "additionalProperties": False,
    "properties": {"url": {"type": "string", "minLength": 1, "maxLength": 2048}},
}
_ROTATE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "overlap_hours": {
            "type": "number",
            "minimum": 0,
            "maximum": 24,
            "default": 24,
            "description": "For how long messages are signed with the old secret too.",
        }
    },
}


_ANY: dict[str, Any] = {"type": "object", "additionalProperties": True}
_MANY = documentation.answers(documentation.form({"data": {"type": "array", "items": _ANY}}), 403)
_ONE = documentation.answers(_ANY, 403, 404)
_CHANGED = documentation.answers(_ANY, 400, 403, 404, 413, 415)
_ADDED = {201: _ANY, **documentation.answers(_ANY, 400, 403, 413, 415)}
_SENT_AGAIN = {202 if status == 200 else status: answer for status, answer in _ONE.items()}


class EndpointsView(AsyncAPIView):
    """All endpoints of a tenant."""

    @extend_schema(operation_id="list_webhook_endpoints", responses=_MANY, tags=["webhooks"])
    async def get(self, request: Request) -> Response:
        """List endpoints."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        return respond({"data": [_described(row) for row in await endpoints.every(caller.tenant_id)]}, request=request)

    @extend_schema(
        operation_id="add_webhook_endpoint", responses=_ADDED, request=documentation.body(_ADD), tags=["webhooks"]
    )
    async def post(self, request: Request) -> Response:
        """Add an endpoint; its secret is in this answer alone."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        row, secret = await endpoints.add(caller.tenant_id, bodies.check(_ADD, request.data)["url"])
        shown = _described(row) if secret is None else {**_described(row), "secret": secret}
        return respond(shown, request=request, status=200 if secret is None else 201)


class EndpointView(AsyncAPIView):
    """One endpoint."""

    @extend_schema(operation_id="get_webhook_endpoint", responses=_ONE, tags=["webhooks"])
    async def get(self, request: Request, endpoint_id: str) -> Response:
        """Show an endpoint with its latest deliveries and their attempts."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        row = await endpoints.one(caller.tenant_id, ids.decode(_ENDPOINT, endpoint_id))
        sent = await delivery.page(caller.tenant_id, row["id"])
        return respond({**_described(row), "deliveries": [_sent(one) for one in sent]}, request=request)

    @extend_schema(operation_id="remove_webhook_endpoint", responses=_ONE, tags=["webhooks"])
    async def delete(self, request: Request, endpoint_id: str) -> Response:
        """Stop all messages to an endpoint."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        await endpoints.remove(caller.tenant_id, ids.decode(_ENDPOINT, endpoint_id))
        return respond({"id": endpoint_id, "type": "webhook_endpoint", "is_active": False}, request=request)


class RotateView(AsyncAPIView):
    """A new secret for an endpoint."""

    @extend_schema(
        operation_id="rotate_webhook_secret", responses=_CHANGED, request=documentation.body(_ROTATE), tags=["webhooks"]
    )
    async def post(self, request: Request, endpoint_id: str) -> Response:
        """Begin to sign with a new secret, and for the overlap with the old one too."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        body = bodies.check(_ROTATE, request.data if request.body else {})
        overlap = timedelta(hours=body.get("overlap_hours", 24))
        row, secret = await endpoints.rotate(
            caller.tenant_id, ids.decode(_ENDPOINT, endpoint_id), overlap=overlap, now=clock.now()
        )
        return respond({**_described(row), "secret": secret}, request=request)


class RedeliverView(AsyncAPIView):
    """Sending a message again."""

    @extend_schema(operation_id="redeliver_webhook", responses=_SENT_AGAIN, request=None, tags=["webhooks"])
    async def post(self, request: Request, delivery_id: str) -> Response:
        """Send a message again within seconds, whatever became of it before."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        row = await delivery.redeliver(caller.tenant_id, ids.decode(_DELIVERY, delivery_id))
        return respond(_sent(row), request=request, status=202)


def _described(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.encode(_ENDPOINT, row["id"]),
        "type": "webhook_endpoint",
        "url": row["url"],
        "is_active": row["is_active"],
        "disabled_reason": row["disabled_reason"] or None,
        "previous_secret_until": row["previous_until"].isoformat() if row["previous_until"] else None,
        "created_at": row["created_at"].isoformat(),
    }


def _sent(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.encode(_DELIVERY, row["id"]),
        "type": "webhook_delivery",
        "event": row["event"],
        "state": row["state"],
        "attempts": row["log"],
        "created_at": row["created_at"].isoformat(),
    }
