"""What was consumed: the ledger, prices, reports."""
