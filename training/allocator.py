"""How the C library hands out memory, for a process that needs the same large buffers in every step."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters in <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next step, instead of giving it back to the kernel.

    Every step of training allocates and frees the same gigabyte. By default its large buffers are mapped anew
    each time, and the kernel clears each page again: an eighth of the step (training/LOG.md, 2026-11-20).
    Does nothing on other C libraries.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
