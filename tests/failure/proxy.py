"""What stands before two web processes: nginx with the configuration we ship, or a small relay where it is not installed."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from embedded import waiting

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_AROUND = """
{user}
pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/skillgate.conf;
}}
"""


@contextmanager
def before(ports: list[int], *, folder: Path) -> Iterator[str]:
    """This function will listen for both web processes and yield the URL to call."""
    port = _free_port()
    runs = _nginx(ports, port=port, folder=folder) if NGINX else _relay(ports, port=port)
    with runs:
        assert waiting.until(lambda: _listens(port), seconds=10)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _nginx(ports: list[int], *, port: int, folder: Path) -> Iterator[None]:
    shipped = (ROOT / "deploy" / "nginx" / "skillgate.conf").read_text()
    servers = " ".join(f"server 127.0.0.1:{one} max_fails=0;" for one in ports)
    for ours, here in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("server web:8000 max_fails=0;", servers),
        ("/etc/nginx/skillgate-proxy.conf", str(ROOT / "deploy" / "nginx" / "skillgate-proxy.conf")),
        ("/dev/stdout", f"{folder}/access.log"),
    ):
        assert ours in shipped
        shipped = shipped.replace(ours, here)
    (folder / "skillgate.conf").write_text(shipped)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user))
    assert NGINX
    process = subprocess.Popen([NGINX, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
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
