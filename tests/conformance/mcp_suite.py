"""`python -m tests.conformance.mcp_suite`: the official MCP conformance suite against `/mcp`.

It needs Node.js 22. An older one is enough to fetch that from npm.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conformance.platforms import a_key
from tests.skills.gateway import ROOT

HERE = Path(__file__).parent
WHERE = ROOT / ".local" / "node" / "conformance"
NEEDED = 22
NODE = (
    f"node@npm:node-{platform.system().lower()}-{'arm64' if platform.machine() in ('arm64', 'aarch64') else 'x64'}@22"
)


def main() -> int:
    """Run the suite and return 0 if nothing but what the baseline explains has failed."""
    if shutil.which("npm") is None:
        sys.stderr.write("The conformance suite needs Node.js with npm on the PATH.\n")
        return 2
    node = _installed()
    with a_key() as key:
        env = {**os.environ, "SKILLGATE_URL": key.gateway.url, "SKILLGATE_KEY": key.secret}
        proxy = subprocess.Popen([node, str(HERE / "proxy.mjs")], env=env, stdout=subprocess.PIPE, text=True)
        try:
            assert proxy.stdout is not None
            return _run(node, url=proxy.stdout.readline().strip())
        finally:
            proxy.kill()
            proxy.communicate()


def _run(node: str, *, url: str) -> int:
    suite = WHERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    baseline = str(HERE / "baseline.yml")
    command = [node, str(suite), "server", "--url", f"{url}/mcp", "--expected-failures", baseline]
    return subprocess.run([*command, *sys.argv[1:]], cwd=WHERE, check=False).returncode


def _installed() -> str:
    """Install the suite as its lock file says, and a Node.js that can run it; return that."""
    lock = (HERE / "package-lock.json").read_text()
    stamp = WHERE / "installed"
    if not stamp.exists() or stamp.read_text() != lock:
        WHERE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, WHERE)
        _npm("ci")
        if not _is_enough("node"):
            _npm("install", "--no-save", NODE)
        stamp.write_text(lock)
    return "node" if _is_enough("node") else str(WHERE / "node_modules/node/bin/node")


def _is_enough(node: str) -> bool:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0]) >= NEEDED


def _npm(*arguments: str) -> None:
    quietly = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    subprocess.run(["npm", *arguments, *quietly], cwd=WHERE, check=True)


if __name__ == "__main__":
    sys.exit(main())
