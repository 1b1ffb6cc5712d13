"""`python -m tests.conformance.schema_suite`: Schemathesis against `/v1/openapi.json`.

Schemathesis has requirements of its own, so it gets a virtual environment of its own under `.local`.
"""

import os
import subprocess
import sys
import venv

from tests.conformance.platforms import a_key
from tests.skills.gateway import ROOT

SCHEMATHESIS = "schemathesis==4.32.5"
WHERE = ROOT / ".local" / "schemathesis"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> int:
    """Try every operation of the OpenAPI document and return 0 if all answers are as it says."""
    tool = _installed()
    with a_key() as key:
        command = [
            tool,
            "run",
            f"{key.gateway.url}/v1/openapi.json",
            "--header",
            f"X-API-Key: {key.secret}",
            "--checks",
            CHECKS,
            "--max-examples",
            os.environ.get("MAX_EXAMPLES", "30"),
            "--seed",
            "1",
            "--suppress-health-check",
            "all",
        ]
        return subprocess.run([*command, *sys.argv[1:]], cwd=WHERE, check=False).returncode


def _installed() -> str:
    tool = WHERE / "bin" / "schemathesis"
    stamp = WHERE / "installed"
    if not stamp.exists() or stamp.read_text() != SCHEMATHESIS:
        venv.create(WHERE, with_pip=True, clear=True)
        subprocess.run([str(WHERE / "bin" / "python"), "-m", "pip", "install", "-q", SCHEMATHESIS], check=True)
        stamp.write_text(SCHEMATHESIS)
    return str(tool)


if __name__ == "__main__":
    sys.exit(main())
