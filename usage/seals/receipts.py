"""A receipt: sealed days taken out of the platform, to be checked by whoever holds it, without us.

`examples/check_receipt.py` checks one; it needs Python and `cryptography` alone.
"""

import base64
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from kit.errors import NotFound
from tenants.models import Tenant
from usage.rows import fetch, stream
from usage.seals import canonical, signing

FORM = 1


def receipt(tenant: Tenant, *, first_day: date, last_day: date, rows: str = "whole") -> Iterator[str]:
    """Write a tenant's sealed days as JSON, piece by piece; raises `NotFound` when none is sealed.

    `rows` is `whole`, or `digests` for a receipt that proves the events without showing them.
    """
    given = {"tenant": tenant.pk, "first": first_day, "last": last_day}
    seals = [row["sequence"] for row in fetch(_SEQUENCES, given)]
    if not seals:
        raise NotFound(f"No day of {tenant.slug} from {first_day} to {last_day} is sealed yet.")
    return _pieces(tenant, seals, rows=rows)


def _pieces(tenant: Tenant, seals: list[int], *, rows: str) -> Iterator[str]:
    head = {
        "type": "skillgate.receipt",
        "form": FORM,
        "tenant": {"id": tenant.pk, "slug": tenant.slug, "name": tenant.name},
        "public_keys": signing.public_keys(),
    }
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "seals": ['
    # From the first to the last without a gap, whatever days lie between: a chain with a hole proves nothing.
    for sequence in range(seals[0], seals[-1] + 1):
        yield ("" if sequence == seals[0] else ",") + "\n"
        yield from _seal(tenant, sequence, rows=rows)
    yield "\n]}\n"


def _seal(tenant: Tenant, sequence: int, *, rows: str) -> Iterator[str]:
    (seal,) = fetch(_SEAL, [tenant.pk, sequence])
    head = {
        "payload": seal["payload"],
        "hash": seal["hash"],
        "key_id": seal["key_id"],
        "signature": seal["signature"],
        "digests": base64.b64encode(bytes(seal["digests"])).decode(),
    }
    written = json.dumps(head, ensure_ascii=False)
    if rows == "digests":
        yield written
        return
    yield written[:-1] + ', "rows": ['
    columns = tuple(json.loads(seal["payload"])["columns"])
    given = {"tenant": tenant.pk, "first": seal["first_number"], "last": seal["last_number"]}
    for at, row in enumerate(stream(_ROWS.format(row=canonical.row(columns)), given)):
        yield ("," if at else "") + "\n" + json.dumps(row["row"], ensure_ascii=False)
    yield "\n]}"


def public_keys() -> list[dict[str, Any]]:
    """Return the public keys by which receipts can be checked."""
    return [
        {"id": name, "public_key": public, "algorithm": "Ed25519"} for name, public in signing.public_keys().items()
    ]


_SEQUENCES = """
SELECT sequence FROM usage_seal WHERE tenant_id = %(tenant)s AND day BETWEEN %(first)s AND %(last)s ORDER BY sequence
"""
_SEAL = "SELECT * FROM usage_seal WHERE tenant_id = %s AND sequence = %s"
_ROWS = """
SELECT {row} AS row FROM usage_event e
WHERE e.tenant_id = %(tenant)s AND e.number BETWEEN %(first)s AND %(last)s ORDER BY e.number, e.id
"""
