"""Guardrails: optional checks of a skill's input and output, by its policy. They lower risks and promise nothing more.

docs/guardrails.md says what each check covers and what a repeatable run over a corpus measured.
"""

from skills.guardrails.guard import Guard, post
from skills.guardrails.plans import faults, size_faults

__all__ = ["Guard", "faults", "post", "size_faults"]
