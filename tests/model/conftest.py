"""A small vocabulary, learned from the tests' English and Korean text as a real one is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.tokenizer import SentencePieceTokenizer
from training.config import TokenizerConfig
from training.tokenizer import train_tokenizer

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors as small as the tests' are slower in several, and on a busy machine many times as slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tokenizer.model, 1,500 pieces: small enough that Chinese, Hebrew and emoji are unknown to it."""
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.model"
    lines = [
        line
        for language in ("en", "ko")
        for line in (DATA / f"corpus.{language}.txt").read_text(encoding="utf-8").splitlines()
        if line
    ]
    train_tokenizer(lines, TokenizerConfig(vocabulary_size=1500, alphabet="jamo"), path)
    return path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_path: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(tokenizer_path)
