"""An imported model beside our own: all that the service offers, but for what needs a softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from model.bundle import Bundle, BundleError
from service.app import create_app
from service.engine.backend import open_backend
from service.replies.accept import ARROW, NPZ
from service.settings import SHIPPED_BUNDLE
from tests.model.imports.imported import imported_allennlp, imported_manylangs
from tests.service.conftest import fake_settings, serving
from tests.service.routes.asking import ask
from tests.service.routes.reading import READERS
from tests.service.routes.task_client import learn
from tests.service.test_metrics import value, value_or_0

TEXT = "She's on the bank… of a well-known river, 은행에서!"
WORDS = ["She's", "on", "the", "bank", "…", "of", "a", "well-known", "river", ",", "은행에서", "!"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    parent = tmp_path_factory.mktemp("bundles")
    return [imported_allennlp(parent / "bytes"), imported_manylangs(parent / "characters")]


@pytest.fixture(scope="module")
def client(bundles: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a server with two imported models and the shipped one."""
    settings = fake_settings(
        bundle=(*(bundle.folder for bundle in bundles), SHIPPED_BUNDLE),
        tasks_path=tmp_path_factory.mktemp("tasks") / "tasks.sqlite",
    )
    with serving(create_app(settings, open_backend)) as client:
        yield client


def embed(client: httpx.Client, model: str, *inputs: object, **fields: object) -> list[Any]:
    embeddings: list[Any] = ask(client, "/v1/embed", model=model, inputs=inputs, **fields)["embeddings"]
    return embeddings


IMPORTED = pytest.mark.parametrize("model", ["bytes", "characters"])


@IMPORTED
def test_a_string_is_its_words(client: httpx.Client, model: str) -> None:
    """The same vectors as of the list, and offsets into the text."""
    string, words = embed(client, model, TEXT, WORDS)
    assert [token["text"] for token in string["tokens"]] == WORDS
    assert all(TEXT[token["start"] : token["end"]] == token["text"] for token in string["tokens"])
    np.testing.assert_allclose(string["vectors"], words["vectors"], rtol=0, atol=1e-6)


@IMPORTED
def test_words_are_read_as_they_stand(client: httpx.Client, model: str) -> None:
    """No stripping, no normalising: each of these is another word."""
    unlisted = ["\u00a0", "\u200b", "\ud55c", "\u1112\u1161\u11ab", "e\u0301"]
    words = ["bank", " bank", "bank\u200b", "Bank", "\u3000", "é", *unlisted]
    (told,) = embed(client, model, words, layer=0)
    assert [token["text"] for token in told["tokens"]] == words
    vectors = np.array(told["vectors"])
    same = np.abs(vectors[:, None] - vectors).max(axis=-1) < 1e-6
    # Of characters that are not in char.dic nothing is known.
    alike = set(unlisted) if model == "characters" else set()
    for a, b in np.argwhere(same):
        assert a == b or {words[a], words[b]} <= alike


@IMPORTED
@pytest.mark.parametrize("word", ["<S>", "</S>", "<s>", "<bos>", "<eos>", "<pad>", "<oov>", "<bow>"])
def test_a_users_word_is_never_a_boundary(client: httpx.Client, model: str, word: str) -> None:
    """The neighbours see a word there, and the end of the sentence only after the last one: what comes after
    it counts for the backward half of what comes before."""
    (with_a, with_b) = embed(client, model, ["bank", word, "a"], ["bank", word, "banana"], layer=1)
    assert [token["text"] for token in with_a["tokens"]] == ["bank", word, "a"]
    backward = np.array(with_a["vectors"])[0, 8:] - np.array(with_b["vectors"])[0, 8:]
    assert np.abs(backward).max() > 1e-6
    in_text = embed(client, model, f"bank {word} a")[0]["tokens"]
    assert [token["text"] for token in in_text] == ["bank", *tokens_of(word), "a"]


def tokens_of(word: str) -> list[str]:
    """In a string the brackets are symbols."""
    name = word.strip("</>")
    return ["<", "/", name, ">"] if "/" in word else ["<", name, ">"]


