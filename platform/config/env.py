"""Typed reading of environment variables, and what each falls back to in development."""

from pathlib import Path

import environ

ROOT = Path(__file__).resolve().parents[2]

env = environ.Env()
environ.Env.read_env(ROOT / ".env", overwrite=False)

IS_DEVELOPMENT: bool = env.bool("SKILLGATE_DEBUG", default=False)


def secret(name: str, *, development: str) -> str:
    """Read a secret; without one production gets "" and a system check that names it."""
    return str(env.str(name, default=development if IS_DEVELOPMENT else ""))
