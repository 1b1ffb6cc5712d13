"""Which version a call gets: a tenant's own skill before the built-in, by number, pin or label, canaries sticky by key.

Reads on the hot path are cached in the process: where labels and pins point for at most two seconds, versions (which
never change) until they fall out of the bounded cache.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from kit import clock, coalescing, pg
from kit.errors import InvalidRequest, NotFound
from skills.catalog.files import NAME
from skills.models import CANARY, PRODUCTION
from skills.versions import CONTENT_FIELDS, Version

LABELS_LIVE_SECONDS = 2.0
_MOST_CARDS = 4_096
_MOST_VERSIONS = 1_024
_LARGEST_NUMBER = 2**31 - 1
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a label points, and the share of production's traffic it takes."""

    version_id: int
    share: int
    is_tenants_own: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A skill a tenant can see, with the labels that hold for that tenant and the pins of its keys."""

    skill_id: int
    is_own: bool
    labels: dict[str, Pointer]
    pins: dict[str, int] = field(default_factory=dict)  # family of keys → version


class _Lru(OrderedDict[K, T], Generic[K, T]):
    """A bounded cache; the least recently stored goes first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: T) -> T:
        self[key] = value
        while len(self) > self._most:
            self.popitem(last=False)
        return value


_cards: _Lru[tuple[int, str], tuple[float, list[Card]]] = _Lru(_MOST_CARDS)
_versions: _Lru[int, Version] = _Lru(_MOST_VERSIONS)
_labelled: _Lru[tuple[int, str], Version] = _Lru(_MOST_VERSIONS)
_numbers: _Lru[tuple[int, int], int] = _Lru(_MOST_VERSIONS)


async def resolve(
    tenant_id: int,
    name: str,
    *,
    label: str | None = None,
    version: int | None = None,
    sticky: str,
) -> Version:
    """Return the version a call gets.

    A version named in the call comes first, then the pin of the caller's family of keys, then the label. Without
    any of them that is `production`, or `canary` for its share of callers: the same `sticky` (the family's id)
    always falls on the same side. Raises NotFound alike for what is absent and what is foreign.
    """
    if label is not None and version is not None:
        raise InvalidRequest("Name a label or a version, not both.", path="version")
    cards = await _seen(tenant_id, name) if NAME.match(name) else []
    card = _chosen(cards, label=label, sticky=sticky)
    if card is None:
        raise NotFound(f"There is no skill named {name[:64]!r}.")
    if version is not None:
        return await _numbered(card, name, version)
    if (pinned := card.pins.get(sticky)) is not None:
        return await _version(pinned)
    picked = label or _side(card, sticky=sticky)
    pointer = card.labels.get(picked)
    if pointer is None:
        raise NotFound(f"The skill {name!r} has no label {picked[:32]!r}.")
    key = (pointer.version_id, picked)
    return _labelled.get(key) or _labelled.keep(key, replace(await _version(pointer.version_id), label=picked))


async def stored(version_id: int) -> Version:
    """Return a version that was resolved before, whatever labels say now."""
    return await _version(version_id)


def forget(*, tenant_id: int | None = None, name: str | None = None) -> None:
    """Drop what this process remembers of labels, for a tenant, a name, or all.

    Other processes see a move within two seconds.
    """
    for key in list(_cards):
        of_tenant, of_name = key
        if tenant_id in (None, of_tenant) and name in (None, of_name):
            _cards.pop(key, None)


def _chosen(cards: list[Card], *, label: str | None, sticky: str) -> Card | None:
    """A tenant's own skill shadows the built-in once it is in production, or where it alone can be meant.

    A draft of one's own under a built-in's name must not take over calls before it is promoted.
    """
    own = built_in = None
    for card in cards:
        if card.is_own:
            own = own or card
        else:
            built_in = built_in or card
    if own is not None and (built_in is None or not own.labels.keys().isdisjoint({PRODUCTION, label})):
        return own
    if own is not None and sticky in own.pins:
        return own
    return built_in


