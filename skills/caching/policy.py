"""`policy.cache` and `policy.prompt_cache` of a skill's version: what its author may say about keeping answers and prefixes."""

from collections.abc import Iterator
from typing import Any

Fault = tuple[str, str]

LONGEST_TTL_SECONDS = 7 * 86_400
LIFETIMES = ("5m", "1h")
PREFIXES = ("documents", "template")


def faults(given: Any) -> Iterator[Fault]:
    """Yield what is wrong with a `cache` policy, each with its path below `policy/cache`."""
    if not isinstance(given, dict) or set(given) != {"ttl_seconds"}:
        yield "", "must be an object with `ttl_seconds`, and nothing else."
        return
    seconds = given["ttl_seconds"]
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST_TTL_SECONDS:
        yield "/ttl_seconds", f"must be a whole number from 1 to {LONGEST_TTL_SECONDS:,}."


def prefix_faults(given: Any) -> Iterator[Fault]:
    """Yield what is wrong with a `prompt_cache` policy, each with its path below it."""
    if not isinstance(given, dict) or not set(given) <= {"prefixes", "lifetime"} or "prefixes" not in given:
        yield "", "must be an object with `prefixes` and at most a `lifetime`."
        return
    prefixes = given["prefixes"]
    if not isinstance(prefixes, list) or not prefixes or any(one not in PREFIXES for one in prefixes):
        yield "/prefixes", f"must be a list of {' and '.join(PREFIXES)}, or of one of them."
    if given.get("lifetime", LIFETIMES[0]) not in LIFETIMES:
        yield "/lifetime", f"must be {' or '.join(LIFETIMES)}."
