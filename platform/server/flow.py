"""Write backpressure: whoever sends waits for the reader, and a reader that stopped is found out."""

import asyncio
import contextlib
import fcntl
import struct
import termios
from typing import Any


class Flow:
    """Whether a connection takes more data; paused and resumed by Twisted as its buffer fills and empties."""

    __slots__ = ("_transport", "_waiters", "paused")

    def __init__(self) -> None:
        self.paused = False
        self._transport: Any = None
        self._waiters: list[asyncio.Future[None]] = []

    def watch(self, transport: Any) -> None:
        """Name the transport whose progress is measured."""
        self._transport = transport

    def pause(self) -> None:
        """Make senders wait from now on."""
        self.paused = True

    def resume(self) -> None:
        """Let the waiting senders go on."""
        self.paused = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def drained(self, *, stall_seconds: float) -> bool:
        """Wait for room; False if the reader took not one byte for `stall_seconds`."""
        while self.paused:
            before = self._pending()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stall_seconds):
                    await waiter
                continue
            if self.paused and self._pending() == before:
                return False
        return True

    def _pending(self) -> tuple[int, int]:
        """What waits in our buffer, and what the kernel has not had acknowledged: either moves if the reader reads."""
        transport = self._transport
        waiting = len(transport.dataBuffer) - transport.offset
        try:
            answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except OSError:
            return waiting, 0
        return waiting, struct.unpack("i", answer)[0]
