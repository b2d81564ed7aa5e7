"""The sets: what is in each, and which protocol measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from training.probes.all_words import AllWordsSet
from training.probes.choices import AlternativesSet, MinimalPairSet
from training.probes.pairs import RatedWordsSet, SameSenseSet, SimilaritySet
from training.probes.readers.marked import read_token_senses
from training.probes.readers.pairs import read_span_pairs, read_token_pairs
from training.probes.readers.tagged import read_two_columns
from training.probes.report import Probed
from training.probes.senses import SenseSet
from training.probes.sentences import SentenceSet
from training.probes.source import Subject
from training.probes.tagging import TaggingSet


class ProbeSet(Protocol):
    """A set: which files of its folder it reads, what it measures, and how."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns of its rows that go into the table, the main one first."""
        ...

    @property
    def asks_how_likely(self) -> bool:
        """Whether it needs a language model, not vectors."""
        ...

    def files(self, folder: Path) -> list[Path]: ...

    def run(self, folder: Path, subject: Subject) -> Probed: ...


NATURAL_AND_MADE = ("natural", "typo10", "typo30")
MADE = ("typo10", "typo30")
SEMCOR_TESTS = ("test_senseval2", "test_senseval3", "test_semeval2013", "test_semeval2015")

PROBE_SETS: tuple[ProbeSet, ...] = (
    # Senses of a marked word: nearest centroid by cosine.
    SenseSet("homograph_ko_open", word_in_picture="보고"),
    SenseSet("wsd_kobest_ko"),
    SenseSet("homograph_en"),
    # 20 words: half of the sentences are 250 for each.
    SenseSet(
        "coarsewsd20",
        ("macro_f1", "accuracy"),
        read_token_senses,
        word_in_picture="spring",
        max_train=5_000,
    ),
    AllWordsSet("wsd_semcor_all", SEMCOR_TESTS),
    # Does a word mean the same in two sentences, or how alike are two words: the cosine.
    SameSenseSet("wic_en", read_token_pairs),
    SameSenseSet("kobest_wic_ko", read_span_pairs),
    RatedWordsSet("scws"),
    # A tag for each word: linear probe on at most 40,000 words.
    TaggingSet("ud_en_ewt"),
    TaggingSet("ud_ko_kaist"),
    TaggingSet("wnut17", "span_f1", "conll", read_two_columns),
    # Sentences, mean-pooled: linear probe on at most 10,000; typo_en and typo_ko are copies of four tests.
    SentenceSet("sst2", noisy_folder="typo_en", noisy_kinds=NATURAL_AND_MADE),
    SentenceSet("sst5"),
    SentenceSet(
        "trec", label_columns=("label", "fine_label"), noisy_folder="typo_en", noisy_kinds=NATURAL_AND_MADE
    ),
    SentenceSet("cola", ("mcc",)),
    SentenceSet("nsmc_raw_ko", noisy_folder="typo_ko", noisy_kinds=MADE),
    SentenceSet("intent_3i4k_ko", ("accuracy", "macro_f1"), noisy_folder="typo_ko", noisy_kinds=MADE),
    SentenceSet("beep_ko", ("macro_f1",), label_columns=("hate",)),
    # How alike are two sentences: cosine of their means, plain and centred.
    SimilaritySet("stsb_en"),
    SimilaritySet("korsts"),
    # Which of two texts is likelier: forward and backward log-probability.
    MinimalPairSet("blimp"),
    AlternativesSet("kobest_copa_ko"),
)


def with_wordnet(wordnet: Path) -> tuple[ProbeSet, ...]:
    """The sets, wsd_semcor_all with the first sense in WordNet 3.0 (its folder) for words not trained on."""
    return tuple(
        AllWordsSet(each.name, each.tests, wordnet) if isinstance(each, AllWordsSet) else each
        for each in PROBE_SETS
    )
