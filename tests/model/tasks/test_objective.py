from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest

from model.scalar_mix import mix, softmax_weights
from model.tasks import moments
from model.tasks.moments import measure
from model.tasks.objective import Leash, Objective, Parameters
from tests.model.made_up_tasks import labelled_layers

Doubles = npt.NDArray[np.float64]
DIM = 5


def nothing() -> None:
    pass


def objective(num_labels: int, num_left_out: int = 7) -> tuple[Objective, npt.NDArray[np.float32]]:
    features_NLD, labels = labelled_layers(60, 1, num_labels, DIM)
    targets_N = np.array([int(label[-3:]) for label in labels])
    targets_N[:num_left_out] = -1
    moments = measure(features_NLD, nothing)
    return Objective(features_NLD, targets_N, num_labels, moments, nothing), features_NLD


def parameters(flat: Doubles, num_columns: int) -> Parameters:
    head, bias_C, scalars_L = np.split(flat, [DIM * num_columns, (DIM + 1) * num_columns])
    return Parameters(head.reshape(DIM, num_columns), bias_C, scalars_L)


def random_flat(num_columns: int) -> Doubles:
    return np.random.default_rng(1).standard_normal((DIM + 1) * num_columns + 3) * 0.7


@pytest.mark.parametrize("num_labels", [2, 3, 6])
def test_gradient_is_the_numeric_one(num_labels: int) -> None:
    over, _ = objective(num_labels)
    flat = random_flat(over.num_columns)
    leash = Leash(np.array([0.3, -0.1, 0.5]), 0.2)

    def value(at: Doubles) -> float:
        return over.evaluate(parameters(at, over.num_columns), 0.1, leash).value

    # Products are in float32: a step well above its rounding, and its error well below the gradient.
    step = 1e-2
    numeric = [(value(flat + e) - value(flat - e)) / (2 * step) for e in step * np.eye(len(flat))]
    gradient = over.evaluate(parameters(flat, over.num_columns), 0.1, leash).gradient
    analytic = np.concatenate([gradient.head_DC.ravel(), gradient.bias_C, gradient.scalars_L])
    np.testing.assert_allclose(analytic, numeric, atol=3e-5)
    assert np.abs(analytic).max() > 0.1


@pytest.mark.parametrize("num_labels", [2, 4])
def test_value_is_the_formula(num_labels: int) -> None:
    over, features_NLD = objective(num_labels, num_left_out=0)
    at = parameters(random_flat(over.num_columns), over.num_columns)
    shares_L = softmax_weights(at.scalars_L)
    scaled_NLD = features_NLD / np.sqrt(features_NLD.astype(np.float64).var(axis=0).mean(axis=1))[:, None]
    mixed_ND = np.einsum("l,nld->nd", shares_L, scaled_NLD)
    variance_D = mixed_ND.var(axis=0)
    standard_ND = (mixed_ND - mixed_ND.mean(axis=0)) / np.sqrt(variance_D + 0.01 * variance_D.mean())
    scores = standard_ND @ at.head_DC + at.bias_C
    if num_labels == 2:
        scores = np.concatenate([-scores / 2, scores / 2], axis=1)
    np.testing.assert_allclose(over.scores(at, features_NLD, np.arange(60)), scores, atol=1e-5)

    targets_N = np.array([int(label[-3:]) for label in labelled_layers(60, 1, num_labels, DIM)[1]])
    log_loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(60), targets_N])
    squares = np.sum(at.head_DC**2) * (0.5 if num_labels == 2 else 1.0)
    anchor_L = np.array([1.0, 0.0, 0.0])
    expected = log_loss + 0.5 * 0.3 * squares + 0.5 * 0.4 * np.sum((at.scalars_L - anchor_L) ** 2)
    assert over.evaluate(at, 0.3, Leash(anchor_L, 0.4)).value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_the_head_is_linear_in_the_served_vector(num_labels: int) -> None:
    over, features_NLD = objective(num_labels)
    at = parameters(random_flat(over.num_columns), over.num_columns)
    gamma = 2.5
    weight_KD, bias_K = over.linear_head(at, gamma)
    served_ND = mix(features_NLD.transpose(1, 0, 2), softmax_weights(over.served_scalars(at)), gamma)
    assert weight_KD.shape == (num_labels, DIM)
    np.testing.assert_allclose(
        served_ND @ weight_KD.T + bias_K, over.scores(at, features_NLD, np.arange(60)), atol=1e-4
    )


