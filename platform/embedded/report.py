"""What the person at the terminal sees, and the same for scripts in `.local/demo.json`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEMO = "demo.json"
PREVIOUS = "demo.previous.json"
_SENTENCE = "Skillgate turns Claude into named, versioned, typed skills behind one API, metered to the token."


OWN = frozenset({"tenant", "api_key", "admin_user", "admin_password"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """How to reach what runs."""

    base_url: str
    api_key: str
    admin_url: str
    admin_user: str
    admin_password: str
    emulator_url: str | None
    others: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it as flat JSON, all at once, for its owner's eyes only."""
        told = asdict(self)
        _write(path, json.dumps({**told.pop("others"), **told}, indent=2) + "\n")


def retire(home: Path) -> None:
    """Set the demo's file aside: it is there only while it is true.

    What is set aside has the key, of which the database keeps no more than a hash, for the next start to use again.
    """
    with contextlib.suppress(FileNotFoundError):
        (home / DEMO).replace(home / PREVIOUS)


def write_request(path: Path, *, document: Path) -> None:
    """Write a request body that asks for a summary of the document."""
    text = document.read_text(encoding="utf-8") if document.exists() else _SENTENCE
    _write(path, json.dumps({"input": {"text": text, "max_words": 120}}) + "\n")


def curl(demo: Demo, *, request: Path) -> str:
    """Return a command that works when pasted, wherever the terminal is."""
    return (
        f"curl -sS {demo.base_url}/v1/skills/summarize \\\n"
        f"  -H 'Authorization: Bearer {demo.api_key}' -H 'Content-Type: application/json' \\\n"
        f"  --data-binary @{shlex.quote(str(request))}"
    )


class Voice:
    """Speaks at the terminal: a spinner where there is one, plain lines where there is none."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print the text as it is."""
        self._console.print(text)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show that something is under way, and then how long it took."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(text):
                yield
        else:
            self.say(f"{text} ...")
            yield
        self.say(f"{text}: {time.monotonic() - started:.1f} s")

    def welcome(self, demo: Demo, *, request: Path) -> None:
        """Print how to use what now runs."""
        claude = (
            f"the emulator at {demo.emulator_url} (no ANTHROPIC_API_KEY is set: no answer comes from the real Claude)"
            if demo.emulator_url
            else "the real API (ANTHROPIC_API_KEY is set: calls cost money)"
        )
        self.say(
            f"\nSkillgate is ready.\n\n"
            f"  API       {demo.base_url}/v1/   docs: {demo.base_url}/docs\n"
            f"  Admin     {demo.admin_url}   user: {demo.admin_user}   password: {demo.admin_password}\n"
            f"{self._operator(demo)}"
            f"  API key   {demo.api_key}\n"
            f"  Claude    {claude}\n"
            f"\nTry it:\n\n{curl(demo, request=request)}\n\nCtrl-C stops everything."
        )

    def _operator(self, demo: Demo) -> str:
        user, password = demo.others.get("operator_user"), demo.others.get("operator_password")
        return f"  Operators {demo.base_url}/ops/   user: {user}   password: {password}\n" if user else ""


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    beside.rename(path)
