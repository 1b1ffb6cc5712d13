"""Small programs in the place of the emulator, the web server and the worker: `python standins.py ROLE PORT`, and of the web
server `FD`.

`python standins.py run ROOT` is `make run` of a checkout in ROOT with these in its table.
"""

import json
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg

PREPARED = {
    "tenant": "demo",
    "api_key": "sk-demo",
    "admin_user": "admin",
    "admin_password": "secret",
    "bob_password": "other",
}


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(
            json.dumps({name: os.environ.get(name) for name in ("REDIS_URL", "ANTHROPIC_BASE_URL")}).encode()
        )


def prepare(_: str) -> None:
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO starts DEFAULT VALUES")
        starts = connection.execute("SELECT count(*) FROM starts").fetchone()
    sys.stdout.write("Some words first.\n" + json.dumps({**PREPARED, "starts": starts[0] if starts else 0}) + "\n")


def emulator(port: str) -> None:
    server = HTTPServer(("127.0.0.1", int(port)), Ready)
    sys.stdout.write(f"listening on http://127.0.0.1:{server.server_port}\n")
    server.serve_forever()


def web(fd: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(fd))
    server.serve_forever()


def worker(_: str) -> None:
    """Like Celery's prefork pool: a parent and a child, of which the child would outlive it; another has its own session."""
    for own_session in (False, True):
        subprocess.Popen([sys.executable, __file__, "idle", "0"], start_new_session=own_session)
    time.sleep(600)


def idle(_: str) -> None:
    time.sleep(600)


def broken(_: str) -> None:
    sys.stdout.write("I cannot work like this.\n")
    sys.exit(3)


def run(root: str) -> None:
    from embedded import postgres, roles, supervisor
    from embedded.run import run as run_checkout

    postgres.SETTINGS.update(postgres.FAST_SETTINGS)
    supervisor.FIRST_DELAY_SECONDS = 0.1  # Five restarts are to be quick.

    def argv(role: str, *, given: str = "{port}") -> tuple[str, ...]:
        return ("{python}", __file__, role, given)

    background = {"worker": argv(os.environ.get("WORKER", "worker"))}
    table = roles.Table(
        emulator=argv("emulator"), prepare=argv("prepare"), web=argv("web", given="{fd}"), background=background
    )
    parent = os.getppid() if os.environ.get("WITH_PARENT") else None
    sys.exit(run_checkout(Path(root), table=table, parent=parent))


if __name__ == "__main__":
    roles_by_name = {f.__name__: f for f in (prepare, emulator, web, worker, idle, broken, run)}
    roles_by_name[sys.argv[1]](sys.argv[2])
