"""npz, read back by numpy without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.service.bulk.conftest import Embed
from tests.service.bulk.reference import Reference

TEXTS = ["The bank of the river was muddy.", "강에서 배를 탔다", "a"]


def test_the_arrays_of_a_reply_and_where_each_row_was(
    embed: Embed, tmp_path: Path, reference: Reference
) -> None:
    path = tmp_path / "in.txt"
    path.write_text("\n".join([TEXTS[0], "", *TEXTS[1:]]), encoding="utf-8")
    assert embed(path, tmp_path / "out.npz", "--layer", "top") == 3
    with np.load(tmp_path / "out.npz" / "part-000000.npz") as arrays:
        assert arrays["lines"].tolist() == [1, 3, 4]
        assert str(arrays["file"]) == str(path)
        rows = np.split(arrays["vectors"], arrays["row_offsets"][1:-1])
        starts = np.split(arrays["token_starts"], arrays["token_offsets"][1:-1])
        for text, found, of_text in zip(TEXTS, rows, starts, strict=True):
            np.testing.assert_allclose(found, reference.layers(text)[-1], rtol=0, atol=1e-5)
            assert len(of_text) == len(found)
        assert arrays["layer_weights"].tolist() == [0, 0, 1]


def test_a_file_that_is_empty_is_made_again(embed: Embed, tmp_path: Path) -> None:
    path, part = tmp_path / "in.txt", tmp_path / "out.npz" / "part-000000.npz"
    path.write_text(TEXTS[0], encoding="utf-8")
    assert embed(path, part.parent) == 0
    whole = part.read_bytes()
    part.write_bytes(b"")
    assert embed(path, part.parent) == 0
    assert part.read_bytes() == whole


def test_a_shard_without_a_good_row(embed: Embed, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("\u200b\n \n", encoding="utf-8")
    assert embed(path, tmp_path / "out", "--format", "npz") == 3
    with np.load(tmp_path / "out" / "part-000000.npz") as arrays:
        assert arrays["lines"].tolist() == []
    assert embed(path, tmp_path / "out", "--format", "npz") == 3
