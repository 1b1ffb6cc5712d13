"""`make run`: from a bare checkout to a platform that answers, and back to nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING

from environ import Env

from embedded import databases, lock, places, ports, report, roles
from embedded.child import Child, StartError
from embedded.postgres import Postgres
from embedded.stopping import Stop, StopRequested
from embedded.supervisor import Supervisor
from embedded.valkey import Valkey
from embedded.warden import Warden

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

READY_SECONDS = 120.0
PREPARE_SECONDS = 300.0


def run(root: Path, *, table: roles.Table | None = None, parent: int | None = None) -> int:
    """Run Skillgate until it is told to stop, and return the exit code.

    With `parent` it stops when that process, the one that started it, ends.
    """
    voice = report.Voice()
    root = root.resolve()
    Env.read_env(root / ".env", overwrite=False)
    try:
        with (
            Stop(parent=parent) as stop,
            _supervised(root, stop=stop, voice=voice) as (supervisor, setting, where),
            ports.hold(
                setting.env.get("PORT")
            ) as listener,  # let go of first, so that the web server has the last hold
        ):
            Run(supervisor, setting, where=where, voice=voice, table=table or roles.Table()).start(listener)
            supervisor.watch()
    except StopRequested:
        voice.say("Stopped.")
    except (StartError, places.PlaceError, lock.LockedError) as error:
        voice.say(f"\n{error}")
        return 1
    return 0


@contextlib.contextmanager
def _supervised(
    root: Path, *, stop: Stop, voice: report.Voice
) -> Iterator[tuple[Supervisor, roles.Setting, places.Places]]:
    where = places.of_checkout(root)
    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    with lock.hold(where.home / "lock"), Warden(mark) as warden:
        warden.sweep()  # What an earlier run left, had its warden been killed with it.
        env = roles.environment(os.environ, root=root)
        setting = roles.Setting(root=root, home=where.home, warden=warden, env=env)
        with Supervisor(warden=warden, pulse=stop.check, say=voice.say) as supervisor:
            report.retire(where.home)
            try:
                yield supervisor, setting, where
            finally:
                report.retire(where.home)
                voice.say("\nStopping ...")


class Run:
    """One start, step by step; each step tells the environment what the next needs to know."""

    def __init__(
        self,
        supervisor: Supervisor,
        setting: roles.Setting,
        *,
        where: places.Places,
        voice: report.Voice,
        table: roles.Table,
    ) -> None:
        self.supervisor = supervisor
        self.setting = setting
        self.env = setting.env
        self.where = where
        self.voice = voice
        self.table = table
        self.emulator: roles.Emulator | None = None

    def start(self, listener: socket.socket) -> None:
        """Start everything, the web server on a socket that listens, and say how to use it; raises StartError."""
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.env.setdefault("SKILLGATE_BASE_URL", base_url)
        self._start_servers()
        credentials = self._prepare()
        self._start_roles(listener)
        demo = report.Demo(
            base_url=base_url,
            api_key=credentials["api_key"],
            admin_url=f"{base_url}/admin/",
            admin_user=credentials["admin_user"],
            admin_password=credentials["admin_password"],
            emulator_url=self.emulator.url if self.emulator else None,
            others={name: value for name, value in credentials.items() if name not in report.OWN},
        )
        request_file = self.where.home / "request.json"
        report.write_request(request_file, document=self.setting.root / "examples" / "alice.txt")
        demo.write(self.where.home / report.DEMO)
        self.voice.welcome(demo, request=request_file)

    def _start_servers(self) -> None:
        servers: list[Child] = []
        if "DATABASE_URL" not in self.env:
            servers.append(postgres := Postgres(self.where, warden=self.setting.warden))
            self.env["DATABASE_URL"] = postgres.url()
        if "REDIS_URL" not in self.env:
            servers.append(valkey := Valkey(self.where, warden=self.setting.warden))
            self.env["REDIS_URL"] = valkey.url()
        self.env.setdefault("CELERY_BROKER_URL", databases.broker_url(self.env["REDIS_URL"]))
        if not self.env.get("ANTHROPIC_API_KEY"):
            self.emulator = self.setting.emulator(self.table.emulator)
            servers.append(self.emulator)
        with self.voice.step(
            f"Starting {', '.join(server.name for server in servers)}" if servers else "Looking around"
        ):
            self.supervisor.launch(*servers)
            self.supervisor.wait_ready()
            databases.create_if_absent(self.env["DATABASE_URL"])
        if self.emulator is not None:
            self.env.update(self.emulator.environment())

    def _prepare(self) -> dict[str, str]:
        with self.voice.step("Preparing the database, the skills and a demo tenant"):
            prepare = self.setting.child("prepare", self.table.prepare)
            said = self.supervisor.run(prepare, seconds=PREPARE_SECONDS)
        written = said.rstrip().rpartition("\n")[2]
        try:
            credentials: dict[str, str] = json.loads(written)
            return {name: credentials[name] for name in ("api_key", "admin_user", "admin_password")} | credentials
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(
                f"prepare did not write the demo's credentials as its last line: {written[:200]}"
            ) from error

    def _start_roles(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        names = ["web", *self.table.background]
        with self.voice.step(f"Starting {', '.join(names)}"):
            self.supervisor.launch(self.setting.web(self.table.web, listener=listener))
            if not self.supervisor.wait(lambda: roles.answers_ready(port)[0], seconds=READY_SECONDS):
                said = roles.answers_ready(port)[1]
                raise StartError(f"Not ready after {READY_SECONDS:.0f} s: {said}\nLogs: {self.where.logs}")
            # After it, so that calls are answered seconds sooner on a small machine: their work waits in the database.
            self.supervisor.launch(*(self.setting.child(name, argv) for name, argv in self.table.background.items()))
