"""The whole path with a real, tiny model: `polyseme serve` as a process, ONNX Runtime, a loopback socket."""

from __future__ import annotations

import random
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.command_line import main
from tests.service.processes import server_process
from tests.service.tiny_bundle import write_tiny_bundle

SENTENCES = [
    "She sat on the bank of the river.",
    "The bank lent him money.",
    "강에서 배를 탔다",
    "배가 고프다",
    "배",
    "a",
    "The quick brown fox jumps over the lazy dog, " * 20,
    "나는 어제 밤에 밤을 먹었다. " * 9,
]

# What offsets most easily go wrong on; every one as it is written, none normalised.
AWKWARD = [
    "\u1112\u1161\u11ab\u1100\u1173\u11af 배",  # decomposed Hangul
    "가족 👨‍👩‍👧‍👦 사진 👍🏽!",  # emoji of several code points
    "ｆｕｌｌ ｗｉｄｔｈ　ＴＥＸＴ",
    "tabs\tand  double   spaces ",
    "  leading and\ntrailing \r\n",
    "שלום עולם and مرحبا",
    "cafe\u0301 naïve ﬁnance ㈜회사 ½ №5",
    "zero\u200bwidth \ufeffmark",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0001f9ff\u0000\x1f",
    "漢字かな交じり文",
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[httpx.Client]:
    with server_process("--bundle", bundle) as (_, client):
        yield client


def embed(client: httpx.Client, *inputs: object, **fields: object) -> list[dict[str, Any]]:
    reply = client.post("/v1/embed", json={"inputs": inputs, **fields})
    assert reply.status_code == 200, reply.text
    embeddings = reply.json()["embeddings"]
    assert isinstance(embeddings, list)
    return embeddings


def vectors(embedding: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array(embedding["vectors"])


@pytest.mark.parametrize("layer", ["average", "top", 0, "all"])
def test_a_batch_is_its_sentences_one_at_a_time_in_any_order(client: httpx.Client, layer: object) -> None:
    texts: list[object] = [*SENTENCES, *AWKWARD, ["The", "bank", "배를", " "]]
    alone = [vectors(*embed(client, text, layer=layer)) for text in texts]
    order = list(range(len(texts)))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        together = embed(client, *(texts[i] for i in order), layer=layer)
        for i, embedding in zip(order, together, strict=True):
            np.testing.assert_allclose(vectors(embedding), alone[i], rtol=0, atol=1e-5)


def test_requests_at_the_same_time_do_not_touch_each_other(client: httpx.Client) -> None:
    layers = ["top", "average", "all", 0]
    work = [(text, layer) for text in SENTENCES + AWKWARD for layer in layers]
    alone = [vectors(*embed(client, text, layer=layer)) for text, layer in work]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda item: vectors(*embed(client, item[0], layer=item[1])), work))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", SENTENCES + AWKWARD)
def test_offsets_are_code_points_of_the_text_as_it_was_sent(client: httpx.Client, text: str) -> None:
    (embedding,) = embed(client, text, pool="word")
    for span in embedding["tokens"] + embedding["words"]:
        assert 0 <= span["start"] < span["end"] <= len(text)
        assert text[span["start"] : span["end"]] == span["text"]
        assert span["text"].strip() == span["text"] or span in embedding["tokens"]
    starts = [token["start"] for token in embedding["tokens"]]
    assert starts == sorted(starts)
    assert [word["text"] for word in embedding["words"]] == [
        word for word in text.split() if word not in ("\u200b", "\ufeff")
    ]


def test_every_word_of_a_list_has_one_row_and_offsets_within_itself(client: httpx.Client) -> None:
    words = ["강에서", "배를", " ", "bank", "👨‍👩‍👧‍👦", "\u200b", "river."]
    (embedding,) = embed(client, words, pool="word")
    assert vectors(embedding).shape == (len(words), 32)
    assert {token["word"] for token in embedding["tokens"]} == set(range(len(words)))
    for token in embedding["tokens"]:
        assert words[token["word"]][token["start"] : token["end"]] == token["text"]


def test_mixes_are_the_formula_on_the_layers(client: httpx.Client) -> None:
    text = SENTENCES[0]
    layers_LTD = vectors(*embed(client, text, layer="all"))
    mixes = {"weights": [0.2, -1, 3], "gamma": 0.5}
    expected = 0.5 * (0.2 * layers_LTD[0] - layers_LTD[1] + 3 * layers_LTD[2])
    np.testing.assert_allclose(vectors(*embed(client, text, mix=mixes)), expected, rtol=0, atol=1e-5)
    average = vectors(*embed(client, text))
    np.testing.assert_allclose(average, layers_LTD.mean(axis=0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(vectors(*embed(client, text, layer=0)), layers_LTD[0], rtol=0, atol=1e-6)
    half = layers_LTD.shape[-1] // 2
    np.testing.assert_array_equal(layers_LTD[0, :, :half], layers_LTD[0, :, half:])


def test_the_same_word_has_another_vector_in_another_sentence(client: httpx.Client) -> None:
    river, money = embed(client, *SENTENCES[:2], layer="top", pool="word")
    one = vectors(river)[[word["text"] for word in river["words"]].index("bank")]
    other = vectors(money)[[word["text"] for word in money["words"]].index("bank")]
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(bundle: Path, number: signal.Signals) -> None:
    with server_process("--bundle", bundle) as (server, client):
        assert client.get("/readyz").json() == {"status": "ready"}
        embed(client, "a")
        server.popen.send_signal(number)
        assert server.wait() == 0
        assert server.lines[-1].endswith("INFO polyseme: stopped")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of a command that cannot begin."""
    assert main(["serve", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("polyseme: ")
    return line.removeprefix("polyseme: ")


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.model", "context_encoder.onnx"])
def test_a_changed_file_is_refused_before_the_port_is_bound(
    bundle: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "broken")
    content = bytearray((broken / name).read_bytes())
    content[len(content) // 2] ^= 1
    (broken / name).write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # were it bound first, this would be the error
        line = refusal(capsys, "--bundle", str(broken), "--port", str(taken.getsockname()[1]))
    assert line.startswith(f"{broken / name}: expected sha256 ")


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors", "MODEL_CARD.md"])
def test_a_missing_file_is_named(
    bundle: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / name).unlink()
    assert str(broken / name) in refusal(capsys, "--bundle", str(broken))


def test_no_bundle_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path / "nothing") in refusal(capsys, "--bundle", str(tmp_path / "nothing"))


def test_a_port_that_is_taken(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(capsys, "--bundle", str(bundle), "--port", str(port))
    assert line == f"cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--port", "eighty")
    assert line == "--port: expected a whole number from 0 to 65535, got 'eighty'"
