"""Words by which known attacks try to change an instruction; a heuristic, whose measured reach docs/guardrails.md gives.

Texts are brought into one form first: compatibility characters, letters that cannot be seen, case and spaces. What is
encoded in Base64 or in invisible tag characters is read too. Every pattern is bounded.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator

from skills.guardrails.spans import Span

_UNSEEN_RANGES = (
    (0xAD, 0xAD),
    (0x61C, 0x61C),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0xE0001, 0xE007F),
)
"""Characters of format (Unicode's category Cf) that a reader does not see."""
_UNSEEN = dict.fromkeys(code for first, last in _UNSEEN_RANGES for code in range(first, last + 1))
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_HIDDEN = re.compile("[\u200b-\u200d\u2060\ufeff]{6,}")
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,400}={0,2}(?![A-Za-z0-9+/=])")
_MOST_ENCODED = 50

_OVERRIDING = r"(?:ignore|disregard|forget|override|bypass|neglect|do not follow|don't follow|stop following)"
_RULES = r"(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|commands?|programming|guardrails)"
_EARLIER = r"(?:previous|prior|above|earlier|preceding|foregoing|original|initial|your|system|safety)"
_SAYING = (
    r"(?:reveal|print|show|repeat|output|display|tell me|give me|leak|dump|recite|disclose|write out|share|copy|paste)"
)
_INNER = r"(?:system|initial|hidden|original|secret|developer|internal)"
_FREE = (
    r"(?:unrestricted|unfiltered|uncensored|jailbroken|without (?:any )?(?:restrictions?|limits?|rules|filters?|guidelines)"
    r"|no (?:restrictions?|limits?|rules|filters?|guidelines)|dan)"
)
_MACHINE = (
    r"(?:ai|llm|language model|chatbot|ai model|ai assistant|ai agent|virtual assistant|automated (?:system|reviewer))"
)
_EVERYTHING = r"(?:everything|all of (?:that|this|it)|anything|whatever)"
_SO_FAR = r"(?:above|before|said|told|so far|previously|until now)"
_ADDRESSING = r"(?:attention|note to|notice to|message (?:to|for)|instructions? (?:to|for)|hey|dear|if you are)"
_ASKING = r"(?:must|should|please|ignore|reply|respond|rate|recommend|approve|say|write|include|output|score)"
_SENDING = r"(?:send|post|forward|email|upload|exfiltrate|append)"
_VALUABLES = r"(?:system prompt|conversation|chat history|api keys?|credentials|passwords?)"
_PATTERNS = (
    ("override", rf"\b{_OVERRIDING}\b(?: [\w']+){{0,4}} {_EARLIER}(?: [\w']+){{0,3}} {_RULES}\b"),
    ("override", rf"\b{_OVERRIDING} (?:all|any|every)(?: of)?(?: the| these| those)? (?:instructions?|prompts?)\b"),
    ("override", rf"\b(?:ignore|disregard|forget) {_EVERYTHING}(?: [\w']+){{0,4}} {_SO_FAR}\b"),
    ("override", r"\b(?:system|admin|administrator|developer) override\b"),
    ("override", r"\b(?:new|updated|real|actual) (?:system )?(?:instructions?|directives?|prompt) ?:"),
    (
        "override",
        r"\byour (?:new|real|actual) (?:task|job|goal|instructions?|objective) (?:is|are) (?:now )?(?:to|as)\b",
    ),
    ("reveal", rf"\b{_SAYING}\b(?: [\w']+){{0,5}} {_INNER}(?: \w+){{0,2}} (?:prompts?|instructions|directives)\b"),
    ("reveal", rf"\b{_SAYING}\b(?: [\w']+){{0,2}} your (?:prompt|instructions|directives|rules)\b"),
    (
        "reveal",
        rf"\b{_SAYING} (?:everything|all(?: of)?(?: the text)?|the (?:words|text|lines)) (?:above|before|prior)\b",
    ),
    (
        "reveal",
        r"\bwhat (?:is|are|was|were) your (?:exact |full |system |initial |original |hidden )*(?:prompt|instructions)\b",
    ),
    ("persona", rf"\byou are (?:now|no longer)\b(?: [\w']+){{0,6}} (?:{_FREE}|bound by|restricted by|evil)\b"),
    ("persona", rf"\b(?:act|pretend|behave|respond|answer|roleplay|role-play)\b(?: [\w']+){{0,6}} {_FREE}\b"),
    ("persona", r"\bdo anything now\b"),
    (
        "persona",
        r"\b(?:developer|debug|god|jailbreak|sudo|unrestricted) mode (?:is )?(?:now )?(?:enabled|activated|active|on)\b",
    ),
    ("persona", r"\b(?:enable|activate|enter|switch to) (?:developer|debug|god|jailbreak|sudo|unrestricted) mode\b"),
    ("markup", r"<\|(?:im_start|im_end|system|user|assistant|endoftext|begin_of_text|start_header_id)\|>"),
    ("markup", r"\[/?inst\]|<</?sys>>|</?system(?:_prompt)?>"),
    ("markup", r"#{2,4} ?(?:system|instruction)s? ?(?:prompt|message)? ?:"),
    ("addressed", rf"\b{_ADDRESSING} (?:an? |the |any |all )?{_MACHINE}s?\b[^.]{{0,120}}\b{_ASKING}\b"),
    ("exfiltration", rf"\b{_SENDING}\b(?: [\w']+){{0,6}} {_VALUABLES}\b(?: [\w']+){{0,3}} to\b"),
    ("exfiltration", r"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&][^)\s=]{0,40}=[^)\s]{0,40}[{\[<]"),
    (
        "override",
        r"\b(?:ignoriere|vergiss|missachte|ignorieren sie|vergessen sie)\b(?: \w+){0,4} (?:anweisungen|regeln|vorgaben)\b",
    ),
    (
        "override",
        r"\b(?:ignore|ignorez|oublie|oubliez)\b(?: [\w']+){0,4} (?:consignes|directives|instructions) (?:pr[ée]c[ée]dentes|ci-dessus)",
    ),
    ("override", r"\b(?:ignora|ignore|olvida|olvide|omite)\b(?: \w+){0,4} (?:instrucciones|reglas|indicaciones)\b"),
    ("override", r"忽略.{0,12}(?:指令|指示|提示|说明)"),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)


def find(text: str) -> Iterator[Span]:
    """Yield what looks like an attack; places are those of the text in its one form."""
    yield from _known(text)
    if not text.isascii():
        for found in _HIDDEN.finditer(text):
            yield Span(found.start(), found.end(), "hidden")
        for found in _TAGS.finditer(text):
            yield Span(found.start(), found.end(), "hidden")
    for said in _decoded(text):
        yield from _known(said)


def _known(text: str) -> Iterator[Span]:
    plain = _plain(text)
    for kind, pattern in _COMPILED:
        for found in pattern.finditer(plain):
            yield Span(found.start(), found.end(), kind)


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_UNSEEN).replace("\u2019", "'")
    return " ".join(text.lower().split())


def _decoded(text: str) -> Iterator[str]:
    for count, found in enumerate(_ENCODED.finditer(text)):
        if count >= _MOST_ENCODED:
            return
        try:
            said = base64.b64decode(found.group() + "=" * (-len(found.group()) % 4), validate=True).decode("ascii")
        except ValueError:
            continue
        if said.isprintable():
            yield said
