"""One migrated database, made once on a server, of which test databases and platforms of their own are copies."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.postgres import conninfo

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "deploy" / "postgres"
_LOCK = 0x74656D706C617465  # "template": one maker at a time, in all processes
_MADE_OF = ("*/migrations/*.py", "usage/sql/*.sql", "platform/console/walls.py", "requirements.txt")


def made() -> str:
    """Return its name on the server of DATABASE_URL; who asks first makes it, and others wait."""
    beside = urlsplit(os.environ["DATABASE_URL"])
    name, digest = f"migrated_{beside.path.lstrip('/')}"[:63], _digest()
    with psycopg.connect(conninfo(beside._replace(path="/postgres").geturl()), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        known = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
        if known != (digest,):
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
            _migrate(beside._replace(path=f"/{name}").geturl())
            connection.execute(f"COMMENT ON DATABASE \"{name}\" IS '{digest}'".encode())
    return name


def restore(url: str, *, programs: Path) -> None:
    """Fill an empty database of another server with it, by the scripts that operators use."""
    there = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DATABASE_URL": url}
    here = {**there, "DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{made()}").geturl()}
    with tempfile.TemporaryDirectory() as folder:
        dump = _done([str(SCRIPTS / "backup.sh"), folder], env=here).strip()
        _done([str(SCRIPTS / "restore.sh"), dump], env=there)


def _migrate(url: str) -> None:
    env = {**os.environ, "DATABASE_URL": url, "SKILLGATE_DEBUG": "1"}
    argv = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    _done(argv, env=env)


def _done(argv: list[str], *, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _digest() -> str:
    found = sorted(path for pattern in _MADE_OF for path in ROOT.glob(pattern))
    digest = hashlib.sha256()
    for path in found:
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()
