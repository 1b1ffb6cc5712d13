"""Making sure that the database of a DATABASE_URL exists, and the broker's address beside a REDIS_URL."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import psycopg
from psycopg import sql

from embedded.child import StartError
from embedded.valkey import BROKER


def create_if_absent(url: str) -> None:
    """This function will create the URL's database if the server has none of that name; raises StartError."""
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


def broker_url(redis_url: str) -> str:
    """This function will derive Celery's broker URL: the same Redis, a database of its own."""
    parts = urlsplit(redis_url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    used = query.pop("db", "") or parts.path.strip("/")
    database = BROKER if used != str(BROKER) else BROKER + 1
    if parts.scheme != "unix":
        return parts._replace(path=f"/{database}", query=urlencode(query)).geturl()
    return f"redis+socket://{parts.path}?{urlencode({'virtual_host': database, **query})}"


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def _create(name: str, *, at: str) -> None:
    with _connect(at) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
