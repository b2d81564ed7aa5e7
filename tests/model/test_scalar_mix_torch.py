from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch

from model import scalar_mix_torch
from model.scalar_mix import mix, softmax_weights
from model.scalar_mix_torch import ScalarMix
from model.tasks.task import Task
from tests.model.made_up_tasks import SHA256


def test_the_module_is_the_formula() -> None:
    layers_LTD = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    module = ScalarMix(3)
    with torch.no_grad():
        module.scalars.copy_(torch.tensor([0.5, -1.0, 2.0]))
        module.gamma.fill_(1.7)
    mixed = module(torch.from_numpy(layers_LTD.transpose(1, 0, 2).copy()))
    expected = mix(layers_LTD, softmax_weights([0.5, -1.0, 2.0]), 1.7)
    np.testing.assert_allclose(mixed.detach().numpy(), expected, atol=1e-6)


def test_at_first_it_is_the_mean() -> None:
    layers = torch.randn(2, 5, 3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ScalarMix(3)(layers), layers.mean(dim=-2))


def test_both_are_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = torch.randn(64, 3, 6, generator=generator)
    module = ScalarMix(3)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        loss = (module(layers) - 2 * layers[:, 2]).square().mean()
        loss.backward()
        optimiser.step()
    assert float(torch.softmax(module.scalars.detach(), 0)[2]) > 0.95
    assert float(module.gamma.detach()) == pytest.approx(2.0, abs=0.1)


def test_the_example_in_the_module_runs() -> None:
    assert scalar_mix_torch.__doc__ is not None
    lines = [line for line in scalar_mix_torch.__doc__.splitlines() if line.startswith("    ")]
    assert len(lines) == 5
    generator = np.random.default_rng(0)
    # As the service replies to "layer": "all" with one row a sentence: layers x rows x dimension.
    embeddings = [{"vectors": generator.standard_normal((3, 1, 8)).tolist()} for _ in range(4)]
    names = {
        "torch": torch,
        "nn": torch.nn,
        "ScalarMix": ScalarMix,
        "served": {"model": "enko", "embeddings": embeddings},
        "num_labels": 2,
        "labels_B": torch.tensor([0, 1, 0, 1]),
        "sha256": SHA256,
    }
    exec(textwrap.dedent("\n".join(lines)), names)
    task = Task.from_document(names["document"])  # type: ignore[arg-type]
    assert (task.name, task.kind, task.scalars, task.gamma) == ("mine", "classify", (0.0, 0.0, 0.0), 1.0)
    assert task.head is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_layers: expected at least 1, got 0$"):
        ScalarMix(0)
    with pytest.raises(ValueError, match=r"^layers: expected \(\.\.\., 3, D\), got \(3, 6\)$|got \(2, 6\)$"):
        ScalarMix(3)(torch.zeros(2, 6))
    module = ScalarMix(2)
    with torch.no_grad():
        module.gamma.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^gamma: expected a finite number, got nan$"):
        module.document("mine", "tag", model="enko", model_sha256=SHA256)
