"""Whether our books and the provider's agree: day by day, and what each difference is made of."""

from usage.reconciliation.comparing import BUCKETS, Comparison, compare
from usage.reconciliation.daily import due, latest, one, reconcile

__all__ = ["BUCKETS", "Comparison", "compare", "due", "latest", "one", "reconcile"]
