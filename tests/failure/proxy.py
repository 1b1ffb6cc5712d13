"""What stands before two web processes: nginx with the configuration we ship, or a small relay where it is not installed."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from embedded import waiting
from tests import nginx


@contextmanager
def before(ports: list[int], *, folder: Path) -> Iterator[str]:
    """Listen for both web processes and yield the URL to call."""
    port = _free_port()
    runs = _nginx(ports, port=port, folder=folder) if nginx.NGINX else _relay(ports, port=port)
    with runs:
        assert waiting.until(lambda: _listens(port), seconds=10)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _nginx(ports: list[int], *, port: int, folder: Path) -> Iterator[None]:
    process = nginx.start(folder, servers=[f"127.0.0.1:{one}" for one in ports], port=port)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def _relay(ports: list[int], *, port: int) -> Iterator[None]:
    """Each connection goes to the next process that takes it."""
    loop, turn = asyncio.new_event_loop(), count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = next(turn)
        for place in range(start, start + len(ports)):
            with contextlib.suppress(ConnectionRefusedError):
                behind = await asyncio.open_connection("127.0.0.1", ports[place % len(ports)])
                await asyncio.gather(_pass_on(reader, behind[1]), _pass_on(behind[0], writer))
                return
        writer.close()

    async def listen() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
            await server.serve_forever()

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    task = loop.create_task(listen())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=10)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
