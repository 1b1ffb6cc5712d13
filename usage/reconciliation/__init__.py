"""Whether our books and the provider's agree."""
