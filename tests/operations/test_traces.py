"""Traces: real spans at a collector of our own, one trace from the caller through web, ledger, queue and worker to Claude."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.analyses.conftest import celery
from tests.live import ROOT, Live, Program, eventually, running
from tests.tenants.valkey import Valkey

PARENT = "b7ad6b7169203331"
TEXT = "A parcel of unusual size was delivered."


@dataclass
class Collector:
    """What a collector has received."""

    url: str
    spans: list[Span] = field(default_factory=list)
    services: dict[bytes, str] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = facts(resource.resource)["service.name"]
            for scope in resource.scope_spans:
                self.spans += scope.spans
                self.services |= {span.span_id: service for span in scope.spans}

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace]

    def named(self, name: str, *, trace: str) -> list[Span]:
        return [span for span in self.of(trace) if span.name == name]

    def above(self, span: Span) -> list[str]:
        """The names of a span's ancestors, the nearest first."""
        by_id = {one.span_id: one for one in self.spans}
        names = []
        while span.parent_span_id in by_id:
            span = by_id[span.parent_span_id]
            names.append(span.name)
        return names


@pytest.fixture
def trace() -> str:
    """A trace of this test's own: spans of another may come late."""
    return uuid4().hex


def sampled(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-01"}


def facts(of: Any) -> dict[str, Any]:
    return {one.key: plain(one.value) for one in of.attributes}


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    return getattr(value, kind or "string_value")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """An OTLP/HTTP receiver on loopback."""
    received = Collector("")

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            received.take(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever, 0.05)
        received.url = f"http://127.0.0.1:{server.server_port}"
        yield received
        server.shutdown()


@pytest.fixture(scope="module")
def environment(live_environment: dict[str, str], collector: Collector) -> Iterator[dict[str, str]]:
    """Traces are on, and nobody's decision to record one is ours; the queue is these tests' own."""
    queue = Valkey()
    queue.start()
    yield {
        **live_environment,
        "REDIS_URL": f"{queue.url}?db=0",
        "CELERY_BROKER_URL": f"redis+socket://{queue.url.removeprefix('unix://')}?virtual_host=1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "SKILLGATE_TRACE_RATIO": "0",
    }
    queue.close()


@pytest.fixture(scope="module")
def traced_server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("server", "--port", "0", log=tmp_path_factory.mktemp("traced") / "log", env=environment) as served:
        yield served


@pytest.fixture
def traced(live: Live, traced_server: Program) -> Live:
    live.server = traced_server
    return live


def test_one_run_is_one_trace_from_its_caller_to_claude(traced: Live, collector: Collector, trace: str) -> None:
    answer = traced.post("/v1/skills/summarize", {"input": {"text": TEXT}}, headers=sampled(trace))

    usage = answer.json()["usage"]
    (call,) = eventually(lambda: collector.named("chat claude-sonnet-5", trace=trace), within=15)
    (web,) = eventually(
        lambda: [one for one in collector.named("POST", trace=trace) if one.kind == Span.SPAN_KIND_SERVER], within=15
    )
    told, of_web = facts(call), facts(web)
    assert web.trace_id.hex() == call.trace_id.hex() == trace
    assert web.parent_span_id.hex() == PARENT
    assert collector.above(call) == ["POST"]
    assert (of_web["http.request.method"], of_web["http.response.status_code"]) == ("POST", 200)
    assert of_web["http.route"] == "v1/skills/<str:name>"
    assert of_web["skillgate.run"] == told["skillgate.run"] == answer.json()["id"]
    assert call.kind == Span.SPAN_KIND_CLIENT
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "anthropic")
    assert (told["gen_ai.request.model"], told["gen_ai.request.max_tokens"]) == ("claude-sonnet-5", 2048)
    cached = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert told["gen_ai.usage.input_tokens"] == usage["input_tokens"] + sum(cached)
    assert (
        told["gen_ai.usage.cache_read.input_tokens"],
        told["gen_ai.usage.cache_creation.input_tokens"],
    ) == cached
    assert told["gen_ai.usage.output_tokens"] == usage["output_tokens"] > 0
    assert told["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert told["skillgate.cost_micros"] == usage["cost_micros"]
    assert {"ledger.reserve", "ledger.settle"} <= {one.name for one in collector.of(trace)}
    systems = {facts(one).get("db.system.name") for one in collector.of(trace) if one.kind == Span.SPAN_KIND_CLIENT}
    assert {"postgresql", "redis"} <= systems
    assert all(TEXT not in json.dumps(facts(one)) for one in collector.of(trace))
    assert traced.key not in json.dumps([facts(one) for one in collector.of(trace)])


def test_a_failed_call_says_what_it_failed_of(traced: Live, collector: Collector, trace: str) -> None:
    traced.post("/v1/skills/summarize", {"input": {"text": f"{TEXT} [[emulator:http_400]]"}}, headers=sampled(trace))

    (call,) = eventually(lambda: collector.named("chat claude-sonnet-5", trace=trace), within=15)
    assert call.status.code == Status.STATUS_CODE_ERROR
    assert facts(call)["error.type"] == "invalid_request_error"


def test_who_is_not_sampled_leaves_no_span(traced: Live, collector: Collector, trace: str) -> None:
    silent = traced.post("/v1/skills/summarize", {"input": {"text": TEXT}}).json()["id"]
    told = traced.post("/v1/skills/summarize", {"input": {"text": TEXT}}, headers=sampled(trace)).json()["id"]

    eventually(lambda: collector.named("chat claude-sonnet-5", trace=trace), within=15)
    runs = {facts(one).get("skillgate.run") for one in collector.spans}
    assert told in runs
    assert silent not in runs


def test_a_task_goes_on_with_the_trace_of_whoever_asked_for_it(
    traced: Live, collector: Collector, trace: str, environment: dict[str, str], tmp_path: Path
) -> None:
    collector.spans.clear()
    worker = ("worker", "-Q", "analyses", "-c", "1", "-n", "traced@test", "-l", "warning")

    with celery(*worker, env=environment, log=tmp_path / "worker.log"):
        answer = traced.post("/v1/analyses", {"skill": "digest", "text": TEXT * 3}, headers=sampled(trace))
        assert answer.status_code == 202, answer.text
        (task,) = eventually(lambda: collector.named("process skills.run_analysis", trace=trace), within=60)
        calls = eventually(lambda: [one for one in collector.of(trace) if one.name.startswith("chat ")], within=15)

    (sent,) = collector.named("send skills.run_analysis", trace=trace)
    assert task.kind == Span.SPAN_KIND_CONSUMER
    assert task.parent_span_id == sent.span_id
    assert collector.above(task) == ["send skills.run_analysis", "POST"]
    assert {collector.services[task.span_id], collector.services[sent.span_id]} == {
        "skillgate-worker",
        "skillgate-web",
    }
    assert all("process skills.run_analysis" in collector.above(call) for call in calls)
    assert facts(task)["messaging.destination.name"] == "analyses"


def test_without_an_endpoint_nothing_is_loaded_that_makes_or_sends_spans() -> None:
    code = (
        "import sys, config.asgi; from config import celery, lifetime; from kit import traces; traces.start('x'); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'opentelemetry.sdk.trace'))], "
        "traces.is_on(), traces.span('x') is traces.span('y'))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "SKILLGATE_DEBUG": "1"}
    environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] False True"
