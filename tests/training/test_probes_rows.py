from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.probes.report import SetResult
from training.probes.rows import ANCHORS, BaselineRow, read_rows, rows_of, write_rows
from training.probes.sets import PROBE_SETS

ROW = BaselineRow("sst2", "TF-IDF", "", {"accuracy": 0.817}, "measured: a command")


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    layer = BaselineRow(
        "stsb_en", "문장", "layer 1", {"spearman": -0.1, "num_steps": 40.0}, "cited: somewhere"
    )
    write_rows(path, [ROW, layer])
    assert read_rows(path) == [ROW, layer]
    assert (ROW.column, layer.column) == ("TF-IDF", "문장, layer 1")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "expected an object with format_version 1"),
        ('{"format_version": 2, "rows": []}', "expected an object with format_version 1"),
        ('{"format_version": 1, "rows": [{"set": "sst2"}]}', r"rows\[0\]"),
        (
            json.dumps(
                {
                    "format_version": 1,
                    "rows": [
                        {"set": "a", "vectors": "b", "layer": "", "metrics": {"accuracy": 81.7}, "source": ""}
                    ],
                }
            ),
            r"rows\[0\]: accuracy: expected -1 to 1, got 81.7",
        ),
    ],
)
def test_malformed_rows_are_refused(tmp_path: Path, document: str, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(document)
    with pytest.raises(ValueError, match=r"rows\.json: " + said):
        read_rows(path)


def test_every_row_of_a_result_can_be_kept() -> None:
    rows = {"layer 0": {"accuracy": 0.5}, "equal": {"accuracy": 0.6}}
    result = SetResult("sst2", "key", "hash", 2, ["accuracy"], rows, {}, {}, None, None, 1.0)
    assert rows_of({"sst2": result}, "GRU", "measured: x") == [
        BaselineRow("sst2", "GRU", "layer 0", {"accuracy": 0.5}, "measured: x"),
        BaselineRow("sst2", "GRU", "equal", {"accuracy": 0.6}, "measured: x"),
    ]


def test_anchors_are_cited_and_of_known_sets() -> None:
    known = {probe_set.name: probe_set for probe_set in PROBE_SETS}
    rows = read_rows(ANCHORS)
    assert len(rows) > 40
    for row in rows:
        assert row.source.startswith("cited: ")
        assert set(row.metrics) <= {*known[row.set].metrics, "f1"}
