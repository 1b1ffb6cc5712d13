"""What every test can count on."""

from collections.abc import Iterator

import pytest

from skills import catalog
from usage import pricing


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """This function will make each test read labels and prices anew: the database of the test before is gone."""
    yield
    catalog.forget()
    pricing.forget()
