import os

# As model/sessions.py has it, for benchmarks that import onnxruntime themselves.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
