"""One open socket: what its client asks for, each run in a task of its own, until either side leaves."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from kit import clock, ids, loops
from kit.errors import Conflict, InvalidRequest, NotFound, RateLimited, SkillgateError, Unavailable
from skills import idempotency, replay
from skills.api import following, frames, opening, views
from skills.api.opening import Opened
from skills.consumers import closing, messages
from skills.consumers.closing import Closed, Gone
from skills.runs import Order
from tenants.keys import Caller

log = logging.getLogger(__name__)

MOST_BYTES = 1024 * 1024
MOST_RUNS = 20
MESSAGES_PER_SECOND = 50
IDLE_SECONDS = 300.0
_OPERATION = "websocket"

Say = Callable[[str], Awaitable[None]]


class Session:
    """The runs of one socket, by the names its client gave them."""

    def __init__(self, caller: Caller, say: Say) -> None:
        self._caller = caller
        self._say = say
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, Callable[[SkillgateError], None]] = {}
        self._left = float(MESSAGES_PER_SECOND)
        self._counted_at = clock.monotonic()
        self._busy_at = self._counted_at
        self._is_retiring = False
        self.retired: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hear(self, text: str | None) -> None:
        """Act on one message of the client's; raises `Closed` when it goes too far."""
        self._busy_at = clock.monotonic()
        self._count()
        if text is not None and len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
            raise Closed(closing.TOO_LARGE, f"A message is over {MOST_BYTES} bytes.")
        try:
            if text is None:
                raise InvalidRequest("Send JSON as text messages, not as binary ones.")
            await self._act(messages.read(text, max_bytes=MOST_BYTES))
        except SkillgateError as error:
            await self._refuse(error)

    def seconds_to_idle(self) -> float:
        """Return for how long the client may go on saying nothing; a run under way counts as talk."""
        if self._runs:
            self._busy_at = clock.monotonic()
        return self._busy_at + IDLE_SECONDS - clock.monotonic()

    def retire(self) -> None:
        """Begin no more runs; once those under way are over, `retired` is done."""
        self._is_retiring = True
        if not self._runs and not self.retired.done():
            self.retired.set_result(None)

    async def leave(self, *, within: float = 0.0) -> None:
        """Leave every run, after letting them end by themselves for a moment."""
        tasks = set(self._runs.values())
        if tasks and within:
            await asyncio.wait(tasks, timeout=within)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _count(self) -> None:
        now = clock.monotonic()
        self._left = min(float(MESSAGES_PER_SECOND), self._left + (now - self._counted_at) * MESSAGES_PER_SECOND)
        self._counted_at = now
        if self._left < 1:
            raise Closed(closing.TOO_MANY, f"More than {MESSAGES_PER_SECOND} messages a second.")
        self._left -= 1

    async def _act(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            await self._tell(message.get("id"), "pong", {})
        elif message["type"] == "cancel":
            self._cancel(message["id"])
        else:
            self._begin(message)

    def _begin(self, message: dict[str, Any]) -> None:
        name = message["id"]
        if self._is_retiring:
            raise Unavailable("The server is restarting. Connect again.", retry_after=1, id=name)
        if name in self._runs:
            raise Conflict("A run with this id is under way on this socket. Choose another id.", id=name)
        if len(self._runs) >= MOST_RUNS:
            raise RateLimited(
                f"This socket has {MOST_RUNS} runs under way, which is the most. Wait for one to end.",
                retry_after=1,
                limit=MOST_RUNS,
                id=name,
            )
        self._runs[name] = loops.start(self._run(name, message), name=f"run {name} of a socket")

    def _cancel(self, name: str) -> None:
        """A run says itself what was used until it was cancelled; what is only listened to is left."""
        task, end = self._runs.get(name), self._ends.get(name)
        if task is None:
            raise NotFound("No run with this id is under way on this socket.", id=name)
        if end is not None:
            end(_cancelled())
        else:
            task.cancel()

    async def _run(self, name: str, message: dict[str, Any]) -> None:
        request_id = ids.request_id()
        try:
            await self._relay(name, await self._open(message, request_id))
        except SkillgateError as error:
            with suppress(Gone):
                await self._tell(name, "error", error.envelope(request_id=request_id))
        except asyncio.CancelledError:
            with suppress(Gone):
                await self._tell(name, "error", _cancelled().envelope(request_id=request_id))
            raise
        except Gone:
            return
        except Exception:
            log.exception("run %s of a socket broke", request_id)
            broken = SkillgateError("Something went wrong on our side. Quote the request id if you report it.")
            with suppress(Gone):
                await self._tell(name, "error", broken.envelope(request_id=request_id))
        finally:
            self._runs.pop(name, None)
            self._ends.pop(name, None)
            if self._is_retiring:
                self.retire()

    async def _relay(self, name: str, opened: Opened) -> None:
        if opened.end is not None:
            self._ends[name] = opened.end
        async with aclosing(opened.source.frames()) as coming:
            async for frame in coming:
                text = frames.as_text(frame, socket_run=name)
                if text is not None:
                    await self._say(text)

    async def _open(self, message: dict[str, Any], request_id: str) -> Opened:
        if message["type"] == "resume":
            return self._open_again(message)
        if message["type"] == "follow":
            return following.opened(self._caller, message["analysis_id"], after=message.get("last_event_id"))
        version = await views.resolve(
            self._caller, message["skill"], label=message.get("label"), version=message.get("version")
        )
        order = Order(
            caller=self._caller,
            version=version,
            input=message["input"],
            entry_point="websocket",
            request_id=request_id,
            max_tokens=message.get("max_tokens"),
            freshness=views.freshness(message.get("cache_control", "")),
        )
        key = message.get("idempotency_key")
        body = {field: value for field, value in message.items() if field not in ("id", "idempotency_key")}
        return await opening.opened(
            order, body=body, operation=_OPERATION, key=None if key is None else idempotency.checked_key(key)
        )

    def _open_again(self, message: dict[str, Any]) -> Opened:
        run_id = ids.decode("run", message["run_id"])
        if run_id is None:
            raise replay.unknown()
        after = frames.after(message["run_id"], message["last_event_id"]) if "last_event_id" in message else 0
        if after is None:
            raise InvalidRequest("`last_event_id` is not the id of an event of this run.", path="/last_event_id")
        return opening.open_again(self._caller, run_id=run_id, after=after)

    async def _refuse(self, error: SkillgateError) -> None:
        name = error.details.pop("id", None)
        await self._tell(name, "error", error.envelope(request_id=ids.request_id()))

    async def _tell(self, name: str | None, event: str, data: dict[str, Any]) -> None:
        await self._say(json.dumps({"id": name, "event": event, "data": data}))


def _cancelled() -> SkillgateError:
    return Conflict("The run was cancelled.", reason="cancelled")
