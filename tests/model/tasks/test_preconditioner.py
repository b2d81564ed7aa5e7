from __future__ import annotations

import numpy as np
import pytest

from model.tasks.preconditioner import Directions, Preconditioner
from tests.model.made_up_tasks import Floats


def correlated(num_rows: int = 500, dim: int = 12) -> Floats:
    generator = np.random.default_rng(0)
    scales = 10.0 ** -np.arange(dim)[None] * 30
    rotation = np.linalg.qr(generator.standard_normal((dim, dim)))[0]
    sample_ND: Floats = (generator.standard_normal((num_rows, dim)) * scales @ rotation).astype(np.float32)
    return sample_ND


def test_directions_are_the_covariances_own() -> None:
    sample_ND = correlated()
    directions = Directions.find(sample_ND)
    covariance = sample_ND.T.astype(np.float64) @ sample_ND / len(sample_ND)
    largest = np.linalg.eigvalsh(covariance)[-3:]
    np.testing.assert_allclose(directions.variance_R[-3:], largest, rtol=1e-4)
    assert directions.rest == pytest.approx(0.0, abs=1e-4)


def test_all_directions_curve_alike_afterwards() -> None:
    sample_ND = correlated()
    covariance = sample_ND.T.astype(np.float64) @ sample_ND / len(sample_ND)
    hessian = 0.25 * covariance + 0.01 * np.eye(12)
    change = Preconditioner.of(Directions.find(sample_ND), np.full(12, 0.25), 0.01)
    matrix = change.apply(np.eye(12))
    curvature = np.linalg.eigvalsh(matrix @ hessian @ matrix)
    assert np.linalg.cond(hessian) > 1e4
    assert curvature.min() > 0.9
    assert curvature.max() < 1.1


def test_each_column_has_a_curvature_of_its_own() -> None:
    directions = Directions.find(correlated())
    vectors = np.random.default_rng(2).standard_normal((12, 2))
    both = Preconditioner.of(directions, np.array([0.25, 0.02]), 0.01).apply(vectors)
    for column, curvature in enumerate((0.25, 0.02)):
        alone = Preconditioner.of(directions, np.array([curvature]), 0.01).apply(vectors[:, [column]])
        np.testing.assert_allclose(both[:, [column]], alone, rtol=1e-12)


def test_solve_undoes_apply() -> None:
    change = Preconditioner.of(Directions.find(correlated()), np.array([0.25, 0.1, 0.01]), 0.01)
    vectors = np.random.default_rng(1).standard_normal((12, 3))
    np.testing.assert_allclose(change.solve(change.apply(vectors)), vectors, atol=1e-4)


def test_fewer_rows_than_dimensions() -> None:
    directions = Directions.find(correlated(5))
    assert directions.basis_DR.shape == (12, 4)
    assert np.isfinite(Preconditioner.of(directions, np.full(12, 0.25), 0.01).apply(np.eye(12))).all()
