"""A stand-in for the Claude Messages API: same wire, deterministic answers, exact books, faults on demand."""
