"""One BLAS thread while tasks are learned, in the whole process; onnxruntime has threads of its own.

BLAS takes as many threads as the host has cores, whatever the container's quota is, and a fit is many small
products, for which two threads wait for each other: on two idle cores they gained nothing (20,000 examples:
3.9 s, with one 3.8 s), beside another process 5,000 examples of 50 labels took over 200 s instead of 14.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_num_fits = 0
_limits: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS from the first of several fits at a time to the end of the last."""
    # Not at import: a server that fits nothing does without. scipy brings a BLAS of its own, which must be
    # loaded to be told.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    global _num_fits, _limits
    with _lock:
        if _num_fits == 0:
            _limits = threadpool_limits(1, user_api="blas")
        _num_fits += 1
    try:
        yield
    finally:
        with _lock:
            _num_fits -= 1
            if _num_fits == 0:
                _limits.restore_original_limits()
                _limits = None
