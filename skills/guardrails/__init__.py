"""Guardrails: optional checks of a skill's input and output, by its policy. They lower risks and promise nothing more.

docs/guardrails.md says what each check covers and what a repeatable run over a corpus measured.
"""

from skills.guardrails.guard import (
    Guard,
    are_in,
    canary_of,
    characters,
    checks_input,
    input_tally,
    judge_value,
    look_through,
    post,
)
from skills.guardrails.plans import faults, relay_faults, size_faults
from skills.guardrails.relays import RelayGuard, post_relay, relay_characters

__all__ = [
    "Guard",
    "RelayGuard",
    "are_in",
    "canary_of",
    "characters",
    "checks_input",
    "faults",
    "input_tally",
    "judge_value",
    "look_through",
    "post",
    "post_relay",
    "relay_characters",
    "relay_faults",
    "size_faults",
]
