"""The recurrent layers against the textbook: each step and its back-propagation through time in plain numpy.

The textbook is written for one sentence at a time, as equations over vectors; torch runs a batch. Every
`..._step` returns the new state and what its `..._backward` needs. Back-propagation through time (Werbos
1990, "Backpropagation through time: what it does and how to do it") goes through the steps in reverse: the
gradient of a state is what the loss of its own step gives, plus what comes back from the step after it.

Shape letters: B sentences, T tokens, D token-vector dim, H hidden (D = H), G gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from model.architecture import NUM_GATES, Architecture, Cell
from model.bilm import BiLM, State, run_stack

Array = npt.NDArray[np.float64]
NUM_SENTENCES, NUM_TOKENS, HIDDEN_DIM = 3, 6, 5


def sigmoid(a: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-a))
    return y


@dataclass
class Weights:
    """W_x (GH, D) and b_x (GH) read the input, W_h (GH, H) and b_h (GH) the state; or their gradients."""

    W_x: Array
    W_h: Array
    b_x: Array
    b_h: Array

    def zeros(self) -> Weights:
        return Weights(*(np.zeros_like(part) for part in (self.W_x, self.W_h, self.b_x, self.b_h)))

    def add(self, d_p: Array, d_q: Array, x: Array, h: Array) -> None:
        """Add the gradients of one step, given those of p = W_x x + b_x and of q = W_h h + b_h."""
        self.W_x += np.outer(d_p, x)
        self.b_x += d_p
        self.W_h += np.outer(d_q, h)
        self.b_h += d_q


@dataclass
class RecurrentState:
    """h (H), and for an LSTM c (H), which stays 0 in the others; or the gradients of those."""

    h: Array
    c: Array


Step = Callable[[Weights, Array, RecurrentState], tuple[RecurrentState, Any]]
Backward = Callable[[Weights, Weights, Any, RecurrentState], tuple[Array, RecurrentState]]


def rnn_step(w: Weights, x: Array, s: RecurrentState) -> tuple[RecurrentState, Any]:
    """Elman 1990, "Finding structure in time": h' = tanh(W_x x + b_x + W_h h + b_h)."""
    h = np.tanh(w.W_x @ x + w.b_x + w.W_h @ s.h + w.b_h)
    return RecurrentState(h, s.c), (x, s, h)


def rnn_backward(w: Weights, d_w: Weights, kept: Any, d: RecurrentState) -> tuple[Array, RecurrentState]:
    x, s, h = kept
    d_a = d.h * (1 - h**2)  # tanh' = 1 - tanh^2
    d_w.add(d_a, d_a, x, s.h)
    return w.W_x.T @ d_a, RecurrentState(w.W_h.T @ d_a, d.c)


