"""An orderly line to a script in Redis: what is asked together goes in one round trip.

Any trouble (down, stalled, out of memory, read-only, loading) comes out as `Trouble`, from a Redis that does not
answer after `LIMITS_TIMEOUT_SECONDS`, and opens a breaker so that the next calls do not even try.
"""

import asyncio
import hashlib
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from redis.exceptions import ResponseError

from kit import clock, lines, loops, traces
from kit import redis as kit_redis
from kit.batching import Lane
from kit.errors import Unavailable
from kit.lines import Command, Line
from kit.settings import settings
from tenants.breaker import Breaker

Subject = TypeVar("Subject", bound=Hashable)
Argument = str | int | bytes
Order = tuple[Subject, tuple[Argument, ...]]

_LATE_SECONDS = 0.02
_MOST_SENDS = 3
_MOST_WAITING = 5_000


class Trouble(Exception):
    """Redis did not answer as it should; the caller goes on without it."""


class Script(Generic[Subject]):
    """A Lua script and what it is run on: `keys` names the Redis keys of a subject, all of one hash slot.

    Its verbs must bear being run twice. `abandoned` is told of an answer that nobody waited for any more. Of an
    order that waits longer than `longest_wait` seconds, in a flood, the caller hears as of trouble. `steps` is how
    many times `LIMITS_TIMEOUT_SECONDS` finding a connection, asking and being answered may take together.
    """

    def __init__(
        self,
        name: str,
        text: str,
        *,
        lane: str,
        keys: Callable[[Subject], tuple[Argument, ...]],
        abandoned: Callable[[Subject, tuple[Argument, ...], Any], None] | None = None,
        most_together: int = 64,
        longest_wait: float = 2.0,
        steps: int = 1,
    ) -> None:
        self.name = name
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # how Redis names a script
        self.lane = lane
        self.keys = keys
        self.abandoned = abandoned
        self.most_together = most_together
        self.longest_wait = longest_wait
        self.steps = steps
        self._wires: loops.Own[_Wire[Subject]] = loops.Own(lambda: _Wire(self))

    async def run(self, subject: Subject, *arguments: Argument) -> Any:
        """Return the script's answer, or raise `Trouble`."""
        wire = self._wires.here()
        if not wire.breaker.is_ready:
            raise Trouble
        try:
            return await wire.lane.submit((subject, arguments), within=self.longest_wait)
        except Unavailable as full:
            raise Trouble from full

    def put(self, subject: Subject, *arguments: Argument) -> "asyncio.Future[Any]":
        """Send an order that goes its way whoever waits; what comes of it is as in `run`, or `Unavailable`."""
        return self._wires.here().lane.put((subject, arguments), within=self.longest_wait)

    def seconds_to_probe(self) -> float:
        """Return how long it is until Redis is tried again; 0 while it works."""
        return self._wires.here().breaker.seconds_to_probe()


class _Wire(Generic[Subject]):
    """One loop's line for one script, with its breaker."""

    def __init__(self, script: Script[Subject]) -> None:
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._line: Line | None = None  # at hand, while nobody asks by it
        self.breaker = Breaker(script.name)
        self.lane: Lane[Order[Subject], Any] = Lane(
            script.lane,
            self._flush,
            abandoned=self._abandoned,
            most_items=script.most_together,
            most_waiting=_MOST_WAITING,
        )

    def _abandoned(self, order: Order[Subject], answer: Any) -> None:
        if self._script.abandoned is not None:
            self._script.abandoned(*order, answer)

    async def _flush(self, orders: list[Order[Subject]]) -> list[Any | Exception]:
        if not self.breaker.admits():
            raise Trouble
        with self.breaker.watched():
            try:
                answers = await self._send_in_time(orders)
            except kit_redis.TROUBLE as trouble:
                self.breaker.failed(trouble)
                raise Trouble from trouble
            faults = [answer for answer in answers if isinstance(answer, Exception)]
            if faults:
                self.breaker.failed(faults[0])
            else:
                self.breaker.worked()
        return (
            [Trouble(answer) if isinstance(answer, Exception) else answer for answer in answers] if faults else answers
        )

    async def _send_in_time(self, orders: list[Order[Subject]]) -> list[Any]:
        """A timer that fires late says that this process was busy, not Redis; orders may go twice, so they go again."""
        patience = settings.LIMITS_TIMEOUT_SECONDS
        commands = [self._command(*order) for order in orders]
        for left in reversed(range(_MOST_SENDS)):
            started = clock.monotonic()
            try:
                return await self._send(commands, until=self._loop.time() + self._script.steps * patience)
            except kit_redis.TROUBLE as trouble:
                was_late = clock.monotonic() - started > patience + _LATE_SECONDS
                if not left or not was_late or not isinstance(trouble, (TimeoutError, kit_redis.RedisTimeout)):
                    raise
        raise Trouble  # unreachable: the last attempt returns or raises

    def _command(self, subject: Subject, arguments: tuple[Argument, ...]) -> Command:
        keys = self._script.keys(subject)
        return ("EVALSHA", self._script.sha, len(keys), *keys, *arguments)

    async def _send(self, commands: list[Command], *, until: float) -> list[Any]:
        """Ask by the line at hand, which is kept when all was answered; a second one at a time has a line of its own."""
        line, self._line = self._line, None
        if line is None or not line.is_open:
            async with asyncio.timeout_at(until):
                line = await _renewed(line)
        late = self._loop.call_at(until, line.expire)
        try:
            with traces.span("EVALSHA", kind="client", db__system__name="redis", db__operation__name="EVALSHA"):
                answers = await line.ask(commands)
                missing = [index for index, answer in enumerate(answers) if _is_unknown_script(answer)]
                if missing:
                    await self._load(commands, answers, missing, line=line)
        except BaseException:
            await line.close()
            raise
        finally:
            late.cancel()
        if self._line is None:
            self._line = line
        else:
            await line.close()
        return answers

    async def _load(self, commands: list[Command], answers: list[Any], missing: list[int], *, line: Line) -> None:
        """Teach Redis the script, and ask again what it could not answer without."""
        await line.ask([("SCRIPT", "LOAD", self._script.text)])
        for index, answer in zip(missing, await line.ask([commands[index] for index in missing]), strict=True):
            answers[index] = answer


async def _renewed(line: Line | None) -> Line:
    if line is not None:
        await line.close()
    return await lines.connect()


def _is_unknown_script(answer: Any) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith("NOSCRIPT")
