"""HTTP endpoints of tenants."""
