"""The peers that are measured beside the platform: installed on first use, and where each is to be called.

They keep no accounts: what they do is to take a call, pass it on and give back its answer.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.serving import ROOT, Bench
from bench.targets import MESSAGES, Site, Target

PEERS = ROOT / ".local" / "peers"
_WANTED = ROOT / "bench" / "peers"


def sites(bench: Bench, folder: Path) -> Iterator[Site]:
    """Yield every peer, ready to be started; `folder` is for their configuration."""
    python = _python()
    yield _plain(bench, python)
    yield _litellm(bench, python, folder)
    yield _portkey(bench)


def _plain(bench: Bench, python: str) -> Site:
    argv = ["-m", "uvicorn", "plain:app", "--app-dir", "bench/peers", "--port", "{port}", "--no-access-log"]
    target = Target("FastAPI + SDK + slowapi", "/v1/messages", MESSAGES, "none")
    return Site([target], argv, "/docs", bench.env, python)


def _litellm(bench: Bench, python: str, folder: Path) -> Site:
    config = _litellm_config(folder, bench.emulator_port)
    argv = ["-m", "litellm.proxy.proxy_cli", "--config", config, "--port", "{port}", "--host", "127.0.0.1"]
    env = {name: value for name, value in bench.env.items() if name != "DATABASE_URL"}  # its own accounts stay off
    return Site([Target("LiteLLM", "/v1/messages", MESSAGES, "sk-bench")], argv, "/health/liveliness", env, python)


def _portkey(bench: Bench) -> Site:
    """Return Portkey's gateway, as it runs in production; who is called says each call itself."""
    routed = {
        "x-portkey-provider": "anthropic",
        "x-portkey-custom-host": f"http://127.0.0.1:{bench.emulator_port}/v1",
    }
    argv = [str(_gateway()), "--port={port}", "--headless"]
    target = Target("Portkey's gateway", "/v1/messages", MESSAGES, "emulator", headers=routed)
    return Site([target], argv, "/", {**bench.env, "NODE_ENV": "production"}, _node())


def _python() -> str:
    """Return the Python of the peers' environment, made on first use."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        requirements = str(_WANTED / "requirements.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", requirements], check=True, stdout=sys.stderr)
    return str(python)


def _gateway() -> Path:
    """Return Portkey's gateway, installed in the version that `package.json` names."""
    wanted = (_WANTED / "package.json").read_text()
    home = PEERS / "node"
    copy = home / "package.json"
    if not copy.exists() or copy.read_text() != wanted:
        home.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--prefix", str(home), "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
        subprocess.run(
            [*npm, *(f"{name}@{version}" for name, version in json.loads(wanted)["dependencies"].items())],
            check=True,
            stdout=sys.stderr,  # figures alone go to standard output
        )
        copy.write_text(wanted)
    return home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise SystemExit("Portkey's gateway needs node and npm, which are not installed here.")
    return node


def _litellm_config(folder: Path, emulator_port: int) -> str:
    """Write the configuration LiteLLM's proxy needs to reach the emulator, and return its path."""
    path = folder / "litellm.yaml"
    params = {
        "model": "anthropic/claude-haiku-4-5",
        "api_base": f"http://127.0.0.1:{emulator_port}",
        "api_key": "emulator",
    }
    models = [{"model_name": "claude-haiku-4-5", "litellm_params": params}]
    path.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": "sk-bench"}}))  # JSON is YAML
    return str(path)
