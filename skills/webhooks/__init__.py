"""Webhooks: what a tenant is told, signed, retried over a day, and never sent into our own network."""
