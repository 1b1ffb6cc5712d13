"""`python -m server`: runs an ASGI application until SIGTERM or SIGINT."""

import argparse
import importlib
import logging
import os
import resource
import sys
from typing import Any

from server import limits, reactor


def main() -> int:
    """Serve, and return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _allow_many_connections()
    reactor.install()
    from server import hardened  # noqa: PLC0415 - daphne may be imported only after the reactor is installed

    application = _load(options.app)  # before there is a port: who connects is answered at once
    try:
        listener = hardened.bind(options.host, options.port) if options.fd is None else hardened.adopt(options.fd)
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port}: {os.strerror(error.errno or 0)}\n")
        return 1
    address = listener.getsockname()
    server = hardened.HardenedServer(
        application,
        sockets=[listener],
        bounds=limits.from_environment(),
        is_sharing=options.fd is not None,
        action_logger=_log_access if options.access_log else None,
        ready_callable=lambda: _announce(address),
    )
    server.run()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 lets the system choose")
    parser.add_argument("--fd", type=int, help="a listening socket that is already open, instead of host and port")
    parser.add_argument("--app", default="config.asgi:application", help="module:attribute of the ASGI application")
    parser.add_argument("--access-log", action="store_true", help="write a line for each request to standard error")
    return parser.parse_args()


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute or "application")


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(address: Any) -> None:
    where = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else address
    sys.stderr.write(f"Listening on {where}\n")
    sys.stderr.flush()


def _log_access(_protocol: str, _action: str, details: dict[str, Any]) -> None:
    line = "{client} {method} {path} {status} {size} {time_taken:.3f}\n"
    sys.stderr.write(line.format(**details))


if __name__ == "__main__":
    sys.exit(main())
