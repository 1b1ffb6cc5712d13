"""Check a receipt of sealed usage without the platform: python check_receipt.py receipt.json [--key PUBLIC_KEY]

Needs Python 3.10 or later and `pip install cryptography`. The receipt names the public keys itself; give the one that
you were told on another way with --key, else you only know that the receipt agrees with itself. Exit code 0 when all
is as it was sealed, 1 when not: then each row or seal that is not is named.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
Before = tuple[dict[str, Any], str]
SIZE = 32


def check(receipt: Json, trusted: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a receipt, each as one line."""
    faults: list[str] = []
    before: Before | None = None
    for seal in receipt["seals"]:
        payload = json.loads(seal["payload"])
        name = f"seal {payload['sequence']} ({payload['day']}, events {payload['first_number']} to {payload['last_number']})"
        faults += [f"{name}: {fault}" for fault in seal_faults(seal, payload, before, trusted)]
        faults += row_faults(seal, payload)
        before = (payload, hashlib.sha256(seal["payload"].encode()).hexdigest())
    return faults


def seal_faults(seal: Json, payload: Json, before: Before | None, trusted: dict[str, bytes]) -> Iterator[str]:
    """Return what is wrong with one seal and with its place in the chain."""
    if hashlib.sha256(seal["payload"].encode()).hexdigest() != seal["hash"]:
        yield "its hash is not its payload's"
    if seal["key_id"] not in trusted:
        yield f"it is signed by the key {seal['key_id']}, which you do not trust"
    else:
        try:
            public = Ed25519PublicKey.from_public_bytes(trusted[seal["key_id"]])
            public.verify(bytes.fromhex(seal["signature"]), seal["payload"].encode())
        except (InvalidSignature, ValueError):
            yield "its signature does not fit"
    if hashlib.sha256(base64.b64decode(seal["digests"])).hexdigest() != payload["rows_sha256"]:
        yield "its digests are not what was signed"
    if before is not None and payload["previous"] != before[1]:
        yield "it does not follow the seal before it"
    if before is not None and payload["first_number"] != before[0]["last_number"] + 1:
        yield "events between it and the seal before it are missing"


def row_faults(seal: Json, payload: Json) -> Iterator[str]:
    """Name the rows that are not those that were sealed."""
    if "rows" not in seal:
        return
    raw = base64.b64decode(seal["digests"])
    sealed = [raw[at : at + SIZE] for at in range(0, len(raw), SIZE)]
    found = [hashlib.sha256(row.encode()).digest() for row in seal["rows"]]
    if len(found) != len(sealed):
        yield f"seal {payload['sequence']}: {len(sealed)} events were sealed, the receipt holds {len(found)}"
    for at, (expected, digest) in enumerate(zip(sealed, found, strict=False)):
        if digest != expected:
            yield f"event {payload['first_number'] + at}: its row is not the one that was sealed"


def totals(receipt: Json) -> dict[str, int]:
    """Return the sums that the seals vouch for."""
    payloads = [json.loads(seal["payload"]) for seal in receipt["seals"]]
    return {name: sum(payload[name] for payload in payloads) for name in ("events", "charged_tokens", "cost_micros")}


def main() -> int:
    """Check the receipt that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receipt")
    parser.add_argument("--key", action="append", default=[], help="a public key that you trust, in hexadecimal digits")
    given = parser.parse_args()
    receipt = json.loads(Path(given.receipt).read_text(encoding="utf-8"))
    keys = [bytes.fromhex(key) for key in given.key or receipt["public_keys"].values()]
    faults = check(receipt, {hashlib.sha256(key).hexdigest()[:16]: key for key in keys})
    for fault in faults:
        print(fault)
    if not given.key:
        print("Note: the keys are the receipt's own; name the one you were given with --key.", file=sys.stderr)
    if not faults:
        sums = totals(receipt)
        print(
            f"{receipt['tenant']['slug']}: {len(receipt['seals'])} seals, {sums['events']} events,"
            f" {sums['charged_tokens']} tokens, {sums['cost_micros']} micro-dollars: all as it was sealed."
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
