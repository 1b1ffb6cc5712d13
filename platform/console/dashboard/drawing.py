"""A month's days as bars, drawn on our side: no script, and readable without seeing it."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import floor, log10

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 440, 170, 52, 24, 10
_GAP = 0.2


@dataclass(frozen=True, slots=True)
class Bar:
    """One day."""

    day: date
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bars:
    """Everything the drawing needs, in its own coordinates."""

    bars: list[Bar]
    levels: list[tuple[float, int]]
    dates: list[tuple[float, str]]
    total: int

    @property
    def highest(self) -> Bar | None:
        """The day that stands out, if any day has something."""
        best = max(self.bars, key=lambda bar: bar.value, default=None)
        return best if best is not None and best.value else None


def draw(values: Mapping[date, int], *, month: date, today: date) -> Bars:
    """Draw the days of a month up to today; a day without a value is empty."""
    length = calendar.monthrange(month.year, month.month)[1]
    days = [month.replace(day=number) for number in range(1, length + 1) if month.replace(day=number) <= today]
    top = _round_up(max((values.get(day, 0) for day in days), default=0))
    step = (WIDTH - LEFT - 8) / length
    bars = []
    for day in days:
        height = round((HEIGHT - BOTTOM - TOP) * values.get(day, 0) / top, 1)
        x = LEFT + step * (day.day - 1 + _GAP / 2)
        bars.append(
            Bar(
                day,
                values.get(day, 0),
                x=round(x, 1),
                y=round(HEIGHT - BOTTOM - height, 1),
                width=round(step * (1 - _GAP), 1),
                height=height,
            )
        )
    return Bars(
        bars=bars,
        levels=[(round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * part / 2, 1), top * part // 2) for part in range(3)],
        dates=[(round(LEFT + step * (day - 0.5), 1), str(day)) for day in sorted({1, 8, 15, 22, length})],
        total=sum(bar.value for bar in bars),
    )


def _round_up(number: int) -> int:
    """To 2, 4, 6, 8 or 10 of the number's own magnitude, so that half of it is a number one can read."""
    if number <= 2:
        return 2
    unit: int = 2 * 10 ** floor(log10(number))
    return -(-number // unit) * unit
