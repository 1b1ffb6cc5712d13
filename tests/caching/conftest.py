"""A skill of the test's own tenant whose answers are kept."""

import pytest

from tests.caching.asking import Asked, publish


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Asked:
    """The skill `echo`, whose answers are kept for a minute, and the server we ship to ask it on."""
    asked = Asked(request.getfixturevalue("live"))
    publish(asked.live, policy={"cache": {"ttl_seconds": 60}})
    return asked
