"""The figures at the head of a dashboard: each of today and of the month."""

from dataclasses import dataclass

from console.templatetags import humane
from usage.latencies import Latency
from usage.reports import Sums


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in two spans, with what is to be known about it."""

    title: str
    today: str
    month: str
    note: str = ""


def tiles(
    today: Sums, month: Sums, *, refused: tuple[int, int], latency: tuple[Latency, Latency] | None = None
) -> list[Tile]:
    """Put into words what two spans add up to."""
    found = [
        Tile("Calls", humane.whole(today.calls), humane.whole(month.calls)),
        Tile("Tokens", humane.short(today.charged_tokens), humane.short(month.charged_tokens)),
        Tile("Cost", humane.dollars(today.cost_micros), humane.dollars(month.cost_micros), _estimated(month)),
        Tile("Errors", humane.whole(today.errors), humane.whole(month.errors), _share(month)),
        Tile("Refused", humane.whole(refused[0]), humane.whole(refused[1]), "for limits or budgets; not billed"),
    ]
    if latency is not None:
        found.append(Tile("Typical time", seconds(latency[0].median), seconds(latency[1].median), "half take less"))
        found.append(Tile("Slow time", seconds(latency[0].slow), seconds(latency[1].slow), "95 % take less"))
        found.append(
            Tile(
                "First output", seconds(latency[0].first_output), seconds(latency[1].first_output), "half begin sooner"
            )
        )
    return found


def seconds(milliseconds: int | None) -> str:
    """Write a duration for people; a dash for none."""
    if milliseconds is None:
        return "none"
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _estimated(month: Sums) -> str:
    return f"{month.estimated_share:.1%} of the month estimated" if month.estimated_micros else ""


def _share(month: Sums) -> str:
    return f"{month.errors / month.calls:.1%} of the month's calls" if month.errors else ""