@IMPORTED
def test_of_a_long_word_the_first_characters_count(client: httpx.Client, model: str) -> None:
    """Seven here; the reply names the whole word."""
    long, other, short = "banana는bank", "banana는은행", "banana"
    (told,) = embed(client, model, [long, other, short], layer=0)
    assert [(token["text"], token["end"]) for token in told["tokens"]] == [
        (word, len(word)) for word in (long, other, short)
    ]
    vectors = np.array(told["vectors"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


@IMPORTED
def test_spans_pools_and_forms(client: httpx.Client, model: str) -> None:
    start = TEXT.index("well")
    (span,) = embed(client, model, TEXT, spans=[[[start, start + 16]]], layer="top")
    (tokens,) = embed(client, model, TEXT, layer="top")
    rows = np.array(tokens["vectors"])
    np.testing.assert_allclose(span["vectors"][0], rows[7:9].mean(axis=0), rtol=0, atol=1e-6)
    (words,) = embed(client, model, TEXT, pool="word", layer="top")
    assert [word["text"] for word in words["words"]] == TEXT.split()
    np.testing.assert_allclose(words["vectors"][3], rows[3:5].mean(axis=0), rtol=0, atol=1e-6)
    for form in (ARROW, NPZ):
        body = {"model": model, "inputs": [TEXT, WORDS], "layer": "top"}
        reply = client.post("/v1/embed", json=body, headers={"Accept": form})
        (told, _) = READERS[form](reply.raise_for_status().content)
        np.testing.assert_allclose(told["rows"], rows, rtol=0, atol=1e-6)


@IMPORTED
def test_mixes(client: httpx.Client, model: str) -> None:
    (layers,) = embed(client, model, TEXT, layer="all")
    weights, gamma = [0.5, -1.0, 2.0], 0.7
    (mixed,) = embed(client, model, TEXT, mix={"weights": weights, "gamma": gamma})
    expected = gamma * np.tensordot(weights, np.array(layers["vectors"]), 1)
    np.testing.assert_allclose(mixed["vectors"], expected, rtol=0, atol=1e-5)


def test_a_layer_norm_is_refused(client: httpx.Client) -> None:
    """The originals' option makes a sentence depend on the others in its batch."""
    mix = {"scalars": [0.5, -1.0, 2.0], "do_layer_norm": True}
    reply = client.post("/v1/embed", json={"model": "bytes", "inputs": [TEXT], "mix": mix})
    assert reply.status_code == 422
    assert reply.json()["error"]["where"] == "mix.do_layer_norm"


@IMPORTED
def test_a_task_is_learned_and_predicts(client: httpx.Client, model: str) -> None:
    examples = [
        {"words": [one, word, other], "labels": ["no", label, "no"]}
        for one in ("the", "a", "my", "her")
        for other in ("is", "was", "and", "or")
        for word, label in (("banana", "fruit"), ("은행", "bank"))
    ]
    name = f"topic-{model}"
    learn(client, name, model=model, kind="tag", examples=examples)
    words = ["the", "banana", "or", "은행", "is"]
    predicted = ask(client, f"/v1/tasks/{name}/predict", model=model, inputs=[{"words": words}])
    assert predicted["predictions"][0]["labels"] == ["no", "fruit", "no", "bank", "no"]
    reply = ask(client, "/v1/embed", model=model, inputs=[TEXT], task=name, pool="sentence")
    assert len(reply["layer_weights"]) == 3


@IMPORTED
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/score", {"inputs": [TEXT]}),
        ("/v1/cloze", {"text": "the ____", "candidates": ["bank"]}),
        ("/v1/cloze", {"text": "the ____"}),
    ],
)
def test_what_needs_a_softmax_is_409(client: httpx.Client, model: str, path: str, body: Any) -> None:
    reply = client.post(path, json={"model": model, **body})
    assert reply.status_code == 409
    assert reply.json()["error"] == {
        "type": "no_softmax",
        "message": f'expected a model with a softmax, got the string "{model}", which was imported from '
        "files that carry none: it has no vocabulary, and cannot say how likely a token is",
        "where": "model",
    }
    assert client.post(path, json={"model": "enko", **body}).status_code == 200


def test_teis_and_openais_paths(client: httpx.Client) -> None:
    """TEI's serve the first model; its ids would be of a vocabulary."""
    vector = ask(client, "/embed", inputs=[TEXT])
    assert np.shape(vector) == (1, 16)
    reply = client.post("/tokenize", json={"inputs": TEXT})
    assert reply.status_code == 409
    assert reply.json()["error_type"] == "Validation"
    assert "which was imported from files that carry none" in reply.json()["error"]
    listed = client.get("/v1/models").json()["data"]
    assert {"bytes", "characters", "enko"} <= {each["id"] for each in listed}
    for model in ("bytes", "characters"):
        openai = ask(client, "/v1/embeddings", model=model, input=TEXT, encoding_format="float")
        (pooled,) = embed(client, model, TEXT, pool="sentence", normalize=True)
        np.testing.assert_allclose(openai["data"][0]["embedding"], pooled["vectors"][0], rtol=0, atol=1e-6)


def test_a_string_without_a_word(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={"model": "bytes", "inputs": ["a", "\u200b \ufeff"]})
    assert reply.status_code == 422
    assert reply.json()["error"]["where"] == "inputs[1]"


def test_models_do_not_mix(client: httpx.Client) -> None:
    """Each has its own cache, queue and tokens."""
    dimensions = {"bytes": 16, "characters": 16, "enko": 1024}
    first = {name: embed(client, name, TEXT)[0] for name in dimensions}
    again = {name: embed(client, name, TEXT)[0] for name in dimensions}
    for name, dimension in dimensions.items():
        assert np.shape(first[name]["vectors"])[1] == dimension
        assert first[name] == again[name]
    assert first["bytes"]["tokens"] == first["characters"]["tokens"] != first["enko"]["tokens"]


def test_a_repeated_word_is_free(bundles: list[Bundle]) -> None:
    """Its character CNN, most of the work of a short request with 2,048 filters, runs once."""
    with serving(create_app(fake_settings(bundle=(bundles[0].folder,)), open_backend)) as client:

        def counted() -> tuple[float, float]:
            page = client.get("/metrics").text
            hits, misses = (f'polyseme_cache_{kind}_total{{model="bytes"}}' for kind in ("hits", "misses"))
            return value_or_0(page, hits), value(page, misses)

        embed(client, "bytes", ["bank", "river", "bank", "river", "bank"])
        assert counted() == (0, 2)  # a word of a batch counts once
        embed(client, "bytes", "bank river bank!")
        assert counted() == (2, 3)
        # What the network reads of them is the same.
        embed(client, "bytes", ["bankbankbank", "bankbankriver", "bankban"])
        assert counted() == (2, 4)


def test_8_bit_integers_are_refused(bundles: list[Bundle]) -> None:
    with pytest.raises(BundleError, match=r"expected context_encoder\.int8\.onnx for int8, found none"):
        open_backend(bundles[0].folder, 1, "int8")
