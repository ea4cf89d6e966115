"""A disk that is full: no file of this process can grow beyond a size."""

import contextlib
import resource
import signal
import time
from collections.abc import Iterator

import fault_costs


@contextlib.contextmanager
def no_file_above(largest_bytes: int) -> Iterator[None]:
    """Makes each write of the block beyond this size of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, before[1]))
    begin = time.monotonic()
    try:
        yield
    finally:
        fault_costs.seconds_to_end.append(time.monotonic() - begin)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
