from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from model.characters import Alphabet
from model.tokenizer import SentencePieceTokenizer
from tests.training.runs import run_python
from training.config import Config, TokenizerConfig
from training.corpus import check_texts
from training.tokenizer import MAX_LINE_CHARACTERS, _draw, build_alphabet, sample_lines, train_tokenizer

SMALL = TokenizerConfig(vocabulary_size=36, alphabet="jamo", min_character_count=2)
TEXT = ["the bank of the river", "a bat in the dark", "spring and light", "배가 고프다", "눈이 오는 밤에"] * 4


def write_lines(path: Path, lines: Sequence[str]) -> list[Path]:
    path.write_text("\n".join(lines), encoding="utf-8")
    return [path]


def num_bytes(lines: Sequence[str]) -> int:
    return len("".join(lines).encode("utf-8"))


# The sample


def test_every_language_gives_as_many_bytes(tmp_path: Path) -> None:
    english = [f"English line {i:04}." for i in range(1000)]  # 18 bytes each
    korean = [f"한국어 줄 {i:04}." for i in range(5000)]  # 19 bytes each
    files = {"ko": write_lines(tmp_path / "ko.txt", korean), "en": write_lines(tmp_path / "en.txt", english)}
    sample = sample_lines(files, 1900, seed=1)
    own = {"en": [line for line in sample if line in set(english)]}
    own["ko"] = [line for line in sample if line not in set(english)]
    assert {language: len(lines) for language, lines in own.items()} == {"en": 106, "ko": 100}
    assert 1900 <= num_bytes(own["en"]) < 1900 + 18
    assert num_bytes(own["ko"]) == 1900
    assert len(set(sample)) == len(sample)
    assert set(sample) <= {*english, *korean}


def test_a_small_language_gives_all_it_has(tmp_path: Path) -> None:
    english = [f"English line {i:04}." for i in range(1000)]
    files = {"en": write_lines(tmp_path / "en.txt", english), "ko": write_lines(tmp_path / "ko.txt", ["배"])}
    sample = sample_lines(files, 900, seed=1)
    assert len(sample) == 51
    assert sample.count("배") == 1
    assert sorted(sample_lines(files, 10**9, seed=1)) == sorted([*english, "배"])


def test_the_sample_is_drawn_from_everywhere_and_follows_the_seed(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.txt", [f"first {i}" for i in range(500)])
    second = write_lines(tmp_path / "b.txt", [f"second {i}" for i in range(500)])
    files = {"en": [*first, *second]}
    sample = sample_lines(files, 2000, seed=1)
    by_file = Counter(line.split()[0] for line in sample)
    assert min(by_file["first"], by_file["second"]) > 0.3 * len(sample)
    assert sample_lines(files, 2000, seed=1) == sample
    assert sample_lines(files, 2000, seed=2) != sample


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=60),
    st.integers(1, 300),
    st.integers(0, 3),
)
def test_the_sample_is_the_shortest_beginning_of_a_shuffled_text_that_is_large_enough(
    lines: list[str], least: int, seed: int
) -> None:
    """What keeping every line and putting all into the order of their random numbers would give."""
    rng = random.Random(seed)
    shuffled = [line for _, line in sorted((rng.random(), line) for line in lines)]
    sizes = np.cumsum([num_bytes([line]) for line in shuffled])
    expected = shuffled[: int(np.searchsorted(sizes, least)) + 1]
    assert _draw(lines, least, random.Random(seed)) == expected


def test_no_more_lines_are_held_than_the_sample_has() -> None:
    """Of a text of 20 MB, a sample of 200 kB: the process's memory grows by little more."""
    lines = (f"{number:06}" + "x" * 994 for number in range(20_000))
    tracemalloc.start()
    try:
        sample = _draw(lines, 200_000, random.Random(1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sample) == 200
    assert peak < 500_000


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    files = {"ko": write_lines(tmp_path / "ko.txt", ["배" * (MAX_LINE_CHARACTERS + 1), "눈"])}
    assert sorted(sample_lines(files, 10**6, seed=1)) == ["눈", "배" * MAX_LINE_CHARACTERS]


# The vocabulary


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(TEXT, SMALL, path)
    return path


def test_unknown_is_0_the_boundary_1_and_no_other_symbol_is_there(model_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(model_path)
    pieces = tokenizer.pieces()
    assert tokenizer.vocabulary_size == len(pieces) == 36
    assert pieces[:2] == ["<unk>", "<s>"]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_path))
    assert (processor.unk_id(), processor.bos_id()) == (0, 1)
    assert (processor.eos_id(), processor.pad_id()) == (-1, -1)
    assert not {"</s>", "<pad>"} & set(pieces)


