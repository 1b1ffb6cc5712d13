"""One `make run` per checkout. Only the standard library: `make clean` uses it bare."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LockedError(Exception):
    """Another process runs Skillgate in this checkout; the message names it."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the checkout's lock; the kernel releases it however this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip()
            raise LockedError(
                f"Skillgate already runs in this checkout (process {holder or 'unknown'}): use that one "
                "(.local/demo.json has its address and key), or stop it first."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
