"""`make clean`: remove what running left in the checkout and, by name, outside it. Only the standard library."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from embedded import lock, places


def clean(root: Path) -> int:
    """Remove `.local`, `.venv` and the folders outside, unless Skillgate runs; returns the exit code."""
    home = root / ".local"
    try:
        if home.exists():
            with lock.hold(home / "lock"):
                _remove(home, *places.outside(root))
        _remove(root / ".venv")
    except (lock.LockedError, OSError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            sys.stdout.write(f"Removing {folder}\n")
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(clean(Path(__file__).resolve().parents[2]))
