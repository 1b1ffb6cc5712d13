"""Finds in a text what a named and typed field asks for: addresses, dates, numbers, labels, phrases."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from emulator import sections

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}", re.ASCII)
_URL = re.compile(r"https?://[\w.-]+(?:/[\w./%?=&#-]*)?", re.ASCII)
_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b", re.ASCII)
_PHONE = re.compile(r"\+?\d[\d ()/-]{6,}\d", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?", re.ASCII)
_NAME = re.compile(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)+\b")
_MONEY = re.compile(r"\b(USD|EUR|GBP|CHF|JPY)\b|[$€£¥]")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_LEANING = {
    "positive": "great love good excellent happy thank thanks wonderful perfect amazing helpful recommend fantastic nice",
    "negative": "bad terrible broken angry hate poor worst awful disappointed refund late complaint slow useless never",
    "urgent": "urgent immediately asap emergency down outage critical now",
    "high": "urgent immediately asap emergency outage critical",
    "low": "whenever minor someday trivial",
    "billing": "invoice charge charged payment refund price subscription card",
    "technical": "error crash bug broken login fail failed install",
}
_FORMATS = {
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "P1D",
    "uri": "https://example.com/",
    "iri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/",
    "iri-reference": "/",
    "uuid": "3f2b8c1e-5a47-4d6f-9b0a-7c1d2e3f4a5b",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "json-pointer": "",
    "relative-json-pointer": "0",
    "regex": ".*",
    "uri-template": "/",
}
_KEPT_NUMBERS = 200
_NOT_NUMBERS = re.compile(rf"{_EMAIL.pattern}|{_URL.pattern}|\d{{4}}-\d\d-\d\d|\+\d[\d ()/-]{{6,}}\d", re.ASCII)
_PRICED = re.compile(r"amount|total|price|cost|sum|fee|value", re.I)
_PRICE = re.compile(rf"[$€£¥] ?{_NUMBER.pattern}|{_NUMBER.pattern} ?(?:USD|EUR|GBP|CHF|JPY|[$€£¥])")


@dataclass
class Source:
    """A text to take values from, and the instructions that came with it."""

    text: str
    instructions: str = ""
    used: dict[str, int] = field(default_factory=dict)

    @cached_property
    def words(self) -> set[str]:
        """The words of the text that carry meaning."""
        return sections.words(self.text)

    @cached_property
    def sentences(self) -> list[str]:
        """The sentences of the text."""
        return sections.sentences(self.text)

    @cached_property
    def numbers(self) -> list[float]:
        """The numbers of the text, in order, without those of dates, addresses and telephones."""
        return _numbers(_NOT_NUMBERS.sub(" ", self.text))

    def string(self, name: str, *, form: str | None) -> str:
        """Return the value of a string field, by its format or its name."""
        kind = form if form in _FORMATS else None
        patterned = self._patterned(name.lower(), form=kind)
        if patterned is not None:
            return patterned
        if kind is not None:
            return _FORMATS[kind]
        return self._phrase(name)

    def _patterned(self, name: str, *, form: str | None) -> str | None:
        if "email" in (form or name):
            return self._match(_EMAIL, "email") or _FORMATS["email"]
        if form in ("uri", "url", "iri") or (form is None and name in ("url", "link", "website")):
            return self._match(_URL, "url") or _FORMATS["uri"]
        if form == "date" or (form is None and (name == "date" or name.endswith("_date"))):
            return self._match(_DATE, "date") or _FORMATS["date"]
        return self._by_name(name) if form is None else None

    def _by_name(self, name: str) -> str | None:
        if "phone" in name:
            return self._match(_PHONE, "phone") or "+1 555 0100"
        if "currency" in name:
            found = _MONEY.search(self.text)
            return _SYMBOLS.get(found.group(0), found.group(0)) if found else "USD"
        if name.endswith("name") or name in ("customer", "author", "person", "company"):
            return self._match(_NAME, "name")
        if "language" in name:
            return "en"
        return None

    def _match(self, pattern: re.Pattern[str], kind: str) -> str | None:
        found = pattern.findall(self.text)
        return str(found[self._next(kind) % len(found)]) if found else None

    def _phrase(self, name: str) -> str:
        if not self.sentences:
            return name.replace("_", " ") or "none"
        lowered = name.lower()
        if "summary" in lowered or "description" in lowered or "answer" in lowered:
            return self.sentences[0]
        named = self._after_name(lowered)
        return named or self.sentences[self._next("sentence") % len(self.sentences)]

    def _after_name(self, name: str) -> str | None:
        if not name:
            return None
        label = re.escape(name).replace("_", "[ _-]")
        found = re.search(rf"(?<!\w){label}\s*(?::|=|is)\s*([^\n,;]{{1,200}})", self.text, re.I)
        return found.group(1).strip().rstrip(".") if found else None

    def _next(self, kind: str) -> int:
        position = self.used.get(kind, 0)
        self.used[kind] = position + 1
        return position

    def number(self, name: str, *, low: float, high: float) -> float | None:
        """Return the number that stands with the field's name, or with a currency, or the next one, within bounds."""
        allowed = [number for number in self.numbers if low <= number <= high]
        for near in (self._beside(name), self._priced(name)):
            if near is not None and low <= near <= high:
                return near
        return allowed[self._next("number") % len(allowed)] if allowed else None

    def _beside(self, name: str) -> float | None:
        label = re.escape(name.lower()).replace("_", "[ _-]")
        found = (
            re.search(rf"(?<!\w){label}\W{{0,3}}(?:is|of|was)?\W{{0,3}}({_NUMBER.pattern})", self.text, re.I)
            if name
            else None
        )
        return next(iter(_numbers(found.group(1))), None) if found else None

    def _priced(self, name: str) -> float | None:
        if not _PRICED.search(name):
            return None
        found = _PRICE.search(self.text)
        return next(iter(_numbers(found.group(0))), None) if found else None

    def label(self, labels: list[str]) -> str:
        """Return the label that the text is most about; the first of equals."""
        return max(labels, key=self._score)

    def mentioned(self, labels: list[str]) -> list[str]:
        """Return the labels that the text is at all about, best first."""
        scored = sorted(((self._score(label), -at, label) for at, label in enumerate(labels)), reverse=True)
        return [label for score, _, label in scored if score > 0]

    def _score(self, label: str) -> float:
        plain = label.replace("_", " ").replace("-", " ").casefold().strip()
        named = len(re.findall(rf"(?<!\w){re.escape(plain)}(?!\w)", self.text.casefold())) if plain else 0
        leaning = len(sections.words(_LEANING.get(plain, "")) & self.words)
        return 10 * named + 4 * len(sections.words(plain) & self.words) + 2 * leaning + self._described(label)

    def _described(self, label: str) -> float:
        """Weigh the words with which the instructions describe a label (`- billing: invoices, refunds`)."""
        found = re.search(rf"(?<!\w){re.escape(label)}[\"'`*]*\s*[:=(\u2013-]+\s*([^\n]{{1,300}})", self.instructions)
        return len(sections.words(found.group(1)) & self.words) if found else 0.0

    def holds(self, name: str) -> bool:
        """Tell whether the text has the words of a field's name (`is_urgent`: urgent)."""
        return bool((sections.words(name.replace("_", " ")) - {"is", "ha", "need", "should"}) & self.words)


def _numbers(text: str) -> list[float]:
    found = _NUMBER.findall(text)[:_KEPT_NUMBERS]
    return [float(number.replace(",", "")) for number in found if len(number) < 16]
