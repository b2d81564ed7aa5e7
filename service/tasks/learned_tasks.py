"""The tasks that a server has learned or was given: kept in the store, ready in memory, the same in every
process. What goes wrong is told as ServiceError.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from model.tasks.task import Task
from service.body import show
from service.errors import ErrorType, ServiceError
from service.mixes import Mix
from service.task_store.records import Fit, NewTask, StoredTask, StoreUnavailable, TaskSummary, task_name
from service.task_store.store import TaskStore
from service.tasks.cache import TaskCache

RETRY_AFTER_S = 2


class LearnedTasks:
    """Also the MixStore of the routes that embed."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self._cache = TaskCache(store, _parsed)

    async def find(self, name: str) -> Task | None:
        """Return the task that a request names, None when there is none."""
        async with store_errors():
            return await self._cache.find(task_name(name)) if _is_name(name) else None

    async def get(self, name: str) -> Task:
        """Return the task of a path. Raises ServiceError when there is none."""
        task = await self.find(name)
        if task is None:
            raise task_not_found(name)
        return task

    async def mix(self, model_sha256: str, name: str) -> Mix:
        """Return the mix that a task has learned on this model."""
        task = await self.find(name)
        if task is None:
            message = f"expected the name of a task, got {show(name)}: GET /v1/tasks lists them"
            raise ServiceError(ErrorType.unknown_task, message)
        if task.model_sha256 != model_sha256:
            raise wrong_model(task)
        return mix_of(task)

    async def document(self, name: str) -> str:
        """Return the document of a path's task, as it is kept."""
        async with store_errors():
            stored = await self.store.run(self.store.get, task_name(name)) if _is_name(name) else None
        if stored is None:
            raise task_not_found(name)
        return stored.document

    async def summaries(self) -> list[TaskSummary]:
        async with store_errors():
            return await self.store.run(self.store.summaries)

    async def put(self, task: Task) -> TaskSummary:
        async with store_errors():
            summary = await self.store.run(self.store.put, new_task(task))
        self.forget(task.name)
        return summary

    async def delete(self, name: str) -> None:
        """Raises ServiceError when there is no such task."""
        async with store_errors():
            deleted = _is_name(name) and await self.store.run(self.store.delete, task_name(name))
        if not deleted:
            raise task_not_found(name)
        self.forget(task_name(name))

    async def fit(self, name: str) -> Fit:
        """Return the last fit of a path's name. Raises ServiceError when there is none."""
        async with store_errors():
            fit = await self.store.run(self.store.fit, task_name(name)) if _is_name(name) else None
        if fit is None:
            message = f"expected the name of a fit, got {show(name)}: POST begins one"
            raise ServiceError(ErrorType.fit_not_found, message)
        return fit

    async def cancel_fit(self, name: str) -> Fit:
        """Ask the live fit of a path's name to stop, and return it. Raises ServiceError when none is live."""
        fit = await self.fit(name)
        async with store_errors():
            asked = await self.store.run(self.store.request_cancel, fit.name)
        if not asked:
            message = f"expected a fit that runs, got one that is {fit.state.value}"
            raise ServiceError(ErrorType.fit_not_found, message)
        return await self.fit(name)

    def forget(self, name: str) -> None:
        """See at once what this process has changed."""
        self._cache.forget(name)


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Turn what the store raises into what a client may read."""
    try:
        yield
    except StoreUnavailable as error:
        raise store_away() from error


def store_away() -> ServiceError:
    return ServiceError(
        ErrorType.store_unavailable,
        "the store of tasks cannot be asked now; requests without a task are answered",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def mix_of(task: Task) -> Mix:
    return Mix(tuple(task.weights.tolist()), task.gamma)


def task_not_found(name: str) -> ServiceError:
    message = f"expected the name of a task, got {show(name)}: GET /v1/tasks lists them"
    return ServiceError(ErrorType.task_not_found, message)


def wrong_model(task: Task, where: str | None = None) -> ServiceError:
    message = (
        f"expected the model that the task was learned on, {show(task.model)} of "
        f"sha256 {task.model_sha256[:12]}..., got another"
    )
    return ServiceError(ErrorType.wrong_model, message, where)


def path_name(name: str) -> str:
    """Return the name under which a path's task will be kept. Raises ServiceError when it cannot be one."""
    try:
        return task_name(name)
    except ValueError as error:
        raise ServiceError(ErrorType.invalid_request, str(error), "name") from None


def _is_name(name: str) -> bool:
    try:
        task_name(name)
    except ValueError:
        return False
    return True


def _parsed(stored: StoredTask) -> Task:
    return Task.from_document(json.loads(stored.document))


def new_task(task: Task) -> NewTask:
    """Return the task as the store keeps it."""
    summary = {
        "weights": task.weights.tolist(),
        "gamma": task.gamma,
        "num_labels": len(task.labels),
        "verdict": None if task.report is None else task.report.verdict,
    }
    document = json.dumps(task.to_document(), ensure_ascii=False)
    return NewTask(
        task.name, task.kind, task.model, task.model_sha256, document, json.dumps(summary, ensure_ascii=False)
    )


class TaskModel(Protocol):
    """What must be known of a model to tell whether a task is of it; an Embedder knows more."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def dimension(self) -> int: ...


def uploaded_task(document: Any, name: str, served: Sequence[TaskModel]) -> Task:
    """Return the task of an uploaded document, for the path's name.

    What a document of a mix alone may leave out: name; gamma; model_sha256 and model, which are then those of
    the named model, or of the only one that is served. Raises ServiceError naming the field.
    """
    by_name = {each.name: each for each in served}
    if not isinstance(document, dict):
        raise ServiceError(ErrorType.invalid_request, f"expected an object, got {show(document)}")
    filled = {"name": name, "gamma": 1.0, **document}
    if "model_sha256" not in filled:
        named = filled.get("model", served[0].name if len(served) == 1 else None)
        model = by_name.get(named) if isinstance(named, str) else None
        if model is None:
            expected = " or ".join(map(show, by_name))
            message = f"expected {expected}, got {show(filled.get('model'))}"
            raise ServiceError(ErrorType.unknown_model, message, "model")
        filled.update(model=model.name, model_sha256=model.sha256)
    try:
        task = Task.from_document(filled)
        given = task_name(task.name)
    except ValueError as error:
        where, colon, message = str(error).partition(": ")
        if not colon or " " in where:
            where, message = "", str(error)
        raise ServiceError(ErrorType.invalid_request, message, where or None) from None
    if given != name:
        message = f"expected the name of the path, {show(name)}, got {show(task.name)}"
        raise ServiceError(ErrorType.invalid_request, message, "name")
    _check_fits(task, served)
    return replace(task, name=name)


def _check_fits(task: Task, served: Sequence[TaskModel]) -> None:
    """Raise ServiceError unless the task's model is served, and the task has its sizes."""
    of_model = [each for each in served if each.sha256 == task.model_sha256]
    if not of_model:
        raise wrong_model(task, "model_sha256")
    model = of_model[0]
    if len(task.scalars) != model.num_layers:
        message = f"expected {model.num_layers} numbers, one for each layer, got {len(task.scalars)}"
        raise ServiceError(ErrorType.invalid_request, message, "scalars")
    if task.dimension not in (None, model.dimension):
        message = f"expected one for vectors of {model.dimension}, got one for {task.dimension}"
        raise ServiceError(ErrorType.invalid_request, message, "head")
