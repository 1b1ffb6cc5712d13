"""How the server stops: nothing new at once, what runs may finish, what does not is told, and all within 30 s."""

import asyncio
import ctypes
import logging
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from kit import clock

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
JOINING_SECONDS = 0.05  # for who was being let in when the door was closed: a round trip to the proxy
NEWCOMER_SECONDS = 1.5  # for who has just connected, to say what for: a proxy on a busy machine is slow to
WORDS_SECONDS = 1.0  # from asking the application to end its calls to the disconnect message
GOODBYE_SECONDS = 1.5  # from the disconnect message to the cancellation
CANCEL_SECONDS = 0.5
SHUTDOWN_SECONDS = 1.5  # at least, for the application's own `shutdown`
OVERALL_SECONDS = 29.0
_MOST_WAITING = 4_096
_SO_ATTACH_FILTER = 26  # linux/asm-generic/socket.h
# A packet filter that drops whoever knocks anew and lets in who has been answered (linux/bpf_common.h).
_NO_NEWCOMERS = (
    (0x30, 0, 0, 13),  # load the byte of a TCP header's flags
    (0x45, 0, 1, 0x02),  # is it a SYN?
    (0x06, 0, 0, 0),  # then keep 0 bytes of it
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)
FORCED_SECONDS = 29.5


async def run(server: Any) -> None:
    """Stop listening, wait for what is in flight, and end the rest."""
    began = clock.monotonic()
    server.is_draining = True
    _exit_by_force_after(FORCED_SECONDS)
    await _stop_listening(server)
    _end_idle(server)
    await _hear_newcomers(server)
    try:
        await _until_idle(server, seconds=server.limits.grace_seconds - (clock.monotonic() - began))
        await _end_calls(server)
        await _end_the_rest(server)
    finally:
        await _shut_down(server.application, seconds=OVERALL_SECONDS - (clock.monotonic() - began))


async def _stop_listening(server: Any) -> None:
    is_closing = [not server.is_sharing and _lets_nobody_in(port.socket) for port in server.ports]
    if any(is_closing):
        await asyncio.sleep(JOINING_SECONDS)
    for port in server.ports:
        _close(port, is_shared=server.is_sharing)


def _close(port: Any, *, is_shared: bool) -> None:
    """Take in who waits to be accepted: closing would reset them, and a proxy may not send a call that it sent again."""
    for _ in range(_MOST_WAITING):
        if not is_readable(port.socket):
            break
        port.doRead()
    if not is_shared:  # from here on the kernel refuses; Twisted closes only in its next turn
        port.socket.shutdown(socket.SHUT_RDWR)
    port.stopListening()


def _lets_nobody_in(listener: socket.socket) -> bool:
    """Have the kernel drop who knocks from now on, so that nobody joins between the last `accept` and the close.

    Whoever is dropped knocks again a moment later and is refused, which a proxy may answer by trying the next server.
    """
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return False
    steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_NEWCOMERS))
    try:
        program = struct.pack("HL", len(_NO_NEWCOMERS), ctypes.addressof(steps))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def is_readable(connection: socket.socket) -> bool:
    """Say whether something has come that was not read."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _end_idle(server: Any) -> None:
    """Close what nothing goes on in, and have the application do the same with what only it can tell of."""
    for channel in list(server.channels):
        channel.close_when_done()
    end_idle: Callable[[], None] | None = getattr(server.application, "end_idle", None)
    if end_idle is not None:
        end_idle()


async def _hear_newcomers(server: Any) -> None:
    for _ in range(int(NEWCOMER_SECONDS / POLL_SECONDS)):
        if not any(channel.is_idle() for channel in server.channels):
            return
        await asyncio.sleep(POLL_SECONDS)
    for channel in list(server.channels):
        if channel.is_idle() and is_readable(channel.transport.socket):
            channel.transport.doRead()  # it has spoken, and was not heard yet
        if channel.is_idle():
            channel.loseConnection()


async def _until_idle(server: Any, *, seconds: float) -> None:
    for _ in range(int(seconds / POLL_SECONDS)):
        if not _is_busy(server):
            return
        await asyncio.sleep(POLL_SECONDS)


def _is_busy(server: Any) -> bool:
    return any(not channel.is_idle() for channel in server.channels) or any(_running(server))


def _running(server: Any) -> Iterator[tuple[Any, asyncio.Task[None]]]:
    for protocol, details in server.connections.items():
        task = details.get("application_instance")
        if task is not None and not task.done():
            yield protocol, task


async def _end_calls(server: Any) -> None:
    """Let the application end its calls in words: a response that is cut off says nothing."""
    end_calls: Callable[[], None] | None = getattr(server.application, "end_calls", None)
    if end_calls is not None and _is_busy(server):
        end_calls()
        await _until_idle(server, seconds=WORDS_SECONDS)


async def _end_the_rest(server: Any) -> None:
    left = list(_running(server))
    for protocol, _ in left:
        protocol.send_disconnect()
    await _ended(left, seconds=GOODBYE_SECONDS)
    still = list(_running(server))
    for _, task in still:
        task.cancel()
    await _ended(still, seconds=CANCEL_SECONDS)
    for channel in list(server.channels):
        channel.loseConnection()


async def _ended(running: list[tuple[Any, asyncio.Task[None]]], *, seconds: float) -> None:
    if running:
        await asyncio.wait([task for _, task in running], timeout=seconds)


async def _shut_down(application: Any, *, seconds: float) -> None:
    shutdown: Callable[..., Awaitable[None]] | None = getattr(application, "shutdown", None)
    if shutdown is None:
        return
    left = max(SHUTDOWN_SECONDS, seconds)
    try:
        async with asyncio.timeout(left):
            await shutdown(seconds=left)
    except Exception:
        logger.exception("The application's shutdown failed")


def _exit_by_force_after(seconds: float) -> None:
    """A thread that never returns must not hold the process beyond what it was given."""
    timer = threading.Timer(seconds, os._exit, args=(0,))
    timer.daemon = True
    timer.start()
