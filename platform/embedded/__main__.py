"""The commands of `python -m embedded`; `make help` names the targets that call them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from embedded import console, run
from embedded.child import StartError
from embedded.places import PlaceError

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Do what the command line asks and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m embedded")
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="run Skillgate until Ctrl-C")
    running.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    verbs.add_parser("psql", help="open psql on the checkout's database")
    managing = verbs.add_parser("manage", help="run one of manage.py's commands on the checkout's databases")
    managing.add_argument("command", nargs=argparse.REMAINDER)
    executing = verbs.add_parser("exec", help="run a command with a new PostgreSQL and Valkey of its own")
    executing.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.verb == "run":
        return run.run(ROOT, parent=os.getppid() if arguments.with_parent else None)
    try:
        if arguments.verb == "psql":
            return console.psql(ROOT)
        command = arguments.command
        if arguments.verb == "manage":
            return console.manage(ROOT, command[1:] if command[:1] == ["--"] else command)
        return console.execute(ROOT, command[1:] if command[:1] == ["--"] else command)
    except (StartError, PlaceError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
