"""The context encoder of 8-bit integers: the ranges that it is built for, and what it changes.

Shape letters: N tokens, D token-vector dim, T positions (boundaries included), L layers, H hidden, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.bilm import BiLM
from model.bundle import Bundle
from model.runtime import Runtime
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training.corpus import CharacterTable

Lines = Sequence[npt.NDArray[np.uint32]]

CHUNK = 256
"""Tokens whose vectors, and predictions whose log-probabilities, are computed at once."""


@torch.inference_mode()
def token_ranges(model: BiLM, characters: CharacterTable) -> npt.NDArray[np.float32]:
    """Return float32 (D), above 0: the largest absolute value of each dimension over the vocabulary.

    A token that is not in the vocabulary may go beyond it, and is clipped.
    """
    ranges_D = torch.full((model.architecture.hidden_dim,), torch.finfo(torch.float32).tiny)
    for start in range(0, model.architecture.vocabulary_size, CHUNK):
        ids_N = np.arange(start, min(start + CHUNK, model.architecture.vocabulary_size))
        piece_ids_N = torch.from_numpy(characters.piece_ids[ids_N])
        vectors_ND = model.token_vectors(torch.from_numpy(characters.rows(ids_N)), piece_ids_N)
        ranges_D = torch.maximum(ranges_D, vectors_ND.abs().amax(dim=0))
    return ranges_D.numpy()


def int8_changes(bundle: Bundle, heldout: Mapping[str, tuple[CharacterTable, Lines]]) -> dict[str, float]:
    """Return what the 8-bit encoder changes against float32: for each text the error of the contextual
    layers, as a share of their length, and the loss in nats a token."""
    runtimes = [Runtime(bundle, 1, "float32"), Runtime(bundle, 1, "int8")]
    changes: dict[str, float] = {}
    for language, (characters, lines) in heldout.items():
        error = length = num_predictions = 0.0
        losses = [0.0, 0.0]
        for line in lines:
            ids_T = np.array([BOUNDARY_ID, *line, BOUNDARY_ID])
            piece_ids_T = characters.piece_ids[ids_T] if bundle.manifest.architecture.word_dim else None
            layers_of = [_layers(runtime, characters.rows(ids_T), piece_ids_T) for runtime in runtimes]
            error += float(np.square(layers_of[1][1:] - layers_of[0][1:]).sum())
            length += float(np.square(layers_of[0][1:]).sum())
            known_T = np.where(ids_T < bundle.manifest.architecture.vocabulary_size, ids_T, UNKNOWN_ID)
            for i, (runtime, layers_LTD) in enumerate(zip(runtimes, layers_of, strict=True)):
                losses[i] += _loss(runtime, layers_LTD[-1], known_T)
            num_predictions += 2 * (len(ids_T) - 1)
        changes[f"int8_relative_error_{language}"] = (error / length) ** 0.5
        changes[f"int8_nats_per_token_{language}"] = (losses[1] - losses[0]) / num_predictions
    return changes


def _layers(
    runtime: Runtime, char_ids_TC: npt.NDArray[np.int32], piece_ids_T: npt.NDArray[np.int32] | None
) -> npt.NDArray[np.float32]:
    """Return the layers (L, T, 2H) of one sentence."""
    x_T1D = runtime.token_vectors(char_ids_TC, piece_ids_T)[:, None]
    return runtime.layers(x_T1D, np.array([len(x_T1D)], dtype=np.int32))[:, :, 0]


def _loss(runtime: Runtime, top_T2H: npt.NDArray[np.float32], ids_T: npt.NDArray[np.int64]) -> float:
    """Return the negative log-likelihood of a sentence by both directions, in nats."""
    forward_TH, backward_TH = np.split(top_T2H, 2, axis=-1)
    hidden_NH = np.concatenate([forward_TH[:-1], backward_TH[1:]])
    targets_N = np.concatenate([ids_T[1:], ids_T[:-1]])
    loss = 0.0
    for start in range(0, len(targets_N), CHUNK):
        chunk = slice(start, start + CHUNK)
        log_probabilities_NV = runtime.log_probabilities(hidden_NH[chunk])
        loss -= float(np.take_along_axis(log_probabilities_NV, targets_N[chunk, None], axis=1).sum())
    return loss
