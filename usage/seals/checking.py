"""Whether sealed events are as they were: each seal against its signature and its neighbours, each row against its seal."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from usage.rows import fetch, stream
from usage.seals import canonical, signing

SIZE = 32
_MOST_TRACED = 200  # each is compared with every number that is missing
_GENESIS = "0" * 64
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One seal, or one row of a sealed day, that is not as it was."""

    subject: str
    fault: str


class _Chain:
    """What the seals of a tenant were found to be so far, in their order."""

    def __init__(self, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        self.sequence, self.last_number, self.hash = 0, 0, _GENESIS

    def faults(self, row: Row) -> list[str]:
        """Return what is wrong with the next seal by itself and after the one before."""
        content = _parsed(row["payload"])
        found = (
            []
            if hashlib.sha256(row["payload"].encode()).hexdigest() == row["hash"]
            else ["its hash is not its payload's"]
        )
        if not signing.is_signed(row["payload"], by=row["key_id"], signature=row["signature"]):
            found.append(f"its signature by the key {row['key_id']} does not fit")
        told = {
            name: content.get(name)
            for name in ("tenant", "sequence", "first_number", "last_number", "day", "sealed_at")
        }
        kept = {name: row[name] for name in ("sequence", "first_number", "last_number")}
        instants = {"day": row["day"].isoformat(), "sealed_at": row["sealed_at"].isoformat()}
        if told != {"tenant": self.tenant_id, **instants, **kept}:
            found.append("its columns are not what was signed")
        if content.get("rows_sha256") != row["rows_sha256"]:
            found.append("its digests are not what was signed")
        if row["sequence"] != self.sequence + 1 or row["first_number"] != self.last_number + 1:
            found.append(
                f"it does not follow seal {self.sequence}, which ends at event {self.last_number}: one is missing"
            )
        elif content.get("previous") != self.hash:
            found.append(f"it was sealed after another seal {self.sequence} than this one")
        self.sequence, self.last_number, self.hash = row["sequence"], row["last_number"], row["hash"]
        return found


def check() -> tuple[int, list[Fault]]:
    """Check every seal and every sealed row; returns how many rows are sealed, and what is wrong.

    Rows are compared where they lie, a tenant at a time: memory stays flat.
    """
    faults: list[Fault] = []
    rows = 0
    chain = _Chain(0)
    for row in stream(_SEALS):
        if row["tenant_id"] != chain.tenant_id:
            chain = _Chain(row["tenant_id"])
        rows += row["last_number"] - row["first_number"] + 1
        faults += [Fault(_seal(row), fault) for fault in chain.faults(row)]
    for tenant_id, text in [(row["tenant_id"], row["columns"]) for row in fetch(_FORMS)]:
        faults += _changed(tenant_id, text)
    faults += [Fault(_event(row), "inserted: no event has such a number") for row in fetch(_NUMBERLESS)]
    faults += [
        Fault(
            f"tenant {row['tenant_id']}",
            f"nothing is sealed after event {row['last_number']}, of {row['day']}, though it could be",
        )
        for row in fetch(_UNSEALED)
    ]
    return rows, faults


def _changed(tenant_id: int, text: str) -> Iterator[Fault]:
    try:
        columns = tuple(json.loads(text))
        digest = canonical.digest(columns)
    except (KeyError, ValueError, TypeError):
        return  # forged: the signature says so already
    for seal in fetch(_DIFFERENT.format(digest=digest), {"tenant": tenant_id, "columns": text}):
        # Altered digests are the seal's fault, which `_Chain` has said, and no row's.
        if hashlib.sha256(bytes(seal["digests"])).hexdigest() == _parsed(seal["payload"]).get("rows_sha256"):
            yield from _named(tenant_id, seal, columns=columns)


def _named(tenant_id: int, seal: Row, *, columns: tuple[str, ...]) -> Iterator[Fault]:
    """Name each row of a seal that is not as it was."""
    digests, first = bytes(seal["digests"]), seal["first_number"]
    sealed = {first + at: digests[at * SIZE : (at + 1) * SIZE] for at in range(len(digests) // SIZE)}
    given = {"tenant": tenant_id, "first": first, "last": seal["last_number"]}
    wrong: list[Row] = []
    right: set[int] = set()
    seen: set[int] = set()
    for row in fetch(_ROWS.format(row=canonical.row(columns)), given):
        number = row["number"]
        seen.add(number)
        if hashlib.sha256(row["row"].encode()).digest() == sealed.get(number):
            right.add(number)
        else:
            wrong.append(row)
    lost = {number: sealed[number] for number in sealed if number not in right}
    origins = {row["id"]: _origin(row, lost, place=columns.index("number")) for row in wrong[:_MOST_TRACED]}
    for row in wrong:
        yield Fault(_event(row), _why(row, origin=origins.get(row["id"]), is_second=row["number"] in right))
    for number in sorted(set(lost) - seen):
        moved = number in origins.values()
        yield Fault(
            f"event {tenant_id}/{number}",
            "reordered: it stands elsewhere now" if moved else "deleted after it was sealed",
        )


def _origin(row: Row, lost: dict[int, bytes], *, place: int) -> int | None:
    """Return the number under which a row was sealed if nothing but its number is another now."""
    values = json.loads(row["row"])
    for number, digest in lost.items():
        values[place] = number
        if hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).digest() == digest:
            return number
    return None


def _why(row: Row, *, origin: int | None, is_second: bool) -> str:
    if origin is not None:
        return f"reordered: it was sealed as number {origin}"
    return "inserted: the number was sealed for another event" if is_second else "changed after it was sealed"


def _parsed(payload: str) -> Row:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seal(row: Row) -> str:
    return f"seal {row['tenant_id']}/{row['sequence']} (events {row['first_number']} to {row['last_number']}, {row['day']})"


def _event(row: Row) -> str:
    return f"event {row['tenant_id']}/{row['number']} ({row['id']})"


_SEALS = """
SELECT tenant_id, sequence, day, first_number, last_number, payload, hash, key_id, signature, sealed_at,
       encode(sha256(digests), 'hex') AS rows_sha256
FROM usage_seal ORDER BY tenant_id, sequence
"""
# Which columns a seal's rows were written of: one form, until an event gets another column.
_FORMS = """
SELECT DISTINCT tenant_id, CASE WHEN payload IS JSON THEN (payload::json ->> 'columns') END AS columns FROM usage_seal
ORDER BY tenant_id
"""
_DIFFERENT = """
SELECT s.payload, s.digests, n.first_number, n.last_number FROM usage_seal s
CROSS JOIN LATERAL (
    SELECT (s.payload::json ->> 'first_number')::bigint AS first_number, (s.payload::json ->> 'last_number')::bigint AS last_number
) n
WHERE s.tenant_id = %(tenant)s AND s.payload IS JSON AND (s.payload::json ->> 'columns') = %(columns)s
    AND s.digests IS DISTINCT FROM (
        SELECT string_agg({digest}, ''::bytea ORDER BY e.number, e.id) FROM usage_event e
        WHERE e.tenant_id = s.tenant_id AND e.number BETWEEN n.first_number AND n.last_number
    )
ORDER BY s.sequence
"""
_ROWS = """
SELECT e.tenant_id, e.number, e.id, {row} AS row FROM usage_event e
WHERE e.tenant_id = %(tenant)s AND e.number BETWEEN %(first)s AND %(last)s ORDER BY e.number, e.id
"""
_NUMBERLESS = """
SELECT e.tenant_id, e.number, e.id FROM usage_tenanttally y JOIN usage_event e ON e.tenant_id = y.tenant_id AND e.number < 1
ORDER BY e.tenant_id, e.number
"""
# Two days are far more than the sealing waits: it stands still, or the last seals were removed.
_UNSEALED = """
SELECT y.tenant_id, f.day, coalesce(s.last_number, 0) AS last_number
FROM usage_tenanttally y JOIN tenants_tenant t ON t.id = y.tenant_id
LEFT JOIN LATERAL (SELECT max(last_number) AS last_number FROM usage_seal WHERE tenant_id = y.tenant_id) s ON true
JOIN usage_event f ON f.tenant_id = y.tenant_id AND f.number = coalesce(s.last_number, 0) + 1
WHERE f.day < ((usage_clock() - interval '2 days') AT TIME ZONE t.timezone)::date ORDER BY 1
"""
