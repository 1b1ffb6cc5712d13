"""Signatures as https://www.standardwebhooks.com says; secrets are derived when needed and stored nowhere."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

_PREFIX = "whsec_"


def secret(endpoint_id: UUID, *, generation: int) -> str:
    """Return an endpoint's secret of one generation, in the form that verifying libraries take."""
    key = str(settings.WEBHOOK_KEY or settings.SECRET_KEY).encode()
    derived = hmac.new(key, b"skillgate webhook\0" + endpoint_id.bytes + generation.to_bytes(4), hashlib.sha256)
    return _PREFIX + base64.b64encode(derived.digest()).decode()


def headers(endpoint: dict[str, Any], *, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Sign a message; while an earlier secret is still good, with both."""
    timestamp = str(int(now.timestamp()))
    generations = [endpoint["generation"]]
    if endpoint["previous_until"] is not None and endpoint["previous_until"] > now:
        generations.append(endpoint["generation"] - 1)
    signatures = [
        _signature(secret(endpoint["endpoint_id"], generation=one), f"{message_id}.{timestamp}.".encode() + body)
        for one in generations
    ]
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def _signature(text: str, content: bytes) -> str:
    key = base64.b64decode(text.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
