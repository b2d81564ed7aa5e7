"""`polyseme fit`: learn a task from a file, with the code that the server learns with."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import numpy as np

from model.tasks.task import Task
from service.commands.store import open_to_read, open_to_write, target_of
from service.engine.backend import Floats, open_backend
from service.engine.fair_share import FairShare
from service.engine.registry import Registry
from service.errors import ServiceError
from service.settings import Settings
from service.task_store.records import task_name
from service.tasks.example_files import located, read_examples
from service.tasks.examples import Examples
from service.tasks.fit_features import Engine
from service.tasks.fitting import Fitting
from service.tasks.learned_tasks import new_task
from service.tasks.report_table import report_table

BAR_CHARACTERS = 30
STEP_WITHOUT_TERMINAL = 0.1


class FitError(ValueError):
    """One line for the user."""


def fit_from_file(given: argparse.Namespace, settings: Settings) -> None:
    """Learn the task, show its report and keep it. Raises FitError, FileError, Refusal,
    BundleError, OSError.
    """
    try:
        name = task_name(given.name)
    except ValueError as error:
        raise FitError(f"NAME: {error}") from None
    train = read_examples(given.train, given.kind, given.column)
    dev = None if given.dev is None else read_examples(given.dev, given.kind, given.column)
    try:
        train.check()
    except ServiceError as error:
        raise FitError(f"{given.train}: {error.message}") from None
    if dev is not None and not dev.items:
        raise FitError(f"{given.dev}: expected at least one example, got none")
    if len(settings.bundle) != 1:
        raise FitError(f"--bundle: expected one folder, got {len(settings.bundle)}")
    if given.out is None:
        with open_to_read(target_of(settings)) as kept:  # now, and not only when all has been learned
            if kept is not None:
                kept.version(name)
    with tempfile.TemporaryDirectory(prefix="polyseme-fit-") as folder:
        try:
            task = _learned(name, settings, train, dev, _on_disk(Path(folder)), ProgressBar(sys.stderr))
        except ServiceError as error:
            raise located(error) from None
        except ValueError as error:
            raise FitError(f"{given.train}: {error}") from None
    assert task.report is not None
    print(report_table(task.report), file=sys.stderr)
    _keep(task, given.out, settings)


def _learned(
    name: str,
    settings: Settings,
    train: Examples,
    dev: Examples | None,
    allocate: Callable[[tuple[int, int, int]], Floats],
    report: Callable[[float, str], None],
) -> Task:
    registry = Registry(settings, open_backend)
    registry.open()
    is_cancelled = threading.Event()

    async def run() -> Task:
        loop = asyncio.get_running_loop()
        share = FairShare(lambda: False, is_cancelled.is_set)
        engine = Engine(registry.embedder(None), loop, share, is_cancelled.is_set)
        fitting = Fitting(name, engine, allocate, report, registry.num_threads)
        with ThreadPoolExecutor(1) as thread:
            try:
                return await loop.run_in_executor(thread, fitting.run, train, dev)
            finally:  # also after Ctrl-C: the thread is waited for
                is_cancelled.set()

    try:
        return asyncio.run(run())
    finally:
        registry.close()


def _on_disk(folder: Path) -> Callable[[tuple[int, int, int]], Floats]:
    """Features of a whole treebank are gigabytes: they are kept in files, which memory is borrowed for."""
    numbers = iter(range(2))

    def allocate(shape: tuple[int, int, int]) -> Floats:
        return np.memmap(folder / str(next(numbers)), dtype=np.float32, mode="w+", shape=shape)

    return allocate


def _keep(task: Task, out: Path | None, settings: Settings) -> None:
    if out is not None:
        out.write_text(json.dumps(task.to_document(), ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written to {out}: PUT it to /v1/tasks/{task.name}", file=sys.stderr)
        return
    with open_to_write(target_of(settings)) as store:
        store.put(new_task(task))
        print(f"kept as {task.name} in {store.target}", file=sys.stderr)


class ProgressBar:
    """A line that is written over on a terminal, and elsewhere one line for each tenth."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._shown = -1.0

    def __call__(self, progress: float, message: str) -> None:
        if self._is_terminal:
            filled = "#" * round(progress * BAR_CHARACTERS)
            end = "\n" if progress == 1 else ""
            bar = f"[{filled:{BAR_CHARACTERS}}] {progress:4.0%} {message}"
            print(f"\r\x1b[K{bar}", end=end, file=self._out, flush=True)
        elif progress >= self._shown + STEP_WITHOUT_TERMINAL or progress == 1 > self._shown:
            self._shown = progress
            print(f"{progress:4.0%} {message}", file=self._out, flush=True)
