"""What tests do with a PostgreSQL server as such."""

from urllib.parse import unquote, urlsplit

import psycopg


def conninfo(dsn: str) -> str:
    """Put a URL into psycopg's words; a socket's folder may stand in it percent-encoded."""
    parts = urlsplit(dsn)
    values = {
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": parts.path.lstrip("/"),
    }
    return psycopg.conninfo.make_conninfo(**{name: value for name, value in values.items() if value})


def on_the_server(dsn: str, statement: str) -> None:
    """Run a statement beside all databases of a test: the one a URL names need not exist yet."""
    with psycopg.connect(conninfo(urlsplit(dsn)._replace(path="/postgres").geturl()), autocommit=True) as connection:
        connection.execute(statement.encode())
