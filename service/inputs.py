"""What may be embedded: text of a stated size that is not blank, and spans within it. Checked before any work
is done."""

from __future__ import annotations

from collections.abc import Sequence

from service.body import show
from service.errors import ErrorType, ServiceError
from service.schemas import Spans, Text


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


def check_spans(spans: Sequence[Spans], inputs: Sequence[Text]) -> None:
    """Raise ServiceError for the first span that is not within its input, which has to be a string."""
    if len(spans) != len(inputs):
        message = f"expected a list of spans for each of the {len(inputs)} inputs, got {len(spans)}"
        raise ServiceError(ErrorType.invalid_request, message, "spans")
    for i, (spans_of_text, text) in enumerate(zip(spans, inputs, strict=True)):
        if not isinstance(text, str):
            message = (
                "expected spans of strings, got a list of words; its words get a row each with pool: word"
            )
            raise ServiceError(ErrorType.invalid_request, message, f"inputs[{i}]")
        for j, span in enumerate(spans_of_text):
            _check_span(span, len(text), f"spans[{i}][{j}]")


def _check_span(span: Sequence[int], num_characters: int, where: str) -> None:
    if len(span) != 2:
        message = f"expected [start, end], got a list of {len(span)}"
        raise ServiceError(ErrorType.invalid_request, message, where)
    start, end = span
    if not 0 <= start < end <= num_characters:
        message = (
            f"expected a start before its end, both from 0 to {num_characters}, which is the length of the "
            f"input, got [{_digits(start)}, {_digits(end)}]"
        )
        raise ServiceError(ErrorType.invalid_request, message, where)


def _digits(number: int) -> str:
    return show(number).removeprefix("the number ")
