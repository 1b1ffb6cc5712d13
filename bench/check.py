"""Have we become slower? `python -m bench.check` (with PYTHONPATH=platform) exits with 1 when a ratio falls below its floor.

Only figures of one run on one machine are put in relation, so the floors hold on a slow machine as on a fast one;
`FLOORS` says what each ratio is and how far below the measured figure of RESULTS.md it may fall.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bench.serving import ROOT


@dataclass(frozen=True, slots=True)
class Floor:
    """A ratio that may not fall: what it compares, and the least it may be."""

    what: str
    least: float
    of: Callable[[dict[str, Any]], float]


STREAMS = 500
SKILL, STREAM = "uvicorn, a skill", "a skill's stream"
FLOORS = (
    Floor("daphne to uvicorn, calls a second", 0.7, lambda seen: _rate(seen, "daphne, a skill", SKILL)),
    Floor(
        "uvicorn with all accounts to FastAPI with none, calls a second",
        1.5,
        lambda seen: _rate(seen, SKILL, "FastAPI + SDK + slowapi"),
    ),
    Floor("with all accounts to LiteLLM with none, calls a second", 10.0, lambda seen: _rate(seen, SKILL, "LiteLLM")),
    Floor(
        "with all accounts to Portkey's gateway with none, calls a second",
        1.0,
        lambda seen: _rate(seen, SKILL, "Portkey's gateway"),
    ),
    Floor("batched to single ledger statements, one key, 50 callers", 2.5, lambda seen: _ledger(seen, "one key", 50)),
    Floor(
        "one hot key to 100 keys of 100 tenants, 50 callers",
        0.4,
        lambda seen: _lane(seen, "one key", 50, "batched") / _lane(seen, "100 keys, 100 tenants", 50, "batched"),
    ),
    Floor("one key over HTTP, 50 callers to 20, calls a second", 0.75, lambda seen: _served(seen, 50, 20)),
    Floor(f"{STREAMS} streams of a skill, complete", 1.0, lambda seen: _stream(seen, STREAM)["complete"] / STREAMS),
    Floor(
        f"{STREAMS} streams, the emulator's time to that of a skill's",
        0.6,
        lambda seen: _stream(seen, "the emulator")["wall"] / _stream(seen, STREAM)["wall"],
    ),
    Floor(
        f"{STREAMS} streams, CPU of /v1/messages to that of a skill's",
        0.6,
        lambda seen: _stream(seen, "/v1/messages")["cpu"] / _stream(seen, STREAM)["cpu"],
    ),
)


def main() -> None:
    """Measure, compare and exit with what came of it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    seen = {
        "calls": json.loads(_ran("bench.calls", "--peers", "--json", "--seconds", "3", "--rounds", "3")),
        "ledger": [json.loads(line) for line in _ran("bench.ledger", "--json", "--callers", "20", "50").splitlines()],
        "streams": json.loads(_ran("bench.streams", "--json", "--streams", str(STREAMS))),
    }
    ratios = [(floor, floor.of(seen)) for floor in FLOORS]
    for floor, ratio in ratios:
        print(f"{'ok ' if ratio >= floor.least else 'LOW'} {ratio:6.2f} (at least {floor.least}) {floor.what}")
    sys.exit(int(any(ratio < floor.least for floor, ratio in ratios)))


def _ran(module: str, *arguments: str) -> str:
    argv: Iterable[str] = [sys.executable, "-m", module, *arguments]
    return subprocess.run(list(argv), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _rate(seen: dict[str, Any], name: str, other: str) -> float:
    rates = {one["name"]: float(one["per_second"]) for one in seen["calls"]}
    return rates[name] / rates[other]


def _ledger(seen: dict[str, Any], keys: str, callers: int) -> float:
    return _lane(seen, keys, callers, "batched") / _lane(seen, keys, callers, "single")


def _lane(seen: dict[str, Any], keys: str, callers: int, lane: str) -> float:
    return next(
        float(one["calls_per_second"])
        for one in seen["ledger"]
        if (one.get("keys"), one.get("callers"), one.get("lane")) == (keys, callers, lane)
    )


def _served(seen: dict[str, Any], callers: int, other: int) -> float:
    rates = {one["served_callers"]: float(one["calls_per_second"]) for one in seen["ledger"] if "served_callers" in one}
    return rates[callers] / rates[other]


def _stream(seen: dict[str, Any], name: str) -> dict[str, float]:
    return next(one for one in seen["streams"] if one["name"] == name)


if __name__ == "__main__":
    main()
