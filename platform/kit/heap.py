"""The garbage collector's part in the time of a request.

A process of ours holds some 300,000 objects from its start: modules, classes, schemas. Python looks through all of
them again and again, at some 100 ms a time, in the middle of whichever request happens to allocate next.
"""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20


def grow() -> None:
    """Make collections rarer: with Python's defaults they are a third of what a start costs.

    What a process loads does not become garbage, however often it is looked through.
    """
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def settle() -> None:
    """Keep all that is there now out of every later collection.

    To be called once a process has loaded what it needs.
    """
    gc.collect()
    gc.freeze()


def leave() -> None:
    """Collect nothing for now: what a crowd of requests begins lives on, and is looked through for nothing."""
    gc.disable()


def tend() -> None:
    """Collect as ever."""
    gc.enable()
