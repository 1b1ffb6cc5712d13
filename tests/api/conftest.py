"""The API is tried from outside, over a real socket."""

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.skills.gateway import Gateway, Key


@dataclass(frozen=True)
class Answered:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    raw: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        assert self.json["type"] == "error"
        found: dict[str, Any] = self.json["error"]
        return found


Send = Callable[..., Answered]


@pytest.fixture
def send(gateway: Gateway, key: Key) -> Send:
    """Sends exactly these bytes and headers; the test's key unless told otherwise."""
    address = urlsplit(gateway.url)

    def send(
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        *,
        method: str | None = None,
        headers: dict[str, str | None] | None = None,
    ) -> Answered:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        wanted = {"Content-Type": "application/json", **key.headers, **(headers or {})}
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
        began = time.monotonic()
        try:
            connection.request(
                method or ("GET" if body is None else "POST"),
                path,
                body=content,
                headers={name: value for name, value in wanted.items() if value is not None},
            )
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Answered(response.status, lowered, raw, time.monotonic() - began)

    return send
