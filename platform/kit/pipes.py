"""What is said in one task and heard in another, all that is there at a time, up to a bound."""

import asyncio
from typing import Generic, TypeVar

Said = TypeVar("Said")


class Pipe(Generic[Said]):
    """Between those who say something and the one who hears it."""

    __slots__ = ("_is_closed", "_most", "_news", "_room", "_unheard")

    def __init__(self, most: int) -> None:
        self._most = most
        self._unheard: list[Said] = []
        self._is_closed = False
        self._news: asyncio.Future[None] | None = None  # what the hearer waits for
        self._room: asyncio.Event | None = None  # made for who waits for it

    @property
    def is_full(self) -> bool:
        """Whether as much is unheard as may be."""
        return len(self._unheard) >= self._most

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to hear, and nothing will come."""
        return self._is_closed and not self._unheard

    @property
    def first(self) -> Said | None:
        """What will be heard first, if it is there."""
        return self._unheard[0] if self._unheard else None

    def put(self, said: Said) -> None:
        """Say something at once, whether or not there is room; after the end it is lost."""
        if not self._is_closed:
            self._unheard.append(said)
            self.nudge()

    def close(self) -> None:
        """Say that this is the end, after what was said before."""
        self._is_closed = True
        self.nudge()
        self._make_room()

    def nudge(self) -> None:
        """Have the hearer wait no longer."""
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def ready(self) -> None:
        """Wait until there is something to hear, the end has come, or for a nudge."""
        if not self._unheard and not self._is_closed:
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    async def hear(self) -> list[Said]:
        """Wait as `ready` does, and take all that is there."""
        if not self._unheard:
            await self.ready()
        return self.take()

    def take(self) -> list[Said]:
        """Take all that is there."""
        heard, self._unheard = self._unheard, []
        self._make_room()
        return heard

    async def room(self) -> None:
        """Wait until there is room for more, or nobody who would hear it."""
        while self.is_full and not self._is_closed:
            self._room = self._room or asyncio.Event()
            self._room.clear()
            await self._room.wait()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
