"""A month's budget burning down: what is left at the end of each day, and where it leads."""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from usage.standings import Day

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 240, 64, 28, 12
_RECENT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Burndown:
    """Everything the drawing needs, in the drawing's own coordinates, and the words that say the same."""

    line: str
    area: str
    projection: str
    rows: list[tuple[date, int, int]]
    levels: list[Tick]
    dates: list[Tick]
    limit: int
    left: int
    projected: int
    runs_out_on: date | None

    @property
    def is_over(self) -> bool:
        """Whether the budget will not last, as things go."""
        return self.projected > self.limit


def draw(days: Sequence[Day], *, limit: int, month: date, today: date, used: int) -> Burndown:
    """Draw a month, `used` being what the budget itself says was used and held by now.

    The projection goes on at the average of the last seven days, or of the month if it is younger.
    """
    length = calendar.monthrange(month.year, month.month)[1]
    by_day = {day.day: day.tokens for day in days}
    rows, left = [], limit
    for number in range((today - month).days + 1):
        day = month + timedelta(days=number)
        left -= by_day.get(day, 0)
        rows.append((day, by_day.get(day, 0), left))
    left = limit - used
    elapsed = len(rows)
    rate = sum(tokens for _, tokens, _ in rows[-_RECENT_DAYS:]) / min(elapsed, _RECENT_DAYS)
    projected = used + round(rate * (length - elapsed))
    runs_out = today + timedelta(days=int(left / rate)) if rate and 0 < left < rate * (length - elapsed) else None
    points = [(0, limit), *((number + 1, row[2]) for number, row in enumerate(rows))]
    scale = _Scale(limit=max(limit, 1), length=length)
    return Burndown(
        line=scale.path(points),
        area=scale.path([(0, 0), *points, (elapsed, 0)]),
        projection=scale.path([(elapsed, points[-1][1]), (length, max(0, limit - projected))]),
        rows=rows,
        levels=[Tick(scale.y(limit * part // 4), short(limit * part // 4)) for part in range(5)],
        dates=[Tick(scale.x(day - 0.5), str(day)) for day in sorted({1, 8, 15, 22, length})],
        limit=limit,
        left=left,
        projected=projected,
        runs_out_on=runs_out,
    )


class _Scale:
    def __init__(self, *, limit: int, length: int) -> None:
        self._limit, self._length = limit, length

    def x(self, day: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 8) * day / self._length, 1)

    def y(self, tokens: float) -> float:
        share = min(1.0, max(0.0, tokens / self._limit))
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share, 1)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(day)},{self.y(tokens)}" for day, tokens in points)


def short(number: int) -> str:
    """Write a number briefly: 950, 12 k, 3.4 M, 1 G."""
    amount = float(number)
    for unit in ("", " k", " M", " G"):
        if abs(amount) < 1000 or unit == " G":
            break
        amount /= 1000
    return f"{amount:.1f}".removesuffix(".0") + unit
