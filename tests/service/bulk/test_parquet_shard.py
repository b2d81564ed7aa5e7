"""Parquet, read back: the input's columns, the places, the tokens, and the runtime's own vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.service.bulk.conftest import Embed
from tests.service.bulk.reference import Reference

TEXTS = [
    "The bank of the river was muddy.",
    "강에서 배를 탔다",
    "a",
    "cafe\u0301 👨‍👩‍👧‍👦 ﬁn  배가",
    "a long one " * 60,  # more than a slice
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


def vectors(table: pa.Table, row: int, name: str = "vectors") -> np.ndarray[Any, Any]:
    return np.array(table[name][row].as_py())


def test_tokens_offsets_and_vectors_are_the_runtimes(
    embed: Embed, corpus: Path, reference: Reference
) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--shard-characters", 10) == 0
    assert len(list(out.glob("part-*.parquet"))) == 4
    table = pq.read_table(out)
    assert table.column_names == ["file", "line", "text", "tokens", "vectors"]
    assert table["text"].to_pylist() == TEXTS
    assert table["line"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["file"].to_pylist() == [str(corpus)] * 5
    for i, text in enumerate(TEXTS):
        tokens = table["tokens"][i].as_py()
        assert [text[token["start"] : token["end"]] for token in tokens] == [
            token["text"] for token in tokens
        ]
        tokenized = reference.tokenize(text)
        shown = [k for k, visible in enumerate(tokenized.visible) if visible]
        assert [token["start"] for token in tokens] == [tokenized.starts[k] for k in shown]
        np.testing.assert_allclose(vectors(table, i), reference.average(text), rtol=0, atol=1e-5)


def test_what_the_file_says_of_itself(embed: Embed, corpus: Path) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--layer", "top", "--dtype", "float16") == 0
    schema = pq.read_schema(out / "part-000000.parquet")
    told = json.loads(schema.metadata[b"polyseme"])
    assert (told["model"], told["dimension"], told["dtype"]) == ("tiny", 32, "float16")
    assert told["layer_weights"] == [0.0, 0.0, 1.0]
    assert schema.field("vectors").type == pa.list_(
        pa.field("element", pa.list_(pa.field("element", pa.float16(), nullable=False), 32), nullable=False)
    )
    columns = {
        chunk.path_in_schema: chunk.compression
        for chunk in map(pq.read_metadata(out / "part-000000.parquet").row_group(0).column, range(8))
    }
    assert columns["text"] == "ZSTD"
    assert columns["vectors.list.element.list.element"] == "UNCOMPRESSED"


def test_every_layer_of_every_word(embed: Embed, corpus: Path, reference: Reference) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--layer", "all", "--pool", "word") == 0
    table = pq.read_table(out)
    assert table.column_names[3:] == ["tokens", "words", "vectors_0", "vectors_1", "vectors_2"]
    words = table["words"][0].as_py()
    assert [word["text"] for word in words] == TEXTS[0].split()
    layers_LTD = reference.layers(TEXTS[0])
    tokens = table["tokens"][0].as_py()
    for i, word in enumerate(words):
        of_word = [k for k, token in enumerate(tokens) if word["start"] <= token["start"] < word["end"]]
        for layer in range(3):
            found = vectors(table, 0, f"vectors_{layer}")[i]
            np.testing.assert_allclose(found, layers_LTD[layer, of_word].mean(axis=0), rtol=0, atol=1e-5)


def test_one_vector_for_each_sentence(embed: Embed, corpus: Path, reference: Reference) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--pool", "sentence", "--normalize") == 0
    table = pq.read_table(out)
    assert table.schema.field("vector").type == pa.list_(
        pa.field("element", pa.float32(), nullable=False), 32
    )
    for i, text in enumerate(TEXTS):
        mean = reference.average(text).mean(axis=0)
        np.testing.assert_allclose(
            vectors(table, i, "vector"), mean / np.linalg.norm(mean), rtol=0, atol=1e-5
        )


def test_columns_of_the_input_stay(embed: Embed, tmp_path: Path) -> None:
    """Of Parquet with their types; under another name where we have one of the same."""
    kept = pa.table(
        {
            "id": pa.array([7, None, 9], pa.uint8()),
            "text": ["eins zwei", None, "drei"],
            "tokens": pa.array([["eins"], None, []], pa.list_(pa.string())),
            "when": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    pq.write_table(kept, tmp_path / "in.parquet", row_group_size=2)
    assert embed(tmp_path / "in.parquet", tmp_path / "out") == 3  # a null is a bad row
    table = pq.read_table(tmp_path / "out")
    assert table.column_names == [
        "file",
        "line",
        "id",
        "text",
        "input_tokens",
        "when",
        "kind",
        "tokens",
        "vectors",
    ]
    expected = kept.take([0, 2])
    for given, name in (("id", "id"), ("tokens", "input_tokens"), ("when", "when"), ("kind", "kind")):
        assert table[name].to_pylist() == expected[given].to_pylist()
        assert table.schema.field(name).type == kept.schema.field(given).type
    assert table["line"].to_pylist() == [1, 3]


def test_fields_of_json_are_columns_of_what_all_of_them_are(embed: Embed, tmp_path: Path) -> None:
    """Also those of rows that come after the first files are written."""
    rows = [
        {"text": "one", "n": 1, "x": 1, "flag": True, "mixed": "a", "tags": ["p"], "deep": {"a": [1]}},
        {"text": "two", "n": None, "x": 0.5, "flag": False, "mixed": 3, "tags": [], "late": "here"},
        {"words": ["three", "four"], "text": "no", "mixed": None, "big": 2**70},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert embed(path, tmp_path / "out", "--shard-characters", 1) == 0
    files = sorted((tmp_path / "out").glob("part-*.parquet"))
    assert len(files) == 3
    assert len({pq.read_schema(file).remove_metadata() for file in files}) == 1
    table = pq.read_table(tmp_path / "out")
    assert table["n"].to_pylist() == [1, None, None]
    assert table["x"].to_pylist() == [1.0, 0.5, None]
    assert table["flag"].to_pylist() == [True, False, None]
    assert table["mixed"].to_pylist() == ['"a"', "3", "null"]
    assert table["tags"].to_pylist() == [["p"], [], None]
    assert table["deep"].to_pylist() == ['{"a":[1]}', None, None]
    assert table["late"].to_pylist() == [None, "here", None]
    assert table["words"].to_pylist() == [None, None, ["three", "four"]]
    assert table["line"].to_pylist() == [1, 3, 5]


def test_inputs_of_several_forms_share_their_columns(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("label\ttext\nx\teins\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "zwei", "n": 1}\n', encoding="utf-8")
    pq.write_table(pa.table({"text": ["drei"], "n": pa.array([2], pa.int32())}), tmp_path / "c.parquet")
    assert embed(tmp_path / "a.tsv", tmp_path / "b.jsonl", tmp_path / "c.parquet", tmp_path / "out") == 0
    table = pq.read_table(tmp_path / "out")
    assert table["text"].to_pylist() == ["eins", "zwei", "drei"]
    assert table["label"].to_pylist() == ["x", None, None]
    assert table["n"].to_pylist() == [None, 1, 2]


def test_whole_numbers_among_others_are_floats_however_large(embed: Embed, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"text": "a", "x": {2**53 + 1}}}\n{{"text": "b", "x": 0.5}}\n', encoding="utf-8")
    assert embed(path, tmp_path / "out") == 0
    assert pq.read_table(tmp_path / "out")["x"].to_pylist() == [float(2**53 + 1), 0.5]


def test_nulls_alone_are_of_the_type_that_another_input_says(embed: Embed, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "n": null, "never": null}\n', encoding="utf-8")
    pq.write_table(pa.table({"text": ["b"], "n": pa.array([2], pa.int32())}), tmp_path / "b.parquet")
    assert embed(path, tmp_path / "b.parquet", tmp_path / "out") == 0
    table = pq.read_table(tmp_path / "out")
    assert table["n"].to_pylist() == [None, 2]
    assert [table.schema.field(name).type for name in ("n", "never")] == [pa.int32(), pa.string()]


def test_large_columns_beside_the_text_make_more_files(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held is bounded by them, too; where they are not written they do not count."""
    monkeypatch.setattr("service.bulk.plan.MAX_KEPT_BYTES", 1000)
    rows = [{"text": f"number {i}", "picture": "x" * 300} for i in range(8)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", use_dictionary=False)
    for name in ("in.jsonl", "in.parquet"):
        assert embed(tmp_path / name, tmp_path / f"out.{name}") == 0
        assert len(list((tmp_path / f"out.{name}").glob("part-*"))) == 2 + (name == "in.jsonl")
        assert pq.read_table(tmp_path / f"out.{name}").select(["text", "picture"]).to_pylist() == rows
    assert embed(tmp_path / "in.jsonl", tmp_path / "out.npz") == 0
    assert len(list((tmp_path / "out.npz").glob("part-*"))) == 1


def test_a_value_that_does_not_fit_its_columns_type(
    embed: Embed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [2**53 + 1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": [0.5]}), tmp_path / "b.parquet")
    assert embed(tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("polyseme: INPUT: expected columns of one name to be of one type: ")


def test_columns_that_do_not_fit_together(
    embed: Embed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": [[1]]}), tmp_path / "b.parquet")
    assert embed(tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "out") == 2
    assert "expected columns of one name to be of one type" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
