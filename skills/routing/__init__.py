"""Which model answers a call, and why."""
