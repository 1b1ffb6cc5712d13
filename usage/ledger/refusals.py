"""Budget refusals that help: which budget, how much is left of it, when it starts anew, and what would pass."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kit import money
from kit.errors import BudgetExceeded
from tenants.keys import Caller
from usage.ledger.entries import Admission
from usage.pricing import MICROS, Book

_MOST_MODELS = 3


@dataclass(frozen=True, slots=True)
class _Room:
    """One limit of one account, in tokens or micro-dollars."""

    unit: str
    owner: str
    skill: str
    window: str
    period: date
    limit: int
    base: int
    used: int
    reserved: int
    asked: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used - self.reserved)

    @property
    def fits(self) -> bool:
        return self.asked <= self.limit - self.used - self.reserved

    def resets_at(self, timezone: ZoneInfo) -> datetime:
        following = self.period + timedelta(days=1)
        if self.window == "month":
            following = (self.period.replace(day=1) + timedelta(days=32)).replace(day=1)
        return datetime(following.year, following.month, following.day, tzinfo=timezone)


def refusal(
    caller: Caller, admission: Admission, *, outcome: str, detail: dict[str, Any] | None, book: Book, on: date
) -> BudgetExceeded:
    """Turn the ledger's refusal of one call into an error that says what would pass.

    `details` carry: reason, owner (tenant, key or skill), unit (tokens or micro_dollars), window,
    cap, used, reserved, left, requested, resets_at (in the tenant's time zone) and would_pass:
    max_tokens (largest that fits now, or null), models (cheaper ones that fit now), after
    (when the same call fits, or null if its size exceeds the cap). Each of them, applied, passes
    as long as nobody else spends first. Costs are by the prices of the day `on`.
    """
    if outcome != "budget" or detail is None:
        return BudgetExceeded(
            "This key or its tenant has no monthly token budget, so it may spend nothing. Ask the tenant's admin to set one.",
            reason="no_budget",
        )
    rooms = [room for account in detail["accounts"] for room in _rooms(account)]
    tight = [room for room in rooms if not room.fits]
    first = min(tight, key=lambda room: (room.left - room.asked, room.owner))
    timezone = ZoneInfo(caller.tenant_timezone)
    would_pass = {
        "max_tokens": _largest_output(rooms, admission, book=book, on=on),
        "models": [model for model in _cheaper_models(rooms, admission, book=book, on=on) if caller.may_use(model)][
            :_MOST_MODELS
        ],
        "after": _after(rooms, timezone),
    }
    return BudgetExceeded(
        _sentence(first, would_pass, resets_at=first.resets_at(timezone)),
        reason="budget_exceeded",
        owner=first.owner,
        skill=first.skill or None,
        unit=first.unit,
        window=first.window,
        cap=first.limit,
        used=first.used,
        reserved=first.reserved,
        left=first.left,
        requested=first.asked,
        resets_at=first.resets_at(timezone).isoformat(),
        would_pass=would_pass,
    )


def _rooms(account: dict[str, Any]) -> list[_Room]:
    owner = "skill" if account["skill"] else "key" if account["key_id"] else "tenant"
    return [
        _Room(
            unit=unit,
            owner=owner,
            skill=account["skill"],
            window=account["window"],
            period=date.fromisoformat(account["period"]),
            limit=account[f"limit_{column}"],
            base=account[f"base_{column}"],
            used=account[f"settled_{column}"],
            reserved=account[f"reserved_{column}"],
            asked=account[f"ask_{column}"],
        )
        for unit, column in (("tokens", "tokens"), ("micro_dollars", "micros"))
        if account[f"limit_{column}"] is not None
    ]


def _left(rooms: list[_Room], unit: str) -> int | None:
    return min((room.left for room in rooms if room.unit == unit), default=None)


def _largest_output(rooms: list[_Room], admission: Admission, *, book: Book, on: date) -> int | None:
    left_tokens, left_micros = _left(rooms, "tokens"), _left(rooms, "micro_dollars")
    largest = admission.output_tokens
    if left_tokens is not None:
        largest = min(largest, left_tokens - admission.input_tokens)
    if left_micros is not None:
        largest = min(largest, _affordable_output(admission, left_micros, book=book, on=on))
    return largest if largest >= 1 else None


def _affordable_output(admission: Admission, micros: int, *, book: Book, on: date) -> int:
    def bound(output_tokens: int) -> int:
        return book.upper_bound(
            admission.model, input_tokens=admission.input_tokens, output_tokens=output_tokens, on=on
        )

    per_token = bound(MICROS) - bound(0)
    if per_token == 0:
        return admission.output_tokens
    guess = max(0, (micros - bound(0)) * MICROS // per_token)
    while guess > 0 and bound(guess) > micros:
        guess -= 1
    return guess


def _cheaper_models(rooms: list[_Room], admission: Admission, *, book: Book, on: date) -> list[str]:
    left_tokens, left_micros = _left(rooms, "tokens"), _left(rooms, "micro_dollars")
    if left_micros is None or (left_tokens is not None and left_tokens < admission.tokens):
        return []
    bounds = {
        model: book.upper_bound(
            model, input_tokens=admission.input_tokens, output_tokens=admission.output_tokens, on=on
        )
        for model in book.priced(on=on)
    }
    fitting = [model for model, micros in bounds.items() if micros <= left_micros]
    return sorted(fitting, key=lambda model: -bounds[model])


def _after(rooms: list[_Room], timezone: ZoneInfo) -> str | None:
    """When the call fits for sure: the tight windows have begun anew and increases, which end by themselves, are over."""
    if any(room.asked > room.base for room in rooms):
        return None
    after = max(room.resets_at(timezone) for room in rooms if not room.fits)
    over_base = [room for room in rooms if room.used + room.reserved + room.asked > room.base]
    return max(after, *(room.resets_at(timezone) for room in over_base)).isoformat() if over_base else after.isoformat()


def _sentence(room: _Room, would_pass: dict[str, Any], *, resets_at: datetime) -> str:
    def amount(value: int) -> str:
        return f"{value} tokens" if room.unit == "tokens" else money.dollars(value)

    whose = f"the skill {room.skill}" if room.owner == "skill" else f"this {room.owner}"
    span = "monthly" if room.window == "month" else "daily"
    asked = f"The {span} budget of {whose} cannot take this call: it may need up to {amount(room.asked)}"
    state = f"{amount(room.used)} used, {amount(room.reserved)} reserved and {amount(room.left)} left"
    parts = [f"{asked}, and of {amount(room.limit)} there are {state}."]
    if would_pass["max_tokens"]:
        parts.append(f"It passes now with max_tokens of at most {would_pass['max_tokens']}.")
    if would_pass["models"]:
        parts.append(f"It passes now with a cheaper model: {', '.join(would_pass['models'])}.")
    if would_pass["after"]:
        parts.append(f"The budget starts anew at {resets_at.isoformat()}.")
    else:
        parts.append("As it is, it is larger than the whole budget: waiting does not help.")
    return " ".join(parts)
