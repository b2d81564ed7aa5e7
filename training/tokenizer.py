"""Learn the vocabulary and the alphabet from the training text."""

from __future__ import annotations

import heapq
import io
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from model.characters import NUM_SYLLABLES, SYLLABLE_BASE, Alphabet
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training.atomic import write_atomically
from training.config import TokenizerConfig
from training.corpus import read_documents

MAX_LINE_CHARACTERS = 2000
"""A longer line is cut for the vocabulary's sample, so that no single line weighs much."""


def sample_lines(
    files_by_language: Mapping[str, Sequence[Path]], bytes_per_language: int, seed: int
) -> list[str]:
    """Draw lines at random, as many bytes from every language (or all that it has)."""
    sample: list[str] = []
    for language in sorted(files_by_language):
        files = files_by_language[language]
        with tqdm(files, f"sample {language}", unit=" files", leave=False, disable=None) as bar:
            lines = (line for path in bar for document in read_documents(path) for line in document)
            sample += _draw(lines, bytes_per_language, random.Random(seed))
    return sample


def _draw(lines: Iterable[str], num_bytes: int, rng: random.Random) -> list[str]:
    """Return lines in random order, just enough for num_bytes, holding no more than those at any time.

    Every line draws a number; those with the smallest stay.
    """
    kept: list[tuple[float, str]] = []  # a heap with the largest number on top
    kept_bytes = 0
    for line in lines:
        line = line[:MAX_LINE_CHARACTERS]
        heapq.heappush(kept, (-rng.random(), line))
        kept_bytes += len(line.encode("utf-8"))
        while kept_bytes - (top_bytes := len(kept[0][1].encode("utf-8"))) >= num_bytes:
            heapq.heappop(kept)
            kept_bytes -= top_bytes
    return [line for _, line in sorted(kept, reverse=True)]


def train_tokenizer(lines: Sequence[str], config: TokenizerConfig, path: Path) -> None:
    """Write a SentencePiece model with our ids for unknown and boundary.

    Raises ValueError when the text is too small for the vocabulary.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=config.vocabulary_size,
            model_type=config.model_type,
            character_coverage=config.character_coverage,
            normalization_rule_name="nmt_nfkc",
            unk_id=UNKNOWN_ID,
            bos_id=BOUNDARY_ID,
            eos_id=-1,
            pad_id=-1,
            max_sentence_length=4 * MAX_LINE_CHARACTERS,
            num_threads=2,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2] or str(error)  # without the place in its source
        raise ValueError(
            f"tokenizer.vocabulary_size: SentencePiece cannot learn it from this text: {reason}"
        ) from error
    write_atomically(path, model.getvalue())


def build_alphabet(lines: Sequence[str], config: TokenizerConfig) -> Alphabet:
    """Count the characters of the sample; a jamo alphabet lists those frequent enough, most frequent first.

    ASCII needs no listing (a byte each), Hangul syllables are spelled by their jamo.
    """
    if config.alphabet == "bytes":
        return Alphabet("bytes")
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    listed = [
        character
        for character, count in counts.most_common()
        if count >= config.min_character_count
        and not character.isascii()
        and not 0 <= ord(character) - SYLLABLE_BASE < NUM_SYLLABLES
    ]
    return Alphabet("jamo", listed)
