"""What each event loop has of its own."""

import asyncio
import threading

from kit import loops


def test_each_loop_has_its_own_and_always_the_same() -> None:
    own: loops.Own[list[int]] = loops.Own(list)

    async def twice() -> tuple[list[int], list[int]]:
        return own.here(), own.here()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        first, again = one.run(twice())
        second, _ = other.run(twice())
        third, _ = one.run(twice())

    assert first is again
    assert first is third
    assert first is not second


def test_loops_of_several_threads_do_not_get_each_others() -> None:
    own: loops.Own[set[int]] = loops.Own(set)
    seen: list[set[int]] = []

    async def look() -> None:
        for _ in range(2_000):
            own.here().add(threading.get_ident())
            await asyncio.sleep(0)
        seen.append(own.here())

    threads = [threading.Thread(target=lambda: asyncio.run(look())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(of_thread) for of_thread in seen] == [1, 1, 1]
