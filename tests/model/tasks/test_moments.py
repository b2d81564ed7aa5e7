from __future__ import annotations

import numpy as np
import pytest

from model.tasks import moments
from model.tasks.moments import measure, unit_gamma
from tests.model.made_up_tasks import labelled_layers


def nothing() -> None:
    pass


def test_moments_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    features_NLD, _ = labelled_layers(300, 1)
    features_NLD[:, 0, 3] += 1e3
    for rows in (128, 7):
        monkeypatch.setattr(moments, "CHUNK_ROWS", rows)
        measured = measure(features_NLD, nothing)
        exact = features_NLD.astype(np.float64)
        scale_L = np.sqrt(exact.var(axis=0).mean(axis=1))
        np.testing.assert_allclose(measured.scale_L, scale_L, rtol=1e-5)
        scaled = exact / scale_L[:, None]
        np.testing.assert_allclose(measured.mean_LD, scaled.mean(axis=0), rtol=1e-5, atol=1e-5)
        centred = scaled - scaled.mean(axis=0)
        expected = np.einsum("nad,nbd->abd", centred, centred) / 300
        np.testing.assert_allclose(measured.covariance_LLD, expected, atol=1e-4)
        weights = np.array([0.2, 0.5, 0.3])
        mixed = np.einsum("l,nld->nd", weights, exact)
        assert measured.served_variance(weights) == pytest.approx(mixed.var(axis=0).mean(), rel=1e-4)


def test_the_equal_mix_needs_no_second_look() -> None:
    features_NLD, _ = labelled_layers(200, 2)
    derived = measure(features_NLD, nothing).equal_mix()
    direct = measure(features_NLD.mean(axis=1, keepdims=True), nothing)
    np.testing.assert_allclose(derived.mean_LD, direct.mean_LD * direct.scale_L[0], rtol=1e-4)
    np.testing.assert_allclose(
        derived.covariance_LLD, direct.covariance_LLD * direct.scale_L[0] ** 2, rtol=1e-4
    )


def test_a_constant_layer_gets_no_weight_for_being_small() -> None:
    features_NLD, _ = labelled_layers(50, 2)
    features_NLD[:, 1] = 0.001
    moments = measure(features_NLD, nothing)
    assert moments.scale_L[1] == moments.scale_L[0] == moments.scale_L.max()


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^features: expected vectors that differ .*, got 3 constant layers$"
    ):
        measure(np.ones((20, 3, 4), dtype=np.float32), nothing)
    features_NLD, _ = labelled_layers(20, 1)
    features_NLD[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^features: expected finite numbers"):
        measure(features_NLD, nothing)


def test_unit_gamma() -> None:
    assert unit_gamma(0.25) == 2.0
    assert unit_gamma(0.0) == 1.0
    assert unit_gamma(1e-30) == 1e6
