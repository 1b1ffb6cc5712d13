"""A backup of a database in use is restored elsewhere, and the ledger in it is true."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from embedded import binaries
from tests.live import ROOT, Live

SCRIPTS = ROOT / "deploy" / "postgres"
Completed = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binaries.postgres(data=tmp_path_factory.mktemp("programs"), account=None)


@pytest.fixture
def elsewhere(live_environment: dict[str, str]) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"restored_{uuid4().hex[:12]}"
    url = urlsplit(live_environment["DATABASE_URL"])
    with psycopg.connect(url._replace(scheme="postgresql", path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield url._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def run(script: str, argument: Path, *, url: str, programs: Path) -> Completed:
    env = {**os.environ, "DATABASE_URL": url, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run([str(SCRIPTS / script), str(argument)], env=env, capture_output=True, text=True, check=False)


def manage(*arguments: str, url: str) -> Completed:
    env = {**os.environ, "DATABASE_URL": url, "SKILLGATE_DEBUG": "1"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


def contents(url: str, tenant_id: int) -> dict[str, list[tuple[object, ...]]]:
    """Everything the ledger knows of a tenant."""
    with psycopg.connect(urlsplit(url)._replace(scheme="postgresql").geturl()) as connection:
        return {
            table: connection.execute(
                f"SELECT t.*::text FROM {table} t WHERE tenant_id = %s ORDER BY 1".encode(), (tenant_id,)
            ).fetchall()
            for table in ("usage_event", "usage_budgetaccount", "tenants_apikey", "tenants_budget")
        }


def test_a_backup_is_restored_with_every_event_and_the_ledger_is_true(
    live: Live, live_environment: dict[str, str], elsewhere: str, programs: Path, tmp_path: Path
) -> None:
    url = live_environment["DATABASE_URL"]
    for number in range(5):
        assert live.post("/v1/skills/summarize", {"input": {"text": f"Text {number}."}}).status_code == 200
    live.closed_events(5)
    before = contents(url, live.tenant.pk)

    backed_up = run("backup.sh", tmp_path, url=url, programs=programs)
    restored = run("restore.sh", Path(backed_up.stdout.strip()), url=elsewhere, programs=programs)
    migrated = manage("migrate", "--noinput", url=elsewhere)
    verified = manage("verify_ledger", url=elsewhere)

    assert backed_up.returncode == restored.returncode == migrated.returncode == 0, (
        backed_up.stderr + restored.stderr + migrated.stderr
    )
    assert "No migrations to apply" in migrated.stdout
    assert len(before["usage_event"]) == 5
    assert contents(elsewhere, live.tenant.pk) == before
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "The ledger is true." in verified.stdout
    assert [file.stat().st_mode & 0o077 for file in tmp_path.glob("*.dump")] == [0]


def test_a_restore_never_writes_over_a_database(
    live: Live, live_environment: dict[str, str], programs: Path, tmp_path: Path
) -> None:
    url = live_environment["DATABASE_URL"]
    before = contents(url, live.tenant.pk)

    refused = run("restore.sh", tmp_path / "any.dump", url=url, programs=programs)

    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert contents(url, live.tenant.pk) == before


def test_a_backup_that_fails_leaves_no_dump(programs: Path, tmp_path: Path, live_environment: dict[str, str]) -> None:
    nowhere = urlsplit(live_environment["DATABASE_URL"])._replace(path="/there_is_none").geturl()

    failed = run("backup.sh", tmp_path, url=nowhere, programs=programs)

    assert failed.returncode != 0
    assert list(tmp_path.glob("*.dump")) == []
