"""Learned tasks as they are served: examples in, fits running, predictions out."""
