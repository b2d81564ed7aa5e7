"""Shape letters: N predictions, H hidden, V vocabulary."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.softmax import AdaptiveSoftmax, FullSoftmax, build_softmax

HIDDEN_DIM, VOCABULARY_SIZE = 8, 50
MANY = 600  # more predictions than are worked on at a time


def architecture(cutoffs: tuple[int, ...]) -> Architecture:
    return Architecture(
        cell="lstm",
        num_layers=1,
        hidden_dim=HIDDEN_DIM,
        character_dim=2,
        num_characters=5,
        filters=((1, 2),),
        num_highways=0,
        vocabulary_size=VOCABULARY_SIZE,
        adaptive_cutoffs=cutoffs,
        adaptive_div_value=2.0,
    )


def softmax(cutoffs: tuple[int, ...]) -> FullSoftmax | AdaptiveSoftmax:
    torch.manual_seed(3)
    built = build_softmax(architecture(cutoffs))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_()
    return built


def hidden_and_targets(num_predictions: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_predictions)
    hidden_NH = torch.randn(num_predictions, HIDDEN_DIM, generator=generator)
    return hidden_NH, torch.randint(VOCABULARY_SIZE, (num_predictions,), generator=generator)


def gradients(loss: Tensor, module: nn.Module, hidden_NH: Tensor) -> dict[str, Tensor]:
    """Return the gradients of three times the loss: a factor that must reach all of them."""
    named = {**dict(module.named_parameters()), "hidden": hidden_NH}
    return dict(
        zip(named, torch.autograd.grad(3 * loss, list(named.values()), materialize_grads=True), strict=True)
    )


def assert_same(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], *, rtol: float = 1e-6, prefix: str = ""
) -> None:
    """Compare tensors by name, relative to the largest value of each."""
    assert {prefix + name for name in ours if name != "hidden"} == theirs.keys() - {"hidden"}
    for name, tensor in ours.items():
        expected = theirs[name if name == "hidden" else prefix + name]
        assert (tensor - expected).abs().max() <= rtol * expected.abs().max(), name


@pytest.mark.parametrize("num_predictions", [1, 7, MANY])
def test_the_full_softmax_is_torchs_cross_entropy(num_predictions: int) -> None:
    ours = softmax(())
    assert isinstance(ours, FullSoftmax)
    theirs = nn.Linear(HIDDEN_DIM, VOCABULARY_SIZE)
    theirs.load_state_dict(ours.state_dict())
    hidden_NH, targets_N = hidden_and_targets(num_predictions)
    hidden_NH.requires_grad_()
    expected = nn.CrossEntropyLoss(reduction="sum")(theirs(hidden_NH), targets_N)
    loss = ours.negative_log_likelihood(hidden_NH, targets_N)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_same(gradients(loss, ours, hidden_NH), gradients(expected, theirs, hidden_NH))
    expected_NV = theirs(hidden_NH).log_softmax(dim=1)
    torch.testing.assert_close(ours.log_probabilities(hidden_NH), expected_NV, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_predictions", [1, 7, MANY])
@pytest.mark.parametrize("cutoffs", [(20,), (10, 30), (5, 6, 49)])
def test_the_adaptive_softmax_is_torchs(cutoffs: tuple[int, ...], num_predictions: int) -> None:
    ours = softmax(cutoffs)
    assert isinstance(ours, AdaptiveSoftmax)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(
        HIDDEN_DIM, VOCABULARY_SIZE, list(cutoffs), div_value=2.0, head_bias=True
    )
    theirs.load_state_dict(ours.state_dict())
    hidden_NH, targets_N = hidden_and_targets(num_predictions)
    hidden_NH.requires_grad_()
    expected = -theirs(hidden_NH, targets_N).output.sum()
    loss = ours.negative_log_likelihood(hidden_NH, targets_N)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert_same(gradients(loss, ours, hidden_NH), gradients(expected, theirs, hidden_NH), rtol=2e-6)
    expected_NV = theirs.log_prob(hidden_NH)
    torch.testing.assert_close(ours.log_probabilities(hidden_NH), expected_NV, rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("cutoffs", [(), (20,), (10, 30), (5, 6, 49)])
def test_probabilities_sum_to_one_and_are_those_of_the_loss(cutoffs: tuple[int, ...]) -> None:
    ours = softmax(cutoffs)
    hidden_NH, targets_N = hidden_and_targets(MANY)
    log_probabilities_NV = ours.log_probabilities(hidden_NH)
    assert log_probabilities_NV.shape == (MANY, VOCABULARY_SIZE)
    torch.testing.assert_close(log_probabilities_NV.exp().sum(dim=1), torch.ones(MANY), rtol=0, atol=2e-6)
    at_targets = -log_probabilities_NV.gather(1, targets_N[:, None]).sum()
    loss = ours.negative_log_likelihood(hidden_NH, targets_N)
    assert loss.item() == pytest.approx(at_targets.item(), rel=1e-6)


@pytest.mark.parametrize("cutoffs", [(), (10, 30)])
def test_the_loss_is_the_same_without_gradients(cutoffs: tuple[int, ...]) -> None:
    ours = softmax(cutoffs)
    hidden_NH, targets_N = hidden_and_targets(MANY)
    with_gradients = ours.negative_log_likelihood(hidden_NH, targets_N).item()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            loss = ours.negative_log_likelihood(hidden_NH, targets_N)
        assert not loss.requires_grad
        assert loss.item() == pytest.approx(with_gradients, rel=1e-6)


@pytest.mark.parametrize("cutoffs", [(), (10, 30)])
def test_the_loss_is_a_sum_over_predictions(cutoffs: tuple[int, ...]) -> None:
    ours = softmax(cutoffs)
    hidden_NH, targets_N = hidden_and_targets(90)
    parts = [ours.negative_log_likelihood(hidden_NH[i::3], targets_N[i::3]).item() for i in range(3)]
    assert sum(parts) == pytest.approx(ours.negative_log_likelihood(hidden_NH, targets_N).item(), rel=1e-6)
    assert ours.negative_log_likelihood(hidden_NH[:0], targets_N[:0]).item() == 0


def test_equal_logits_make_all_pieces_equally_likely() -> None:
    """By hand: log 50 each; or a head of 10 + 2 entries, whose last two stand for 20 pieces each."""
    hidden_NH, targets_N = torch.zeros(3, HIDDEN_DIM), torch.tensor([3, 10, 49])
    full, adaptive = softmax(()), softmax((10, 30))
    with torch.no_grad():
        full.get_parameter("bias").fill_(2.0)
        adaptive.get_parameter("head.bias").fill_(2.0)
    assert full.negative_log_likelihood(hidden_NH, targets_N).item() == pytest.approx(3 * math.log(50))
    expected = math.log(12) + 2 * (math.log(12) + math.log(20))
    assert adaptive.negative_log_likelihood(hidden_NH, targets_N).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "untouched"),
    [
        (0, 10, ["tail.0.0.weight", "tail.0.1.weight", "tail.1.0.weight", "tail.1.1.weight"]),
        (10, 30, ["tail.1.0.weight", "tail.1.1.weight"]),
        (30, 50, ["tail.0.0.weight", "tail.0.1.weight"]),
    ],
)
def test_a_tail_without_targets_has_a_gradient_of_zero(low: int, high: int, untouched: list[str]) -> None:
    """Zero, not None: processes that average their gradients need one of every parameter."""
    ours = softmax((10, 30))
    hidden_NH, _ = hidden_and_targets(40)
    torch.autograd.backward(ours.negative_log_likelihood(hidden_NH, torch.arange(40) % (high - low) + low))
    zero = []
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        if not parameter.grad.any():
            zero.append(name)
    assert zero == untouched


@pytest.mark.parametrize("cutoffs", [(), (10, 30)])
def test_bf16_autocast_is_close(cutoffs: tuple[int, ...]) -> None:
    """8 bits of precision: a loss within 0.5 %, gradients that point the same way."""
    ours = softmax(cutoffs)
    hidden_NH, targets_N = hidden_and_targets(MANY)
    hidden_NH.requires_grad_()
    exact = ours.negative_log_likelihood(hidden_NH, targets_N)
    exact_gradients = gradients(exact, ours, hidden_NH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = ours.negative_log_likelihood(hidden_NH.bfloat16(), targets_N)
        log_probabilities_NV = ours.log_probabilities(hidden_NH)
    assert rounded.dtype == log_probabilities_NV.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)
    assert rounded.item() != exact.item()
    for name, gradient in gradients(rounded, ours, hidden_NH).items():
        assert gradient.dtype == torch.float32
        cosine = torch.cosine_similarity(gradient.flatten(), exact_gradients[name].flatten(), dim=0)
        assert cosine > 0.999, name
        assert (gradient.norm() / exact_gradients[name].norm()).item() == pytest.approx(1, abs=0.01), name
    torch.testing.assert_close(log_probabilities_NV.exp().sum(dim=1), torch.ones(MANY), rtol=0, atol=2e-6)


@pytest.mark.parametrize("cutoffs", [(), (10, 30)])
def test_a_hopeless_prediction_still_has_a_finite_loss(cutoffs: tuple[int, ...]) -> None:
    ours = softmax(cutoffs)
    hidden_NH, targets_N = hidden_and_targets(20)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = ours.negative_log_likelihood(1000 * hidden_NH, targets_N)
        torch.autograd.backward(loss)
        assert math.isfinite(loss.item())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in ours.parameters())


@pytest.mark.parametrize("cutoffs", [(), (10, 30)])
def test_parameters_are_those_that_the_architecture_lists(cutoffs: tuple[int, ...]) -> None:
    shapes = {f"softmax.{name}": tuple(t.shape) for name, t in softmax(cutoffs).state_dict().items()}
    listed = architecture(cutoffs).tensor_shapes()
    assert shapes == {name: shape for name, shape in listed.items() if name.startswith("softmax.")}
