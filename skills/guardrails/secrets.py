"""Secrets in a text, by the forms their issuers document; every pattern is bounded, so that looking takes linear time.

Known libraries look for files with secrets in them: they say that there is one, not from where to where, and some of
their patterns take quadratic time on text made for it. Redaction needs the place, and callers choose the text.
"""

import re
from collections.abc import Iterator

from skills.guardrails.spans import Span
from tenants.keys import form

_ALONE = r"(?<![A-Za-z0-9_])"
_ISSUED = (
    ("anthropic_key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,200}"),
    ("openai_key", "sk-", r"sk-(?!ant-)(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{32,200}"),
    ("aws_access_key", "A", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    ("github_token", "gh", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("gitlab_token", "gl", r"gl(?:pat|dt|ft|soat|rt|ptt|imt|cbt)-[A-Za-z0-9_-]{20,64}"),
    ("slack_token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,200}"),
    ("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/services/T\w{5,20}/B\w{5,20}/\w{15,40}"),
    ("stripe_key", "_live_", r"[rs]k_live_[0-9A-Za-z]{20,120}"),
    ("google_key", "AIza", r"AIza[0-9A-Za-z_-]{35}"),
    ("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
    ("twilio_key", "SK", r"SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi_token", "pypi-", r"pypi-[A-Za-z0-9_-]{70,250}"),
    ("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{30,60}"),
    ("telegram_token", ":", r"\d{8,10}:[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
    ("azure_key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/=]{80,100}"),
    ("json_web_token", "eyJ", r"eyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{5,1500}\.[A-Za-z0-9_-]{10,600}"),
)
_OURS = re.compile(rf"{_ALONE}sg_(?:live|test)_[0-9A-Za-z]{{46}}(?![0-9A-Za-z])")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
    r"[^-]{0,3900}(?:-----END (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----)?"
)
_IN_URL = re.compile(r"://[^\s:/@?#]{1,64}:([^\s:/@?#]{3,128})@")
_PATTERNS = (
    *((kind, cue, re.compile(_ALONE + pattern)) for kind, cue, pattern in _ISSUED),
    ("private_key", "PRIVATE KEY", _PRIVATE_KEY),
    ("password_in_url", "://", _IN_URL),
)
"""Each with a text without which it cannot match; where it has a group, that is the secret."""
_NAMED = re.compile(
    r"\b(?:(?:password|passwd|passphrase|secret|api[ _-]?key|access[ _-]?key|auth[ _-]?token)"
    r"[\"']?\s{0,3}(?:[=:]|is\b)\s{0,3}|bearer\s{1,3})[\"'`]?([^\s\"'`,;<>]{8,128})",
    re.IGNORECASE,
)


def find(text: str) -> Iterator[Span]:
    """Yield every secret in a text, the secret itself alone."""
    for kind, cue, pattern in _PATTERNS:
        if cue in text:
            for found in pattern.finditer(text):
                yield Span(*found.span(found.lastindex or 0), kind)
    yield from _ours(text)
    for found in _NAMED.finditer(text):
        if _is_mixed(found.group(1)):
            yield Span(*found.span(1), "named_secret")


def _ours(text: str) -> Iterator[Span]:
    if "sg_" in text:
        for found in _OURS.finditer(text):
            if form.is_well_formed(found.group()):
                yield Span(found.start(), found.end(), "skillgate_key")


def _is_mixed(value: str) -> bool:
    """Whether it looks made rather than said: letters and digits, and no path or sentence."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and "://" not in value
