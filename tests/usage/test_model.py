"""The ledger against a simple model: after any sequence of verbs both say the same."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kit import pg
from kit.errors import BudgetExceeded
from tests.usage.desk import Desk, ask, do, look, open_desk
from usage import ledger
from usage.ledger import Closing, Reservation
from usage.pricing import Tokens

TENANT_CAP, KEY_CAP, DAY_CAP = 1000, 700, 900
Outcome = TypeVar("Outcome")
sizes = st.integers(1, 400)


@dataclass
class Event:
    """What the model remembers of an event."""

    reserved: int
    skill: str
    state: str = "open"
    charged: int = 0
    lapsed: bool = False


class LedgerModel(RuleBasedStateMachine):
    """Sums over a list, which is all that a ledger is."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        do("TRUNCATE tenants_tenant CASCADE")
        self.desk: Desk = open_desk(tokens=TENANT_CAP, key_tokens=KEY_CAP)
        do(
            "INSERT INTO tenants_budget (tenant_id, skill, \"window\", limit_tokens) VALUES (%s, 'scarce', 'day', %s)",
            [self.desk.tenant.pk, DAY_CAP // 3],
        )
        self.events: list[Event] = []
        self.index: dict[Any, Event] = {}

    def teardown(self) -> None:
        self.runner.run(pg.close())
        self.runner.close()

    def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        return self.runner.run(work)

    def used(self, skill: str = "") -> int:
        return sum(
            event.reserved if event.state == "open" else event.charged
            for event in self.events
            if skill in ("", event.skill)
        )

    def fits(self, tokens: int, skill: str) -> bool:
        if skill == "scarce" and self.used("scarce") + tokens > DAY_CAP // 3:
            return False
        return self.used() + tokens <= min(TENANT_CAP, KEY_CAP)

    @rule(
        target=reservations,
        asked=st.lists(st.tuples(sizes, st.sampled_from(["complete", "scarce"])), min_size=1, max_size=4),
    )
    def reserve_at_once(self, asked: list[tuple[int, str]]) -> Any:
        async def work() -> list[Any]:
            calls = (self.desk.reserve(tokens, skill=skill) for tokens, skill in asked)
            return await asyncio.gather(*calls, return_exceptions=True)

        made = []
        for (tokens, skill), outcome in zip(asked, self.run(work()), strict=True):
            assert isinstance(outcome, Reservation if self.fits(tokens, skill) else BudgetExceeded), (tokens, skill)
            if isinstance(outcome, Reservation):
                self.events.append(Event(tokens, skill))
                self.index[outcome.event_id] = self.events[-1]
                made.append(outcome)
                assert outcome.number == len(self.events)
        return multiple(*made)

    @rule(
        reservation=reservations, used=st.integers(0, 500), state=st.sampled_from(["settled", "released", "estimated"])
    )
    def settle(self, reservation: Reservation, used: int, state: Any) -> None:
        event = self.index[reservation.event_id]
        tokens = Tokens() if state == "released" else Tokens(input=used // 2, output=used - used // 2)

        said = self.run(ledger.settle(reservation, Closing(state, tokens, cost_micros=tokens.total)))

        if event.state == "open" or (event.state == "estimated" and state != "estimated"):
            event.state, event.charged = state, tokens.total
        assert said == event.state

    @rule(reservation=consumes(reservations))
    def forget_it_and_sweep(self, reservation: Reservation) -> None:
        do(
            "UPDATE usage_event SET lease_until = now() - interval '1 minute' WHERE id = %s AND state = 'open'",
            [reservation.event_id],
        )
        event = self.index[reservation.event_id]
        assert self.run(ledger.sweep()) == (event.state == "open")
        if event.state == "open":
            event.state, event.charged = "estimated", event.reserved

    @rule(reservation=reservations)
    def beat(self, reservation: Reservation) -> None:
        verdict = self.run(ledger.heartbeat([(reservation.event_id, reservation.month)]))
        is_open = self.index[reservation.event_id].state == "open"
        assert verdict == {reservation.event_id: "go_on" if is_open else "closed"}

    @rule()
    def refuse_what_is_too_large(self) -> None:
        with pytest.raises(BudgetExceeded):
            self.run(ledger.reserve(self.desk.caller, ask(KEY_CAP + 1)))

    @invariant()
    def both_say_the_same(self) -> None:
        expected = {
            (scope, skill): (
                sum(one.reserved for one in self.events if one.state == "open" and skill in ("", one.skill)),
                sum(one.charged for one in self.events if skill in ("", one.skill)),
            )
            for scope, skill in (("tenant", ""), ("key", ""), ("tenant", "scarce"))
        }
        rows = look("SELECT key_id, skill, reserved_tokens, settled_tokens FROM usage_budgetaccount")
        found = {
            ("key" if row["key_id"] else "tenant", row["skill"]): (row["reserved_tokens"], row["settled_tokens"])
            for row in rows
        }
        assert found == ({scope: expected[scope] for scope in found} if rows else {})
        stored = look("SELECT number, state, charged_tokens FROM usage_event ORDER BY number")
        assert [(row["number"], row["state"], row["charged_tokens"]) for row in stored] == [
            (number, event.state, event.charged) for number, event in enumerate(self.events, 1)
        ]


def test_the_ledger_does_what_a_simple_model_does(prices: None) -> None:
    run_state_machine_as_test(
        LedgerModel,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
