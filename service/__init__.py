"""Polyseme's service: bundles served over HTTP. Imports model/, never training/, torch or onnx."""
