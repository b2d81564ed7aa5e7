from __future__ import annotations

import numpy as np
import torch

from model.bilm import BiLM
from model.bundle import Bundle
from training.baselines.untrained import untrained_source
from training.probes.encoded import EncodedSource
from training.probes.source import FloatArray


def vectors(source: EncodedSource) -> FloatArray:
    (layers,) = source.sentence_layers(["강에서 배를 탔다"])
    return layers.layers_LTD


def test_a_seed_gives_one_network(untrained: Bundle) -> None:
    first, again, other = (vectors(untrained_source(untrained, seed)) for seed in (1, 1, 2))
    assert first.shape[0] == 3
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_weights_are_those_that_training_starts_from(untrained: Bundle) -> None:
    """The same as a network made right after the seed, read as one sentence by torch."""
    source = untrained_source(untrained, 7)
    torch.manual_seed(7)
    model = BiLM(untrained.manifest.architecture)
    token = source._alphabet.encode(["▁배"])
    with torch.inference_mode():
        expected = model.char_cnn(torch.from_numpy(token)).numpy()
    assert np.allclose(source._network.token_vectors(token, None), expected, atol=1e-6)
