"""`manage.py analyze` works with or without a worker, and saves what comes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.analyses.book import book
from tests.analyses.conftest import ROOT, Desk


def test_the_command_shows_progress_and_saves_the_result(
    desk: Desk, live_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "book.txt").write_text(book(pages=12), encoding="utf-8")
    env = {**os.environ, **live_environment, "SKILLGATE_API_KEY": desk.live.key, "PYTHONPATH": str(ROOT / "platform")}

    done = subprocess.run(
        [sys.executable, "manage.py", "analyze", str(tmp_path / "book.txt"), "--output", str(tmp_path / "out.json")],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "tokens" in done.stderr
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["citations"]
    assert all(one["quote"] in book(pages=12) for one in result["citations"])
    assert desk.journaled() == desk.paid()[0] > 0


def test_the_command_says_why_not(desk: Desk, live_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Tea at six.", encoding="utf-8")
    env = {**os.environ, **live_environment, "SKILLGATE_API_KEY": desk.live.key, "PYTHONPATH": str(ROOT / "platform")}

    done = subprocess.run(
        [sys.executable, "manage.py", "analyze", str(tmp_path / "book.txt"), "--skill", "summarize"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "no analysis skill" in done.stderr
    assert desk.live.rows("SELECT id FROM skills_analysis WHERE tenant_id = %s", desk.live.tenant.pk) == []
