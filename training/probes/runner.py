"""Probe one model on several sets; a set that is done is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from training.atomic import write_atomically
from training.probes.data import sha256_of_files
from training.probes.report import (
    PROTOCOL_VERSION,
    Probed,
    SetResult,
    load_result,
    markdown_table,
    result_path,
    save_result,
)
from training.probes.senses import SenseSet
from training.probes.source import LayerSource
from training.probes.tagging import TaggingSet


class ProbeSet(Protocol):
    """A set: which files of its folder it reads, what it measures, and how."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns of its rows that go into the table, the main one first."""
        ...

    def files(self, folder: Path) -> list[Path]: ...

    def run(self, folder: Path, source: LayerSource, *, num_threads: int, show_progress: bool) -> Probed: ...


PROBE_SETS: tuple[ProbeSet, ...] = (
    SenseSet("homograph_ko_open"),
    SenseSet("wsd_kobest_ko"),
    SenseSet("homograph_en"),
    TaggingSet("ud_ko_kaist"),
    TaggingSet("ud_en_ewt"),
)


def probe(
    source: LayerSource,
    model_key: str,
    data: Path,
    out: Path,
    set_names: Sequence[str] | None = None,
    *,
    title: str = "Probes",
    num_threads: int = 2,
    show_progress: bool = True,
    known_sets: Sequence[ProbeSet] = PROBE_SETS,
) -> dict[str, SetResult]:
    """Probe `source` on the named sets (None: all known ones that `data` has a folder of), in known order.

    Writes out/sets/KEY/SET.json as each set ends, then out/probe.json and out/probe.md over these sets. A set
    whose file is there for the same model_key, data and protocol is taken from it.
    Raises ValueError for an unknown set or a missing file, before any work.
    """
    chosen = choose_sets(data, set_names, known_sets)
    results: dict[str, SetResult] = {}
    for probe_set in chosen:
        path = result_path(out, model_key, probe_set.name)
        data_sha256 = sha256_of_files(probe_set.files(data / probe_set.name))
        done = load_result(path)
        if done is None or not _is_of(done, model_key, data_sha256):
            started = time.perf_counter()
            probed = probe_set.run(
                data / probe_set.name, source, num_threads=num_threads, show_progress=show_progress
            )
            done = SetResult(
                set_name=probe_set.name,
                model_key=model_key,
                data_sha256=data_sha256,
                protocol_version=PROTOCOL_VERSION,
                metrics=list(probe_set.metrics),
                rows=probed.rows,
                details=probed.details,
                seconds=round(time.perf_counter() - started, 1),
            )
            save_result(path, done)
        results[probe_set.name] = done
    joined = {name: asdict(result) for name, result in results.items()}
    write_atomically(out / "probe.json", (json.dumps(joined, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(out / "probe.md", markdown_table(title, results).encode())
    return results


def choose_sets(
    data: Path, set_names: Sequence[str] | None, known_sets: Sequence[ProbeSet] = PROBE_SETS
) -> list[ProbeSet]:
    """The sets to run; raises ValueError naming what is unknown or missing."""
    known = {probe_set.name: probe_set for probe_set in known_sets}
    if set_names is None:
        chosen = [probe_set for name, probe_set in known.items() if (data / name).is_dir()]
        if not chosen:
            raise ValueError(f"{data}: expected at least one folder of {', '.join(known)}; found none")
    else:
        unknown = [name for name in set_names if name not in known]
        if unknown or not set_names:
            raise ValueError(f"expected sets among {', '.join(known)}; came {', '.join(unknown) or 'none'}")
        chosen = [probe_set for name, probe_set in known.items() if name in set_names]
    for probe_set in chosen:
        for path in probe_set.files(data / probe_set.name):
            if not path.is_file():
                raise ValueError(f"{path}: expected a file of the set {probe_set.name}; there is none")
    return chosen


def _is_of(result: SetResult, model_key: str, data_sha256: str) -> bool:
    came = (result.model_key, result.data_sha256, result.protocol_version)
    return came == (model_key, data_sha256, PROTOCOL_VERSION)
