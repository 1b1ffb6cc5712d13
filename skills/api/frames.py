"""A run's events as they go over the wire: named, numbered, JSON on one line, so that no text can forge one."""

import json
from typing import Any

from kit import sse
from skills.api import rendering
from skills.events import RunCompleted, RunEvent, RunFailed, RunStarted, RunText, RunUsage
from skills.replay import DONE, Frame

_Named = tuple[str, dict[str, Any]]


class Encoder:
    """Turns what one run says into frames; the last is `data: [DONE]`, after `done` or `error`."""

    def __init__(self, run_id: str, *, request_id: str, is_resumable: bool) -> None:
        self._run_id = run_id
        self._request_id = request_id
        self._is_resumable = is_resumable
        self._number = 0

    def __call__(self, said: RunEvent) -> list[Frame]:
        """Return the frames of one event of a run."""
        if isinstance(said, RunText):
            return [self._frame("text", {"text": said.text})]
        frames = [self._frame(name, data) for name, data in self._named(said)]
        if isinstance(said, RunCompleted | RunFailed):
            frames.append(Frame(self._number + 1, DONE, is_last=True))
        return frames

    def _frame(self, name: str, data: dict[str, Any]) -> Frame:
        self._number += 1
        return Frame(self._number, sse.encode(name, data, id=f"{self._run_id}-{self._number}"))

    def _named(self, said: RunStarted | RunCompleted | RunFailed) -> list[_Named]:
        if isinstance(said, RunStarted):
            return [("run.started", self._started(said))]
        if isinstance(said, RunCompleted):
            output = {"output": said.output, "citations": said.citations, "stop_reason": said.stop_reason}
            output |= rendering.guarded(said)
            used = {**rendering.usage(said.usage), "model": said.model or None, **_chosen(said)}
            used["fallback"] = rendering.fallback(said)
            return [("output", output), ("usage", used), ("done", {"run_id": self._run_id})]
        return [*_usage(said.usage), ("error", said.error.envelope(request_id=self._request_id))]

    def _started(self, said: RunStarted) -> dict[str, Any]:
        return {
            "run_id": self._run_id,
            "skill": said.skill,
            "version": said.version,
            "label": said.label,
            "model": said.model,
            **_chosen(said),
            "resumable": self._is_resumable,
        }


def _chosen(said: RunStarted | RunCompleted) -> dict[str, Any]:
    return {"route": rendering.route(said.route), "cache": rendering.cache(said.cache)}


def _usage(used: RunUsage) -> list[_Named]:
    return [("usage", rendering.usage(used))] if used.attempts else []


def after(run_id: str, last_event_id: str) -> int | None:
    """Read the number out of the id of a run's event; None when it is not one."""
    head, _, digits = last_event_id.rpartition("-")
    if head != run_id or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        return None
    return int(digits)


def as_text(frame: Frame, *, socket_run: str) -> str | None:
    """Return a frame as a WebSocket message for the run its client calls `socket_run`.

    None for the end of the stream, which a socket does not need. The frame's JSON is taken over as it is.
    """
    if frame.is_last:
        return None
    event_id, event, data = frame.content.decode().split("\n", 2)
    head = json.dumps({"id": socket_run, "event": event.removeprefix("event: ")})
    tail = json.dumps({"event_id": event_id.removeprefix("id: ")})
    return f'{head[:-1]}, "data": {data.removeprefix("data: ").rstrip()}, {tail[1:]}'
