"""What `/ops/` consists of: every model of the platform, looked at by operators."""
