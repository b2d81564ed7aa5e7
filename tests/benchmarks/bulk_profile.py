"""Where the time of `polyseme embed` goes: CPU time of embedding, of writing each form, and of copies that
writing cannot do without.

The command computes on every core, so that what a file costs is taken from embedding: a form that costs a
tenth of embedding's CPU time can reach 1 / 1.1 of its rate, whoever writes it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import Precision
from service.bulk.encoder import Asked, Encoder, Window
from service.bulk.jobs import Job
from service.bulk.options import OutputFormat
from service.bulk.parquet_shard import WRITE_BATCH
from service.bulk.plan import Shard
from service.bulk.rows import Row
from service.bulk.shard_file import Output, ShardFile
from service.choices import DType, Pool
from service.engine.backend import Backend, open_backend
from service.mixes import Mix
from service.replies.answers import Heading
from service.settings import SHIPPED_BUNDLE

Form = tuple[str, OutputFormat, Pool, DType, bool]

FORMS: Sequence[Form] = (
    ("Parquet, every token", "parquet", "token", "float32", False),
    ("Parquet, every token, float16", "parquet", "token", "float16", False),
    ("Parquet, sentences", "parquet", "sentence", "float32", False),
    ("npz, every token", "npz", "token", "float32", False),
    ("HDF5, every word, all layers", "hdf5", "word", "float32", True),
)
"""Name, format, pooling, type, and whether every layer is written."""


def profile(lines: Sequence[str], num_threads: int, rounds: int) -> None:
    """Print a table; each figure is the best of `rounds`. lines: a shard, more or less."""
    rows = [Row(line, text) for line, text in enumerate(lines, start=1)]
    kept = pa.table({"text": list(lines)})
    job = Job(Shard(0, 0, 0, len(rows), sum(map(len, lines))), "corpus", rows, kept)
    precisions: tuple[Precision, ...] = ("float32", "int8")
    print("### CPU time of bulk, ms for 1,000 tokens, and the share of embedding's rate that it leaves\n")
    print("| | MB | embedding: float32 | int8 | writing | share: float32 | int8 |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    backends = [open_backend(SHIPPED_BUNDLE, 1, precision) for precision in precisions]
    for name, format_, pool, dtype, all_layers in FORMS:
        mix = None if all_layers else Mix((1 / backends[0].num_layers,) * backends[0].num_layers)
        asked = Asked(mix, pool, False, dtype)
        embedding = [_embedding_s(backend, asked, num_threads, job, rounds) for backend in backends]
        windows = list(Encoder(backends[0], asked, num_threads).windows([job]))
        num_thousands = sum(window.num_tokens for window in windows) / 1000
        writing_s, num_bytes = _writing(backends[0], windows, format_, asked, rounds)
        shares = [each / (each + writing_s) for each in embedding]
        milliseconds = [f"{each / num_thousands * 1e3:.1f}" for each in (*embedding, writing_s)]
        cells = [
            f"{num_bytes / num_thousands / 1e6:.2f}",
            *milliseconds,
            *(f"{share:.2f}" for share in shares),
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    _levels(windows[0].num_tokens, backends[0].dimension, rounds)


def _embedding_s(backend: Backend, asked: Asked, num_threads: int, job: Job, rounds: int) -> float:
    encoder = Encoder(backend, asked, num_threads)

    def all_windows() -> None:
        for _ in encoder.windows([job]):
            pass

    all_windows()  # fills the cache
    return _least(time.process_time, all_windows, rounds)


def _writing(
    backend: Backend, windows: Sequence[Window], format_: OutputFormat, asked: Asked, rounds: int
) -> tuple[float, int]:
    """Return the seconds of a shard, and its bytes."""
    job = windows[0].job
    heading = Heading(backend.name, backend.dimension, backend.num_layers, asked.mix)
    with tempfile.TemporaryDirectory() as folder:
        output = Output(Path(folder), format_, heading, asked.pool, asked.dtype, format_ == "hdf5")

        def write() -> None:
            file = ShardFile(output, job.shard, job.file, job.kept if format_ == "parquet" else None)
            for window in windows:
                file.add(window)
            file.commit()

        return _least(time.thread_time, write, rounds), output.path(job.shard).stat().st_size


def _levels(num_tokens: int, dimension: int, rounds: int) -> None:
    """Print what a window's numbers cost Parquet by themselves, and inside lists of vectors, where every one
    has levels that say where a list begins."""
    flat = pa.array(np.random.default_rng(0).standard_normal(num_tokens * dimension, dtype=np.float32))
    value = pa.field("element", pa.float32(), nullable=False)
    vector = pa.field("element", pa.list_(value, dimension), nullable=False)
    vectors = pa.FixedSizeListArray.from_arrays(flat, type=vector.type)
    offsets = pa.array(np.arange(0, num_tokens + 1, num_tokens // 1000 or 1, dtype=np.int32))
    lists = pa.ListArray.from_arrays(offsets, vectors, type=pa.list_(vector))
    print("\n| a window's numbers in Parquet | CPU ms for 1,000 tokens |\n|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, array in {
            "in one column": flat,
            "as a vector a row": vectors,
            "as a list of vectors a row": lists,
        }.items():
            table = pa.Table.from_arrays(
                [array], schema=pa.schema([pa.field("vectors", array.type, nullable=False)])
            )

            def write(table: pa.Table = table) -> None:
                pq.write_table(
                    table,
                    f"{folder}/table.parquet",
                    compression="none",
                    use_dictionary=False,
                    write_statistics=False,
                    write_batch_size=WRITE_BATCH,
                )

            print(
                f"| {name} | {_least(time.thread_time, write, rounds) / num_tokens * 1e6:.1f} |", flush=True
            )


def _least(clock: Callable[[], float], call: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started_s = clock()
        call()
        seconds.append(clock() - started_s)
    return min(seconds)