def test_the_learned_pieces_spell_the_text(model_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(model_path)
    for line in TEXT:
        tokenized = tokenizer.tokenize(line)
        assert "".join(tokenized.surfaces).replace("▁", " ") == " " + line
        assert 0 not in tokenized.ids


def test_the_same_text_gives_the_same_vocabulary(model_path: Path, tmp_path: Path) -> None:
    train_tokenizer(TEXT, SMALL, tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == model_path.read_bytes()
    train_tokenizer(TEXT[:-1], SMALL, tmp_path / "other.model")
    assert (tmp_path / "other.model").read_bytes() != model_path.read_bytes()


@pytest.mark.parametrize(("model_type", "vocabulary_size"), [("bpe", 45), ("word", 14)])
def test_the_other_kinds_of_vocabulary(
    model_type: Literal["bpe", "word"], vocabulary_size: int, tmp_path: Path
) -> None:
    config = replace(SMALL, vocabulary_size=vocabulary_size, model_type=model_type)
    train_tokenizer(TEXT, config, tmp_path / "tokenizer.model")
    tokenizer = SentencePieceTokenizer(tmp_path / "tokenizer.model")
    assert tokenizer.vocabulary_size == vocabulary_size
    assert "▁the" in tokenizer.pieces()


@pytest.mark.parametrize("lines", [["배"], [], TEXT[:1]])
def test_a_text_too_small_for_the_vocabulary_is_refused_in_one_line(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    with pytest.raises(ValueError, match=r"^tokenizer\.vocabulary_size: SentencePiece cannot") as caught:
        train_tokenizer(lines, replace(SMALL, vocabulary_size=500), path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_too_small_for_the_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^tokenizer\.vocabulary_size: "):
        train_tokenizer(TEXT, replace(SMALL, vocabulary_size=10), tmp_path / "tokenizer.model")
    assert list(tmp_path.iterdir()) == []


def test_sentencepiece_says_nothing_while_it_learns_or_fails(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from training.config import TokenizerConfig
from training.tokenizer import train_tokenizer

folder, text = Path(sys.argv[1]), sys.argv[2:]
train_tokenizer(text, TokenizerConfig(36, "jamo"), folder / "tokenizer.model")
try:
    train_tokenizer(text, TokenizerConfig(5000, "jamo"), folder / "tokenizer.model")
except ValueError:
    print("refused")
"""
    done = run_python(code, str(tmp_path), *TEXT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


# The alphabet


def test_the_alphabet_lists_frequent_characters_that_have_no_shorter_spelling() -> None:
    lines = ["é" * 5 + "ß" * 7 + "漢" * 3 + "字" * 2 + "a" * 100 + "배" * 100 + "ㅋ" * 4, "漢"]
    alphabet = build_alphabet(lines, replace(SMALL, min_character_count=3))
    assert alphabet.kind == "jamo"
    assert alphabet.listed == ["ß", "é", "漢", "ㅋ"]
    assert build_alphabet(lines, replace(SMALL, min_character_count=5)).listed == ["ß", "é"]
    assert build_alphabet([], SMALL).listed == []


def test_characters_as_frequent_are_listed_in_the_order_of_the_text() -> None:
    assert build_alphabet(["é漢ß", "ß漢é"], SMALL).listed == ["é", "漢", "ß"]


def test_an_alphabet_of_bytes_lists_nothing() -> None:
    alphabet = build_alphabet(["é" * 1000], replace(SMALL, alphabet="bytes"))
    assert (alphabet.kind, alphabet.listed, alphabet.num_characters) == ("bytes", [], 260)


def test_the_alphabet_of_tiny_can_spell_its_text_without_bytes(tiny: Config) -> None:
    files = {language: check_texts([Path(p) for p in paths]) for language, paths in tiny.data.train.items()}
    lines = sample_lines(files, tiny.tokenizer.sample_bytes, tiny.training.seed)
    alphabet = build_alphabet(lines, tiny.tokenizer)
    rare = [
        character
        for character, count in Counter("".join(lines)).items()
        if count < tiny.tokenizer.min_character_count and not character.isascii()
    ]
    common = "".join(lines).translate({ord(character): None for character in rare})
    non_ascii_bytes = [i for i in alphabet.encode([common])[0].tolist() if 4 + 128 <= i < 4 + 256]
    assert non_ascii_bytes == []
    assert Alphabet("bytes").encode([common])[0].max() >= 4 + 128
