"""Logs: one JSON object a line in production, readable lines in development, and no secret in either.

Every record goes through the standard library's loggers, whoever wrote it, and is masked last, as
the finished line: whatever a message, a field or a traceback carries.
"""

import json
import logging
import re
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import orjson
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
    for hint in _HINTS:  # the expression alone costs ten times as much on a line without any
        if hint in text:
            return _SECRETS.sub(MASK, text)
    return text


def tell(logger: logging.Logger, event: str, facts: dict[str, Any]) -> None:
    """Write a line of facts that are known to be short and fit for JSON.

    For lines that every request writes: it costs a tenth of `logger.info(…, extra=…)`, which looks through the stack
    for its caller, copies the record, examines each field and hands it through three objects. Where someone else
    listens, too, or what is to be written is no JSON, it makes a record as everyone does.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    handlers = logging.root.handlers
    lines = handlers[0] if len(handlers) == 1 and not logger.handlers else None
    if not isinstance(lines, Stderr) or not lines.tell(logger.name, event, facts):
        record = logging.LogRecord(logger.name, logging.INFO, "", 0, event, (), None)
        record.facts = facts
        logger.handle(record)


class Stderr(logging.StreamHandler[Any]):
    """Writes lines to standard error; those of `tell` without a record."""

    def tell(self, name: str, event: str, facts: dict[str, Any]) -> bool:
        """Write a line of facts as JSON; False if that is not what is written here, or not possible."""
        if not isinstance(self.formatter, Lines) or self.formatter.is_pretty:
            return False
        try:
            line = orjson.dumps({**_head(time.time(), "info", name, event), **facts}).decode()
            if not line.isascii():  # whatever standard error's encoding is, a line is JSON: it has to be escaped
                return False
            with self.lock or nullcontext():
                self.stream.write(masked(line) + self.terminator)
        except (TypeError, ValueError, OSError):
            return False
        return True


class Lines(ProcessorFormatter):
    """structlog's formatter, with a short way for `tell`."""

    def __init__(self, *, render: Processor, is_pretty: bool, **options: Any) -> None:
        self._render = render
        self.is_pretty = is_pretty
        super().__init__(processors=[_described, _whole_traces, _bounded, render], **options)

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as one line; a traceback takes more of them in development."""
        facts = record.__dict__.get("facts")
        if facts is None:
            return super().format(record)
        return str(self._render(None, "", {**_head_of(record, record.msg), **facts}))


def formatter(*, is_pretty: bool) -> Lines:
    """Make the formatter of every handler, and let structlog's own loggers use it too."""
    _configure()
    return Lines(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()],
        render=_rendered_pretty() if is_pretty else _rendered_json,
        is_pretty=is_pretty,
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
    said = _head_of(record, event.pop("event", ""))
    if request_id := event.pop("request_id", None) or request_ids.current.get():
        said["request_id"] = request_id
    if record.exc_info:
        said["exc_info"] = record.exc_info
    return {**said, **event}


def _head_of(record: logging.LogRecord, event: Any) -> EventDict:
    return _head(record.created, record.levelname.lower(), record.name, event)


def _head(instant: float, level: str, name: str, event: Any) -> EventDict:
    at = datetime.fromtimestamp(instant, tz=UTC).isoformat(timespec="milliseconds")
    return {"timestamp": at, "level": level, "logger": name, "event": event}


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
