"""Days are sealed: who changes one row of a sealed day is found, and the row is named.

Per tenant the seals are a chain over its events, in the order of their numbers and without a gap: each names
the hash of the one before, the digests of its events' canonical rows, and is signed with a key that is not in
the database. Everything in it follows from closed events, and those never change any more: an estimate that
becomes known after its day was sealed is an Adjustment.
"""

from usage.seals.checking import Fault, check
from usage.seals.receipts import public_keys, receipt
from usage.seals.sealing import SETTLING, seal_due, seal_tenant, sealed_to

__all__ = ["SETTLING", "Fault", "check", "public_keys", "receipt", "seal_due", "seal_tenant", "sealed_to"]
