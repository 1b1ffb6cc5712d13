"""One trial: the call that a key of the tenant makes, on the one line that all calls take, told as it goes."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from kit import clock, sse
from kit.errors import NotAllowed, SkillgateError
from skills import runs
from skills.api import lines, opening, views
from skills.replay import DONE
from tenants import keys

log = logging.getLogger(__name__)

ENTRY_POINT = "playground"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried, by which key, from where."""

    key_id: int
    address: str
    request_id: str
    skill: str
    label: str | None
    version: int | None
    input: dict[str, Any]
    max_tokens: int | None
    base_url: str

    @property
    def body(self) -> dict[str, Any]:
        """What a caller would send."""
        asked = {"label": self.label, "version": self.version, "max_tokens": self.max_tokens}
        return {"input": self.input, **{name: value for name, value in asked.items() if value is not None}}

    @property
    def curl(self) -> str:
        """The same call for a terminal; the key's secret is not known here."""
        body = json.dumps(self.body, ensure_ascii=False, indent=2).replace("'", "'\\''")
        return (
            f"curl -N {self.base_url}/v1/skills/{self.skill}/stream \\\n"
            '  -H "Authorization: Bearer $SKILLGATE_KEY" \\\n'
            f"  -H 'Content-Type: application/json' \\\n  -d '{body}'"
        )


async def told(trial: Trial) -> AsyncGenerator[bytes, None]:
    """Make the call and yield what a stream of it holds, the equivalent `call` first.

    Leaving ends the run, and its upstream call. What is refused comes as the `error` a caller would see, with its status.
    """
    yield sse.encode("call", {"curl": trial.curl})
    try:
        async with aclosing(_frames(trial)) as frames:
            async for content in frames:
                yield content
    except SkillgateError as error:
        yield sse.encode("error", {**error.envelope(request_id=trial.request_id), "status": error.status}) + DONE
    except Exception:
        log.exception("trial %s broke", trial.request_id)
        broken = SkillgateError("Something went wrong on our side. Quote the request id if you report it.")
        yield sse.encode("error", {**broken.envelope(request_id=trial.request_id), "status": broken.status}) + DONE


async def _frames(trial: Trial) -> AsyncGenerator[bytes, None]:
    caller = await keys.authenticate_again(trial.key_id, address=trial.address, now=clock.now())
    if not caller.may("run"):
        raise NotAllowed("This key may not be used to run. Ask the tenant's admin for the scope.")
    version = await views.resolve(caller, trial.skill, label=trial.label, version=trial.version)
    order = runs.Order(
        caller=caller,
        version=version,
        input=trial.input,
        entry_point=ENTRY_POINT,
        request_id=trial.request_id,
        max_tokens=trial.max_tokens,
    )
    opened = await opening.open_stream(order, is_resumable=False)
    async with aclosing(await lines.begun(opened.source, caller=caller, request_id=trial.request_id)) as line:
        async for content in line:
            yield content
