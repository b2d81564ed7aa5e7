"""A real network, tiny, in the real engine: slices, scores and blanks against torch and each other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.bilm import BiLM
from model.bundle import Bundle
from model.tokenizer import BOUNDARY_ID, Tokenized
from service.engine.backend import Backend, open_backend
from service.engine.embedder import Embedder
from service.engine.observer import Unobserved
from service.engine.text_lanes import TextLanes
from service.mixes import Mix
from service.work import Work
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings
from tests.service.tiny_bundle import write_tiny_bundle
from training.export import load_model

TOLERANCE = 1e-5
WHOLE = 10_000
TEXTS = [
    "a",
    "배",
    "The bank lent him money.",
    "강에서 배를 탔다",
    "She sat on the bank of the river, " * 5,
    "나는 어제 밤에 밤을 먹었다. " * 4,
]
MIX = Mix((0.25, -1.0, 2.0), 1.5)

Result = TypeVar("Result")


class Tiny:
    """The bundle in both runtimes, and embedders of it by the size of their slices."""

    def __init__(self, bundle: Bundle) -> None:
        self.backend: Backend = open_backend(bundle.folder, 1, "float32")
        self.torch: BiLM = load_model(bundle).double()
        self.texts = TextLanes(1, 32768)
        self.embedders: dict[int, Embedder] = {}
        self.alone: dict[tuple[str, str], tuple[Tokenized, list[Any]]] = {}  # by text and kind

    def embedder(self, slice_tokens: int) -> Embedder:
        if slice_tokens not in self.embedders:
            settings = fake_settings(slice_tokens=slice_tokens, cache_tokens=50)
            self.embedders[slice_tokens] = Embedder(self.backend, settings, self.texts, Unobserved())
        return self.embedders[slice_tokens]

    def close(self) -> None:
        for embedder in self.embedders.values():
            embedder.close()
        self.texts.shutdown()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    tiny = Tiny(write_tiny_bundle(tmp_path_factory.mktemp("exactness") / "tiny"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny
    torch.set_num_threads(before)
    tiny.close()


def ask(question: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(question, PATIENCE_S))


def torch_layers(tiny: Tiny, surfaces: list[str]) -> torch.Tensor:
    """Return float64 (L, T, 2H), boundaries included."""
    alphabet = tiny.backend.alphabet
    with torch.inference_mode():
        tokens_ND = tiny.torch.char_cnn(torch.from_numpy(alphabet.encode(surfaces)))
        boundary_1D = tiny.torch.char_cnn(torch.from_numpy(alphabet.boundary_rows()[:1]))
        x_TD = torch.cat([boundary_1D, tokens_ND, boundary_1D])
        layers_LT1D: torch.Tensor = tiny.torch(x_TD[:, None], torch.tensor([len(x_TD)]))
    return layers_LT1D[:, :, 0]


def torch_distributions(tiny: Tiny, surfaces: list[str]) -> npt.NDArray[np.float64]:
    """Return (2, T, V): what each direction expects after what it has read at each position."""
    top_T2H = torch_layers(tiny, surfaces)[-1]
    with torch.inference_mode():
        return np.stack([tiny.torch.softmax.log_probabilities(half) for half in top_T2H.chunk(2, dim=1)])


@pytest.mark.parametrize("slice_tokens", [1, 2, 7, WHOLE])
@pytest.mark.parametrize("mix", [MIX, None])
def test_vectors_are_torch_s_whatever_the_slices(tiny: Tiny, mix: Mix | None, slice_tokens: int) -> None:
    for tokens, vectors in ask(tiny.embedder(slice_tokens).encode(TEXTS, mix, Work())):
        layers_LTD = torch_layers(tiny, tokens.surfaces)[:, 1:-1].numpy()
        expected = layers_LTD if mix is None else mix.gamma * np.tensordot(mix.weights, layers_LTD, 1)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("slice_tokens", [1, 3, 8, WHOLE])
def test_scores_are_torch_s_whatever_the_slices(tiny: Tiny, slice_tokens: int) -> None:
    """The distribution after position t scores token t + 1; that before it, token t - 1."""
    for tokens, scores in ask(tiny.embedder(slice_tokens).score(TEXTS, Work())):
        forward_TV, backward_TV = torch_distributions(tiny, tokens.surfaces)
        ids = np.array([BOUNDARY_ID, *tokens.ids, BOUNDARY_ID])
        places = np.arange(len(ids) - 1)
        np.testing.assert_allclose(scores.forward, forward_TV[places, ids[1:]], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(scores.backward, backward_TV[places + 1, ids[:-1]], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("slice_tokens", [1, 4, WHOLE])
@pytest.mark.parametrize(("before", "after"), [("The bank", "him money."), ("", "배를 탔다"), ("강에서", "")])
def test_a_blank_is_torch_s(tiny: Tiny, before: str, after: str, slice_tokens: int) -> None:
    left, right = (tiny.backend.tokenizer.tokenize(text) for text in (before, after))
    found = ask(tiny.embedder(slice_tokens).blank_distribution(left, right, Work()))
    forward_TV, _ = torch_distributions(tiny, left.surfaces or ["a"])
    np.testing.assert_allclose(found.forward, forward_TV[len(left)], rtol=0, atol=TOLERANCE)
    _, backward_TV = torch_distributions(tiny, right.surfaces or ["a"])
    place = 1 if len(right) else 2  # the first token after the blank, or the boundary
    np.testing.assert_allclose(found.backward, backward_TV[place], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(found.forward).sum(), 1, atol=1e-4)


@given(
    st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(["mix", "layers", "score"])), min_size=1),
    st.sampled_from([3, 16, WHOLE]),
)
def test_neighbours_order_and_kind_change_nothing(
    tiny: Tiny, asked: list[tuple[str, str]], slice_tokens: int
) -> None:
    """Requests of all kinds at the same time, against each sentence alone and whole."""
    embedder = tiny.embedder(slice_tokens)

    async def one(embedder: Embedder, text: str, kind: str) -> tuple[Tokenized, list[Any]]:
        if kind == "score":
            ((tokens, scores),) = await embedder.score([text], Work())
            return tokens, [scores.forward, scores.backward]
        ((tokens, vectors),) = await embedder.encode([text], MIX if kind == "mix" else None, Work())
        return tokens, [vectors]

    async def all_of_them() -> list[tuple[Tokenized, list[Any]]]:
        return await asyncio.gather(*(one(embedder, text, kind) for text, kind in asked))

    for (text, kind), (tokens, found) in zip(asked, ask(all_of_them()), strict=True):
        if (text, kind) not in tiny.alone:
            tiny.alone[text, kind] = ask(one(tiny.embedder(WHOLE), text, kind))
        alone_tokens, alone = tiny.alone[text, kind]
        assert tokens == alone_tokens
        for values, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE)
