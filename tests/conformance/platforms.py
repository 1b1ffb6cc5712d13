"""A whole platform with a key for it, for suites that are not pytest's."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.temporary import Temporary
from tests.skills.gateway import ROOT, Key, running


@contextmanager
def a_key() -> Iterator[Key]:
    """Start databases, emulator and server, and give a key that is allowed everything."""
    with tempfile.TemporaryDirectory() as folder, Temporary(ROOT) as temporary:
        temporary.start_databases()
        temporary.start_emulator()
        os.environ.update(temporary.env)
        with running(Path(folder) / "log") as gateway:
            yield gateway.key()
