"""Analyses and batches on a platform whose parts are killed at random: `python -m tests.analyses.mayhem --runs 10`.

In each run some work is submitted, and worker, timetable, Redis and Postgres are killed with SIGKILL under it. All of
it must finish; no step may be paid twice; and the ledger must be what Claude billed.
"""

import argparse
import random
import sys
import time
from collections import Counter
from typing import Any

import httpx2

from embedded import roles
from embedded.child import Child
from tests.analyses.book import book
from tests.failure import books
from tests.failure.stack import Stack

Row = dict[str, Any]
_PAUSE = "[[emulator:latency:0.3]] Be thorough."
_BATCH_MS = 1_500  # that a message batch takes
_PATIENCE_SECONDS = 240.0
_ENDED = ("succeeded", "failed", "cancelled", "awaiting_budget")


class Plant(Stack):
    """The stack, with a worker for analyses."""

    def start(self) -> None:
        """Start everything."""
        super().start()
        self.analyses = self.setting.child("analyses", roles.Table().background["analyses"])
        self.analyses.launch()
        httpx2.post(f"{self.emulator.url}/_emulator/settings", json={"batch_ms": _BATCH_MS})
        self.secret = self.key(name="analyses")

    def close(self) -> None:
        """Stop everything."""
        if hasattr(self, "analyses"):
            self.analyses.kill()
        super().close()

    @property
    def mortal(self) -> dict[str, list[Child]]:
        """What is killed: the worker, the timetable with its worker, Redis and Postgres."""
        return {
            "worker": [self.analyses],
            "beat": [self.beat, self.worker],
            "redis": [self.valkey],
            "postgres": [self.postgres],
        }


class Mayhem:
    """Runs of work under random kills; `killed` counts them."""

    def __init__(self, plant: Plant, *, seed: int) -> None:
        self.killed: Counter[str] = Counter()
        self._plant = plant
        self._random = random.Random(seed)
        self._bag: list[str] = []

    def submit(self) -> list[str]:
        """Submit two analyses and two batches, one of each in bulk, and return their addresses."""
        digest = {"skill": "digest", "text": book(pages=self._random.randint(25, 50)), "instructions": _PAUSE}
        items = [{"id": str(n), "input": {"text": f"{_PAUSE} Of {n} cups of tea."}} for n in range(12)]
        batch = {"skill": "summarize", "items": items}
        work = (("analyses", digest), ("batches", batch))
        return [self._send(path, body | way) for path, body in work for way in ({}, {"processing": "bulk"})]

    def kill(self, *, times: int) -> None:
        """Kill so many parts at random, each started again after a moment."""
        for _ in range(times):
            time.sleep(self._random.uniform(0.5, 3.0))
            self._bag = self._bag or self._random.sample(sorted(self._plant.mortal), len(self._plant.mortal))
            name = self._bag.pop()
            for child in self._plant.mortal[name]:
                child.kill()
            self.killed[name] += 1
            time.sleep(self._random.uniform(0.0, 1.5))
            for child in self._plant.mortal[name]:
                child.launch()

    def finish(self, work: list[str]) -> list[Row]:
        """Wait until all of it has ended, and return it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        ended: dict[str, Row] = {}
        while len(ended) < len(work):
            assert time.monotonic() < deadline, [self._look(one) for one in work if one not in ended]
            for one in work:
                if one not in ended and (found := self._look(one)).get("state") in _ENDED:
                    ended[one] = found
            time.sleep(0.3)
        return list(ended.values())

    def _send(self, path: str, body: Row) -> str:
        deadline = time.monotonic() + 60
        headers = {"X-API-Key": self._plant.secret, "Idempotency-Key": f"mayhem-{self._random.getrandbits(64):x}"}
        while True:
            answer = httpx2.post(f"{self._plant.urls[0]}/v1/{path}", json=body, headers=headers, timeout=30)
            if answer.status_code == 202:
                return str(answer.json()["links"]["self"])
            assert answer.status_code in (409, 503), answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.5)

    def _look(self, address: str) -> Row:
        answer = httpx2.get(f"{self._plant.urls[0]}{address}", headers={"X-API-Key": self._plant.secret}, timeout=30)
        return dict(answer.json()) if answer.status_code == 200 else {}


def settle(plant: Plant, *, hasten: bool = False) -> None:
    """Wait until no call is open any more, letting the leases of dead ones be over where time is dear."""
    deadline = time.monotonic() + 150
    query = "SELECT count(*) AS open FROM skills_analysiscall WHERE closed_at IS NULL"
    while plant.open_events() or plant.sql(query)[0]["open"]:
        if hasten:
            plant.sql("UPDATE usage_event SET lease_until = now() WHERE state = 'open'")
            plant.sql("UPDATE skills_analysiscall SET opened_at = now() - interval '2 minutes' WHERE closed_at IS NULL")
        assert time.monotonic() < deadline, plant.sql("SELECT * FROM skills_analysiscall WHERE closed_at IS NULL")
        time.sleep(0.5)


def faults(plant: Plant) -> list[str]:
    """Return every breach, in words: of the ledger, and of what analyses and batches promise."""
    twice = plant.sql(_TWICE)
    unequal = plant.sql(_UNEQUAL)
    return [
        *books.faults(plant),
        *(f"paid {row['times']} times: step {row['level']}/{row['position']} of {row['analysis_id']}" for row in twice),
        *(f"not what the ledger says: {row}" for row in unequal),
    ]


def main() -> None:
    """Run what the command line says, and say what came of it."""
    options = argparse.ArgumentParser(prog="python -m tests.analyses.mayhem", description=__doc__)
    options.add_argument("--runs", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, default=4, help="in each run")
    chosen = options.parse_args()
    with Plant() as plant:
        mayhem = Mayhem(plant, seed=chosen.seed)
        for number in range(1, chosen.runs + 1):
            began = time.monotonic()
            work = mayhem.submit()
            mayhem.kill(times=chosen.kills)
            states = Counter(one["state"] for one in mayhem.finish(work))
            settle(plant)
            found = faults(plant)
            sys.stdout.write(f"run {number}: {dict(states)} in {time.monotonic() - began:.0f} s, faults: {found}\n")
            sys.stdout.flush()
            if found or set(states) != {"succeeded"}:
                sys.exit(1)
        events = Counter(row["state"] for row in plant.sql("SELECT state FROM usage_event"))
        sys.stdout.write(f"killed {dict(mayhem.killed)}; usage events {dict(events)}; calls {len(plant.calls())}\n")


_TWICE = """
SELECT analysis_id, level, position, count(*) AS times FROM skills_analysiscall
WHERE outcome = 'done' GROUP BY 1, 2, 3 HAVING count(*) > 1
"""
_UNEQUAL = """
SELECT a.id, a.kind, a.used_tokens, a.reserved_tokens, sum(e.charged_tokens) AS tokens, a.used_micros, sum(e.cost_micros) AS micros
FROM skills_analysis a JOIN skills_analysiscall c ON c.analysis_id = a.id
LEFT JOIN usage_event e ON e.run_id = c.run_id AND e.tenant_id = a.tenant_id
GROUP BY a.id
HAVING a.used_tokens <> coalesce(sum(e.charged_tokens), 0) OR a.used_micros <> coalesce(sum(e.cost_micros), 0)
    OR a.reserved_tokens <> 0
"""


if __name__ == "__main__":
    main()
