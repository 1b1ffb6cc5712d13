"""Small ASGI applications that the server's tests run in processes of their own."""

import asyncio
import os
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
CHUNK = b"x" * 16_384


def note(line: str) -> None:
    """Append a line to the test's journal."""
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(f"{line}\n")


async def reply(send: Any, body: bytes, *, status: int = 200) -> None:
    """Send a whole answer."""
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Any) -> bytes:
    """Read a whole body."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


class Application:
    """Routes by path to the methods below."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
            return
        name = scope["path"].strip("/").replace("/", "_").replace("-", "_") or "hello"
        handler = getattr(self, name, self.hello)
        await handler(scope, receive, send)

    async def startup(self) -> None:
        note("startup")

    def end_idle(self) -> None:
        note("end idle")

    async def shutdown(self, *, seconds: float) -> None:
        note("shutdown")

    async def hello(self, scope: Scope, receive: Any, send: Any) -> None:
        note(f"hello {scope['method']} {scope['path']}")
        await reply(send, b"hello")

    async def echo(self, scope: Scope, receive: Any, send: Any) -> None:
        body = await read(receive)
        note(f"echo {len(body)}")
        await reply(send, str(len(body)).encode())

    v1_messages = echo

    async def scope(self, scope: Scope, receive: Any, send: Any) -> None:
        names = b" ".join(name for name, _ in scope["headers"])
        await reply(send, f"root={scope['root_path']!r} ".encode() + names)

    async def all(self, scope: Scope, receive: Any, send: Any) -> None:
        """Tells all that was understood of a request."""
        parts = [scope[name] for name in ("method", "path", "raw_path", "query_string", "http_version")]
        said = repr((parts, sorted(scope["headers"]), await read(receive)))
        await reply(send, said.encode())

    async def slow(self, scope: Scope, receive: Any, send: Any) -> None:
        note("slow began")
        await asyncio.sleep(float(scope["query_string"] or 2))
        await reply(send, b"slow")

    async def forever(self, scope: Scope, receive: Any, send: Any) -> None:
        """Streams as fast as it is let, and never listens."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                await asyncio.sleep(0)
        finally:
            note("forever ended")

    async def ticking(self, scope: Scope, receive: Any, send: Any) -> None:
        """Streams slowly and listens for the disconnect."""
        await read(receive)
        gone = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await asyncio.wait({gone}, timeout=0.05)
        note(f"ticking {gone.result()['type']}")

    async def deaf(self, scope: Scope, receive: Any, send: Any) -> None:
        """Waits for something that does not come, and never listens."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            note("deaf began")
            await asyncio.sleep(3600)
        finally:
            note("deaf ended")

    async def breaks(self, scope: Scope, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    async def breaks_midway(self, scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        raise RuntimeError("secret detail")

    async def gives_up(self, scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})

    async def silent(self, scope: Scope, receive: Any, send: Any) -> None:
        """Returns without an answer."""

    async def short(self, scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"short"})

    async def chatty(self, scope: Scope, receive: Any, send: Any) -> None:
        """Sends a body in pieces, also where there must be none."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"piece", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def websocket(self, scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/refused":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        if scope["path"] == "/busy":
            await asyncio.sleep(3600)
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                note(f"websocket {message['code']}")
                return
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 1008})
                return
            if message.get("text") == "flood":
                while True:
                    await send({"type": "websocket.send", "bytes": CHUNK})
            await send(
                {"type": "websocket.send", "text": f"{scope['path']} {scope['root_path']} {message.get('text')}"}
            )


application = Application()
