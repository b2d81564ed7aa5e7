"""Held-out perplexity, per direction, of whole lines read as a service reads sentences: from a zero state,
with a boundary at each end. The end of a line is predicted too: it counts as a token, a word and a character.

Shape letters: B sentences, T tokens, D token-vector dim, H hidden, N predictions.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.bilm import BiLM
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training.corpus import CharacterTable, TextCounts

MAX_BATCH_TOKENS = 4096

Perplexities = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""By language, direction and unit."""


@dataclass(frozen=True)
class HeldoutLoss:
    """Negative log-likelihood in nats, summed over a text."""

    forward: float
    backward: float
    num_predictions: int

    @property
    def mean(self) -> float:
        """Nats a token, mean of the directions."""
        return (self.forward + self.backward) / (2 * self.num_predictions)

    def perplexities(self, counts: TextCounts) -> dict[str, dict[str, float | None]]:
        """Return perplexity per token, word and character for each direction; counts: of the same text.

        None where a float cannot hold it: a text without white space may be one word of thousands of nats.

        Only those per word and per character can be compared between vocabularies.
        """
        return {
            direction: {
                "token": _exp(loss / counts.tokens),
                "word": _exp(loss / counts.words),
                "character": _exp(loss / counts.characters),
            }
            for direction, loss in (("forward", self.forward), ("backward", self.backward))
        }


def perplexity_table(perplexities: Perplexities) -> str:
    lines = ["| text | direction | per token | per word | per character |", "|---|---|---:|---:|---:|"]
    for language, by_direction in perplexities.items():
        for direction, by_unit in by_direction.items():
            values = (by_unit[unit] for unit in ("token", "word", "character"))
            cells = " | ".join("–" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"| {language} | {direction} | {cells} |")
    return "\n".join(lines)


def _exp(nats: float) -> float | None:
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None


def heldout_loss(
    model: BiLM,
    characters: CharacterTable,
    lines: Sequence[npt.NDArray[np.uint32]],
    precision: torch.dtype = torch.float32,
) -> HeldoutLoss:
    """lines: token ids without boundaries. The lines do not depend on each other.

    float32 is what is reported; during training, the precision of the training itself is several times as
    fast.
    """
    device = next(model.parameters()).device
    enabled = precision != torch.float32
    with torch.inference_mode(), torch.autocast(device.type, dtype=precision, enabled=enabled):
        return _heldout_loss(model, characters, lines, device)


def _heldout_loss(
    model: BiLM, characters: CharacterTable, lines: Sequence[npt.NDArray[np.uint32]], device: torch.device
) -> HeldoutLoss:
    vectors_ND, position = _encode_distinct(model, characters, lines, device)
    forward = backward = 0.0
    num_predictions = 0
    for batch in _batches(lines):
        lengths_B = torch.tensor([len(line) + 2 for line in batch], device=device)
        ids_TB = np.full((int(lengths_B.max()), len(batch)), BOUNDARY_ID, dtype=np.int64)
        for b, line in enumerate(batch):
            ids_TB[1 : len(line) + 1, b] = line
        x_TBD = vectors_ND[torch.from_numpy(position[ids_TB]).to(device)]
        top_TB2H = model(x_TBD, lengths_B)[-1]
        targets_TB = torch.from_numpy(
            np.where(ids_TB < model.architecture.vocabulary_size, ids_TB, UNKNOWN_ID)
        )
        forward_nll, backward_nll = _both_directions(model, top_TB2H, targets_TB.to(device), lengths_B)
        forward, backward = forward + forward_nll, backward + backward_nll
        num_predictions += int((lengths_B - 1).sum())
    return HeldoutLoss(forward, backward, num_predictions)


def _both_directions(
    model: BiLM, top_TB2H: Tensor, targets_TB: Tensor, lengths_B: Tensor
) -> tuple[float, float]:
    """Position t of the forward half predicts token t + 1, position t + 1 of the backward half token t."""
    forward_TBH, backward_TBH = top_TB2H.chunk(2, dim=2)
    steps_T1 = torch.arange(len(targets_TB) - 1, device=targets_TB.device).unsqueeze(1)
    is_pair_TB = steps_T1 < lengths_B - 1
    losses = (
        model.softmax.negative_log_likelihood(forward_TBH[:-1][is_pair_TB], targets_TB[1:][is_pair_TB]),
        model.softmax.negative_log_likelihood(backward_TBH[1:][is_pair_TB], targets_TB[:-1][is_pair_TB]),
    )
    return float(losses[0]), float(losses[1])


def _encode_distinct(
    model: BiLM, characters: CharacterTable, lines: Sequence[npt.NDArray[np.uint32]], device: torch.device
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return each distinct token's vector, and the row that each token id has among them."""
    distinct_N = np.unique(np.concatenate([*lines, np.array([BOUNDARY_ID], dtype=np.uint32)]))
    distinct_N = distinct_N[np.argsort(characters.lengths[distinct_N], kind="stable")]
    position = np.zeros(len(characters.lengths), dtype=np.int64)
    position[distinct_N] = np.arange(len(distinct_N))
    vectors = []
    for start in range(0, len(distinct_N), 1024):
        ids_N = distinct_N[start : start + 1024]
        char_ids_NC = torch.from_numpy(characters.rows(ids_N)).to(device)
        vectors.append(
            model.token_vectors(char_ids_NC, torch.from_numpy(characters.piece_ids[ids_N]).to(device))
        )
    return torch.cat(vectors), position


def _batches(lines: Sequence[npt.NDArray[np.uint32]]) -> Iterator[list[npt.NDArray[np.uint32]]]:
    """Yield lines of like length, at most MAX_BATCH_TOKENS tokens with padding (or one longer line)."""
    batch: list[npt.NDArray[np.uint32]] = []
    for line in sorted(lines, key=len):
        if batch and (len(batch) + 1) * (len(line) + 2) > MAX_BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch
