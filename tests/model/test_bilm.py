"""Shape letters: B sentences, T tokens, D token-vector dim, H hidden (D = H), L layers of a reply."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model.architecture import Architecture, Cell
from model.bilm import BiLM, reverse_sentences, run_stack

HIDDEN_DIM = 8

every_network = pytest.mark.parametrize(
    ("cell", "num_layers"), [(cell, num_layers) for cell in get_args(Cell) for num_layers in (1, 2, 3)]
)


@cache
def bilm(cell: Cell, num_layers: int) -> BiLM:
    torch.manual_seed(5)
    return BiLM(
        Architecture(
            cell=cell,
            num_layers=num_layers,
            hidden_dim=HIDDEN_DIM,
            character_dim=3,
            num_characters=9,
            filters=((1, 2), (2, 3)),
            num_highways=1,
            vocabulary_size=12,
            adaptive_cutoffs=(4,),
            adaptive_div_value=2.0,
        )
    )


def token_vectors(num_tokens: int, num_sentences: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * num_tokens + num_sentences)
    return torch.randn(num_tokens, num_sentences, HIDDEN_DIM, generator=generator)


def halves(layers_LTBD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the forward and the backward half of every vector."""
    forward, backward = layers_LTBD.chunk(2, dim=3)
    return forward, backward


@every_network
def test_no_half_sees_what_lies_on_its_other_side(cell: Cell, num_layers: int) -> None:
    """Change a token: before it no forward half moves, after it no backward half, not by a bit."""
    network, x_TBD, lengths_B = bilm(cell, num_layers), token_vectors(7, 2), torch.tensor([7, 5])
    forward, backward = halves(network(x_TBD, lengths_B))
    for t in range(5):
        changed_TBD = x_TBD.clone()
        changed_TBD[t, 1] += 1
        changed_forward, changed_backward = halves(network(changed_TBD, lengths_B))
        assert torch.equal(changed_forward[:, :t], forward[:, :t])
        assert torch.equal(changed_backward[:, t + 1 :], backward[:, t + 1 :])
        # Everything on this side does move, in every layer, and nothing in the other sentence.
        moved_LTB = ((changed_forward - forward).abs().amax(3), (changed_backward - backward).abs().amax(3))
        assert (moved_LTB[0][1:, t:5, 1] > 0).all()
        assert (moved_LTB[1][1:, : t + 1, 1] > 0).all()
        assert (moved_LTB[0][:, :, 0] == 0).all()
        assert (moved_LTB[1][:, :, 0] == 0).all()


@every_network
def test_no_gradient_reaches_the_other_side(cell: Cell, num_layers: int) -> None:
    network, x_TBD, lengths_B = bilm(cell, num_layers), token_vectors(6, 2), torch.tensor([6, 4])
    x_TBD.requires_grad_()
    for t in range(4):
        forward, backward = halves(network(x_TBD, lengths_B))
        (d_forward_TBD,) = torch.autograd.grad(forward[:, t].sum(), [x_TBD], retain_graph=True)
        (d_backward_TBD,) = torch.autograd.grad(backward[:, t].sum(), [x_TBD])
        assert (d_forward_TBD[: t + 1, 1] != 0).all()
        assert (d_forward_TBD[t + 1 :] == 0).all()
        assert (d_backward_TBD[t:4, 1] != 0).all()
        assert (d_backward_TBD[:t] == 0).all()
        assert (d_backward_TBD[4:, 1] == 0).all()


@every_network
def test_layer_0_is_the_token_vector_twice(cell: Cell, num_layers: int) -> None:
    x_TBD = token_vectors(5, 3)
    layers_LTBD = bilm(cell, num_layers)(x_TBD, torch.tensor([5, 5, 5]))
    assert layers_LTBD.shape == (num_layers + 1, 5, 3, 2 * HIDDEN_DIM)
    assert torch.equal(layers_LTBD[0], torch.cat([x_TBD, x_TBD], dim=2))


@pytest.mark.parametrize("cell", get_args(Cell))
def test_layers_add_their_input_from_the_second_on(cell: Cell) -> None:
    """Each layer's own output, from torch, and the states of the stack, which stay without the addition."""
    network, x_TBD = bilm(cell, 3), token_vectors(6, 2)
    outputs, states = run_stack(network.forward_layers, x_TBD, [None] * 3, nn.Identity())
    first, second, third = network.forward_layers
    expected = [first(x_TBD)[0]]
    expected += [second(expected[0])[0] + expected[0]]
    expected += [third(expected[1])[0] + expected[1]]
    for output, output_expected in zip(outputs, expected, strict=True):
        assert torch.equal(output, output_expected)
    for layer, state, inputs in zip((first, second, third), states, (x_TBD, *expected[:2]), strict=True):
        h_1BH = state[0] if isinstance(state, tuple) else state
        assert torch.equal(h_1BH[0], layer(inputs)[0][-1])


