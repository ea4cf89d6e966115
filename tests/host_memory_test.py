import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from clef_jax.host_memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_page_faults(mode: str) -> int:
    """Of five arrays of 64 MB, allocated and freed one after the other."""
    command = [sys.executable, "-c", PROGRAM, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_memory_that_was_freed_is_not_mapped_again():
    # Pages may be of 4 KB or, where the system uses huge ones, of 2 MB: 160 faults at the least.
    assert count_page_faults("keep") < 20
    assert count_page_faults("default") > 100
