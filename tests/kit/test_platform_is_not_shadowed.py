"""`platform/` is a source root: it must never hide the standard library's module of the same name."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_fresh_process_finds_the_standard_librarys_platform() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}"}
    code = "import platform, kit; print(platform.__file__); print(platform.python_version())"

    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    origin, version = result.stdout.split()
    assert ROOT not in Path(origin).parents
    assert version == ".".join(map(str, sys.version_info[:3]))


def test_the_folder_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