def _side(card: Card, *, sticky: str) -> str:
    production, canary = card.labels.get(PRODUCTION), card.labels.get(CANARY)
    if canary is None or canary.share == 0:
        return PRODUCTION
    if production is not None and production.is_tenants_own and not canary.is_tenants_own:
        return PRODUCTION  # A tenant that pinned production does not take part in the platform's trial.
    digest = hashlib.sha256(f"{card.skill_id}\0{sticky}".encode("utf-8", "surrogatepass")).digest()
    return CANARY if int.from_bytes(digest[:8], "big") % 10_000 < canary.share * 100 else PRODUCTION


async def _seen(tenant_id: int, name: str) -> list[Card]:
    key = (tenant_id, name)
    kept = _cards.get(key)
    if kept is not None and clock.monotonic() < kept[0]:
        return kept[1]
    return await coalescing.shared(("cards", *key), lambda: _read_cards(tenant_id, name))


async def _read_cards(tenant_id: int, name: str) -> list[Card]:
    asked_at = clock.monotonic()
    rows = await pg.fetch_all(_CARDS, {"tenant": tenant_id, "name": name})
    cards: dict[int, Card] = {}
    for row in rows:
        card = cards.setdefault(row["skill_id"], Card(row["skill_id"], row["is_own"], {}, row["pins"] or {}))
        if row["label"] is not None:
            card.labels[row["label"]] = Pointer(row["version_id"], row["share"], row["is_tenants_own"])
    _cards.keep((tenant_id, name), (asked_at + LABELS_LIVE_SECONDS, list(cards.values())))
    return list(cards.values())


async def _numbered(card: Card, name: str, number: int) -> Version:
    version_id = _numbers.get((card.skill_id, number))
    if version_id is None and 1 <= number <= _LARGEST_NUMBER:
        row = await pg.fetch_one(_BY_NUMBER, {"skill": card.skill_id, "number": number})
        version_id = None if row is None else _numbers.keep((card.skill_id, number), row["id"])
    if version_id is None:
        raise NotFound(f"The skill {name!r} has no version {str(number)[:20]}.")
    return await _version(version_id)


async def _version(version_id: int) -> Version:
    kept = _versions.get(version_id)
    if kept is not None:
        return kept
    return await coalescing.shared(("skill version", version_id), lambda: _read_version(version_id))


async def _read_version(version_id: int) -> Version:
    row = await pg.fetch_one(_BY_ID, {"id": version_id})
    if row is None:
        forget()
        raise NotFound("This version does not exist.")
    return _versions.keep(version_id, Version(**row))


_CARDS = """
SELECT s.id AS skill_id, s.tenant_id IS NOT NULL AS is_own, l.name AS label, l.version_id, l.share,
       l.tenant_id IS NOT NULL AS is_tenants_own,
       (SELECT jsonb_object_agg(p.key_id, p.version_id) FROM skills_keypin p
        WHERE p.skill_id = s.id AND p.tenant_id = %(tenant)s) AS pins
FROM skills_skill s
LEFT JOIN skills_skilllabel l ON l.skill_id = s.id AND (l.tenant_id IS NULL OR l.tenant_id = %(tenant)s)
WHERE s.name = %(name)s AND (s.tenant_id IS NULL OR s.tenant_id = %(tenant)s)
ORDER BY l.tenant_id NULLS FIRST
"""
_BY_NUMBER = "SELECT id FROM skills_skillversion WHERE skill_id = %(skill)s AND number = %(number)s"
_BY_ID = f"""
SELECT v.id, v.skill_id, s.name AS skill, s.tenant_id, v.number, v.digest AS stored_digest,
       {", ".join(f"v.{name}" for name in CONTENT_FIELDS)}
FROM skills_skillversion v JOIN skills_skill s ON s.id = v.skill_id
WHERE v.id = %(id)s
"""  # noqa: S608 - the names are this code's own fields, never input
