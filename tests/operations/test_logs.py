"""What the logs say of a request and of an upstream call, and what they never say."""

import io
import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import structlog

from kit import logs
from tests import factories
from tests.operations.conftest import Production

SECRET_TEXT = "the merger closes on the ninth of May"
KEY = "sg_live_" + "a" * 46
Write = Callable[..., str]


@pytest.fixture
def write() -> Write:
    """Logs one record the way production does, and returns the line."""

    def write(message: str, *arguments: Any, is_pretty: bool = False, **extra: Any) -> str:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logs.formatter(is_pretty=is_pretty))
        record_extra = extra.pop("extra", None)
        logger = logging.getLogger(f"test.{uuid4().hex}")
        logger.addHandler(handler)
        logger.propagate = False
        logger.error(message, *arguments, extra=record_extra, **extra)
        return stream.getvalue()

    return write


# --- One request ---------------------------------------------------------------------------------------------------------


def test_a_call_is_one_line_of_its_request_and_one_of_its_upstream_call(production: Production) -> None:
    answer = production.live.post("/v1/skills/summarize", {"input": {"text": f"Know that {SECRET_TEXT}."}})
    body, request_id = answer.json(), answer.headers["request-id"]

    request = production.line("request", request_id=request_id)
    call = production.line("upstream call", request_id=request_id)

    event = production.live.closed_events()[0]
    assert request["route"] == "v1/skills/<str:name>"
    assert (request["method"], request["path"], request["status"]) == ("POST", "/v1/skills/summarize", 200)
    assert request["tenant"] == call["tenant"] == production.live.tenant.slug
    assert request["key"] == call["key"] == production.live.public_id
    assert request["run"] == call["run"] == body["id"]
    assert 0 < request["first_byte_ms"] <= request["duration_ms"]
    assert (call["skill"], call["version"], call["model"]) == ("summarize", 1, body["model"])
    assert (call["state"], call["entry_point"], call["attempt"]) == ("settled", "rest", 1)
    assert call["cost_micros"] == body["usage"]["cost_micros"] == event["cost_micros"]
    assert call["input_tokens"] == event["input_tokens"]
    assert call["output_tokens"] == event["output_tokens"]
    assert call["duration_ms"] >= call["first_output_ms"] >= 0


def test_a_refused_call_is_one_line_with_its_reason_and_no_upstream_call(production: Production) -> None:
    poor = production.live.issue_key(monthly_token_budget=1)
    headers = {"X-API-Key": poor.secret}

    answer = production.live.post("/v1/skills/summarize", {"input": {"text": "Hello."}}, headers=headers)

    request = production.line("request", request_id=answer.headers["request-id"])
    assert answer.status_code == request["status"] == 402
    assert (request["error"], request["reason"]) == ("billing_error", "budget_exceeded")
    assert request["key"] == poor.key.public_id
    assert production.lines("upstream call", key=poor.key.public_id) == []
    assert production.live.events() == []


def test_neither_prompt_nor_answer_nor_key_is_ever_logged(production: Production) -> None:
    text = f"Know that {SECRET_TEXT}."
    answer = production.live.post("/v1/skills/summarize", {"input": {"text": text}})
    refused = production.live.post(f"/v1/skills/{production.live.key}", {"input": {"text": text}})

    production.line("request", request_id=answer.headers["request-id"])
    line = production.line("request", request_id=refused.headers["request-id"])

    assert SECRET_TEXT in answer.json()["output"]
    assert SECRET_TEXT not in production.said
    assert production.live.key not in production.said
    assert line["path"] == "/v1/skills/[masked]"


def test_a_prompt_is_logged_only_for_tenants_that_are_named(production: Production) -> None:
    wanted = production.live.do(lambda: factories.make_tenant("prompts-wanted"))
    key = production.live.do(lambda: factories.make_key(wanted))
    text = f"Dear {uuid4()}, my key is {KEY}."

    answer = production.live.post("/v1/skills/summarize", {"input": {"text": text}}, headers={"X-API-Key": key.secret})

    line = production.line("prompt", request_id=answer.headers["request-id"])
    assert text.replace(KEY, "[masked]") in line["prompt"]
    assert line["tenant"] == "prompts-wanted"
    assert production.lines("prompt", tenant=production.live.tenant.slug) == []


def test_a_health_check_that_succeeds_leaves_no_line(production: Production) -> None:
    answer = production.live.post("/v1/skills/summarize", {})
    marker = answer.headers["request-id"]

    import httpx2

    checked = httpx2.get(f"{production.live.base_url}/health/live", timeout=10)
    after = production.live.post("/v1/skills/summarize", {}).headers["request-id"]

    production.line("request", request_id=marker)
    production.line("request", request_id=after)
    assert checked.status_code == 200
    assert production.lines("request", route="health/live") == []


# --- Any record ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sg_test_" + "Z" * 46,
        "sk-ant-api03-abc_DEF-123",
        "Bearer eyJhbGciOi.J9.abc",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "postgres://skillgate:hunter22@db.example/skillgate",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(write: Write, secret: str) -> None:
    def fail() -> None:
        raise ValueError(f"could not use {secret}")

    hidden = secret.removeprefix("Bearer ").removeprefix("postgres://").partition("@")[0]
    try:
        fail()
    except ValueError:
        traced = write("broke on %s", secret, exc_info=True)
    said = write(f"said {secret}", extra={"what": secret, "deep": {"inner": [secret]}})
    read = write("pretty %s", secret, is_pretty=True)

    assert hidden not in traced + said + read
    assert "could not use" in json.loads(traced)["exception"]
    assert json.loads(said)["deep"]["inner"] != [secret]
    assert all(logs.MASK in line for line in (traced, said, read))


@pytest.mark.parametrize("name", ["Authorization", "api_key", "password", "Cookie"])
def test_a_field_that_is_a_secret_by_its_name_is_masked(write: Write, name: str) -> None:
    line = json.loads(write("given", extra={name: "plain-looking"}))

    assert line[name] == logs.MASK


def test_a_long_value_is_cut(write: Write) -> None:
    line = json.loads(write("long", extra={"body": "x" * 50_000, "many": ["y" * 50] * 1_000}))

    assert line["body"] == "x" * logs.LONGEST_VALUE + "… (50000 characters)"
    assert len(line["many"]) < logs.LONGEST_VALUE + 50


def test_what_structlog_says_becomes_such_a_line_too(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    write("configures")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter(is_pretty=False))
    name = f"test.{uuid4().hex}"
    logging.getLogger(name).addHandler(handler)

    structlog.get_logger(name).warning("task_failed", task="usage.sweep", error=f"key {KEY}")

    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"], line["task"]) == ("warning", "task_failed", "usage.sweep")
    assert line["error"] == "key [masked]"
    assert caplog.records
