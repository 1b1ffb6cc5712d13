"""The models that skills stand on are such as the SDK knows and the price book has a price for."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from anthropic.types.model import Model
from django.conf import settings

from skills.routing.policy import CLASSES, IN_DOUBT
from usage import pricing

ROOT = Path(settings.BASE_DIR)
KNOWN = {name for part in get_args(Model) for name in get_args(part)}
PRICED = {entry["model"] for entry in tomllib.loads(pricing.SHIPPED.read_text())["price"]}


@pytest.mark.parametrize("alias", sorted(settings.SKILL_MODELS))
def test_the_sdk_knows_the_model_behind_every_alias(alias: str) -> None:
    assert settings.SKILL_MODELS[alias] in KNOWN


@pytest.mark.parametrize("alias", sorted(settings.SKILL_MODELS))
def test_the_model_behind_every_alias_has_a_price(alias: str) -> None:
    assert settings.SKILL_MODELS[alias] in PRICED


def test_every_class_of_the_classifier_is_answered_by_an_alias() -> None:
    assert set(CLASSES.values()) <= set(settings.SKILL_MODELS)
    assert settings.SKILL_MODELS[CLASSES["simple"]].startswith("claude-haiku")
    assert settings.SKILL_MODELS[CLASSES[IN_DOUBT]].startswith("claude-sonnet")
    assert settings.SKILL_MODELS[CLASSES["complex"]].startswith("claude-opus")


def test_built_in_skills_and_routing_name_models_by_alias_alone() -> None:
    sources = [*(ROOT / "skills" / "routing").glob("*.py"), *(ROOT / "skills" / "builtin").rglob("SKILL.md")]
    front = {path: path.read_text() for path in sources}

    assert len(front) > 10
    assert [path.name for path, text in front.items() if "claude-" in text] == []
    named = {name for text in front.values() for name in re.findall(r"^  model: (\S+)$", text, flags=re.MULTILINE)}
    assert named <= set(settings.SKILL_MODELS)
