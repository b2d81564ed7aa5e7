"""Means against numpy, and errors in the words of another API."""

from __future__ import annotations

import numpy as np
import pytest

from model.tokenizer import Tokenized
from service.errors import ErrorType, ServiceError
from service.foreign_texts import Texts, mean_vectors, visible_vectors


def tokenized(*visible: bool) -> Tokenized:
    """Return tokens of which only this matters."""
    n = len(visible)
    return Tokenized(["a"] * n, [0] * n, list(range(n)), list(range(1, n + 1)), None, list(visible))


def test_a_mean_is_over_what_is_shown() -> None:
    random = np.random.default_rng(0)
    visible = [(True,), (True, False, True), (False, True, True, True)]
    encoded = [
        (tokenized(*shown), random.standard_normal((len(shown), 5), dtype=np.float32)) for shown in visible
    ]
    means_BD = mean_vectors(encoded)
    assert means_BD.dtype == np.float32
    for mean_D, shown, (tokens, vectors_TD) in zip(means_BD, visible, encoded, strict=True):
        np.testing.assert_array_equal(visible_vectors(tokens, vectors_TD), vectors_TD[list(shown)])
        np.testing.assert_allclose(mean_D, vectors_TD[list(shown)].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("texts", "where", "told"),
    [
        (Texts.of("input", "a"), "inputs[0]", "input"),
        (Texts.of("input", ["a", "b"]), "inputs[1]", "input[1]"),
        (Texts.of("input", ["a", "b"]), "inputs", "input"),
        (Texts.of("input", ["a", "b"]), "X-Request-Timeout-Ms", "X-Request-Timeout-Ms"),
        (Texts.of("input", ["a", "b"]), None, None),
    ],
)
def test_an_error_is_where_the_client_wrote_it(texts: Texts, where: str | None, told: str | None) -> None:
    error = ServiceError(ErrorType.queue_full, "m", where, {"Retry-After": "1"})
    with pytest.raises(ServiceError) as caught, texts.named():
        raise error
    assert (caught.value.where, caught.value.message) == (told, "m")
    assert caught.value.headers == {"Retry-After": "1"}
