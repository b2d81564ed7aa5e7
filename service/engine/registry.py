"""The models that one server holds, by name, and the threads that work for their requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model.bundle import BundleError
from model.files import Precision
from service.body import show
from service.engine.backend import Backend
from service.engine.cpu import usable_cpus
from service.engine.embedder import Embedder
from service.engine.observer import EngineObserver, Unobserved
from service.engine.text_lanes import TextLanes
from service.errors import ErrorType, ServiceError
from service.memory import Memory
from service.settings import Settings

OpenBackend = Callable[[Path, int, Precision], Backend]
"""Takes a bundle's folder, the number of compute threads, and the precision."""


class Registry:
    """Empty until `open`; then one embedder for each bundle of the settings."""

    def __init__(
        self,
        settings: Settings,
        open_backend: OpenBackend,
        observer_of: Callable[[str], EngineObserver] = lambda _: Unobserved(),
    ) -> None:
        """observer_of: who hears of the engine of the model with this name."""
        self.settings = settings
        self.memory = Memory(settings.held_bytes)
        self.num_threads = settings.threads or max(1, usable_cpus() // settings.workers)
        # What they do holds the interpreter's lock nearly all the time: more threads would not help. Those
        # that write replies are others than those that tokenize: under overload hundreds of requests wait to
        # be tokenized, only to be refused, and what is computed already should not wait behind them.
        self.workers = ThreadPoolExecutor(self.num_threads, thread_name_prefix="polyseme-worker")
        self.texts = TextLanes(self.num_threads, settings.queue_tokens)
        self._open_backend = open_backend
        self._observer_of = observer_of
        self._embedders: dict[str, Embedder] = {}
        self.opened_s = 0  # since 1970; when the bundles were loaded

    @property
    def names(self) -> list[str]:
        """The models, in the order of the settings."""
        return list(self._embedders)

    @property
    def embedders(self) -> list[Embedder]:
        """The models, whether they can take work or not."""
        return list(self._embedders.values())

    @property
    def is_ready(self) -> bool:
        """Whether every model is loaded and its engine takes work."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why requests should go elsewhere, in words; None when they need not."""
        if not self._embedders:
            return "the server is starting"
        lost = [name for name, embedder in self._embedders.items() if not embedder.is_alive]
        return f"the engine of {' and '.join(map(json.dumps, lost))} is lost or hangs" if lost else None

    def open(self) -> None:
        """Load every bundle. Raises BundleError."""
        self.opened_s = int(time.time())
        for folder in self.settings.bundle:
            backend = self._open_backend(folder, self.num_threads, self.settings.precision)
            if backend.name in self._embedders:
                raise BundleError(
                    f"{folder}: expected another name than {show(backend.name)}: it is served already"
                )
            observer = self._observer_of(backend.name)
            self._embedders[backend.name] = Embedder(backend, self.settings, self.texts, observer)

    def close(self) -> None:
        """Finish what waits, then end every thread."""
        for embedder in self._embedders.values():
            embedder.close()
        self.texts.shutdown()
        self.workers.shutdown()

    def embedder(self, name: str | None) -> Embedder:
        """Return the model that a request names. Raises ServiceError; no name is needed when there is one."""
        if (trouble := self.trouble) is not None:
            raise ServiceError(ErrorType.not_ready, trouble)
        if name is None and len(self._embedders) == 1:
            return next(iter(self._embedders.values()))
        if name in self._embedders:
            return self._embedders[name]
        expected = " or ".join(map(json.dumps, self._embedders))
        raise ServiceError(ErrorType.unknown_model, f"expected {expected}, got {show(name)}", "model")
