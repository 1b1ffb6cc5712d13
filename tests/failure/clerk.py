"""An operator at work: a process that runs one management command after another, told as lines of JSON.

Starting Django anew for each of dozens of commands costs more than all that the commands do.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Clerk:
    """The process, as those who ask see it."""

    def __init__(self, env: Mapping[str, str], *, log: Path) -> None:
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.failure.clerk"],
            env={**env, "DJANGO_SETTINGS_MODULE": "config.settings"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def manage(self, *arguments: str) -> str:
        """Run a management command and return the last line that it wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        assert told["trouble"] is None, told["trouble"]
        return str(told["said"]).rstrip().rpartition("\n")[2]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()


def _work() -> None:
    """Run the commands; between two of them nothing stays open that another may break meanwhile."""
    import contextlib
    import io
    import traceback

    import django
    from django.core.management import call_command

    django.setup()
    from django.db import connections

    answers = sys.stdout
    for line in sys.stdin:
        said, trouble = io.StringIO(), None
        try:
            with contextlib.redirect_stdout(said):
                call_command(*json.loads(line), stdout=said)
        except Exception:  # noqa: BLE001 - whoever asked is told
            trouble = traceback.format_exc()
        connections.close_all()
        answers.write(json.dumps({"said": said.getvalue(), "trouble": trouble}) + "\n")
        answers.flush()


if __name__ == "__main__":
    _work()
