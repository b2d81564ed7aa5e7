from __future__ import annotations

import numpy as np
import torch

from model.architecture import Architecture
from model.bilm import BiLM
from training.probes.network import TorchNetwork

ARCHITECTURE = Architecture(
    cell="gru",
    num_layers=2,
    hidden_dim=6,
    character_dim=4,
    num_characters=20,
    filters=((1, 3), (2, 5)),
    num_highways=1,
    vocabulary_size=10,
    adaptive_cutoffs=(),
    adaptive_div_value=1.0,
)


def test_a_network_gives_its_own_vectors_as_numpy_arrays() -> None:
    torch.manual_seed(1)
    bilm = BiLM(ARCHITECTURE)
    network = TorchNetwork(bilm)
    char_ids_NC = np.array([[1, 7, 2, 0], [1, 5, 6, 2]], dtype=np.int32)
    token_vectors_ND = network.token_vectors(char_ids_NC, None)
    x_TBD = np.stack([token_vectors_ND, token_vectors_ND[::-1]], axis=1)
    x_TBD[1, 1] = 0
    lengths_B = np.array([2, 1], dtype=np.int32)
    layers_LTBD = network.layers(x_TBD, lengths_B)
    with torch.no_grad():
        expected_ND = bilm.char_cnn(torch.from_numpy(char_ids_NC))
        expected_LTBD = bilm(torch.from_numpy(x_TBD), torch.tensor([2, 1]))
    assert token_vectors_ND.dtype == layers_LTBD.dtype == np.float32
    assert layers_LTBD.shape == (3, 2, 2, 12)
    np.testing.assert_array_equal(token_vectors_ND, expected_ND.numpy())
    np.testing.assert_array_equal(layers_LTBD, expected_LTBD.numpy())
    np.testing.assert_array_equal(layers_LTBD[0, :, 0], np.concatenate([token_vectors_ND] * 2, axis=1))

    in_bf16 = TorchNetwork(bilm, bf16=True)
    for exact, rounded in [
        (token_vectors_ND, in_bf16.token_vectors(char_ids_NC, None)),
        (layers_LTBD, in_bf16.layers(x_TBD, lengths_B)),
    ]:
        assert rounded.dtype == np.float32
        assert 0 < np.abs(rounded - exact).max() < 0.02
