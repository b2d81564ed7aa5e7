"""What may be embedded: text of a stated size that is not blank. Checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import ErrorType, ServiceError
from service.schemas import Text


def check_inputs(inputs: Sequence[Text], max_inputs: int, max_characters: int) -> None:
    """Raise ServiceError for the first input that cannot be embedded."""
    if len(inputs) > max_inputs:
        raise ServiceError(
            ErrorType.too_many_inputs, f"expected at most {max_inputs} inputs, got {len(inputs)}", "inputs"
        )
    for i, text in enumerate(inputs):
        _check_text(text, f"inputs[{i}]")
        num_characters = len(text) if isinstance(text, str) else sum(map(len, text))
        if num_characters > max_characters:
            message = f"expected at most {max_characters} characters, got {num_characters}"
            raise ServiceError(ErrorType.input_too_long, message, f"inputs[{i}]")


def _check_text(text: Text, where: str) -> None:
    if not text:
        came = "an empty string" if isinstance(text, str) else "an empty list"
        raise ServiceError(ErrorType.invalid_request, f"expected at least one word, got {came}", where)
    if isinstance(text, str):
        if text.isspace():
            raise ServiceError(ErrorType.invalid_request, "expected text, got white space alone", where)
    elif "" in text:
        place = f"{where}[{text.index('')}]"
        raise ServiceError(ErrorType.invalid_request, "expected a word, got an empty string", place)
