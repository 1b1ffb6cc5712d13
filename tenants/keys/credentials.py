"""Where a request carries its key: in a header, never in its URL."""

from collections.abc import Mapping
from typing import Any

from kit.errors import AuthenticationFailed


def credentials(meta: Mapping[str, Any]) -> str | None:
    """Read the key from `X-API-Key` or `Authorization: Bearer`, as Django's META names them; None without one.

    Raises `AuthenticationFailed` for two keys that differ.
    """
    in_header = (meta.get("HTTP_X_API_KEY") or "").strip()
    authorization = meta.get("HTTP_AUTHORIZATION")
    if not authorization:
        return in_header or None
    scheme, _, token = authorization.strip().partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    if in_header and bearer and in_header != bearer:
        raise AuthenticationFailed
    return in_header or bearer or None
