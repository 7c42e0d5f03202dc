"""Work that threads do ahead of where it is used, its results in order."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def mapped(
    function: Callable[[Given], Made], items: Iterable[Given], workers: int
) -> Iterator[Made]:
    """Yields `function(item)` for each item, in the items' order.

    At most twice as many items as workers are taken from `items` before their results are used.
    What `function` raises is raised in its place, and nothing after it is done.

    Args:
      function: called by several threads at once.
      items: taken by the caller's thread.
      workers: how many threads.
    """
    pool, waiting = ThreadPoolExecutor(workers), collections.deque[Future[Made]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def begin(*work: Callable[[], object]) -> None:
    """Does work in a thread, one after another, for those who will need it and then wait for it.

    Nothing is said of what goes wrong, which is met again where the work is needed.
    """
    pool = ThreadPoolExecutor(1)
    for part in work:
        pool.submit(part)
    pool.shutdown(wait=False)
