"""Charts as SVG that the server draws: the same on screen, on paper and for those who read the table."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from console.budgets.burndown import Tick
from kit import money

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 220, 72, 26, 12, 8
_LEVELS = 4
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's bar in the drawing's coordinates, split into what is settled and what is estimated on top of it."""

    x: float
    width: float
    y: float
    height: float
    estimated_y: float
    estimated_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Days:
    """A month, day by day, beside the line of the month it is compared with."""

    bars: list[Bar]
    line: str
    levels: list[Tick]
    dates: list[Tick]


def draw_days(
    month: date, billed: Mapping[str, int], estimated: Mapping[str, int], *, before: Mapping[int, int]
) -> Days:
    """Draw what each day of a month was charged.

    `billed` and `estimated` go by the day's ISO date, `before` by the number of the day in its month.
    """
    length = calendar.monthrange(month.year, month.month)[1]
    scale = _Scale(max([1, *billed.values(), *before.values()]), length)
    days = [month.replace(day=number) for number in range(1, length + 1)]
    return Days(
        bars=[
            scale.bar(day, billed[day.isoformat()], estimated.get(day.isoformat(), 0))
            for day in days
            if billed.get(day.isoformat())
        ],
        line=" ".join(f"{scale.middle(number)},{scale.y(before.get(number, 0))}" for number in range(1, length + 1))
        if before
        else "",
        levels=[Tick(scale.y(level), label(level, step=scale.step)) for level in scale.levels],
        dates=[Tick(scale.middle(day), str(day)) for day in sorted({1, 8, 15, 22, length})],
    )


def label(micros: int, *, step: int) -> str:
    """Write a level of an axis with no more digits than its step needs."""
    digits = next((count for count in range(7) if step % 10 ** (6 - count) == 0), 6)
    return f"${micros / money.MICROS_PER_DOLLAR:,.{digits}f}"


class _Scale:
    def __init__(self, highest: int, length: int) -> None:
        self.step = _step(highest)
        self.levels = range(0, highest + self.step, self.step)
        self._top = self.levels[-1]
        self._width = (WIDTH - LEFT - RIGHT) / length

    def middle(self, day: int) -> float:
        return round(LEFT + self._width * (day - 0.5), 1)

    def y(self, micros: int) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * micros / self._top, 1)

    def bar(self, day: date, billed: int, estimated: int) -> Bar:
        y, split = self.y(billed), self.y(max(0, billed - estimated))
        return Bar(
            x=round(LEFT + self._width * (day.day - 0.85), 1),
            width=round(self._width * 0.7, 1),
            y=split,
            height=round(HEIGHT - BOTTOM - split, 1),
            estimated_y=y,
            estimated_height=round(split - y, 1),
            title=f"{day:%-d %B}: {money.dollars(billed)}",
        )


def _step(highest: int) -> int:
    """The smallest of 1, 2, 5, 10, … with which the axis has at most four steps."""
    power = 1
    while True:
        for digit in _STEPS:
            if digit * power * _LEVELS >= highest:
                return digit * power
        power *= 10
