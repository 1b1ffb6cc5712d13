"""Where a worker's traces begin, and how a task keeps the trace of whoever asked for it."""

from contextlib import ExitStack
from typing import Any

from celery.signals import (
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
)

from kit import traces

_CARRIED = "skillgate_trace"
_running: dict[str, ExitStack] = {}


@worker_process_init.connect
def _start(**_: object) -> None:
    traces.start("skillgate-worker")


@worker_process_shutdown.connect
def _stop(**_: object) -> None:
    traces.stop()


@before_task_publish.connect
def _send_along(sender: str, headers: dict[str, Any], routing_key: str = "", **_: object) -> None:
    with traces.span(f"send {sender}", kind="producer", **_facts(sender, routing_key)):
        if carried := traces.carried():
            headers[_CARRIED] = carried


@task_prerun.connect
def _begin(task_id: str, task: Any, **_: object) -> None:
    if not traces.is_on():
        return
    carrier = getattr(task.request, _CARRIED, None) or (task.request.headers or {}).get(_CARRIED) or {}
    block = _running[task_id] = ExitStack()
    queue = (task.request.delivery_info or {}).get("routing_key", "")
    facts = {**_facts(task.name, queue), "messaging__message__id": task_id}
    block.enter_context(traces.span(f"process {task.name}", kind="consumer", carrier=carrier, **facts))


@task_failure.connect
def _fail(exception: BaseException, **_: object) -> None:
    if traces.is_on():
        traces.fail(type(exception).__name__)


@task_postrun.connect
def _end(task_id: str, **_: object) -> None:
    block = _running.pop(task_id, None)
    if block is not None:
        block.close()


def _facts(task: str, queue: str) -> dict[str, Any]:
    return {
        "messaging__system": "celery",
        "messaging__operation__name": task,
        "messaging__destination__name": queue or "default",
    }
