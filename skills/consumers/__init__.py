"""The WebSocket entry point: several runs on one socket."""

from skills.consumers.entry import socket

__all__ = ["socket"]
