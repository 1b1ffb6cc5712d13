"""The WebSocket entry point: several runs on one socket."""

from skills.consumers.paths import websocket

__all__ = ["websocket"]
