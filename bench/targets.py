"""What is called and where: the targets of `bench.calls` and the servers they are on."""

import sys
from dataclasses import dataclass, field
from typing import Any

MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Say a word."}]}
RUN = {"input": {"prompt": "Say a word."}, "max_tokens": 20}


@dataclass(frozen=True, slots=True)
class Target:
    """What is called, and with what."""

    name: str
    path: str
    body: dict[str, Any]
    key: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """Where targets are: a server that is started for its turn, or without `argv` the emulator, which always runs."""

    targets: list[Target]
    argv: list[str] = field(default_factory=list)
    ready: str = ""
    env: dict[str, str] = field(default_factory=dict)
    program: str = sys.executable
