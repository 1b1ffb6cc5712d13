"""What a check finds: a place in a text, and what kind of thing stands there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Something found from `start` to before `end`."""

    start: int
    end: int
    kind: str


Find = Callable[[str], Iterable[Span]]
