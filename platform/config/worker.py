"""What a Celery worker does beside its tasks: it logs like the web, and serves its counts on a port of its own."""

import logging
import logging.config
import os
from pathlib import Path
from typing import Any

import structlog
from celery.signals import setup_logging, worker_init, worker_process_shutdown
from django.conf import settings
from django_structlog.celery.signals import bind_extra_task_metadata, modify_context_before_task_publish
from django_structlog.celery.steps import DjangoStructLogInitStep
from prometheus_client import CollectorRegistry, multiprocess, start_http_server

from kit import request_ids

log = logging.getLogger(__name__)
STEP = DjangoStructLogInitStep


@setup_logging.connect
def _log_as_the_web_does(**_: object) -> None:
    logging.config.dictConfig(settings.LOGGING)  # with a receiver here Celery leaves the loggers alone


@modify_context_before_task_publish.connect
def _pass_the_request_on(context: dict[str, Any], **_: object) -> None:
    if request_id := request_ids.current.get():
        context["request_id"] = request_id


@bind_extra_task_metadata.connect
def _name_the_task(task: Any, **_: object) -> None:
    structlog.contextvars.bind_contextvars(task=task.name)


@worker_init.connect
def _serve_metrics(**_: object) -> None:
    address = settings.WORKER_METRICS_ADDRESS
    if not address:
        return
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        log.warning("worker metrics need PROMETHEUS_MULTIPROC_DIR: tasks run in processes of their own")
        return
    forget_the_dead(Path(folder))
    host, _colon, port = address.rpartition(":")
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # the library's own gap
    start_http_server(int(port), addr=host.strip("[]") or "127.0.0.1", registry=shared)


@worker_init.connect
def _load_the_sdk(sender: Any, **_: object) -> None:
    if "analyses" in sender.app.amqp.queues.consume_from:
        from skills import claude  # noqa: PLC0415 - this module is imported before Django is set up

        claude.load()  # before it forks: all its processes share what is loaded


@worker_process_shutdown.connect
def _leave(pid: int, **_: object) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library's own gap


def forget_the_dead(folder: Path) -> None:
    """Remove live gauges of processes that are gone: they would be counted for ever."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path(f"/proc/{pid}").exists():
            file.unlink(missing_ok=True)
