"""What is allowed: tenants, keys, limits."""
