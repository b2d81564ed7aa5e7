from __future__ import annotations

import numpy as np
import pytest

from training.probes.picture import MAX_POINTS, main_axes, picture_of


def test_the_main_axes_are_those_of_greatest_spread() -> None:
    # Of length 1 after scaling: about (1, 0, 0); they spread along the third dimension most, then the second.
    vectors_ND = np.array([[10, 0, 5], [10, 0, -5], [10, 1, 0], [10, -1, 0]], dtype=np.float32)
    points_N2 = main_axes(vectors_ND)
    unit = 5 / np.sqrt(125)
    np.testing.assert_allclose(points_N2[:, 0], [unit, -unit, 0, 0], atol=0.01)
    assert points_N2[2, 1] == pytest.approx(-points_N2[3, 1], abs=1e-6)
    assert points_N2.max(axis=0) == pytest.approx(np.abs(points_N2).max(axis=0))
    np.testing.assert_array_equal(main_axes(vectors_ND), points_N2)


def test_one_example_and_a_vector_of_zeros_are_no_trouble() -> None:
    assert main_axes(np.zeros((1, 3), dtype=np.float32)).tolist() == [[0, 0]]


def test_a_picture_has_every_layer_and_not_too_many_points() -> None:
    count = 2 * MAX_POINTS + 1
    vectors_NLD = np.random.default_rng(0).standard_normal((count, 2, 4)).astype(np.float32)
    picture = picture_of("bank", ["money" if i < 30 else "river" for i in range(count)], vectors_NLD)
    assert picture.senses == ["money", "river"]
    assert picture.of[:12] == [0] * 10 + [1] * 2  # examples 0, 3, 6, ..., 33
    assert len(picture.of) == len(picture.points["layer 1"]) == count // 3 + 1
    assert list(picture.points) == ["layer 0", "layer 1"]
