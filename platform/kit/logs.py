"""Logs: one JSON object a line in production, readable lines in development, and no secret in either.

Every record goes through the standard library's loggers, whoever wrote it, and is masked last, as
the finished line: whatever a message, a field or a traceback carries.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from kit import request_ids

MASK = "[masked]"
LONGEST_VALUE = 2_000
LONGEST_TRACE = 12_000

# Ours, the provider's, and whatever follows the names of the headers that carry them.
_SECRETS = re.compile(
    r"sg_(?:live|test)_[A-Za-z0-9]{6,}"
    r"|sk-ant-[A-Za-z0-9_-]{4,}"
    r"|whsec_[A-Za-z0-9+/=_-]{8,}"
    r"|(?<=[Bb]earer )[^\s\"',}\\\]]{6,}"
    r"|(?<=://)[^\s/:@\"']*:[^\s/@\"']+(?=@)"
)
_HINTS = ("sg_", "sk-ant-", "whsec_", "earer ", "://")
_SECRET_NAMES = frozenset(
    {"authorization", "x-api-key", "x_api_key", "api_key", "cookie", "set-cookie", "password", "secret", "token"}
)


def masked(text: str) -> str:
    """Return `text` without API keys, tokens and the passwords of URLs."""
    if any(hint in text for hint in _HINTS):  # the expression alone costs ten times as much on a line without any
        return _SECRETS.sub(MASK, text)
    return text


def tell(logger: logging.Logger, event: str, facts: dict[str, Any]) -> None:
    """Write a line of facts that are known to be short and fit for JSON.

    For lines that every request writes: it costs a third of `logger.info(…, extra=…)`, which
    looks through the stack for its caller, copies the record and examines each field.
    """
    if logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord(logger.name, logging.INFO, "", 0, event, (), None)
        record.facts = facts
        logger.handle(record)


class Lines(ProcessorFormatter):
    """structlog's formatter, with a short way for `tell`."""

    def __init__(self, *, render: Processor, **options: Any) -> None:
        self._render = render
        super().__init__(processors=[_described, _whole_traces, _bounded, render], **options)

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as one line; a traceback takes more of them in development."""
        facts = record.__dict__.get("facts")
        if facts is None:
            return super().format(record)
        return str(self._render(None, "", {**_head(record, record.msg), **facts}))


def formatter(*, is_pretty: bool) -> Lines:
    """Make the formatter of every handler, and let structlog's own loggers use it too."""
    _configure()
    return Lines(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()],
        render=_rendered_pretty() if is_pretty else _rendered_json,
    )


def _configure() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


_trace: Processor = structlog.processors.format_exc_info
_to_json = json.JSONEncoder(default=repr).encode


def _described(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Put what every line has first: when, how grave, who says it, and for which request."""
    record = event.pop("_record")
    event.pop("_from_structlog", None)
    said = _head(record, event.pop("event", ""))
    if request_id := event.pop("request_id", None) or request_ids.current.get():
        said["request_id"] = request_id
    if record.exc_info:
        said["exc_info"] = record.exc_info
    return {**said, **event}


def _head(record: logging.LogRecord, event: Any) -> EventDict:
    at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
    return {"timestamp": at, "level": record.levelname.lower(), "logger": record.name, "event": event}


def _whole_traces(logger: WrappedLogger, name: str, event: EventDict) -> Any:
    return _trace(logger, name, event) if "exc_info" in event else event


def _bounded(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Cut what is long, and drop the values of fields that are secrets by their name."""
    for field, value in event.items():
        if field.lower() in _SECRET_NAMES:
            event[field] = MASK
        elif isinstance(value, str):
            most = LONGEST_TRACE if field == "exception" else LONGEST_VALUE
            if len(value) > most:
                event[field] = f"{value[:most]}… ({len(value)} characters)"
        elif not isinstance(value, int | float | None):
            event[field] = _shortened(value)
    return event


def _shortened(value: Any) -> Any:
    said = repr(value)
    return value if len(said) <= LONGEST_VALUE else f"{said[:LONGEST_VALUE]}… ({len(said)} characters)"


def _rendered_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    return masked(_to_json(event))


def _rendered_pretty() -> Processor:
    render = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=30, sort_keys=False)

    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        return masked(str(render(logger, name, event)))

    return rendered
