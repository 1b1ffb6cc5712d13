"""Traces by OpenTelemetry, for operators who name a collector; without one its SDK is not even imported.

Every verb does nothing then. Spans follow OpenTelemetry's conventions for HTTP, databases,
messaging and generative AI; no prompt and no answer is in them unless the operator asks for it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Facts = Mapping[str, Any]
_NOTHING: AbstractContextManager[None] = nullcontext()
_FLUSH_MILLISECONDS = 1_000


class _Traces:
    """The one provider of this process, once it was started."""

    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


def start(service: str) -> None:
    """Begin to send spans to OTEL_EXPORTER_OTLP_ENDPOINT, if it is set; again does nothing.

    Threads do not outlive a fork: call it in the process that works.
    """
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT or _Traces.provider is not None:
        return
    # The SDK is large, and only those who want traces shall pay for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.TRACE_RATIO),
        resource=Resource.create({"service.name": service, "service.namespace": "skillgate"}),
        shutdown_on_exit=False,
    )
    endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=2)))
    _Traces.provider = provider
    _Traces.tracer = provider.get_tracer("skillgate")


def stop() -> None:
    """Send what is left, which may take a second, and end; it blocks."""
    provider, _Traces.provider, _Traces.tracer = _Traces.provider, None, None
    if provider is not None:
        provider.force_flush(_FLUSH_MILLISECONDS)
        provider.shutdown()


def is_on() -> bool:
    """Say whether spans are made."""
    return _Traces.tracer is not None


def span(
    name: str, *, kind: Kind = "internal", carrier: Mapping[str, str] | None = None, **facts: Any
) -> "AbstractContextManager[Span | None]":
    """Make a span of what is done inside the block; `carrier` holds the headers that name its parent.

    A double underscore in a fact's name stands for a dot.
    """
    if _Traces.tracer is None:
        return _NOTHING
    return _made(_Traces.tracer, name, kind=kind, carrier=carrier, facts=_dotted(facts))


def begin(name: str, *, kind: Kind = "internal", facts: Facts | None = None) -> "Span | None":
    """Begin a span under the one at hand, for who ends it elsewhere; None when nothing is recorded."""
    if _Traces.tracer is None:
        return None
    made = _Traces.tracer.start_span(name, kind=_kind(kind), attributes=dict(facts or {}))
    return made if made.is_recording() else None


def end(begun: "Span", facts: Facts, *, error: str = "") -> None:
    """Add what is known at the end of a span, and end it."""
    tell(begun, facts, error=error)
    begun.end()


def tell(at: "Span | None", facts: Facts, *, error: str = "") -> None:
    """Add facts to a span; those that are None are left out."""
    if at is None or not at.is_recording():
        return
    at.set_attributes({name: fact for name, fact in facts.items() if fact is not None})
    if error:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - as in `start`

        at.set_attribute("error.type", error)
        at.set_status(Status(StatusCode.ERROR))


def fail(error: str) -> None:
    """Mark the span at hand as failed."""
    if _Traces.tracer is None:
        return
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - as in `start`

    tell(get_current_span(), {}, error=error)


def carried() -> dict[str, str]:
    """Return the headers that make the span at hand the parent of what another process does."""
    if _Traces.tracer is None:
        return {}
    from opentelemetry.propagate import inject  # noqa: PLC0415 - as in `start`

    headers: dict[str, str] = {}
    inject(headers)
    return headers


def traced(work: Callable[..., Any], *, system: str) -> Callable[..., Any]:
    """Wrap a client's coroutine so that each of its commands is a span, by the command's name."""

    async def command(*arguments: Any, **options: Any) -> Any:
        name = str(arguments[0]) if arguments else "command"
        with span(name, kind="client", db__system__name=system, db__operation__name=name):
            return await work(*arguments, **options)

    return command


@contextmanager
def _made(
    tracer: "Tracer", name: str, *, kind: Kind, carrier: Mapping[str, str] | None, facts: Facts
) -> "Iterator[Span]":
    from opentelemetry.propagate import extract  # noqa: PLC0415 - as in `start`

    context = extract(carrier) if carrier is not None else None
    with tracer.start_as_current_span(name, context=context, kind=_kind(kind), attributes=dict(facts)) as made:
        yield made


def _kind(kind: Kind) -> Any:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - as in `start`

    return SpanKind[kind.upper()]


def _dotted(facts: Facts) -> dict[str, Any]:
    return {name.replace("__", "."): fact for name, fact in facts.items() if fact is not None}
