"""Ctrl-C, and its relatives from a batch system or a closed terminal, end a command at once and cleanly."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TypeVar

from texfilters.cli import atomic
from texfilters.cli.messages import say

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Around a command that writes files; its threads must not be waited for with `with` or `join`."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each in before:  # nothing must break into the cleaning up
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    # A signal that the caller has silenced, as nohup does, stays silenced.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except BaseException:  # the interrupt, or what came of it on a terminal that is gone
        if not received:
            raise
        atomic.abandon()
        with contextlib.suppress(OSError):
            say("texfilters: interrupted", error=True)
            sys.stdout.flush()
        # The ordinary way out would wait until every thread has finished its image.
        os._exit(128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def aside(function: Callable[[], T]) -> T:
    """Call a function in another thread, so that this one hears a signal while a kernel is computing."""
    executor = ThreadPoolExecutor(1)
    result = executor.submit(function).result()
    executor.shutdown()  # not after a signal, for which the function would have to end; else no fork meets the thread
    return result
