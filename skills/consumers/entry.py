"""A socket from its handshake to its close."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kit import ids
from kit.errors import AuthenticationFailed, SkillgateError
from skills import connections
from skills.consumers import closing, opening
from skills.consumers.closing import Closed, Gone
from skills.consumers.session import Session
from tenants.keys import Caller

log = logging.getLogger(__name__)

PROTOCOL = "skillgate.v1"
_FAREWELL_SECONDS = 0.3

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def socket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one WebSocket connection; refusals come as an event and a close code."""
    await receive()  # websocket.connect
    is_offered = PROTOCOL in scope.get("subprotocols", ())
    await send({"type": "websocket.accept", "subprotocol": PROTOCOL if is_offered else None})
    try:
        opening.check_origin(scope)
        caller = await opening.caller_of(scope)
        async with opening.seated(caller):
            await _serve(caller, receive, send)
    except Gone:
        return
    except Closed as closed:
        await _close(send, closed)
    except SkillgateError as error:
        await _close(send, closing.for_refusal(error))


async def _serve(caller: Caller, receive: Receive, send: Send) -> None:
    async def say(text: str) -> None:
        try:
            await send({"type": "websocket.send", "text": text})
        except Exception as gone:  # each server has an error of its own for a client that has left
            raise Gone from gone

    session = Session(caller, say)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        with connections.held(
            caller, end=lambda: None if ended.done() else ended.set_result(None), retire=session.retire
        ):
            await _listen(session, receive, ended=ended)
    finally:
        await session.leave(within=_FAREWELL_SECONDS if ended.done() else 0.0)


async def _listen(session: Session, receive: Receive, *, ended: "asyncio.Future[None]") -> None:
    """Hear the client until it leaves; raises `Closed` when it has to go."""
    hearing: asyncio.Task[Message] | None = None
    try:
        while True:
            hearing = hearing or asyncio.ensure_future(_next(receive))
            await _first(hearing, ended, session.retired, within=session.seconds_to_idle())
            if session.retired.done() and not ended.done():
                raise Closed(closing.RESTART, "The server is restarting. Connect again.")
            if ended.done():
                raise closing.for_refusal(AuthenticationFailed())
            if hearing.done():
                message, hearing = hearing.result(), None
                if message["type"] == "websocket.disconnect":
                    return
                await session.hear(message.get("text"))
            elif session.seconds_to_idle() <= 0:
                raise Closed(closing.IDLE, "Nothing was asked for a while.")
    finally:
        if hearing is not None:
            hearing.cancel()


async def _next(receive: Receive) -> Message:
    return await receive()


async def _first(*awaited: "asyncio.Future[Any]", within: float) -> None:
    await asyncio.wait(awaited, timeout=max(0.0, within), return_when=asyncio.FIRST_COMPLETED)


async def _close(send: Send, closed: Closed) -> None:
    try:
        if closed.error is not None:
            data = closed.error.envelope(request_id=ids.request_id())
            await send({"type": "websocket.send", "text": json.dumps({"id": None, "event": "error", "data": data})})
        await send({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
    except Exception as gone:  # noqa: BLE001 - each server has an error of its own for a client that has left
        log.debug("a socket was gone before it was closed: %s", gone)
