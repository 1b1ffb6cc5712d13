"""The house is as it says: short files, true vocabulary, documented commands that exist."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
LONGEST_FILE = 400
VOCABULARY = (ROOT / "docs" / "vocabulary.md").read_text()


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    sources = [path for path in _tracked("*.py") if "migrations" not in path.parts]

    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }

    assert sources
    assert long == {}


def test_nothing_that_is_to_be_ignored_is_kept() -> None:
    ignored = subprocess.run(
        ["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert ignored.split() == []
    assert [path.name for path in _tracked("*.pyc", "*.pyo", "*.so")] == []


@pytest.mark.parametrize("where", re.findall(r"\| `([a-zA-Z_.]+)` \|$", VOCABULARY, flags=re.MULTILINE))
def test_every_word_of_the_vocabulary_is_where_it_is_said_to_be(where: str) -> None:
    owner, _, name = where.rpartition(".")

    assert _exists(where) or hasattr(_found(owner), name) or _is_field(owner, name)


def test_the_readme_names_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    named_targets = set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)", readme))
    listed = re.search(r"There are also (.*), each with `--help`", readme)
    named_commands = set(re.findall(r'ARGS="([a-z_]+)', readme)) | set(
        re.findall(r"`([a-z_]+)`", listed[1] if listed else "")
    )

    assert {"issue_key", "rotate_key"} <= named_commands
    assert {"run", "test"} <= named_targets
    assert named_targets - targets == set()
    assert named_commands - set(get_commands()) == set()


def test_every_setting_is_described_and_every_description_is_of_a_setting() -> None:
    sources = [ROOT / "platform" / "config" / "settings.py", *(ROOT / "platform" / "server").glob("*.py")]
    read = set(
        re.findall(
            r'"((?:SKILLGATE|ANTHROPIC|DATABASE|REDIS|CELERY|OTEL)_[A-Z_]+)"',
            "\n".join(path.read_text() for path in sources),
        )
    )
    read |= set(re.findall(r'"(SKILLGATE_DEBUG)"', (ROOT / "platform" / "config" / "env.py").read_text()))

    described = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))

    assert read - described == set()
    assert described - read == set()


def _found(path: str) -> object:
    for cut in range(path.count(".") + 1):
        module, *names = path.rsplit(".", cut)
        try:
            found: object = importlib.import_module(module)
        except ImportError:
            continue
        for name in names:
            found = getattr(found, name, None)
        return found
    return None


def _exists(path: str) -> bool:
    return _found(path) is not None


def _is_field(owner: str, name: str) -> bool:
    return any(
        model.__name__ == owner.rpartition(".")[2] and any(field.name == name for field in model._meta.get_fields())
        for model in apps.get_models()
    )
