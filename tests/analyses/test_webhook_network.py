"""No webhook ever reaches our own network, whatever its URL is dressed up as."""

import asyncio
from collections.abc import Iterator

import pytest

from kit.errors import InvalidRequest
from skills.webhooks import sending
from tests.analyses.receiver import Receiver, receiving


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving("127.0.0.1") as made:
        yield made


HOSTILE = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0:{port}/",
    "http://localhost.:{port}/",
    "http://169.254.169.254/latest/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_no_message_reaches_our_own_network(url: str, receiver: Receiver) -> None:
    with pytest.raises(sending.Undelivered):
        asyncio.run(sending.post(url.format(port=receiver.server.server_port), body=b"{}", headers={}))

    assert receiver.messages == []
    with pytest.raises(InvalidRequest):
        sending.check_url(url.format(port=1), path="/url")
