"""An answer on its way out: nothing leaves before it is certain that it is no part of what must not."""

from skills.guardrails import scanning
from skills.guardrails.plans import Check
from skills.guardrails.scanning import Tally

_LOOK_EVERY = 48
_CONTEXT = 128
_LONGEST_WORD = 2_048
_LONGEST_KEY = 4_096
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN", "-----END"


class Outflow:
    """Text that comes in pieces: `feed` takes one and returns what may go out by now; `rest` returns what is left."""

    def __init__(self, checks: tuple[Check, ...], tally: Tally) -> None:
        self._checks = checks
        self._tally = tally
        self._reach = max((check.reach for check in checks), default=0)
        self._has_words = any(check.has_words for check in checks)
        self._before = ""  # what went out last, as it came: some finds are known by the words before them
        self._held = ""
        self._unseen = 0

    def feed(self, text: str) -> str:
        """Take in some text; when the tally says `blocked` afterwards, nothing more may go out."""
        self._held += text
        self._unseen += len(text)
        if self._unseen < _LOOK_EVERY:
            return ""
        self._unseen = 0
        return self._let_out(self._safe_end())

    def rest(self) -> str:
        """Return what was held back, judged."""
        return self._let_out(len(self._held))

    def _let_out(self, end: int) -> str:
        text, shift = self._before + self._held, len(self._before)
        found = [one for one in scanning.look(text, self._checks) if one.span.start >= shift]
        for one in reversed(found):
            if one.span.start - shift < end < one.span.end - shift:
                end = one.span.start - shift
        settled = [one for one in found if one.span.end - shift <= end]
        for one in settled:
            self._tally.add(one)
        if end <= 0 or self._tally.blocked:
            return ""
        out = scanning.redacted(text[: end + shift], settled)[shift:]
        self._before, self._held = text[: end + shift][-_CONTEXT:], self._held[end:]
        return out

    def _safe_end(self) -> int:
        """Before it nothing begins that could still grow into a find."""
        end = len(self._held) - self._reach
        if self._has_words:
            end = min(end, _word_begins(self._held), _key_begins(self._held))
        return max(0, end)


def _word_begins(text: str) -> int:
    """Where the last word begins, if it is one that a secret or an address could be."""
    begin = len(text)
    while begin > 0 and "!" <= text[begin - 1] <= "~" and len(text) - begin < _LONGEST_WORD:
        begin -= 1
    return begin


def _key_begins(text: str) -> int:
    begin = text.rfind(_KEY_BEGINS)
    if begin < 0 or _KEY_ENDS in text[begin:] or len(text) - begin > _LONGEST_KEY:
        return len(text)
    return begin
