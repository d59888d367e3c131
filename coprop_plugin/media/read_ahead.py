"""Items of an iterator, got by a thread before they are asked for."""

import threading
from collections.abc import Generator, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1
_BYTES_AHEAD = 16 * 2**20


def most_ahead(item_bytes: int) -> int:
    """Return how many items of a size may wait: four, fewer large ones, at least one.

    Example:
        >>> most_ahead(3 * 360 * 640), most_ahead(3 * 1080 * 1920)
        (4, 2)
    """
    return max(1, min(4, _BYTES_AHEAD // item_bytes))


def read_ahead(items: Iterator[Item], most: int = 4) -> Generator[Item, None, None]:
    """Yield the items of an iterator, which a thread gets while earlier ones are used.

    The iterator runs in that thread only. It has ended, and is closed if it is a generator, when
    this one is closed or exhausted.

    Args:
        items: The iterator, e.g. of decoded frames.
        most: Most items that wait, which bounds memory.

    Raises:
        BaseException: What the iterator raises, after the items before it.

    Example:
        >>> list(read_ahead(iter("abc")))
        ['a', 'b', 'c']
    """
    waiting: Queue[tuple[Item] | BaseException | None] = Queue(most)
    closed = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(items, waiting, closed), daemon=True, name="coprop-read-ahead"
    )
    thread.start()
    try:
        while (got := waiting.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:
        closed.set()
        _empty(waiting)
        thread.join()


def _fill(
    items: Iterator[Item],
    waiting: "Queue[tuple[Item] | BaseException | None]",
    closed: threading.Event,
) -> None:
    def hand_over(got: tuple[Item] | BaseException | None) -> None:
        while not closed.is_set():
            try:
                return waiting.put(got, timeout=_POLL_S)
            except Full:
                continue

    try:
        for item in items:
            hand_over((item,))
            if closed.is_set():
                break
        if isinstance(items, Generator):
            items.close()
    except BaseException as error:
        hand_over(error)
    else:
        hand_over(None)


def _empty(waiting: "Queue[tuple[Item] | BaseException | None]") -> None:
    # A thread that waits for room goes on at once.
    try:
        while True:
            waiting.get_nowait()
    except Empty:
        return
