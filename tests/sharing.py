"""Which files of a parallel run go to the same worker, so that what they share is started once."""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
# These start what nobody else uses.
_ALONE = ("tests/failure/test_kill.py", "tests/analyses/test_mayhem.py")
_FOLDERS = {
    "tests/failure/": "stack",
    "tests/analyses/batches/": "crew of batches",
    "tests/analyses/": "crew",
    "tests/api/": "gateway",
    "tests/entry_points/": "gateway",
}
_GATEWAY = "from tests.skills.gateway import"
# The longest first, then what mostly waits: neither is to end the run alone.
_FIRST = ("gateway", "stack", "crew", "tests/failure/test_kill.py", "crew of batches", "tests/analyses/test_mayhem.py")
_EARLY = (
    "tests/embedded/",
    "tests/caching/",
    "tests/console/test_browser",
    "tests/operations/",
    "tests/skills/test_stream",
    "tests/skills/test_idempotency.py",
    "tests/usage/test_races.py",
)


class Sharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist's is untyped
    """Work goes out group by group."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Name a test's group: those that share what starts slowly, or else its file."""
    return _of_file(nodeid.partition("::")[0])


def rank(nodeid: str) -> int:
    """Tell how early a test is to be given out."""
    name = group(nodeid)
    return _FIRST.index(name) if name in _FIRST else len(_FIRST) + (not name.startswith(_EARLY))


@cache
def _of_file(name: str) -> str:
    if name in _ALONE:
        return name
    for folder, shared in _FOLDERS.items():
        if name.startswith(folder):
            return shared
    return "gateway" if _GATEWAY in (ROOT / name).read_text() else name
