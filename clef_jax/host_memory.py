"""How the C library treats large blocks that are freed.

A training step on CPU allocates and frees its temporary arrays as one block, a gigabyte at 64 pairs
of the small encoder. By default glibc returns such a block to the system, which then has to clear
and map every page again in the next step: more than half of the step's time on a virtual machine.
"""

import ctypes
import platform

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_NEVER = -1


def keep_freed_memory() -> bool:
    """Lets this process keep freed blocks and use them again; True where it took effect.

    For the commands to call before they compute on CPU, never on import: the process's memory then
    stays at its peak until it ends. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena, because only the first one can grow without mmap.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
