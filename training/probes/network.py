"""A torch network behind the two methods that `EncodedSource` asks for: probed without an export.

Shapes: N tokens, C characters, T tokens, B sentences, D token-vector dim, L layers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.bilm import BiLM
from training.probes.source import FloatArray


class TorchNetwork:
    """Runs a BiLM as it stands, wherever it is; its mode (training or evaluation) is left alone.

    bf16: autocast; on a CPU with AMX 3.4 times as fast (2 x LSTM(512)), vectors off by up to 0.004.
    """

    def __init__(self, bilm: BiLM, *, bf16: bool = False) -> None:
        self._bilm = bilm
        self._device = next(bilm.parameters()).device
        self._bf16 = bf16

    @torch.inference_mode()
    def token_vectors(
        self, char_ids_NC: NDArray[np.int32], piece_ids_N: NDArray[np.int32] | None, /
    ) -> FloatArray:
        """float32 (N, D). piece_ids_N: None unless pieces have vectors of their own."""
        piece_ids = None if piece_ids_N is None else torch.from_numpy(piece_ids_N).to(self._device)
        with self._autocast():
            return _to_numpy(
                self._bilm.token_vectors(torch.from_numpy(char_ids_NC).to(self._device), piece_ids)
            )

    def _autocast(self) -> torch.autocast:
        # One per call: it keeps the state that it will restore, and calls may come from several threads.
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)

    @torch.inference_mode()
    def layers(self, x_TBD: FloatArray, lengths_B: NDArray[np.int32], /) -> FloatArray:
        """float32 (L, T, B, 2H)."""
        lengths = torch.from_numpy(lengths_B.astype(np.int64)).to(self._device)
        with self._autocast():
            return _to_numpy(self._bilm(torch.from_numpy(x_TBD).to(self._device), lengths))


def _to_numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array