def test_served_scalars_undo_the_scales() -> None:
    over, features_NLD = objective(2)
    spread_L = np.sqrt(features_NLD.astype(np.float64).var(axis=0).mean(axis=1))
    served_L = softmax_weights(over.served_scalars(parameters(np.zeros(DIM + 4), 1)))
    np.testing.assert_allclose(served_L, (1 / spread_L) / (1 / spread_L).sum(), rtol=1e-6)


def test_rows_left_out_change_nothing() -> None:
    features_NLD, labels = labelled_layers(60, 1, 3, DIM)
    targets_N = np.array([int(label[-3:]) for label in labels])
    targets_N[40:] = -1
    moments = measure(features_NLD, nothing)
    at = parameters(random_flat(3), 3)
    leash = Leash(np.zeros(3), 0.1)
    whole = Objective(features_NLD, targets_N, 3, moments, nothing).evaluate(at, 0.1, leash)
    part = Objective(features_NLD[:40], targets_N[:40], 3, moments, nothing).evaluate(at, 0.1, leash)
    assert whole.value == pytest.approx(part.value, rel=1e-6)
    np.testing.assert_allclose(whole.gradient.head_DC, part.gradient.head_DC, atol=1e-6)


@pytest.mark.parametrize("num_labels", [2, 5])
def test_chunks_give_the_same_as_the_whole(num_labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    over, _ = objective(num_labels)
    at = parameters(random_flat(over.num_columns), over.num_columns)
    whole = over.evaluate(at, 0.1, Leash(np.zeros(3), 0.1))
    monkeypatch.setattr(moments, "CHUNK_ROWS", 7)
    chunked = over.evaluate(at, 0.1, Leash(np.zeros(3), 0.1))
    assert chunked.value == pytest.approx(whole.value, rel=1e-6)
    np.testing.assert_allclose(chunked.gradient.head_DC, whole.gradient.head_DC, atol=1e-6)
    np.testing.assert_allclose(chunked.gradient.scalars_L, whole.gradient.scalars_L, atol=1e-6)


def test_one_layer_of_several_is_taken_as_it_lies() -> None:
    features_NLD, labels = labelled_layers(60, 1, 2, DIM)
    targets_N = np.array([int(label[-3:]) for label in labels])
    moments = measure(features_NLD, nothing).layer(1)
    at = Parameters(np.random.default_rng(2).standard_normal((DIM, 1)), np.zeros(1), np.zeros(1))
    leash = Leash(np.zeros(1), 0.0)
    view = Objective(features_NLD[:, 1:2], targets_N, 2, moments, nothing).evaluate(at, 0.1, leash)
    copied = Objective(features_NLD[:, 1:2].copy(), targets_N, 2, moments, nothing).evaluate(at, 0.1, leash)
    assert view.value == pytest.approx(copied.value, rel=1e-7)
    assert view.gradient.scalars_L == pytest.approx([0.0], abs=1e-12)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_the_curvature_is_that_of_the_losses_in_the_scores(num_labels: int) -> None:
    over, features_NLD = objective(num_labels, num_left_out=0)
    at = parameters(random_flat(over.num_columns), over.num_columns)
    found_C = over.evaluate(at, 0.1, Leash(np.zeros(3), 0.1)).curvature_C
    scores_NK = over.scores(at, features_NLD, np.arange(60))
    share_NK = np.exp(scores_NK) / np.exp(scores_NK).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        found_C, (share_NK * (1 - share_NK)).mean(axis=0)[: over.num_columns], atol=1e-6
    )


def test_threads_change_nothing_not_even_the_last_bit() -> None:
    features_NLD, labels = labelled_layers(4500, 1, 3, DIM)
    targets_N = np.array([int(label[-3:]) for label in labels])
    at, leash = parameters(random_flat(3), 3), Leash(np.zeros(3), 0.1)
    moments = measure(features_NLD, nothing)
    with ThreadPoolExecutor(3) as threads:
        alone, together = (
            Objective(features_NLD, targets_N, 3, moments, nothing, run).evaluate(at, 0.1, leash)
            for run in (map, threads.map)
        )
    assert alone.value == together.value
    np.testing.assert_array_equal(alone.gradient.head_DC, together.gradient.head_DC)
