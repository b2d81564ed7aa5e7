"""The two kinds of context encoder behind one call: a graph with both directions, and one that takes either.

Shape letters: T tokens, B sentences, D token-vector dim, H hidden (D = H; of a state:
`Architecture.state_shape`), L layers of a reply, S parts of a layer's state, R recurrent layers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.sessions import open_session

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Mix = Mapping[str, npt.NDArray[Any]]
"""The inputs layer_weights, gamma and with_layers."""


class BothDirections:
    """The graph of `model.context_graph`: all threads on one operator after the other."""

    def __init__(self, path: Path, num_threads: int) -> None:
        """Raises BundleError when onnxruntime cannot use the graph."""
        self._session = open_session(path, num_threads)

    def run(
        self,
        output: str,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        mix: Mix,
    ) -> tuple[Floats, Floats]:
        """Return the output, `mixed` or `layers` (..., T, B, 2H), and the state."""
        feeds = {
            "forward_vectors": forward_TBD,
            "backward_vectors": backward_TBD,
            "lengths": lengths_B,
            "initial_state": state_SR2BH,
            **mix,
        }
        vectors, state = self._session.run([output, "final_state"], feeds)
        return vectors, state


class EachDirection:
    """The graph of `model.direction_graph`: the directions at once, each in a run and a thread of its own."""

    def __init__(self, path: Path, num_threads: int) -> None:
        """Raises BundleError when onnxruntime cannot use the graph."""
        # The two threads that call take part in onnxruntime's own work, and share what it has beside them.
        self._session = open_session(path, max(1, num_threads - 1))
        self._at_once = num_threads > 1

    def run(
        self,
        output: str,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        mix: Mix,
    ) -> tuple[Floats, Floats]:
        """As `BothDirections.run`."""

        def direction(vectors_TBD: Floats, is_backward: bool) -> list[Floats]:
            feeds = {
                "vectors": vectors_TBD,
                "lengths": lengths_B,
                "initial_state": np.ascontiguousarray(state_SR2BH[0, :, int(is_backward)]),
                "backward": np.array(is_backward),
                **mix,
            }
            return self._session.run([output, "final_state"], feeds)  # type: ignore[no-any-return]

        if self._at_once:
            waiting = _start(lambda: direction(backward_TBD, True))
            forward, backward = direction(forward_TBD, False), waiting.result()
        else:
            forward, backward = direction(forward_TBD, False), direction(backward_TBD, True)
        vectors = np.concatenate([forward[0], backward[0]], axis=-1)
        return vectors, np.stack([forward[1], backward[1]], axis=1)[None]


def _start(call: Callable[[], list[Floats]]) -> Future[list[Floats]]:
    """Begin a call on a thread of its own. It is a daemon, as a pool's would not be: one that hangs must not
    keep the process from ending."""
    future: Future[list[Floats]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # for the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="polyseme-backward", daemon=True).start()
    return future
