from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.bundle import Bundle
from training.__main__ import EXIT_OK, EXIT_USER_ERROR, main
from training.probes.rows import BaselineRow, read_rows, write_rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "eval"
    (folder / "blimp").mkdir(parents=True)
    (folder / "blimp" / "dev.tsv").write_text("uid\tgood\tbad\nisland\tThe bank is near.\tThe bank are.\n")
    (folder / "stsb_en").mkdir()
    for split, numbers in (("dev", range(6)), ("test", range(6, 12))):
        rows = [f"{n % 6}\tThe river number {n}\tA bank by the river {n}\n" for n in numbers]
        (folder / "stsb_en" / f"{split}.tsv").write_text("score\ttext1\ttext2\n" + "".join(rows))
    return folder


def test_a_bundle_is_probed_reported_and_not_probed_twice(
    untrained: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = tmp_path / "report", tmp_path / "rows.json"
    row = BaselineRow("stsb_en", "static", "", {"spearman": 0.5, "spearman_centred": 0.25}, "measured: here")
    write_rows(rows, [row])
    command = ["probe", str(untrained.folder), "--data", str(data), "--out", str(out), "--rows", str(rows)]
    assert main(command) == EXIT_OK
    report = (out / "report.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == report.strip()
    assert report.startswith(f"# {untrained.manifest.name}, float32, {untrained.manifest.sha256[:12]}\n")
    assert "| stsb_en | static | spearman, spearman_centred | 50.0 / 25.0 | measured: here |" in report
    results = json.loads((out / "report.json").read_text(encoding="utf-8"))["results"]
    assert list(results) == ["stsb_en", "blimp"]
    assert list(results["stsb_en"]["rows"]) == ["layer 0", "layer 1", "layer 2", "equal", "learned"]
    assert results["blimp"]["rows"]["likelier sentence"]["accuracy"] in (0, 1)

    # Another report can show it: the best row and the learned mix of each set.
    own = {(row.set, row.column): row for row in read_rows(out / "rows.json")}
    name = f"{untrained.manifest.name}, float32"
    assert ("stsb_en", f"{name}, learned") in own
    assert ("blimp", f"{name}, likelier sentence") in own
    best = max(row["spearman"] for row in results["stsb_en"]["rows"].values())
    assert max(row.metrics["spearman"] for row in own.values() if row.set == "stsb_en") == best
    assert own["stsb_en", f"{name}, learned"].source == "measured: polyseme-train probe --precision float32"

    kept = {path: path.stat().st_mtime_ns for path in out.glob("sets/*/*.json")}
    assert len(kept) == 2
    assert main([*command, "--sets", "blimp"]) == EXIT_OK
    assert {path: path.stat().st_mtime_ns for path in out.glob("sets/*/*.json")} == kept
    assert "stsb_en" not in (out / "report.md").read_text(encoding="utf-8")


def test_malformed_rows_are_told_before_any_work(
    untrained: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text("{}")
    out = tmp_path / "report"
    command = ["probe", str(untrained.folder), "--data", str(data), "--out", str(out), "--rows", str(rows)]
    assert main(command) == EXIT_USER_ERROR
    assert "rows.json: expected an object with format_version 1" in capsys.readouterr().err
    assert not out.exists()
