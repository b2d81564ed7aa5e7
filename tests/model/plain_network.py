"""The whole network in plain numpy, float64: one token, one sentence, one step at a time, as equations.

Written from the definition alone, to hold the ONNX graphs against. Nothing is batched, so nothing can be
padded: each token is read with its own characters, each sentence with its own length.

Shape letters: C characters, E character dim, F filters, D token-vector dim, T tokens, H hidden (D = H),
L layers of a reply, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.architecture import NUM_GATES, Architecture

Array = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[np.floating]]


def random_tensors(
    architecture: Architecture, seed: int = 0, dtype: type[np.floating] = np.float32
) -> dict[str, npt.NDArray[np.floating]]:
    """Weights of a size that puts the gates between open and closed. Row 0 of the characters is zeros."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in architecture.tensor_shapes().items():
        scale = 2 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.5
        tensors[name] = (generator.uniform(-1, 1, shape) * scale).astype(dtype)
    tensors["char_cnn.character_embedding.weight"][0] = 0
    return tensors


class PlainNetwork:
    def __init__(self, architecture: Architecture, tensors: Tensors) -> None:
        self.architecture = architecture
        self.tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}

    def token_vector(self, char_ids: Sequence[int]) -> Array:
        """Return (D) of one token's characters, padding left out; zeros for a token without any."""
        if not char_ids:
            return np.zeros(self.architecture.hidden_dim)
        characters_CE = self.tensors["char_cnn.character_embedding.weight"][list(char_ids)]
        maxima = [self._maxima(i, characters_CE) for i in range(len(self.architecture.filters))]
        x_F = np.concatenate(maxima)
        for i in range(self.architecture.num_highways):
            gate_F = sigmoid(self._linear(f"char_cnn.highways.{i}.gate", x_F))
            transformed_F = np.maximum(self._linear(f"char_cnn.highways.{i}.transform", x_F), 0)
            x_F = gate_F * transformed_F + (1 - gate_F) * x_F
        return self._linear("char_cnn.projection", x_F)

    def _maxima(self, index: int, characters_CE: Array) -> Array:
        """Every filter of one width over every window, the last of which holds padding alone."""
        weight = self.tensors[f"char_cnn.convolutions.{index}.weight"]  # (count, E, width)
        bias = self.tensors[f"char_cnn.convolutions.{index}.bias"]
        width = weight.shape[2]
        padded = np.concatenate([characters_CE, np.zeros((width, characters_CE.shape[1]))])
        windows = [padded[start : start + width] for start in range(len(characters_CE) + 1)]
        scores = [np.maximum(np.einsum("cek,ke->c", weight, window) + bias, 0) for window in windows]
        maxima: Array = np.max(scores, axis=0)
        return maxima

    def layers(self, x_TD: Array) -> Array:
        """Return (L, T, 2H) of one sentence, boundaries and all."""
        forward = self._stack("forward_layers", x_TD)
        backward = [layer_TH[::-1] for layer_TH in self._stack("backward_layers", x_TD[::-1])]
        return np.stack([np.concatenate(halves, axis=1) for halves in zip(forward, backward, strict=True)])

    def _stack(self, stack: str, x_TD: Array) -> list[Array]:
        layers = [x_TD]
        for layer in range(self.architecture.num_layers):
            output_TH = self._recurrent(f"{stack}.{layer}", layers[-1])
            layers.append(output_TH + layers[-1] if layer > 0 else output_TH)
        return layers

    def _recurrent(self, name: str, x_TD: Array) -> Array:
        gates = NUM_GATES[self.architecture.cell]
        W, R, b, c = (
            self.tensors[f"{name}.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h_H = np.zeros(self.architecture.hidden_dim)
        cell_H = np.zeros(self.architecture.hidden_dim)
        outputs = []
        for x_D in x_TD:
            from_input = np.split(W @ x_D + b, gates)
            from_state = np.split(R @ h_H + c, gates)
            match self.architecture.cell:
                case "lstm":
                    i, f, g, o = (a + b for a, b in zip(from_input, from_state, strict=True))
                    cell_H = sigmoid(f) * cell_H + sigmoid(i) * np.tanh(g)
                    h_H = sigmoid(o) * np.tanh(cell_H)
                case "gru":
                    r, z = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
                    n = np.tanh(from_input[2] + r * from_state[2])
                    h_H = (1 - z) * n + z * h_H
                case "rnn":
                    h_H = np.tanh(from_input[0] + from_state[0])
            outputs.append(h_H)
        return np.stack(outputs)

    def log_probabilities(self, hidden_H: Array) -> Array:
        """Return (V), natural logarithms."""
        if not self.architecture.tails:
            return log_softmax(self._linear("softmax", hidden_H))
        head = log_softmax(self._linear("softmax.head", hidden_H))
        shortlist = self.architecture.adaptive_cutoffs[0]
        parts = [head[:shortlist]]
        for i in range(len(self.architecture.tails)):
            projected = self.tensors[f"softmax.tail.{i}.0.weight"] @ hidden_H
            parts.append(
                head[shortlist + i] + log_softmax(self.tensors[f"softmax.tail.{i}.1.weight"] @ projected)
            )
        return np.concatenate(parts)

    def _linear(self, name: str, x: Array) -> Array:
        y: Array = self.tensors[f"{name}.weight"] @ x + self.tensors[f"{name}.bias"]
        return y


def sigmoid(a: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-a))
    return y


def log_softmax(a: Array) -> Array:
    y: Array = a - np.log(np.exp(a).sum())
    return y
