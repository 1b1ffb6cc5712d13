"""Where data, sockets and logs live, and as whom PostgreSQL runs. Only the standard library: `make clean` uses it bare.

Everything is under the checkout's `.local/`, except what cannot be there:
- sockets, when the path is too long for one (about 100 bytes) or has characters that URLs would mangle;
- data, when root runs us (PostgreSQL refuses root, so another user must be able to walk to it) from a private folder.
Those go to a folder that only its owner may write, named by a hash of the checkout's path.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

# sun_path holds 104 bytes on macOS, 108 on Linux, with the closing NUL.
LONGEST_SOCKET_PATH = 102
_LONGEST_NAME_BELOW = len("/pg/.s.PGSQL.5432.lock")
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


class PlaceError(Exception):
    """A folder cannot be used; the message says which, why, and what to do."""


class As(TypedDict, total=False):
    """The arguments of Popen that drop to another user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that root runs PostgreSQL as."""

    uid: int
    gid: int


def as_user(account: Account | None) -> As:
    """Return the arguments of Popen that drop to the account, or none to stay who we are."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Places:
    """Every folder that one checkout, or one test run, uses."""

    home: Path
    data: Path
    sockets: Path
    account: Account | None

    @property
    def logs(self) -> Path:
        """Name the folder of the logs."""
        return self.home / "log"


def of_checkout(root: Path) -> Places:
    """Lay out the folders of a checkout, creating those that are missing."""
    root = root.resolve()
    home = root / ".local"
    _create(home)
    account = _account(home / "pg")
    data = home if account is None or is_reachable(home) else _private(_name(root, in_folder=_lasting_folder()))
    return Places(home=home, data=data, sockets=_sockets(home / "run", root=root, account=account), account=account)


def temporary() -> Places:
    """Lay out a new temporary folder for one test run; the caller removes it."""
    for folder in _temporary_folders():
        home = Path(tempfile.mkdtemp(prefix="skillgate-", dir=folder))
        account = _account(home / "pg")
        if account is not None:
            home.chmod(0o711)  # Ours, new and empty: the unprivileged user must be able to walk through.
        if account is None or is_reachable(home):
            return Places(
                home=home, data=home, sockets=_sockets(home / "run", root=home, account=account), account=account
            )
        home.rmdir()
    raise PlaceError("No temporary folder can be reached by an unprivileged user; set TMPDIR to one that can.")


def outside(root: Path) -> list[Path]:
    """Name the folders outside the checkout that it may have used, for `make clean`."""
    folders = {*_temporary_folders(), _lasting_folder()}
    names = (_name(root.resolve(), in_folder=folder) for folder in folders)
    return sorted(
        name for name in names if name.is_dir() and not name.is_symlink() and name.stat().st_uid == os.geteuid()
    )


def is_reachable(path: Path) -> bool:
    """Tell whether any user may walk to the folder and into it."""
    path = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def own(path: Path, account: Account | None) -> Path:
    """Create a folder that only PostgreSQL's user may enter."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
        if account is not None:
            os.chown(path, account.uid, account.gid)
    return path


def _account(data: Path) -> Account | None:
    """Root gives way to whoever owns the data already, else to nobody; an ordinary user stays."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise PlaceError("PostgreSQL refuses to run as root, and there is no user `nobody` to run it as.") from error
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _create(folder: Path) -> None:
    try:
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "it belongs to another user")
    except OSError as error:
        raise PlaceError(f"{folder} cannot be used: {error.strerror}. Remove it or run as its owner.") from error


def _sockets(preferred: Path, *, root: Path, account: Account | None) -> Path:
    for folder in (preferred, *(_name(root, in_folder=folder) for folder in _temporary_folders())):
        fits = len(os.fsencode(folder)) + _LONGEST_NAME_BELOW <= LONGEST_SOCKET_PATH
        if fits and _PLAIN.fullmatch(str(folder)) and (account is None or is_reachable(folder.parent)):
            return _private(folder)
    raise PlaceError("No folder has a path short enough for a Unix socket; set TMPDIR to a short one.")


def _private(folder: Path) -> Path:
    """Create, or recognise as ours, a folder that nobody else can write; a planted one or a link is refused."""
    # Root's is walked through by PostgreSQL's user; what is inside is closed on its own.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        folder.mkdir(mode=mode)
        folder.chmod(mode)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PlaceError(f"{folder} is not a folder that only you can write: remove it.") from None
    return folder


def _name(root: Path, *, in_folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return in_folder / f"skillgate-{os.geteuid()}-{digest}"


def _temporary_folders() -> list[Path]:
    usual = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - only a private folder in it.
    return [folder.resolve() for folder in dict.fromkeys(usual) if folder.is_dir()]


def _lasting_folder() -> Path:
    lasting = Path("/var/tmp")  # noqa: S108 - only a private folder in it, and it must survive a reboot.
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir()).resolve()
