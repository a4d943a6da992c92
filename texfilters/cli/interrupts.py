"""Ctrl-C, and its relatives from a batch system or a closed terminal, end a command at once and cleanly."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TypeVar

from texfilters.cli import atomic
from texfilters.cli.messages import say

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Around a command that writes files; its threads must not be waited for with `with` or `join`."""
    received: list[int] = []
    since = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal since
        received.append(number)
        # Nothing must break into the cleaning up, but for a user who has waited for it in vain.
        if len(received) == 1 or time.monotonic() - since > _PATIENCE:
            since = time.monotonic()
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
        for number in before:
            signal.signal(number, signal.SIG_IGN)
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
