"""A request's head read in one go, when nothing about it is unusual: what is left is for Twisted's parser.

That one takes a dozen calls for each header, and a request through proxies brings twenty of them.
"""

import re
from functools import lru_cache

from twisted.web.http_headers import Headers

from kit.values import value
from server import limits

_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f\x85]*+"  # no control character, nor what daphne refuses
_HEAD = re.compile(
    rb"([A-Z]{1,16}) (/[!-~]*+) HTTP/1\.1\r\n((?:%b:%b\r\n){0,%d})\r\n" % (_NAME, _VALUE, limits.HEADER_COUNT)
)
_LINE = re.compile(rb"([^:]+):([^\r]*)\r\n")
_FRAMING = frozenset({b"Content-Length", b"Transfer-Encoding"})


@value
class Head:
    """The start of a request: `framing` holds the headers that say how long its body is, `headers` the others."""

    method: bytes
    target: bytes
    headers: dict[bytes, list[bytes]]
    framing: list[bytes]
    size: int


def read(data: bytes) -> Head | None:
    """Read the head that `data` begins with; None if it is not whole, or not plain."""
    found = _HEAD.match(data)
    if found is None or found.end() > limits.HEADER_BYTES:
        return None
    headers: dict[bytes, list[bytes]] = {}
    framing = []
    for name, said in _LINE.findall(found[3]):
        known = _canonical(name)
        if known in _FRAMING:
            framing.append(b"%b:%b" % (known, said))
        else:
            headers.setdefault(known, []).append(said.strip(b" \t"))
    return Head(found[1], found[2], headers, framing, found.end())


@lru_cache(maxsize=256)
def _canonical(name: bytes) -> bytes:
    """Return a header's name as Twisted keeps it."""
    written = Headers()
    written.addRawHeader(name, b"")
    return next(written.getAllRawHeaders())[0]
