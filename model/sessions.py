"""ONNX Runtime sessions as a bundle's graphs need them."""

from __future__ import annotations

import os
from pathlib import Path

# Since 1.29 onnxruntime reports names, times and errors to its makers: importing it writes an identifier of
# the machine and starts the upload. What runs here is no one's business; who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from model.bundle import BundleError

# What onnxruntime raises for a file it cannot use; these have no common base but Exception.
_LOAD_ERRORS = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NoSuchFile,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)


def open_session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """Raises BundleError when onnxruntime cannot use the graph.

    Measured with 2 x LSTM(512) and two threads on two cores, ratios within one run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are about graphs, which are ours
    # One operator after the other, each on all threads: forward and backward side by side (ORT_PARALLEL, two
    # inter-op threads) takes twice as long, for one sentence as for 32.
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = num_threads
    # Threads wait for each other in a loop during a run: sleeping takes 1.5 times as long for one sentence.
    # But they stop with the run: three sessions whose threads go on spinning take each other's cores (2.6
    # times as long for one sentence, a MatMul at half its rate).
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Batches have many shapes, and a memory pattern is kept for each. The arena grows by doubling: after 60
    # batches of 2,048 tokens the process had 203 MB, with arena_extend_strategy=kSameAsRequested 282 MB.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        raise BundleError(f"{path}: expected a graph that onnxruntime can run: {error}") from error
