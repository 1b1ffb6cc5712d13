"""What the OpenAPI document says an endpoint answers is what it answers: each refusal, with its type."""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.conftest import Answered, Send
from tests.skills.gateway import MakeKey

Row = dict[str, Any]
TEXT = {"text": "The Hatter is late for tea."}
RUNS: dict[str, tuple[str, Row]] = {  # each endpoint that calls Claude: a body that it takes
    "run_skill": ("/v1/skills/summarize", {"input": TEXT}),
    "stream_skill": ("/v1/skills/summarize/stream", {"input": TEXT}),
    "create_completion": ("/v1/completions", {"messages": [{"role": "user", "content": TEXT["text"]}]}),
    "create_message": (
        "/v1/messages",
        {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": TEXT["text"]}]},
    ),
}
WORK: dict[str, tuple[str, Row]] = {  # and each that takes work in
    "submit_analysis": ("/v1/analyses", {"skill": "digest", **TEXT}),
    "submit_batch": ("/v1/batches", {"skill": "summarize", "items": [{"input": TEXT}]}),
}
ABSENT: Row = {
    "create_message": {"model": "absent"},
    "count_message_tokens": {"model": "absent", "messages": [{"role": "user", "content": "Hm?"}]},
    "submit_analysis": {"skill": "absent"},
    "submit_batch": {"skill": "absent"},
}
# What no caller can bring about alone, or not within a test's patience: parts that are away, and an unwell Claude.
UNSEEN = {503, 504, 529}
UNSEEN_OF = {
    "create_ticket": {429},
    "continue_stream": {400, 410},
    "stream_skill": {410},  # a retry of one that was too long to keep
    "count_message_tokens": {429, 502},
    "cancel_analysis": {409},
    "cancel_batch": {409},
}


@dataclass
class Doors:
    """All operations of the document, and what each has answered."""

    document: Row
    seen: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    faults: list[str] = field(default_factory=list)
    # One's own: of one address only so many may come in a minute without a key, whichever test they belong to.
    address: str = field(
        default_factory=lambda: f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}::1"
    )

    def operations(self) -> Iterator[tuple[str, str, Row]]:
        """Each operation under /v1 that takes a key: method, path and description."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if method in ("get", "post", "delete") and path.startswith("/v1/") and "openapi" not in path:
                    yield method.upper(), path, operation

    def note(self, name: str, answered: Answered) -> None:
        """Compare an answer with what is said of its operation."""
        self.seen[name].add(answered.status)
        declared = self.declared(name).get(str(answered.status))
        if declared is None:
            self.faults.append(f"{name} answers {answered.status}: {answered.raw[:200]!r}")
        elif answered.status >= 400:
            form = declared["content"]["application/json"]["schema"]["properties"]["error"]
            if answered.error["type"] not in form["properties"]["type"]["enum"]:
                self.faults.append(f"{name} answers {answered.status} as {answered.error['type']}")

    def declared(self, name: str) -> Row:
        """The answers that an operation is said to give."""
        (found,) = [one["responses"] for _, _, one in self.operations() if one["operationId"] == name]
        return dict(found)

    def unseen(self, name: str) -> set[int]:
        """The refusals that an operation is said to give and has not given."""
        declared = {int(status) for status in self.declared(name) if int(status) >= 400}
        return declared - self.seen[name] - UNSEEN - UNSEEN_OF.get(name, set())


@pytest.fixture
def doors(send: Send) -> Doors:
    return Doors(json.loads(send("/v1/openapi.json", headers={"Authorization": None}).raw))


def test_every_endpoint_answers_what_its_description_says(doors: Doors, send: Send, make_key: MakeKey) -> None:
    powerless, reader = make_key(allowed_verbs=["health"]).headers, make_key(allowed_verbs=["reports"]).headers
    for method, path, operation in doors.operations():
        knock(doors, send, method, re.sub(r"\{[^}]+\}", "absent", path), operation, [powerless, reader])
    for name, (path, body) in (RUNS | WORK).items():
        repeat(doors, send, name, path, body)
    for name, (path, body) in RUNS.items():
        call(doors, send, make_key, name, path, body)
    steer(doors, send)

    assert doors.faults == []
    assert {name: missing for name in doors.seen if (missing := doors.unseen(name))} == {}


def knock(doors: Doors, send: Send, method: str, path: str, operation: Row, keys: list[Row]) -> None:
    """What any endpoint refuses in the same way."""
    name, takes_body = operation["operationId"], "requestBody" in operation
    body = b"{" if takes_body else None
    nobody = {"Authorization": None, "X-Forwarded-For": doors.address}
    strange: list[Row] = [nobody, *keys, {"Accept": "text/nonsense"}, {"Last-Event-ID": "x"}, {}]
    if takes_body:
        doors.note(name, send(path, ABSENT.get(name, b""), method=method))
        strange += [{"Content-Type": "text/plain"}, {"Content-Length": "1000000000"}]
    for headers in strange:
        doors.note(name, send(path, body, method=method, headers=headers))
    if method == "GET":
        doors.note(name, send(f"{path}?limit=0&from=x"))


def repeat(doors: Doors, send: Send, name: str, path: str, body: Row) -> None:
    """An idempotency key that is malformed, under way, and used for something else; a name of nothing."""
    slowly = json.loads(json.dumps(body).replace("The Hatter", "[[emulator:latency:1]] The Hatter"))
    with ThreadPoolExecutor(2) as pool:
        for answered in pool.map(lambda _: send(path, slowly, headers={"Idempotency-Key": f"{name}-1"}), range(2)):
            doors.note(name, answered)
    doors.note(name, send(path, body, headers={"Idempotency-Key": f"{name}-1"}))
    doors.note(name, send(path.replace("summarize", "absent"), {**body, **ABSENT.get(name, {})}))


def call(doors: Doors, send: Send, make_key: MakeKey, name: str, path: str, body: Row) -> None:
    """What only a call to Claude can meet with: no budget, no rate, an upstream that does not know us."""
    poor, slow = make_key(monthly_token_budget=1), make_key(requests_per_minute=1)
    doors.note(name, send(path, body, headers=poor.headers))
    for _ in range(2):
        doors.note(name, send(path, body, headers=slow.headers))
    doors.note(name, send(path, json.loads(json.dumps(body).replace("The Hatter", "[[emulator:http_401]] The Hatter"))))


def steer(doors: Doors, send: Send) -> None:
    """What the state of an analysis or a batch does not allow; nobody works on them here."""
    for word, (path, body) in {"analysis": WORK["submit_analysis"], "batch": WORK["submit_batch"]}.items():
        links = send(path, body).json["links"]
        if word == "analysis":
            doors.note("get_analysis_result", send(links["result"]))
        doors.note(f"follow_{word}", send(links["events"]))
        doors.note(f"cancel_{word}", send(links["cancel"], method="POST"))
        resume = f"{links['self']}/resume"
        for headers, said in (({}, b""), ({}, b"{"), ({"Content-Type": "text/plain"}, b"x")):
            doors.note(f"resume_{word}", send(resume, said, method="POST", headers=headers))
        doors.note(f"get_{word}", send(links["self"]))
        doors.note(f"delete_{word}", send(links["self"], method="DELETE"))
