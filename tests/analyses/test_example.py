"""The example that analyses files over HTTP runs as it is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analyses.book import book
from tests.analyses.conftest import ROOT, Desk


@pytest.mark.usefixtures("workers")
def test_the_example_sends_files_follows_them_and_prints_what_comes_of_it(desk: Desk, tmp_path: Path) -> None:
    for name in ("one.txt", "two.md"):
        (tmp_path / name).write_text(book(pages=2), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "analyze.py"), str(tmp_path / "one.txt"), str(tmp_path / "two.md")],
        env={**os.environ, "SKILLGATE_URL": desk.live.base_url, "SKILLGATE_API_KEY": desk.live.key},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert {one["document_name"] for one in result["citations"]} <= {"one.txt", "two.md"}
    assert [one["name"] for one in result["documents"]] == ["one.txt", "two.md"]
    assert " % " in done.stdout
