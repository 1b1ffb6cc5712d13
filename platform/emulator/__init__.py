"""A stand-in for the Claude Messages API, speaking HTTP."""
