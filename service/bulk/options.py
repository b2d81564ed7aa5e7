"""What one run of `polyseme embed` was asked for, checked."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.choices import DType, Pool
from service.refusal import Refusal

InputFormat = Literal["text", "tsv", "jsonl", "conllu", "parquet"]
OutputFormat = Literal["parquet", "npz", "hdf5"]
Engine = Literal["local", "ray"]

EXIT_BAD_ROWS = 3
"""Every good row is embedded, but there were others."""

SHARD_CHARACTERS = 131_072
"""Some 32,000 tokens of English, twice as many of Korean: 130 to 260 MB of token vectors of 1,024 dimensions,
and a few seconds of work on two cores."""

BAD_ROWS_FILE = "_bad_rows.jsonl"

INPUT_FORMATS: dict[str, InputFormat] = {
    ".txt": "text",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".conllu": "conllu",
    ".parquet": "parquet",
}
OUTPUT_FORMATS: dict[str, OutputFormat] = {".hdf5": "hdf5", ".h5": "hdf5", ".npz": "npz"}


@dataclass(frozen=True)
class Options:
    """Everything that decides what is written, but for the inputs and the model."""

    out: Path
    format: OutputFormat
    input_format: InputFormat | None  # None: by each input's ending
    column: str | None
    is_pretokenized: bool
    layer: str | int | None
    task: str | None
    pool: Pool
    normalize: bool
    dtype: DType
    keeps_sentences: bool
    max_characters: int
    shard_characters: int

    @property
    def keeps_columns(self) -> bool:
        """Whether the input's columns are written."""
        return self.format == "parquet"


def read_options(given: argparse.Namespace, max_characters: int) -> Options:
    """Raises Refusal."""
    out = Path(given.out)
    format_: OutputFormat = given.format or OUTPUT_FORMATS.get(out.suffix, "parquet")
    if given.shard_characters < 1:
        raise Refusal(f"--shard-characters: expected at least 1, got {given.shard_characters}")
    if given.forget_sentences and format_ != "hdf5":
        raise Refusal(f"--forget-sentences: expected --format hdf5, got {format_}")
    if given.engine != "ray":
        for name in ("ray_address", "ray_workers"):
            if getattr(given, name) is not None:
                raise Refusal(f"--{name.replace('_', '-')}: expected --engine ray beside it, got none")
    elif given.ray_workers is not None and given.ray_workers < 1:
        raise Refusal(f"--ray-workers: expected at least 1, got {given.ray_workers}")
    return Options(
        out=out,
        format=format_,
        input_format=given.input_format,
        column=given.column,
        is_pretokenized=given.pretokenized or format_ == "hdf5",
        layer=_layer(given.layer),
        task=given.task,
        pool=given.pool or ("word" if format_ == "hdf5" else "token"),
        normalize=given.normalize,
        dtype=given.dtype,
        keeps_sentences=format_ == "hdf5" and not given.forget_sentences,
        max_characters=max_characters,
        shard_characters=given.shard_characters,
    )


def _layer(given: str | None) -> str | int | None:
    if given is not None and given.isdecimal():
        with suppress(ValueError):  # Python reads no number of thousands of digits
            return int(given)
    return given
