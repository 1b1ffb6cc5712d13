"""What may be asked of a new key, checked before anything is written."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kit.errors import InvalidRequest
from tenants.models import ApiKey

VERBS = ("run", "read", "messages", "health", "reports")
MOST_REQUESTS_PER_MINUTE = 1_000_000
MOST_CONCURRENT_CALLS = 100_000
MOST_TOKENS_PER_MINUTE = 10_000_000_000
MOST_TOKENS = 10**15
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_MOST_ENTRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything about a key besides its secret and its owner."""

    name: str
    environment: str = "live"
    requests_per_minute: int = 60
    tokens_per_minute: int = 200_000
    concurrent_calls: int = 20
    allowed_skills: Iterable[str] = ()
    allowed_verbs: Iterable[str] = ()
    allowed_models: Iterable[str] = ()
    allowed_networks: Iterable[str] = ()
    expires_at: datetime | None = None

    def columns(self, *, now: datetime) -> dict[str, Any]:
        """Return the key's columns; raises `InvalidRequest` for the first that cannot be."""
        return {
            "name": label(self.name, field="name", longest=100),
            "environment": _environment(self.environment),
            "requests_per_minute": count(
                self.requests_per_minute, field="requests_per_minute", most=MOST_REQUESTS_PER_MINUTE
            ),
            "tokens_per_minute": count(self.tokens_per_minute, field="tokens_per_minute", most=MOST_TOKENS_PER_MINUTE),
            "concurrent_calls": count(self.concurrent_calls, field="concurrent_calls", most=MOST_CONCURRENT_CALLS),
            "allowed_skills": names(self.allowed_skills, field="allowed_skills"),
            "allowed_verbs": _verbs(self.allowed_verbs),
            "allowed_models": names(self.allowed_models, field="allowed_models"),
            "allowed_networks": _networks(self.allowed_networks),
            "expires_at": _expiry(self.expires_at, now=now),
        }


def label(text: str, *, field: str, longest: int) -> str:
    """Return a name for people, trimmed; raises `InvalidRequest`."""
    trimmed = text.strip()
    if not trimmed or len(trimmed) > longest or not trimmed.isprintable():
        raise InvalidRequest(f"Give `{field}` 1 to {longest} printable characters.", field=field)
    return trimmed


def count(number: int, *, field: str, most: int) -> int:
    """Return a whole number from 1 to `most`; raises `InvalidRequest`."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise InvalidRequest(f"Give `{field}` a whole number from 1 to {most}.", field=field)
    return number


def _environment(environment: str) -> str:
    if environment not in ApiKey.Environment.values:
        raise InvalidRequest("Set `environment` to `live` or `test`.", field="environment")
    return environment


def _entries(values: Iterable[str], *, field: str) -> list[str]:
    entries = [values] if isinstance(values, str) else list(dict.fromkeys(values))
    if len(entries) > _MOST_ENTRIES:
        raise InvalidRequest(f"Give `{field}` at most {_MOST_ENTRIES} entries.", field=field)
    return entries


def names(values: Iterable[str], *, field: str) -> list[str]:
    """Return names of skills or models without repetition; raises `InvalidRequest`."""
    found = _entries(values, field=field)
    for name in found:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"`{field}` holds {name!r}, which cannot be a name. Remove or correct it.", field=field
            )
    return found


def _verbs(values: Iterable[str]) -> list[str]:
    verbs = _entries(values, field="allowed_verbs")
    for verb in verbs:
        if verb not in VERBS:
            raise InvalidRequest(f"`allowed_verbs` may hold {', '.join(VERBS)}, not {verb!r}.", field="allowed_verbs")
    return verbs


def _networks(values: Iterable[str]) -> list[str]:
    networks = []
    for value in _entries(values, field="allowed_networks"):
        try:
            networks.append(str(ipaddress.ip_network(str(value).strip(), strict=False)))
        except ValueError:
            raise InvalidRequest(
                f"`allowed_networks` holds {value!r}, which is no CIDR range such as 192.0.2.0/24.",
                field="allowed_networks",
            ) from None
    return networks


def _expiry(expires_at: datetime | None, *, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None or expires_at <= now:
        raise InvalidRequest(
            "Set `expires_at` to a future instant with its UTC offset, or leave it out.", field="expires_at"
        )
    return expires_at
