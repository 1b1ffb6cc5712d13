"""The ASGI server we run."""