def lstm_step(w: Weights, x: Array, s: RecurrentState) -> tuple[RecurrentState, Any]:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000:

    i = sigmoid(a_i), f = sigmoid(a_f), g = tanh(a_g), o = sigmoid(a_o), a = W_x x + b_x + W_h h + b_h;
    c' = f c + i g, h' = o tanh(c').
    """
    a_i, a_f, a_g, a_o = np.split(w.W_x @ x + w.b_x + w.W_h @ s.h + w.b_h, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * s.c + i * g
    return RecurrentState(o * np.tanh(c), c), (x, s, i, f, g, o, c)


def lstm_backward(w: Weights, d_w: Weights, kept: Any, d: RecurrentState) -> tuple[Array, RecurrentState]:
    x, s, i, f, g, o, c = kept
    d_o = d.h * np.tanh(c)
    d_c = d.c + d.h * o * (1 - np.tanh(c) ** 2)  # c' reaches the loss through h' and through the next step
    d_i, d_f, d_g = d_c * g, d_c * s.c, d_c * i
    d_a = np.concatenate([d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)])
    d_w.add(d_a, d_a, x, s.h)
    return w.W_x.T @ d_a, RecurrentState(w.W_h.T @ d_a, d_c * f)


def gru_step(w: Weights, x: Array, s: RecurrentState) -> tuple[RecurrentState, Any]:
    """Cho et al. 2014 (arXiv:1406.1078); the reset gate acts on W_h h + b_h, as in cuDNN, torch and ONNX:

    r = sigmoid(p_r + q_r), z = sigmoid(p_z + q_z), n = tanh(p_n + r q_n), p = W_x x + b_x, q = W_h h + b_h;
    h' = (1 - z) n + z h.
    """
    p_r, p_z, p_n = np.split(w.W_x @ x + w.b_x, 3)
    q_r, q_z, q_n = np.split(w.W_h @ s.h + w.b_h, 3)
    r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
    n = np.tanh(p_n + r * q_n)
    return RecurrentState((1 - z) * n + z * s.h, s.c), (x, s, r, z, n, q_n)


def gru_backward(w: Weights, d_w: Weights, kept: Any, d: RecurrentState) -> tuple[Array, RecurrentState]:
    x, s, r, z, n, q_n = kept
    d_n = d.h * (1 - z) * (1 - n**2)  # of p_n + r q_n
    d_r = d_n * q_n * r * (1 - r)  # of p_r + q_r
    d_z = d.h * (s.h - n) * z * (1 - z)  # of p_z + q_z
    d_p = np.concatenate([d_r, d_z, d_n])
    d_q = np.concatenate([d_r, d_z, d_n * r])
    d_w.add(d_p, d_q, x, s.h)
    return w.W_x.T @ d_p, RecurrentState(w.W_h.T @ d_q + d.h * z, d.c)


TEXTBOOK: dict[Cell, tuple[Step, Backward]] = {
    "rnn": (rnn_step, rnn_backward),
    "lstm": (lstm_step, lstm_backward),
    "gru": (gru_step, gru_backward),
}


def run(
    cell: Cell, w: Weights, x_TD: Array, state: RecurrentState
) -> tuple[Array, RecurrentState, list[Any]]:
    """Return h of every step (T, H), the final state, and what each step keeps for its gradient."""
    step, _ = TEXTBOOK[cell]
    outputs, kept = [], []
    for x_D in x_TD:
        state, step_kept = step(w, x_D, state)
        outputs.append(state.h)
        kept.append(step_kept)
    return np.stack(outputs), state, kept


def back_propagate(
    cell: Cell, w: Weights, d_w: Weights, kept: list[Any], d_h_TH: Array, d_final: RecurrentState
) -> tuple[Array, RecurrentState]:
    """Return the gradients of the inputs (T, D) and of the first state; add those of the weights to d_w."""
    _, backward = TEXTBOOK[cell]
    d_x_TD = np.empty_like(d_h_TH)
    d_state = d_final
    for t in reversed(range(len(kept))):
        d_state = RecurrentState(d_state.h + d_h_TH[t], d_state.c)
        d_x_TD[t], d_state = backward(w, d_w, kept[t], d_state)
    return d_x_TD, d_state


def architecture(cell: Cell, num_layers: int) -> Architecture:
    return Architecture(
        cell=cell,
        num_layers=num_layers,
        hidden_dim=HIDDEN_DIM,
        character_dim=2,
        num_characters=5,
        filters=((1, 2),),
        num_highways=0,
        vocabulary_size=8,
        adaptive_cutoffs=(),
        adaptive_div_value=1.0,
    )


def bilm(cell: Cell, num_layers: int) -> BiLM:
    torch.manual_seed(11)
    return BiLM(architecture(cell, num_layers)).double()


def weights_of(layer: nn.Module) -> Weights:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return Weights(*(layer.get_parameter(name).detach().numpy() for name in names))


def parts_of(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def state_of(parts: list[Tensor]) -> State:
    return (parts[0], parts[1]) if len(parts) == 2 else parts[0]


def by_sentence(parts: list[Tensor]) -> list[RecurrentState]:
    """Return each sentence's state, given h (1, B, H) and for an LSTM c."""
    arrays = [part[0].detach().numpy() for part in parts]
    h_BH, c_BH = arrays if len(arrays) == 2 else (arrays[0], np.zeros_like(arrays[0]))
    return [RecurrentState(h_H, c_H) for h_H, c_H in zip(h_BH, c_BH, strict=True)]


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def assert_equal(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def assert_same_state(ours: RecurrentState, theirs: RecurrentState) -> None:
    assert_equal(ours.h, theirs.h)
    assert_equal(ours.c, theirs.c)


@pytest.mark.parametrize("cell", get_args(Cell))
def test_a_layer_and_its_gradients_are_the_textbooks(cell: Cell) -> None:
    """The loss weighs every output and the final state at random, so that no gradient is special."""
    layer = bilm(cell, 1).forward_layers[0]
    x_TBD = random(NUM_TOKENS, NUM_SENTENCES, HIDDEN_DIM).requires_grad_()
    num_parts = 2 if cell == "lstm" else 1
    first = [random(1, NUM_SENTENCES, HIDDEN_DIM).requires_grad_() for _ in range(num_parts)]
    (outputs_TBH,), (final,) = run_stack([layer], x_TBD, [state_of(first)], nn.Identity())
    d_outputs_TBH = random(NUM_TOKENS, NUM_SENTENCES, HIDDEN_DIM)
    d_final = [random(1, NUM_SENTENCES, HIDDEN_DIM) for _ in range(num_parts)]
    torch.autograd.backward([outputs_TBH, *parts_of(final)], [d_outputs_TBH, *d_final])

    w = weights_of(layer)
    assert w.W_x.shape == (NUM_GATES[cell] * HIDDEN_DIM, HIDDEN_DIM)
    d_w = w.zeros()
    for b in range(NUM_SENTENCES):
        h_TH, final_b, kept = run(cell, w, x_TBD[:, b].detach().numpy(), by_sentence(first)[b])
        assert_equal(h_TH, outputs_TBH[:, b].detach())
        assert_same_state(final_b, by_sentence(parts_of(final))[b])
        d_x_TD, d_first_b = back_propagate(
            cell, w, d_w, kept, d_outputs_TBH[:, b].numpy(), by_sentence(d_final)[b]
        )
        assert_equal(d_x_TD, gradient(x_TBD)[:, b])
        assert_same_state(d_first_b, by_sentence([gradient(part) for part in first])[b])
    assert_equal(d_w.W_x, gradient(layer.get_parameter("weight_ih_l0")))
    assert_equal(d_w.W_h, gradient(layer.get_parameter("weight_hh_l0")))
    assert_equal(d_w.b_x, gradient(layer.get_parameter("bias_ih_l0")))
    assert_equal(d_w.b_h, gradient(layer.get_parameter("bias_hh_l0")))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", get_args(Cell))
def test_the_whole_network_is_the_textbooks(cell: Cell, num_layers: int) -> None:
    """Both stacks, the residual connection from the second layer on, and sentences of different lengths."""
    network = bilm(cell, num_layers)
    lengths = [NUM_TOKENS, 2, 4]
    x_TBD = random(NUM_TOKENS, NUM_SENTENCES, HIDDEN_DIM)
    layers_LTBD = network(x_TBD, torch.tensor(lengths)).detach().numpy()
    assert layers_LTBD.shape == (num_layers + 1, NUM_TOKENS, NUM_SENTENCES, 2 * HIDDEN_DIM)
    for b, length in enumerate(lengths):
        x_TD = x_TBD[:length, b].numpy()
        forward = stack_in_numpy(cell, network.forward_layers, x_TD)
        backward = [layer_TH[::-1] for layer_TH in stack_in_numpy(cell, network.backward_layers, x_TD[::-1])]
        assert_equal(np.concatenate([forward, backward], axis=2), layers_LTBD[:, :length, b])


def stack_in_numpy(cell: Cell, layers: nn.ModuleList, x_TD: Array) -> list[Array]:
    """Return every layer's output, the token vectors first."""
    outputs = [x_TD]
    for index, layer in enumerate(layers):
        zero = RecurrentState(np.zeros(HIDDEN_DIM), np.zeros(HIDDEN_DIM))
        h_TH, _, _ = run(cell, weights_of(layer), outputs[-1], zero)
        outputs.append(h_TH + outputs[-1] if index >= 1 else h_TH)
    return outputs
