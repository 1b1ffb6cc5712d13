"""A call's way through the limits: taken before anything is spent, given back at its end."""

from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Coroutine, Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from prometheus_client import Counter

from tenants.keys.caller import Caller
from tenants.limits import decisions, refusals, shared
from tenants.limits.decisions import Decision, Source
from tenants.limits.local import Shares
from tenants.limits.room import Rooms
from tenants.limits.verdicts import Allowance, Verdict

LOCAL = Counter("skillgate_limits_local", "Calls whose rate limits this process decided alone.")

_MOST_ENDED = 10_000
_shares = Shares()
_rooms = Rooms()
_allowance = lru_cache(maxsize=256)(Allowance)  # limits of keys are alike
_ended: OrderedDict[str, None] = OrderedDict()  # a heartbeat under way while its call ends must not revive the lease


async def take(caller: Caller, *, tokens: int, call_id: str) -> Decision:
    """Admit a call of up to `tokens` tokens, once per `call_id`, or raise `RateLimited`.

    A refused call has consumed nothing. Redis in trouble costs one call 0.1 s and the next
    nothing: then this process's share of each limit applies.
    """
    _ended.pop(call_id, None)
    allowance = _allowance(caller.requests_per_minute, caller.tokens_per_minute, caller.concurrent_calls)
    source: Source = "shared"
    try:
        verdict = await shared.take(caller.family_id, allowance=allowance, tokens=tokens, call_id=call_id)
    except shared.Trouble:
        allowance, source = allowance.share(settings.PROCESS_COUNT), "local"
        verdict = _take_here(caller, allowance=allowance, tokens=tokens, call_id=call_id)
    if verdict.is_admitted:
        made = decisions.decision(verdict, allowance=allowance, source=source)
        _rooms.note(caller.family_id, made)
        return made
    why = decisions.reason(verdict, allowance=allowance, tokens=tokens)
    refusals.count(caller, reason=why, now=verdict.at)
    next_probe = shared.seconds_to_probe()
    raise decisions.refusal(verdict, allowance=allowance, tokens=tokens, source=source, next_probe=next_probe)


def expects_room(caller: Caller, *, tokens: int) -> bool:
    """Tell whether `take` will hardly refuse a call of so many tokens, which is then to ask it."""
    return _rooms.take(caller.family_id, tokens=tokens)


def has_room(caller: Caller, *, tokens: int) -> bool:
    """Tell whether the next call of so many tokens will hardly be refused, also if what this one gives back comes later."""
    return _rooms.has(caller.family_id, tokens=tokens)


def refund(caller: Caller, *, tokens: int, call_id: str) -> Coroutine[Any, Any, None]:
    """Settle a call: its unused `tokens` are given back and its place is free; again does nothing.

    It is sent at once, also before what is returned is awaited; so are `release` and `cancel`.
    """
    return _finish(caller, tokens=tokens, requests=0, call_id=call_id)


def release(caller: Caller, *, call_id: str) -> Coroutine[Any, Any, None]:
    """Free a call's place and give nothing back."""
    return _finish(caller, tokens=0, requests=0, call_id=call_id)


def cancel(caller: Caller, *, call_id: str) -> Coroutine[Any, Any, None]:
    """Undo a call as if it had not been taken: for one that was refused afterwards, by a budget."""
    return _finish(caller, tokens=caller.tokens_per_minute, requests=1, call_id=call_id)


async def renew(calls: Iterable[tuple[int, str]]) -> None:
    """Keep the places of running calls, given as (family id, call id), for another 60 s.

    It also tells Redis of calls that were taken while it was away, or that it lost.
    """
    families: defaultdict[int, list[str]] = defaultdict(list)
    for family_id, call_id in calls:
        if call_id not in _ended:
            families[family_id].append(call_id)
            _shares.renew(family_id, call_id)
    for family_id, call_ids in families.items():
        try:
            await shared.renew(family_id, call_ids)
        except shared.Trouble:
            return


def _take_here(caller: Caller, *, allowance: Allowance, tokens: int, call_id: str) -> Verdict:
    LOCAL.inc()
    return _shares.take(caller.family_id, allowance=allowance, tokens=tokens, call_id=call_id)


def _finish(caller: Caller, *, tokens: int, requests: int, call_id: str) -> Coroutine[Any, Any, None]:
    _ended[call_id] = None
    while len(_ended) > _MOST_ENDED:
        _ended.popitem(last=False)
    allowance = _allowance(caller.requests_per_minute, caller.tokens_per_minute, caller.concurrent_calls)
    if caller.family_id in _shares:
        share = allowance.share(settings.PROCESS_COUNT)
        _shares.finish(caller.family_id, allowance=share, tokens=tokens, requests=requests, call_id=call_id)
    return _finished(
        shared.finish(caller.family_id, allowance=allowance, tokens=tokens, requests=requests, call_id=call_id)
    )


async def _finished(answer: Awaitable[Any]) -> None:
    try:
        await answer
    except shared.TROUBLE:
        return  # the lease ends by itself, and the rate makes up for the rest within a minute
