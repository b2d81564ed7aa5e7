"""Settings of the test libraries, for every test."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No deadline for one example: how fast something is, is measured in tests/benchmarks, and on a busy machine a
# limit of 200 ms fails at random.
settings.register_profile("polyseme", deadline=None)
settings.load_profile("polyseme")

# Read when the libraries are loaded, here and in the processes that tests start. Arrays as small as these
# gain nothing from more threads, and processes that run side by side wait for each other's.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# As model/sessions.py says; some tests import onnxruntime before it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# What a shell starts in the background, or under nohup, ignores these signals, and so does all that it
# starts. Tests send them, and are to mean the same there.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
