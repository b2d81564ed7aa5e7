"""A store whose mixes a test has written down."""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import ErrorType, ServiceError
from service.mixes import Mix


class GivenMixes:
    """Mixes by their names, all learned on one model."""

    def __init__(self, model_sha256: str, mixes: Mapping[str, Mix]) -> None:
        self._model_sha256 = model_sha256
        self._mixes = mixes

    async def mix(self, model_sha256: str, name: str) -> Mix:
        if name not in self._mixes:
            raise ServiceError(ErrorType.unknown_task, "expected a task that was given, got another")
        if model_sha256 != self._model_sha256:
            raise ServiceError(ErrorType.wrong_model, "expected the model of the task, got another")
        return self._mixes[name]
