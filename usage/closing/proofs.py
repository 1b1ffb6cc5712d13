"""Signed proofs of adjustments: one for each, numbered without a gap per tenant, each naming the one before.

Adjustments are written by the database, which has no key; the sealing signs them, and so does a closing.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction

from usage.closing import adjusting
from usage.closing.models import AdjustmentProof
from usage.rows import fetch, stream
from usage.seals import canonical, signing

_GENESIS = "0" * 64


def prove_due() -> int:
    """Sign every adjustment that is not signed yet and return how many there were."""
    return sum(prove_tenant(row["tenant_id"]) for row in fetch(_TENANTS))


def check() -> tuple[int, list[tuple[str, str]]]:
    """Check every adjustment against its proof; returns how many there are, and what is wrong."""
    found: list[tuple[str, str]] = []
    count, before = 0, {"tenant_id": 0, "sequence": 0, "payload": ""}
    for row in stream(_KEPT):
        count += 1
        if row["tenant_id"] != before["tenant_id"]:
            before = {"tenant_id": row["tenant_id"], "sequence": 0, "payload": ""}
        subject = f"adjustment {row['tenant_id']}/{row['adjustment_id']}"
        found += [(subject, fault) for fault in _faults(row, before=before)]
        before = row
    found += [
        (
            f"adjustment {row['tenant_id']}/{row['id']}",
            "inserted: it was not there when those after it were signed, or nothing signs",
        )
        for row in fetch(_UNPROVED)
    ]
    return count, found


def prove_tenant(tenant_id: int) -> int:
    """Sign what is not signed yet of one tenant's adjustments and return how many there were."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_lock_tenants(ARRAY[%s]::bigint[])", [tenant_id])
        before = AdjustmentProof.objects.filter(tenant_id=tenant_id).order_by("-sequence").first()
        sequence, previous = (before.sequence, _hash(before.payload)) if before else (0, _GENESIS)
        made = 0
        for row in fetch(_UNSIGNED, [tenant_id]):
            made, sequence = made + 1, sequence + 1
            payload = canonical.text(
                _content(tenant_id, sequence, row["id"], digest=_hash(row["row"]), previous=previous)
            )
            signed = signing.sign(payload)
            AdjustmentProof.objects.create(
                tenant_id=tenant_id, sequence=sequence, adjustment_id=row["id"], payload=payload, **signed._asdict()
            )
            previous = _hash(payload)
    return made


def _content(tenant_id: int, sequence: int, adjustment_id: int, *, digest: str, previous: str) -> dict[str, Any]:
    return {
        "tenant": tenant_id,
        "sequence": sequence,
        "adjustment": adjustment_id,
        "sha256": digest,
        "previous": previous,
    }


def _faults(row: dict[str, Any], *, before: dict[str, Any]) -> Iterator[str]:
    if not signing.is_signed(row["payload"], by=row["key_id"], signature=row["signature"]):
        yield f"its proof's signature by the key {row['key_id']} does not fit"
        return
    content = json.loads(row["payload"])
    previous = _hash(before["payload"]) if before["payload"] else _GENESIS
    expected = _content(
        row["tenant_id"], row["sequence"], row["adjustment_id"], digest=content["sha256"], previous=previous
    )
    if content != expected or row["sequence"] != before["sequence"] + 1:
        yield "its proof does not follow the one before: a proof is missing or was moved"
    if row["row"] is None:
        yield "deleted after it was signed"
    elif _hash(row["row"]) != content["sha256"]:
        yield "changed after it was signed"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_TENANTS = """
SELECT DISTINCT a.tenant_id FROM usage_adjustment a
WHERE NOT EXISTS (SELECT 1 FROM usage_adjustmentproof p WHERE p.adjustment_id = a.id) ORDER BY a.tenant_id
"""
_UNSIGNED = f"""
SELECT a.id, {adjusting.ROW} AS row FROM usage_adjustment a
WHERE a.tenant_id = %s AND NOT EXISTS (SELECT 1 FROM usage_adjustmentproof p WHERE p.adjustment_id = a.id) ORDER BY a.id
"""  # noqa: S608 - the names are ours
_KEPT = f"""
SELECT p.tenant_id, p.sequence, p.adjustment_id, p.payload, p.key_id, p.signature, CASE WHEN a.id IS NOT NULL THEN {adjusting.ROW} END AS row
FROM usage_adjustmentproof p LEFT JOIN usage_adjustment a ON a.id = p.adjustment_id ORDER BY p.tenant_id, p.sequence
"""  # noqa: S608 - the names are ours
# The sealing runs every few minutes: a day without a proof is far more than it waits.
_UNPROVED = """
SELECT a.tenant_id, a.id FROM usage_adjustment a
WHERE NOT EXISTS (SELECT 1 FROM usage_adjustmentproof p WHERE p.adjustment_id = a.id) AND (
    a.created_at < usage_clock() - interval '1 day'
    OR EXISTS (SELECT 1 FROM usage_adjustmentproof p WHERE p.tenant_id = a.tenant_id AND p.adjustment_id > a.id)
) ORDER BY a.tenant_id, a.id
"""
