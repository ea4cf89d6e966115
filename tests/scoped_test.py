import threading

import pytest

from clef_jax.scoped import Scoped


def test_the_innermost_block_counts_and_an_error_ends_its_block():
    value = Scoped[int]("value", 0)
    with value.use(1):
        with pytest.raises(ZeroDivisionError), value.use(2):
            _ = 1 // (value.get() - 2)
        assert value.get() == 1
    assert value.get() == 0


def test_another_thread_has_its_own_value():
    value = Scoped[int]("value", 0)
    seen = []
    with value.use(1):
        thread = threading.Thread(target=lambda: seen.append(value.get()))
        thread.start()
        thread.join()
    assert seen == [0]
