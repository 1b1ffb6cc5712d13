"""What the dashboard and the alerts ask for is what the code counts."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from config import asgi  # noqa: F401 - importing these brings in what the web counts
from console import metrics  # noqa: F401
from skills.webhooks import delivery  # noqa: F401 - and this what only workers count
from tests.live import ROOT
from usage import tasks  # noqa: F401

DASHBOARD = ROOT / "deploy" / "grafana" / "skillgate.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
_NAME = re.compile(r"\bskillgate_[a-z0-9_]+")
_LABELS = re.compile(r"(skillgate_[a-z0-9_]+)\{([^}]*)\}")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def counted() -> dict[str, tuple[str, ...]]:
    """Every series the code makes, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    collectors: list[Any] = list(REGISTRY._collector_to_names)
    for collector in collectors:
        name, kind = getattr(collector, "_name", ""), getattr(collector, "_type", "")
        if name.startswith("skillgate_"):
            for suffix in _SUFFIXES[kind]:
                found[name + suffix] = (*collector._labelnames, *(("le",) if suffix == "_bucket" else ()))
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_asks_only_for_what_is_counted(where: str, expression: str) -> None:
    known = counted()

    asked = set(_NAME.findall(expression))

    assert asked or where == "SkillgateDown"
    assert asked - set(known) == set()
    for name, matchers in _LABELS.findall(expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - set(known[name]) == set()


def test_everything_that_is_counted_is_shown_or_watched() -> None:
    asked = {name for _, expression in expressions() for name in _NAME.findall(expression)}
    stems = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}

    unseen = {re.sub(r"_(bucket|count|sum)$", "", name) for name in counted()} - stems

    assert unseen == {"skillgate_analyses_published_total"}


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_accepts_the_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
