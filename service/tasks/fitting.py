"""How a task is learned from examples, by the server and by `polyseme fit` alike: features first, then the
optimisation. It blocks, for seconds to minutes; each fit has a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from model.tasks.examples import Examples as FeatureExamples
from model.tasks.task import Task
from model.tasks.watch import Cancelled
from service.engine.backend import Floats
from service.tasks.examples import Examples
from service.tasks.fit_features import Allocate, Engine, pooled_features

EMBEDDING_SHARE = 0.8
"""Of the progress. The optimisation takes a fifth of the whole with thousands of sentences."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """One fit. `report` is told the progress, 0 to 1, and what is being done; num_threads share the
    optimisation."""

    name: str
    engine: Engine
    allocate: Allocate
    report: Callable[[float, str], None]
    num_threads: int
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def run(self, examples: Examples, dev: Examples | None = None) -> Task:
        """Return the task. dev: what it is judged on, instead of a part of the examples.

        Raises ServiceError with the place of an example that cannot be embedded, ValueError when there is too
        little to learn from, Cancelled.
        """
        from model.tasks.fit import fit  # scipy, which a server that fits nothing does without

        num_dev = 0 if dev is None else len(dev.items)
        train_share = EMBEDDING_SHARE * len(examples.items) / (len(examples.items) + num_dev)
        features_NCD = self._features(examples, 0.0, train_share)
        judged = None
        if dev is not None:
            dev_NCD = self._features(dev, train_share, EMBEDDING_SHARE)
            judged = FeatureExamples(dev_NCD, dev.labels, dev.words)
        self.engine.share.begin()
        fitted = fit(
            examples.kind,
            features_NCD,
            examples.labels,
            examples.words,
            groups=examples.groups,
            dev=judged,
            num_threads=self.num_threads,
            progress=lambda share: self.report(
                EMBEDDING_SHARE + (1 - EMBEDDING_SHARE) * share, "learning the mix and the head"
            ),
            cancelled=self._is_cancelled,
        )
        embedder = self.engine.embedder
        return fitted.task(self.name, embedder.name, embedder.sha256)

    def _features(self, examples: Examples, start: float, end: float) -> Floats:
        def progress(share: float, num_done: int) -> None:
            message = f"embedding: {num_done:,} of {len(examples.items):,} examples"
            self.report(start + (end - start) * share, message)
            if self.engine.is_cancelled():
                raise Cancelled

        return pooled_features(examples, self.engine, self.allocate, progress)

    def _is_cancelled(self) -> bool:
        """Asked many times a second while it computes: the moment to rest, for all threads at once."""
        with self._asking:
            self.engine.share.rest()
        return self.engine.is_cancelled()
