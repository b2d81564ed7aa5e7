"""Both kinds of published ELMo in plain numpy, float64: one word, one sentence, one step at a time.

Written from the definitions alone (allenai/bilm-tf 7cffee2, allenai/allennlp v0.9.0,
HIT-SCIR/ELMoForManyLangs b3de5f1), on the weights as their files name and lay them out, to hold importer and
graphs against. Nothing is batched, so nothing is padded but a word's own row, and every window of that row is
read.

Letters: M characters of a word, d character dim, F filters, P projection, C cell, T words with both
boundaries, L recurrent layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Cell:
    """One LSTM, its gates by name: (C, P) of the input, (C, P) of the state, (C) bias, all that is added."""

    from_input: dict[str, Array]
    from_state: dict[str, Array]
    bias: dict[str, Array]
    projection: Array | None  # (P, C)
    cell_clip: float | None
    projection_clip: float | None

    def run(self, x_TP: Array) -> Array:
        """Return every output (T, P) of a sequence that is read from its first row on, from zeros."""
        h_P, c_C = np.zeros(x_TP.shape[1]), np.zeros(len(self.bias["i"]))
        outputs = []
        for x_P in x_TP:
            i, f, g, o = (
                self.from_input[gate] @ x_P + self.from_state[gate] @ h_P + self.bias[gate]
                for gate in ("i", "f", "g", "o")
            )
            c_C = clipped(sigmoid(f) * c_C + sigmoid(i) * np.tanh(g), self.cell_clip)
            h_P = sigmoid(o) * np.tanh(c_C)
            if self.projection is not None:
                h_P = clipped(self.projection @ h_P, self.projection_clip)
            outputs.append(h_P)
        return np.stack(outputs)


class Elmo(ABC):
    """What the two kinds have in common."""

    num_layers: int
    has_skips: bool
    activation: str

    def layers(self, words: Sequence[str]) -> Array:
        """Return (L + 1, number of words, 2P), the boundaries cut off."""
        x_TP = np.stack([self.begin(), *map(self.word_vector, words), self.end()])
        layers = [np.concatenate([x_TP, x_TP], axis=1)]
        forward, backward = x_TP, x_TP[::-1]
        for layer in range(self.num_layers):
            forward, backward = (
                self._layer(direction, layer, inputs) for direction, inputs in enumerate((forward, backward))
            )
            layers.append(np.concatenate([forward, backward[::-1]], axis=1))
        return np.stack(layers)[:, 1:-1]

    def _layer(self, direction: int, layer: int, x_TP: Array) -> Array:
        output = self.cell(direction, layer).run(x_TP)
        return output + x_TP if layer > 0 and self.has_skips else output

    def characters_vector(self, embedded_Md: Array, filters: Sequence[tuple[Array, Array]]) -> Array:
        """Return (F): for each filter (width, d, count) with its bias, activation(its best window + bias)."""
        maxima = []
        for weight, bias in filters:
            width = len(weight)
            windows = [embedded_Md[i : i + width] for i in range(len(embedded_Md) - width + 1)]
            best = np.max([np.einsum("wd,wdc->c", window, weight) for window in windows], axis=0) + bias
            maxima.append(np.maximum(best, 0) if self.activation == "relu" else np.tanh(best))
        return np.concatenate(maxima)

    @abstractmethod
    def cell(self, direction: int, layer: int) -> Cell: ...

    @abstractmethod
    def begin(self) -> Array: ...

    @abstractmethod
    def end(self) -> Array: ...

    @abstractmethod
    def word_vector(self, word: str) -> Array: ...


class BilmTf(Elmo):
    """options.json and the datasets of the HDF5 file by their names there."""

    def __init__(self, options: Mapping[str, Any], weights: Weights) -> None:
        self.lstm, self.cnn = options["lstm"], options["char_cnn"]
        self.num_layers = self.lstm["n_layers"]
        self.has_skips = self.lstm["use_skip_connections"]
        self.activation = self.cnn["activation"]
        self.weights = {name: np.asarray(array, dtype=np.float64) for name, array in weights.items()}

    def begin(self) -> Array:
        return self._vector([256])

    def end(self) -> Array:
        return self._vector([257])

    def word_vector(self, word: str) -> Array:
        longest = self.cnn["max_characters_per_token"] - 2
        return self._vector(list(word.encode("utf-8", errors="ignore")[:longest]))

    def char_ids(self, body: Sequence[int]) -> list[int]:
        """Return a word's row, 1 already added, as 0 is no token's."""
        row = [258, *body, 259]
        row += [260] * (self.cnn["max_characters_per_token"] - len(row))
        return [each + 1 for each in row]

    def _vector(self, body: Sequence[int]) -> Array:
        weights = self.weights
        table = np.concatenate([np.zeros((1, self.cnn["embedding"]["dim"])), weights["char_embed"]])
        num_filters = len(self.cnn["filters"])
        filters = [(weights[f"CNN/W_cnn_{i}"][0], weights[f"CNN/b_cnn_{i}"]) for i in range(num_filters)]
        x_F = self.characters_vector(table[self.char_ids(body)], filters)
        for k in range(self.cnn.get("n_highway", 0)):
            highway = f"CNN_high_{k}"
            carry = sigmoid(x_F @ weights[f"{highway}/W_carry"] + weights[f"{highway}/b_carry"])
            transformed = x_F @ weights[f"{highway}/W_transform"] + weights[f"{highway}/b_transform"]
            x_F = carry * np.maximum(transformed, 0) + (1 - carry) * x_F
        if len(x_F) == self.lstm["projection_dim"]:
            return x_F
        return x_F @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]

    def cell(self, direction: int, layer: int) -> Cell:
        name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
        size = self.lstm["projection_dim"]
        blocks = np.split(self.weights[f"{name}/W_0"], 4, axis=1)
        biases = np.split(self.weights[f"{name}/B"], 4)
        gates = ("i", "g", "f", "o")
        bias = dict(zip(gates, biases, strict=True))
        bias["f"] = bias["f"] + 1.0
        is_projected = self.lstm["dim"] != size
        return Cell(
            from_input={gate: block[:size].T for gate, block in zip(gates, blocks, strict=True)},
            from_state={gate: block[size:].T for gate, block in zip(gates, blocks, strict=True)},
            bias=bias,
            projection=self.weights[f"{name}/W_P_0"].T if is_projected else None,
            cell_clip=self.lstm["cell_clip"],
            projection_clip=self.lstm["proj_clip"],
        )


class ManyLangs(Elmo):
    """The configuration that config.json names, both state dicts, and both dictionaries."""

    has_skips = True

    def __init__(
        self,
        configuration: Mapping[str, Any],
        token_embedder: Weights,
        encoder: Weights,
        characters: Mapping[str, int],
        words: Mapping[str, int],
    ) -> None:
        self.embedder, self.encoder = configuration["token_embedder"], configuration["encoder"]
        self.num_layers = self.encoder["n_layers"]
        self.activation = self.embedder["activation"]
        self.characters, self.words = characters, words
        self.weights = {
            name: np.asarray(array, dtype=np.float64)
            for tensors in (token_embedder, encoder)
            for name, array in tensors.items()
        }

    def begin(self) -> Array:
        return self._vector([self.characters["<bos>"]], "<bos>")

    def end(self) -> Array:
        return self._vector([self.characters["<eos>"]], "<eos>")

    def word_vector(self, word: str) -> Array:
        cut = word[: self.embedder["max_characters_per_token"] - 2]
        return self._vector([self.characters.get(each, self.characters["<oov>"]) for each in cut], cut)

    def char_ids(self, body: Sequence[int]) -> list[int]:
        """Return a word's row, in the file's own ids; its marks are swapped there, as they are here."""
        row = [self.characters["<eow>"], *body, self.characters["<bow>"]]
        return row + [self.characters["<pad>"]] * (self.embedder["max_characters_per_token"] - len(row))

    def _vector(self, body: Sequence[int], word: str) -> Array:
        weights = self.weights
        filters = [
            (weights[f"convolutions.{i}.weight"].transpose(2, 1, 0), weights[f"convolutions.{i}.bias"])
            for i in range(len(self.embedder["filters"]))
        ]
        embedded_Md = weights["char_emb_layer.embedding.weight"][self.char_ids(body)]
        x_F = self.characters_vector(embedded_Md, filters)
        for k in range(self.embedder["n_highway"]):
            name = f"highways._layers.{k}"
            transformed, gate = np.split(weights[f"{name}.weight"] @ x_F + weights[f"{name}.bias"], 2)
            g = sigmoid(gate)
            x_F = g * x_F + (1 - g) * np.maximum(transformed, 0)
        if self.embedder["word_dim"] > 0:
            word_id = self.words.get(word, self.words["<oov>"])
            x_F = np.concatenate([weights["word_emb_layer.embedding.weight"][word_id], x_F])
        vector: Array = weights["projection.weight"] @ x_F + weights["projection.bias"]
        return vector

    def cell(self, direction: int, layer: int) -> Cell:
        name = f"{('forward', 'backward')[direction]}_layer_{layer}"

        def gates(array: Array) -> dict[str, Array]:
            return dict(zip(("i", "f", "g", "o"), np.split(array, 4), strict=True))

        return Cell(
            from_input=gates(self.weights[f"{name}.input_linearity.weight"]),
            from_state=gates(self.weights[f"{name}.state_linearity.weight"]),
            bias=gates(self.weights[f"{name}.state_linearity.bias"]),
            projection=self.weights[f"{name}.state_projection.weight"],
            cell_clip=self.encoder["cell_clip"],
            projection_clip=self.encoder["proj_clip"],
        )


def clipped(value: Array, limit: float | None) -> Array:
    return value if limit is None else np.clip(value, -limit, limit)


def sigmoid(a: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-a))
    return y
