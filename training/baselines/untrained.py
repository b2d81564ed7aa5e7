"""The network as it is before training: what its shape alone gives, and a bundle's tokenizer and alphabet."""

from __future__ import annotations

import torch

from model.bilm import BiLM
from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE
from model.piece_ids import piece_ids_of
from model.tokenizer import SentencePieceTokenizer
from training.probes.encoded import EncodedSource
from training.probes.network import TorchNetwork


def untrained_source(bundle: Bundle, seed: int) -> EncodedSource:
    """The architecture of a bundle, its weights drawn anew as training draws them."""
    torch.manual_seed(seed)
    model = BiLM(bundle.manifest.architecture).eval()
    tokenizer = SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE)
    return EncodedSource(
        tokenizer,
        Alphabet.load(bundle.folder / CHARACTERS_FILE),
        TorchNetwork(model),
        bundle.manifest.architecture.num_vector_layers,
        pieces=piece_ids_of(bundle.manifest.architecture, tokenizer),
    )
