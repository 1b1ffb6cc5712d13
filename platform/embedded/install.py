"""Make `.venv` hold exactly what the requirement files ask for. Run by the system's Python, standard library only.

`python -I platform/embedded/install.py requirements-dev.txt`. When nothing has changed it ends at once.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
NO_VENV = """\
Python {version} at {executable} cannot make a virtual environment with pip in it:
{reason}
On Debian and Ubuntu: apt-get install python3-venv. Or name another Python: make {goal} PYTHON3=/path/to/python3.11"""


class InstallError(Exception):
    """The installation failed; the message says how and what to do."""


def main() -> int:
    """Install what is missing and return the exit code."""
    if sys.version_info < OLDEST:
        _say(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; {sys.executable} is {sys.version.split()[0]}.")
        return 1
    wanted = sys.argv[1]
    try:
        if not _is_current(wanted):
            _install(wanted)
    except InstallError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _is_current(wanted: str) -> bool:
    # The development requirements include the others.
    return any(_stamp(name).exists() for name in {wanted, "requirements-dev.txt"}) and PYTHON.exists()


def _stamp(wanted: str) -> Path:
    """Name the proof that these very files were installed: their content, not their dates, decides."""
    content = b"".join((ROOT / name).read_bytes() for name in sorted({wanted, "requirements.txt", "constraints.txt"}))
    return VENV / f".stamp-{Path(wanted).stem}-{hashlib.sha256(content).hexdigest()[:16]}"


def _install(wanted: str) -> None:
    started = time.monotonic()
    if not _works():
        _say(f"Creating .venv with Python {sys.version.split()[0]} ...")
        _create()
    for stamp in VENV.glob(".stamp-*"):
        stamp.unlink()
    _say(f"Installing {wanted} into .venv (a minute or two the first time) ...")
    _pip(wanted)
    _stamp(wanted).touch()
    _say(f"Installed: {time.monotonic() - started:.0f} s")


def _works() -> bool:
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        return subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0  # noqa: S603 - ours.
    except OSError:
        return False


def _create() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(  # noqa: S603 - this very Python.
        [sys.executable, "-m", "venv", str(VENV)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0 or not _works():
        shutil.rmtree(VENV, ignore_errors=True)
        version = sys.version.split()[0]
        reason = made.stdout.strip()
        raise InstallError(NO_VENV.format(version=version, executable=sys.executable, reason=reason, goal="run"))


def _pip(wanted: str) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    with subprocess.Popen(  # noqa: S603 - the environment's own pip.
        [PYTHON, "-m", "pip", "install", *options, "-r", str(ROOT / wanted)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        lines = _follow(pip)
    if pip.returncode != 0:
        raise InstallError("".join(lines[-30:]) + "\npip could not install the requirements; see above.")


def _follow(pip: subprocess.Popen[str]) -> list[str]:
    """Show each package as pip comes to it: on one line at a terminal, one in twenty elsewhere."""
    lines: list[str] = []
    count = 0
    for line in pip.stdout or ():
        lines.append(line)
        if line.startswith("Collecting"):
            count += 1
            name = line.split()[1]
            if sys.stdout.isatty():
                sys.stdout.write(f"\r\033[K  {count}: {name}")
                sys.stdout.flush()
            elif count % 20 == 0:
                _say(f"  {count} packages, now {name}")
        elif line.startswith("Installing collected"):
            _say(f"{chr(13) if sys.stdout.isatty() else ''}  unpacking {count} packages ...")
    return lines


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
