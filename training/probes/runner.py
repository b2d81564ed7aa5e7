"""Probe one model on several sets; a set that is done is not done again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from training.probes.report import SetResult, load_result, result_path, save_result
from training.probes.selection import sha256_of_files
from training.probes.sets import PROBE_SETS, ProbeSet
from training.probes.source import LayerSource, SentenceScorer, Subject


def probe(
    source: LayerSource,
    model_key: str,
    data: Path,
    out: Path,
    set_names: Sequence[str] | None = None,
    *,
    scorer: SentenceScorer | None = None,
    num_threads: int = 2,
    show_progress: bool = True,
    known_sets: Sequence[ProbeSet] = PROBE_SETS,
) -> dict[str, SetResult]:
    """Probe `source` on the named sets (None: all known ones that `data` has a folder of), in known order.

    scorer: for the sets that ask how likely a sentence is; without one they are not among `all`. Writes
    out/sets/KEY/SET.json as each set ends. A set whose file is there for the same model_key, data and
    protocol is taken from it. Raises ValueError for an unknown set or a missing file, before any work.
    """
    subject = Subject(source, scorer, num_threads, show_progress)
    chosen = choose_sets(data, set_names, known_sets)
    if set_names is None and scorer is None:
        chosen = [probe_set for probe_set in chosen if not probe_set.asks_how_likely]
    results: dict[str, SetResult] = {}
    for probe_set in chosen:
        path = result_path(out, model_key, probe_set.name)
        data_sha256 = sha256_of_files(probe_set.files(data / probe_set.name))
        done = load_result(path)
        if done is None or not done.is_of(model_key, data_sha256):
            started = time.perf_counter()
            probed = probe_set.run(data / probe_set.name, subject)
            seconds = round(time.perf_counter() - started, 1)
            done = SetResult.of(probe_set.name, probe_set.metrics, model_key, data_sha256, probed, seconds)
            save_result(path, done)
        results[probe_set.name] = done
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