@pytest.mark.parametrize("cell", get_args(Cell))
def test_a_stack_goes_on_from_its_states(cell: Cell) -> None:
    layers, x_TBD = bilm(cell, 2).forward_layers, token_vectors(9, 2)
    whole, final = run_stack(layers, x_TBD, [None, None], nn.Identity())
    first, between = run_stack(layers, x_TBD[:4], [None, None], nn.Identity())
    second, last = run_stack(layers, x_TBD[4:], between, nn.Identity())
    for l0, l1, together in zip(first, second, whole, strict=True):
        torch.testing.assert_close(torch.cat([l0, l1]), together, rtol=0, atol=1e-6)
    for state, expected in zip(last, final, strict=True):
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-6)


def test_dropout_is_applied_to_the_input_of_every_layer() -> None:
    """With a "dropout" that triples: the residual connection adds what the layer would read without it."""
    layers, x_TBD = bilm("gru", 2).forward_layers, token_vectors(4, 1)
    outputs, _ = run_stack(layers, x_TBD, [None, None], lambda x: 3 * x)
    first = layers[0](3 * x_TBD)[0]
    assert torch.equal(outputs[0], first)
    assert torch.equal(outputs[1], layers[1](3 * first)[0] + first)


@every_network
def test_beyond_its_length_a_sentence_is_zero(cell: Cell, num_layers: int) -> None:
    """Whatever the token vectors hold there: not one of the sentence's own vectors moves with it."""
    network, x_TBD, lengths_B = bilm(cell, num_layers), token_vectors(6, 3), torch.tensor([6, 1, 3])
    layers_LTBD = network(x_TBD, lengths_B)
    is_beyond_TB = torch.arange(6)[:, None] >= lengths_B
    assert (layers_LTBD[:, is_beyond_TB] == 0).all()
    assert (layers_LTBD[:, ~is_beyond_TB].abs().amax(dim=2) > 0).all()
    other_TBD = torch.where(is_beyond_TB[:, :, None], torch.full_like(x_TBD, 1e6), x_TBD)
    assert torch.equal(network(other_TBD, lengths_B), layers_LTBD)


@every_network
def test_a_batch_is_its_sentences_one_by_one_in_any_order(cell: Cell, num_layers: int) -> None:
    network, x_TBD = bilm(cell, num_layers), token_vectors(9, 5)
    lengths = [4, 9, 2, 7, 3]
    together_LTBD = network(x_TBD, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        alone_LTBD = network(x_TBD[:length, b : b + 1], torch.tensor([length]))
        torch.testing.assert_close(alone_LTBD[:, :, 0], together_LTBD[:, :length, b], rtol=0, atol=1e-5)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled_LTBD = network(x_TBD[:, order], torch.tensor(lengths)[order])
    torch.testing.assert_close(shuffled_LTBD, together_LTBD[:, :, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", get_args(Cell))
def test_the_backward_stack_reads_the_mirrored_sentence(cell: Cell) -> None:
    """Exchange the stacks and turn the sentences round: the halves change places."""
    network, x_TBD, lengths_B = bilm(cell, 2), token_vectors(6, 2), torch.tensor([6, 4])
    mirrored = BiLM(network.architecture)
    mirrored.load_state_dict(network.state_dict())
    mirrored.forward_layers, mirrored.backward_layers = mirrored.backward_layers, mirrored.forward_layers
    forward, backward = halves(network(x_TBD, lengths_B))
    mirrored_forward, mirrored_backward = halves(mirrored(reverse_sentences(x_TBD, lengths_B), lengths_B))
    for layer in range(3):
        assert torch.equal(reverse_sentences(mirrored_backward[layer], lengths_B), forward[layer])
        assert torch.equal(reverse_sentences(mirrored_forward[layer], lengths_B), backward[layer])


def test_a_sentence_is_turned_round_within_its_length() -> None:
    x_TBD = torch.tensor([[[1.0], [5.0], [9.0]], [[2.0], [6.0], [10.0]], [[3.0], [7.0], [11.0]]])
    reversed_TBD = reverse_sentences(x_TBD, torch.tensor([3, 2, 1]))
    assert reversed_TBD[:, :, 0].T.tolist() == [[3, 2, 1], [6, 5, 7], [9, 10, 11]]


@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6), num_more=st.integers(0, 3))
def test_turning_round_is_its_own_inverse(lengths: list[int], num_more: int) -> None:
    num_tokens = max(1, max(lengths)) + num_more
    x_TBD = torch.arange(num_tokens * len(lengths) * 2).reshape(num_tokens, len(lengths), 2)
    once_TBD = reverse_sentences(x_TBD, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        assert once_TBD[:length, b].tolist() == x_TBD[:length, b].flip(0).tolist()
        assert once_TBD[length:, b].tolist() == x_TBD[length:, b].tolist()
    assert torch.equal(reverse_sentences(once_TBD, torch.tensor(lengths)), x_TBD)


@every_network
def test_parameters_are_those_that_the_architecture_lists(cell: Cell, num_layers: int) -> None:
    network = bilm(cell, num_layers)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == network.architecture.tensor_shapes()
