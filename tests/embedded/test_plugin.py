"""The pytest plugin of `make test`, as a parallel run uses it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from embedded import waiting

ROOT = Path(__file__).resolve().parents[2]
SLEEPERS = """
import os, pathlib, time
import pytest

@pytest.mark.parametrize("number", [0, 1])
def test_sleep(number):
    names = ("REDIS_URL", "CELERY_BROKER_URL", "SKILLGATE_EMULATOR_URL", "DATABASE_URL")
    pathlib.Path(__file__).with_name(f"told-{number}").write_text("\\n".join(os.environ[name] for name in names))
    time.sleep(120)
"""


def test_each_worker_has_its_own_and_a_kill_9_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_sleepers.py").write_text(SLEEPERS)
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    options = ["-p", "tests.services", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", "2", "-c", "pyproject.toml"]
    argv = [sys.executable, "-m", "pytest", *options, f"--rootdir={ROOT}", str(tmp_path / "test_sleepers.py")]
    output = (tmp_path / "output").open("wb")
    for name in [name for name in env if name.startswith(("PYTEST_", "CELERY_", "SKILLGATE_WARDEN"))]:
        del env[name]

    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=output, stderr=output) as run:
        told = [tmp_path / "told-0", tmp_path / "told-1"]
        waiting.until(lambda: all(path.exists() for path in told) or run.poll() is not None, seconds=60)
        family = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    output.close()

    first, second = sorted(path.read_text().split("\n") for path in told)
    assert first[0].endswith("?db=4")
    assert first[1].endswith("?virtual_host=5")
    assert second[0].endswith("?db=6")
    assert second[1].endswith("?virtual_host=7")
    assert first[2] != second[2]
    assert first[3] == second[3]
    home = Path(first[0].removeprefix("unix://")).parent.parent
    assert waiting.until(lambda: not any(process.is_running() for process in family), seconds=20), family
    assert waiting.until(lambda: not home.exists(), seconds=10)
