"""A run's frames in Redis: one stream per run, its entries numbered as the frames are.

Besides the entries there are `about`, which says whose stream it is and outlives the entries as
their tombstone, and `alive`, the lease of the process that writes. All raise what Redis raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kit import redis as kit_redis
from skills.replay.frames import Frame

MOST_BYTES = 4 * 1024 * 1024
KEPT_SECONDS = 15 * 60
REMEMBERED_SECONDS = 24 * 3600
LEASE_SECONDS = 30
MOST_READ = 64
_LONGEST_RUN_SECONDS = 2 * 3600


@dataclass(frozen=True, slots=True)
class Page:
    """What one look into a buffer showed. `family_id` is None for a stream that is not known at all."""

    family_id: int | None
    after: int
    frames: list[Frame]
    is_written: bool  # more may come: the run is not over, and its process was alive a moment ago

    @property
    def last(self) -> int:
        """The number up to which the reader has everything now."""
        return self.frames[-1].number if self.frames else self.after

    @property
    def has_gap(self) -> bool:
        """Whether something is missing before the frames found."""
        return bool(self.frames) and self.frames[0].number != self.after + 1


def _keys(run_id: UUID) -> tuple[str, str, str]:
    name = f"skillgate:stream:{{{run_id.hex}}}"
    return name, f"{name}:about", f"{name}:alive"


async def open_for(run_id: UUID, *, family_id: int) -> None:
    """Make the buffer of a new run known."""
    _, about, alive = _keys(run_id)
    async with kit_redis.client().pipeline(transaction=True) as pipeline:
        pipeline.set(about, family_id, ex=REMEMBERED_SECONDS)
        pipeline.set(alive, b"1", ex=LEASE_SECONDS)
        await pipeline.execute()


async def append(run_id: UUID, frames: Sequence[Frame], *, first_kept: int) -> None:
    """Add frames, drop those before `first_kept`, and renew the lease; twice is as good as once."""
    entries, _, alive = _keys(run_id)
    async with kit_redis.client().pipeline(transaction=True) as pipeline:
        for frame in frames:
            fields: dict[str | bytes, bytes] = {"frame": frame.content, **({"last": b"1"} if frame.is_last else {})}
            pipeline.xadd(entries, fields, id=f"{frame.number}-0")  # type: ignore[arg-type]  # its dict type is invariant
        if first_kept > 1:
            pipeline.xtrim(entries, minid=f"{first_kept}-0", approximate=False)
        is_over = bool(frames) and frames[-1].is_last
        pipeline.expire(entries, KEPT_SECONDS if is_over else _LONGEST_RUN_SECONDS)
        if is_over:
            pipeline.delete(alive)
        else:
            pipeline.set(alive, b"1", ex=LEASE_SECONDS)
        answers = await pipeline.execute(raise_on_error=False)
    _raise_trouble(answers)


def _raise_trouble(answers: list[object]) -> None:
    """An entry that is there already comes from a write whose answer was lost: it is what was wanted."""
    for answer in answers:
        if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
            raise answer


async def read(run_id: UUID, *, after: int) -> Page:
    """Return the next frames after a number, at most some dozens."""
    entries, about, alive = _keys(run_id)
    async with kit_redis.client().pipeline(transaction=True) as pipeline:
        pipeline.get(about)
        pipeline.xrange(entries, min=f"({after}-0", max="+", count=MOST_READ)
        pipeline.exists(alive)
        owner, found, is_alive = await pipeline.execute()
    frames = [Frame(int(name.split(b"-")[0]), fields[b"frame"], b"last" in fields) for name, fields in found]
    return Page(None if owner is None else int(owner), after, frames, is_written=bool(is_alive))
