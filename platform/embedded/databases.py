"""Making sure that the database of a DATABASE_URL exists, and the broker's address beside a REDIS_URL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import psycopg
from psycopg import sql

from embedded.child import StartError
from embedded.valkey import BROKER

if TYPE_CHECKING:
    from urllib.parse import SplitResult


def create_if_absent(url: str) -> None:
    """Create the URL's database if the server has none of that name; raises StartError."""
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    target, maintenance = (
        parts._replace(scheme="postgresql", path=path).geturl() for path in (parts.path, "/postgres")
    )
    try:
        _connect(target).close()
    except psycopg.OperationalError as error:
        try:
            _create(name, at=maintenance)
        except psycopg.Error:
            raise StartError(f"The database of DATABASE_URL cannot be used: {error}") from error


def redis_url(url: str, *, database: int) -> str:
    """Return the URL of another numbered database on the same Redis."""
    parts = urlsplit(url)
    query = _query(parts)
    if parts.scheme == "unix":
        return f"unix://{parts.netloc}{parts.path}?{urlencode({**query, 'db': database})}"
    return parts._replace(path=f"/{database}", query=urlencode(query)).geturl()


def broker_url(url: str, *, database: int | None = None) -> str:
    """Derive Celery's broker URL from a REDIS_URL: the same Redis, a database of its own."""
    parts = urlsplit(url)
    if database is None:
        used = parse_qs(parts.query).get("db", [parts.path.strip("/")])[-1]
        database = BROKER if used != str(BROKER) else BROKER + 1
    if parts.scheme != "unix":
        return redis_url(url, database=database)
    return f"redis+socket://{parts.path}?{urlencode({'virtual_host': database, **_query(parts)})}"


def _query(parts: SplitResult) -> dict[str, str]:
    """What the URL says besides its database number, which is in either place."""
    return {name: values[-1] for name, values in parse_qs(parts.query).items() if name != "db"}


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def _create(name: str, *, at: str) -> None:
    with _connect(at) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
