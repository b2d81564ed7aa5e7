from __future__ import annotations

import numpy as np
import pytest

from model.scalar_mix import softmax_weights
from model.tasks import moments
from model.tasks.moments import Doubles
from model.tasks.sense_mix import Products, learn_mix, learn_mix_and_context, loss_and_gradient
from model.tasks.sense_words import Inventory
from model.tasks.watch import Watch
from tests.model.made_up_tasks import GLOBAL_CONTEXT, Floats, word_senses


def watch() -> Watch:
    watch = Watch(lambda share: None, lambda: False)
    watch.stage(1.0, 10)
    return watch


def products() -> tuple[Products, Inventory, Floats, Doubles]:
    features, labels, words = word_senses(3, 4, 2, dim=6)
    labels[0] = "a sense of its own"
    words[8:] = ["one sense"] * 8 + words[16:]
    labels[8:16] = ["only"] * 8
    inventory = Inventory.of(words, labels)
    scale_L = np.array([2.0, 0.5, 1.0, 3.0])
    return Products.take(features, np.arange(24), inventory, scale_L), inventory, features, scale_L


def test_the_objective_is_the_formula() -> None:
    taken, inventory, features, scale_L = products()
    scalars = np.array([0.3, -0.5, 0.1, 0.2])
    mixed = np.einsum("nld,l->nd", features / scale_L[:, None], softmax_weights(scalars))
    losses = []
    for i in range(24):
        own = inventory.row_N[i]
        others = [j for j in range(24) if j != i and inventory.row_N[j] == own]
        rows = inventory.rows_of(int(inventory.word_N[i]))
        if not others or rows.stop - rows.start < 2:
            continue
        means = [
            mixed[others if row == own else inventory.row_N == row].mean(axis=0)
            for row in range(rows.start, rows.stop)
        ]
        cosines = np.array([mixed[i] @ m / np.linalg.norm(mixed[i]) / np.linalg.norm(m) for m in means])
        odds = np.exp(cosines / 0.2)
        losses.append(-np.log(odds[own - rows.start] / odds.sum()))
    assert len(losses) == len(taken.starts) == 15
    value, _, _ = loss_and_gradient(taken, scalars, float(np.log(0.2)), 0.1)
    assert value == pytest.approx(np.mean(losses) + 0.05 * scalars @ scalars, rel=1e-6)


def test_gradient_is_the_numeric_one() -> None:
    taken, _, _, _ = products()
    scalars, log_temperature, step = np.array([0.3, -0.5, 0.1, 0.2]), -1.2, 1e-5
    _, gradient_L, gradient_temperature = loss_and_gradient(taken, scalars, log_temperature, 0.1)
    for layer, e in enumerate(step * np.eye(4)):
        up, down = (loss_and_gradient(taken, scalars + s * e, log_temperature, 0.1)[0] for s in (1, -1))
        assert gradient_L[layer] == pytest.approx((up - down) / (2 * step), abs=1e-8)
    up, down = (loss_and_gradient(taken, scalars, log_temperature + s * step, 0.1)[0] for s in (1, -1))
    assert gradient_temperature == pytest.approx((up - down) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("signal", [1, 2, GLOBAL_CONTEXT])
def test_what_knows_senses_gets_the_weight(signal: int) -> None:
    features, labels, words = word_senses(30, 6, signal, noise=2.0)
    scale_L = np.sqrt((features.astype(np.float64) ** 2).mean(axis=(0, 2)))
    taken = Products.take(features, np.arange(len(features)), Inventory.of(words, labels), scale_L)
    assert softmax_weights(learn_mix(taken, watch()))[signal] > 0.8


def test_weights_are_of_layers_and_context_as_they_came() -> None:
    features, labels, words = word_senses(30, 6, GLOBAL_CONTEXT, noise=2.0)
    layers, _, _ = word_senses(30, 6, 2, noise=2.0)
    features[:, :3] = layers[:, :3]
    inventory = Inventory.of(words, labels)

    def learned(features_NCD: Floats) -> tuple[Doubles, float]:
        scale_C = np.sqrt((features_NCD.astype(np.float64) ** 2).mean(axis=(0, 2)))
        taken = Products.take(features_NCD, np.arange(len(features_NCD)), inventory, scale_C)
        return learn_mix_and_context(taken, scale_C, watch())

    scalars_L, context = learned(features)
    assert scalars_L.sum() == pytest.approx(0, abs=1e-9)
    assert context > 0
    times_C = np.array([0.5, 3.0, 2.0, 10.0], dtype=np.float32)
    other_L, other = learned(features * times_C[:, None])
    weights_L, other_weights_L = softmax_weights(scalars_L), softmax_weights(other_L) * times_C[:3]
    np.testing.assert_allclose(other_weights_L / other_weights_L.sum(), weights_L, rtol=1e-3)
    # Beside layers that are the same again, the context is as much as before.
    assert other * 10.0 / other_weights_L.sum() == pytest.approx(context, rel=1e-3)


def test_chunks_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _, _ = products()
    monkeypatch.setattr(moments, "CHUNK_ROWS", 3)
    chunked, _, _, _ = products()
    for name in ("dots_MLL", "candidates_MLL", "own_MLL", "starts", "targets"):
        np.testing.assert_allclose(getattr(chunked, name), getattr(whole, name), rtol=1e-12)


def test_words_without_a_choice() -> None:
    features, _, words = word_senses(2, 3, 2)
    inventory = Inventory.of(words, ["one"] * len(words))
    with pytest.raises(ValueError, match=r"^words: expected at least one with two senses, .*, got none$"):
        Products.take(features, np.arange(len(words)), inventory, np.ones(4))
