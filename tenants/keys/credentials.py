"""Where a request carries its key: in a header, never in its URL."""

from collections.abc import Mapping

from kit.errors import AuthenticationFailed


def credentials(headers: Mapping[str, str]) -> str | None:
    """Read the key from `X-API-Key` or `Authorization: Bearer`; None without one.

    `headers` are Django's, or a dict with names in lower case. Raises `AuthenticationFailed`
    for two keys that differ.
    """
    in_header = (headers.get("x-api-key") or "").strip()
    authorization = headers.get("authorization")
    if not authorization:
        return in_header or None
    scheme, _, token = authorization.strip().partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    if in_header and bearer and in_header != bearer:
        raise AuthenticationFailed
    return in_header or bearer or None
