"""Threads of NumPy's and SciPy's matrix products.

The threads of one product wait for each other, so that products of a few million multiplications
take many times as long as with one thread, above all where other programs use the processors.
"""

import contextlib
import functools

import threadpoolctl

SMALL = 2**26
"""Number of multiplications below which a product takes a few milliseconds with one thread."""


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def threads_for(num_multiplications: int) -> contextlib.AbstractContextManager:
    """Returns a context in which products that are this large have a suitable number of threads.

    Small products have one; others have as many as the library chooses.
    """
    if num_multiplications >= SMALL:
        return contextlib.nullcontext()
    return _libraries().limit(limits=1)
