"""What words and letters alone say: the floors under every vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.baselines.tags import probe_tags
from training.baselines.tfidf import probe_pairs, probe_sentences
from training.probes.pairs import SimilaritySet
from training.probes.rows import BaselineRow
from training.probes.runner import choose_sets
from training.probes.sentences import SentenceSet
from training.probes.sets import PROBE_SETS, ProbeSet
from training.probes.tagging import TaggingSet

TFIDF = "TF-IDF"
TAGS = "commonest tag of the word, then of its ending"


def has_floor(probe_set: ProbeSet) -> bool:
    if isinstance(probe_set, TaggingSet):
        return probe_set.metric == "accuracy"
    return isinstance(probe_set, SentenceSet | SimilaritySet)


def probe_counts(data: Path, set_names: Sequence[str] | None, source: str) -> list[BaselineRow]:
    """One row for each of the sets that words can be counted for (None: all that `data` has).

    Raises ValueError for another set, or a missing or malformed file.
    """
    known = [probe_set for probe_set in PROBE_SETS if has_floor(probe_set)]
    rows = []
    for probe_set in choose_sets(data, set_names, known):
        folder = data / probe_set.name
        if isinstance(probe_set, TaggingSet):
            vectors, metrics = TAGS, probe_tags(probe_set, folder)
        elif isinstance(probe_set, SentenceSet):
            vectors, metrics = TFIDF, probe_sentences(probe_set, folder)
        else:
            vectors, metrics = TFIDF, probe_pairs(folder)
        rows.append(BaselineRow(probe_set.name, vectors, "", metrics, source))
    return rows
