"""Every example runs as it is written, and what `/llms.txt` says is true."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.skills.gateway import ROOT, Gateway, Key

EXAMPLES = ROOT / "examples"
PACKAGE = ("package.json", "package-lock.json", "tsconfig.json")


def ran(*command: str, key: Key, where: Path = EXAMPLES, given: str = "") -> str:
    """What a program says that knows the platform by its environment alone."""
    environment = {**os.environ, "SKILLGATE_URL": key.gateway.url, "SKILLGATE_KEY": key.secret}
    done = subprocess.run(
        command, cwd=where, env=environment, input=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_curl_example_sums_up_whatever_it_is_given(key: Key) -> None:
    said = ran("sh", "summarize.sh", key=key, given='He said "no\\way".\nThen\tnothing.\n')

    assert json.loads(said)["skill"] == "summarize"
    assert json.loads(said)["output"]
    key.assert_books_agree()
    assert len(key.events()) == 1


def test_the_sdk_example_asks_streams_and_is_refused(key: Key) -> None:
    said = ran(sys.executable, "python_sdk.py", key=key)

    assert "claude-sonnet-5" in said
    assert "tokens read" in said
    assert "refused as it should be: 404 not_found_error" in said
    assert [event["state"] for event in key.events()] == ["settled", "settled"]


def test_the_http_example_runs_and_streams(key: Key) -> None:
    said = ran(sys.executable, "python_httpx.py", key=key)

    assert "'label': 'novel'" in said
    assert len(said.splitlines()) == 2
    assert said.splitlines()[1]
    assert len(key.events()) == 2
    key.assert_books_agree()


def test_the_mcp_example_lists_and_calls(key: Key) -> None:
    said = ran(sys.executable, "mcp_client.py", key=key)

    assert "summarize: " in said
    assert "characters written" in said
    key.assert_books_agree()


@pytest.fixture(scope="session")
def typescript() -> Path:
    """The TypeScript example with its packages, installed once as its lock file says."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not on the PATH.")
    where = ROOT / ".local" / "node" / "typescript"
    where.mkdir(parents=True, exist_ok=True)
    lock = (EXAMPLES / "typescript" / "package-lock.json").read_text()
    installed = where / "installed"
    if not installed.exists() or installed.read_text() != lock:
        for name in PACKAGE:
            shutil.copy(EXAMPLES / "typescript" / name, where / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        installed.write_text(lock)
    return where


def test_the_typescript_example_compiles_and_runs(typescript: Path, key: Key) -> None:
    shutil.copy(EXAMPLES / "typescript" / "tsconfig.json", typescript)
    shutil.copy(EXAMPLES / "typescript" / "index.ts", typescript)

    said = ran("npm", "start", "--silent", key=key, where=typescript)

    assert "tokens read" in said
    assert "stopped by end_turn" in said
    assert "refused as it should be: 404" in said
    assert len(key.events()) == 2
    key.assert_books_agree()


def test_the_typescript_sdk_makes_every_round_trip(typescript: Path, key: Key) -> None:
    shutil.copy(Path(__file__).with_name("round_trips.mjs"), typescript)

    said = json.loads(ran("node", "round_trips.mjs", key=key, where=typescript))

    assert said == {
        "create": "text",
        "stream": ["message_start", "message_stop"],
        "tool": {"city": "Bern"},
        "toolAnswer": "end_turn",
        "thinking": ["thinking", "text"],
        "cited": "Rivers",
        "parsed": "string",
        "counted": True,
        "models": True,
        "errors": {
            "http_400": ["BadRequestError", 400, "invalid_request_error"],
            "http_429": ["RateLimitError", 429, "rate_limit_error"],
            "http_500": ["InternalServerError", 502, "api_error"],
            "http_529": ["OverloadedError", 529, "overloaded_error"],
            "unauthorized": ["AuthenticationError", 401, "authentication_error"],
            "midstream": ["APIError", None, "overloaded_error"],
        },
    }
    assert {event["entry_point"] for event in key.events()} == {"messages"}


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((EXAMPLES / "typescript" / "package-lock.json").read_text())

    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def _filled(value: str, known: dict[str, str]) -> str:
    """Does what n8n does: a value that begins with `=` has its {{ expressions }} filled in."""
    if not value.startswith("="):
        return value
    return re.sub(r"\{\{ (.+?) \}\}", lambda found: known[found[1]], value[1:])


def test_the_n8n_node_sends_a_request_that_is_answered(key: Key) -> None:
    workflow = json.loads((EXAMPLES / "n8n_http_node.json").read_text())
    node = next(one for one in workflow["nodes"] if one["type"] == "n8n-nodes-base.httpRequest")
    asked: dict[str, Any] = node["parameters"]
    known = {"$env.SKILLGATE_URL": key.gateway.url, "$env.SKILLGATE_KEY": key.secret, "$execution.id": "7"}
    headers = {one["name"]: _filled(one["value"], known) for one in asked["headerParameters"]["parameters"]}

    answers = [
        httpx2.request(
            asked["method"], _filled(asked["url"], known), headers=headers, json=json.loads(asked["jsonBody"])
        )
        for _ in range(node["maxTries"])
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    key.assert_books_agree()
    assert len(key.events()) == 1
    targets = [link["node"] for links in workflow["connections"]["Start"]["main"] for link in links]
    assert targets == [node["name"]]


# --- /llms.txt -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def page(gateway: Gateway) -> str:
    answer = httpx2.get(f"{gateway.url}/llms.txt")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.text


def test_every_endpoint_it_names_exists(page: str, key: Key) -> None:
    endpoints = re.findall(r"^- `([A-Z]+) (/\S+)`", page, re.MULTILINE)

    assert len(endpoints) >= 10
    for method, path in endpoints:
        url = key.gateway.url + path.replace("{name}", "summarize")
        answer = httpx2.request(method, url, headers=key.headers)
        assert answer.status_code not in (404, 405, 500), (method, path)


def test_it_lists_the_built_in_skills_as_the_api_does(page: str, key: Key) -> None:
    skills = httpx2.get(f"{key.gateway.url}/v1/skills", headers=key.headers).json()["data"]

    for skill in skills:
        assert f"- `{skill['name']}`: {skill['description']}" in page


def test_its_curl_example_runs(page: str, key: Key) -> None:
    found = re.search(r"```sh\n(.+?)\n```", page, re.DOTALL)
    assert found
    command = re.sub(r"http://127\.0\.0\.1:8000", key.gateway.url, found[1])

    assert json.loads(ran("sh", "-c", command.replace("curl", "curl -s", 1), key=key))["type"] == "run"


def test_its_errors_and_limits_are_those_of_the_platform(page: str, key: Key) -> None:
    too_large = httpx2.post(
        f"{key.gateway.url}/v1/skills/chat",
        content=b"x" * (4 * 1024 * 1024 + 1),
        headers={**key.headers, "Content-Type": "application/json"},
    )

    assert "- 402 `billing_error`: " in page
    assert "- 529 `overloaded_error`: " in page
    assert "Bodies may have 4 MB" in page
    assert too_large.status_code == 413
    assert "{{" not in page.replace("{{name}}", "")
    assert "{%" not in page
