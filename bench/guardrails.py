"""What the guardrails find and miss: `python -m bench.guardrails` (with PYTHONPATH=platform).

Each check runs over the samples of its file in bench/guardrails_corpus, some of which it should find and
some of which only look as if. Secrets are made up while the corpus is read, so that the repository holds
none. Printed are precision and recall, what was missed and what was
taken wrongly, and the time a check takes for texts of several lengths.
"""

import argparse
import base64
import json
import os
import random
import re
import string
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SKILLGATE_DEBUG", "1")

import django

django.setup()

from skills.guardrails import injection, pii, secrets  # noqa: E402 - only after Django is set up
from skills.guardrails.spans import Find  # noqa: E402 - the same
from tenants.keys import form  # noqa: E402 - the same

CORPUS = Path(__file__).parent / "guardrails_corpus"
SEED = 20_261_121
CHECKS: dict[str, Find] = {
    "injection": injection.find,
    "secrets": secrets.find,
    "pii": pii.finder(kinds=pii.USUAL, regions=[]),
}
_SIZES = (1_000, 10_000, 100_000)
Make = Callable[[], str]
_PLACE = re.compile(r"\{(\w+)\}")
_SENTENCE = "the contract says that each party may end it within thirty days of a notice in writing to the other"


@dataclass(slots=True)
class Score:
    """How a check did on its samples."""

    found: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    passed: int = 0

    @property
    def precision(self) -> float:
        """The share of what it found that was there."""
        return self.found / max(1, self.found + len(self.wrong))

    @property
    def recall(self) -> float:
        """The share of what was there that it found."""
        return self.found / max(1, self.found + len(self.missed))


def score(name: str) -> Score:
    """Run a check over its samples."""
    chance, counted = random.Random(SEED), Score()
    for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        text = filled(sample["text"], chance) if name == "secrets" else sample["text"]
        is_found = any(True for _ in CHECKS[name](text))
        if is_found and sample["is_found"]:
            counted.found += 1
        elif is_found:
            counted.wrong.append(sample["text"])
        elif sample["is_found"]:
            counted.missed.append(sample["text"])
        else:
            counted.passed += 1
    return counted


def filled(text: str, chance: random.Random) -> str:
    """Put made-up secrets in their places."""
    makers = _makers(chance)
    return _PLACE.sub(lambda place: makers[place[1]]() if place[1] in makers else place[0], text)


def _makers(chance: random.Random) -> dict[str, Make]:
    letters = string.ascii_letters + string.digits

    def some(count: int, alphabet: str = letters) -> str:
        return "".join(chance.choices(alphabet, k=count))

    def token(value: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def private_key() -> str:
        return f"-----BEGIN {'RSA '}PRIVATE KEY-----\n{some(64)}\n{some(64)}\n-----END {'RSA '}PRIVATE KEY-----"

    return {
        "anthropic_key": lambda: f"sk-ant-api03-{some(90)}",
        "openai_key": lambda: f"sk-proj-{some(48)}",
        "aws_access_key": lambda: f"AKIA{some(16, string.ascii_uppercase + string.digits)}",
        "github_token": lambda: f"ghp_{some(36)}",
        "github_fine_grained": lambda: f"github_pat_{some(22)}_{some(59)}",
        "gitlab_token": lambda: f"glpat-{some(20)}",
        "slack_token": lambda: f"xoxb-{some(12, string.digits)}-{some(24)}",
        "slack_webhook": lambda: f"https://hooks.slack.com/services/T{some(8)}/B{some(8)}/{some(24)}",
        "stripe_key": lambda: f"sk_live_{some(24)}",
        "google_key": lambda: f"AIza{some(35)}",
        "sendgrid_key": lambda: f"SG.{some(22)}.{some(43)}",
        "twilio_key": lambda: f"SK{some(32, '0123456789abcdef')}",
        "npm_token": lambda: f"npm_{some(36)}",
        "pypi_token": lambda: f"pypi-AgEIcHlwaS5vcmc{some(90)}",
        "huggingface_token": lambda: f"hf_{some(34)}",
        "telegram_token": lambda: f"{some(9, '123456789')}:{some(35)}",
        "azure_key": lambda: f"AccountKey={some(86)}==",
        "json_web_token": lambda: f"{token({'alg': 'HS256'})}.{token({'sub': some(8)})}.{some(43)}",
        "private_key": private_key,
        "skillgate_key": lambda: form.generate("live"),
        "password": lambda: f"{some(4)}7{some(6)}x",
        "hex": lambda: some(40, "0123456789abcdef"),
        "base64_40": lambda: some(40),
    }


def milliseconds(find: Find, *, characters: int) -> float:
    """Measure how long a check takes for an ordinary text of a length."""
    chance = random.Random(SEED)
    text = " ".join(chance.choices(_SENTENCE.split(), k=characters // 4))[:characters]
    took = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in find(text):
            pass
        took.append((time.perf_counter() - began) * 1000)
    return median(took)


def table() -> list[str]:
    """Return the results as the rows of a table."""
    rows = [
        "| check | samples | found | missed | taken wrongly | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CHECKS:
        one = score(name)
        samples = one.found + len(one.missed) + len(one.wrong) + one.passed
        counts = f"{samples} | {one.found} | {len(one.missed)} | {len(one.wrong)}"
        rows.append(f"| {name} | {counts} | {one.precision:.2f} | {one.recall:.2f} |")
    return rows


def main() -> int:
    """Print everything that was measured."""
    options = argparse.ArgumentParser(prog="python -m bench.guardrails", description=__doc__)
    options.add_argument("--no-times", action="store_true", help="leave out what differs from run to run")
    is_timed = not options.parse_args().no_times
    lines = table()
    for name in CHECKS:
        one = score(name)
        lines += ["", f"{name} missed:", *(f"  {text!r}" for text in one.missed)]
        lines += [f"{name} took wrongly:", *(f"  {text!r}" for text in one.wrong)]
    if is_timed:
        lines += ["", f"| check | {' | '.join(f'{size:,} characters' for size in _SIZES)} |", "|---|---|---|---|"]
        for name, find in CHECKS.items():
            times = " | ".join(f"{milliseconds(find, characters=size):.2f} ms" for size in _SIZES)
            lines.append(f"| {name} | {times} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
