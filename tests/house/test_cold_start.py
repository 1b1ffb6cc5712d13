"""What a process starts with: heavy libraries are loaded by those who use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_WEB = "import config.asgi; from django.urls import get_resolver; get_resolver().url_patterns"
_WORKER = (
    "from config.celery import app; app.loader.import_default_modules()"  # as Celery does: it sets Django up itself
)
_COMMAND = (
    "import django; django.setup(); from django.core.management import load_command_class as load; "
    "[load(app, name) for app, name in (('tenants', 'issue_key'), ('usage', 'load_prices'), ('skills', 'load_skills'), ('console', 'prepare_demo'))]"
)


@pytest.mark.parametrize(
    ("start", "spared"),
    [
        (_WEB, {"mcp", "mcp_types", "reportlab", "xlsxwriter"}),
        (_WORKER, {"anthropic", "aiohttp", "mcp", "unfold.admin", "config.urls", "console.ops", "reportlab"}),
        (_COMMAND, {"anthropic", "aiohttp", "mcp", "unfold.admin", "config.urls", "reportlab", "rest_framework.views"}),
    ],
    ids=["web", "worker or beat", "command"],
)
def test_a_process_does_not_load_what_it_may_never_use(start: str, spared: set[str]) -> None:
    assert spared & _loaded_by(start) == set()


def _loaded_by(start: str) -> set[str]:
    code = f"import json, sys; sys.path[:0] = ['platform', '.']; {start}; print(json.dumps(list(sys.modules)))"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    return set(json.loads(done.stdout))
