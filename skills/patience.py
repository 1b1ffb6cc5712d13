"""How long to wait before another attempt, and whether there is to be one at all."""

import random

from django.conf import settings

from skills.claude import Fault

_LONGEST_PAUSE_SECONDS = 8.0
_SPREAD = 0.1


def pause(fault: Fault, *, attempts: int, left: float) -> float | None:
    """Return the seconds to wait after so many attempts; None when another cannot help or not in time.

    `left` is what remains of the run's whole time. What Claude asks to wait is waited, and a little more so that
    those who were refused together do not come back together; without a word of its own the pause is drawn from a
    range that doubles.
    """
    if not fault.is_passing or attempts >= settings.CLAUDE_ATTEMPTS:
        return None
    longest = min(left, settings.CLAUDE_LONGEST_WAIT_SECONDS)
    if fault.retry_after is not None:
        wait = fault.retry_after * random.uniform(1.0, 1.0 + _SPREAD)  # noqa: S311 - spreads attempts, keeps no secret
    else:
        ceiling = min(settings.CLAUDE_RETRY_SECONDS * 2 ** (attempts - 1), _LONGEST_PAUSE_SECONDS)
        wait = random.uniform(0.0, ceiling)  # noqa: S311 - the same
    return wait if wait < longest else None
