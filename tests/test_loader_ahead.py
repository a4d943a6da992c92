"""The batch that DeviceLoader asks for while the one before is in use."""

import contextlib
import gc
import traceback
import weakref

import pytest
import torch

from texfilters import loader as module


class Fails:
    """Counts from 0, and fails at the numbers given."""

    def __init__(self, end, *bad):
        self.i, self.end, self.bad = -1, end, bad

    def __iter__(self):
        return self

    def __next__(self):
        self.i += 1
        if self.i >= self.end:
            raise StopIteration
        if self.i in self.bad:
            raise ValueError(f"no number {self.i}")
        return self.i


class TestOneAhead:
    def test_the_next_one_is_asked_for_first(self):
        items = Fails(3)
        ahead = module._OneAhead(items)
        assert items.i == -1  # nothing before the first is wanted
        assert [(item, items.i) for item in ahead] == [(0, 1), (1, 2), (2, 3)]
        assert next(ahead, "still the end") == "still the end"

    def test_none(self):
        assert list(module._OneAhead(iter([]))) == []

    def test_an_error_waits_for_its_turn(self):
        ahead = module._OneAhead(Fails(5, 1, 4))
        assert next(ahead) == 0
        with pytest.raises(ValueError, match="no number 1") as caught:
            next(ahead)
        assert traceback.extract_tb(caught.tb)[-1].name == "__next__"
        assert traceback.extract_tb(caught.tb)[-1].line == 'raise ValueError(f"no number {self.i}")'
        assert [next(ahead), next(ahead)] == [2, 3]  # as from the iterator itself, which goes on
        with pytest.raises(ValueError, match="no number 4"):
            next(ahead)
        assert list(ahead) == []

    def test_the_first_may_fail(self):
        ahead = module._OneAhead(Fails(2, 0))
        with pytest.raises(ValueError, match="no number 0"):
            next(ahead)
        assert list(ahead) == [1]

    def test_an_interrupt_is_not_kept_back(self):
        def items():
            yield 1
            raise KeyboardInterrupt

        ahead = module._OneAhead(items())
        with pytest.raises(KeyboardInterrupt):
            next(ahead)

    def test_an_interrupt_loses_nothing_that_was_there(self):
        class Interrupted(Fails):
            def __next__(self):
                try:
                    return super().__next__()
                except ValueError:
                    raise KeyboardInterrupt from None

        ahead = module._OneAhead(Interrupted(4, 2))
        assert next(ahead) == 0
        with pytest.raises(KeyboardInterrupt):  # instead of 2, when 1 is at hand
            next(ahead)
        assert list(ahead) == [1, 3]

    def test_what_was_given_out_is_not_held(self):
        ahead = module._OneAhead(torch.zeros(1) for _ in range(3))
        for _ in range(3):
            item = weakref.ref(next(ahead))
            assert item() is None

    def test_it_keeps_nothing_alive_once_it_is_dropped(self):
        """Nor leaves it to the garbage collector: what is dropped may own workers and memory on the GPU."""
        gc.disable()
        try:
            for bad in (0, 1, 5):
                items = Fails(3, bad)
                ahead = module._OneAhead(items)
                with contextlib.suppress(ValueError):
                    next(ahead)
                alive = weakref.ref(items)
                del items, ahead
                assert alive() is None
        finally:
            gc.enable()
