"""Many tenants with months of use, made up but true: every figure follows from the events, `verify_ledger` passes."""

from usage.scale.seed import Seeded, Size, seed

__all__ = ["Seeded", "Size", "seed"]
