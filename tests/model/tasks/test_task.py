from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.scalar_mix import softmax_weights
from model.tasks.fit import fit
from model.tasks.head import LinearHead, SenseHead
from model.tasks.task import Task, predict, predict_senses
from tests.model.made_up_tasks import SHA256, labelled_layers, linear_task, sense_task, word_senses


def through_json(task: Task) -> Task:
    return Task.from_document(json.loads(json.dumps(task.to_document(), allow_nan=False)))


def assert_same(task: Task, other: Task) -> None:
    assert replace(task, head=None) == replace(other, head=None) or task.to_document() == other.to_document()
    assert json.dumps(task.to_document()) == json.dumps(other.to_document())


def fitted_tasks() -> list[Task]:
    features, labels = labelled_layers(60, 1)
    sense_features, senses, words = word_senses(4, 6, 2)
    return [
        fit("classify", features, labels).task("a", "enko", SHA256),
        fit("sense", sense_features, senses, words).task("b", "enko", SHA256),
    ]


@pytest.mark.parametrize("task", [linear_task(), sense_task(), *fitted_tasks()], ids=lambda task: task.name)
def test_a_document_gives_the_same_task(task: Task) -> None:
    back = through_json(task)
    assert_same(task, back)
    assert back.report == task.report
    assert type(back.head) is type(task.head)
    if isinstance(task.head, LinearHead) and isinstance(back.head, LinearHead):
        np.testing.assert_array_equal(back.head.weight_KD, task.head.weight_KD)
        np.testing.assert_array_equal(back.head.bias_K, task.head.bias_K)
    if isinstance(task.head, SenseHead) and isinstance(back.head, SenseHead):
        assert back.head.words == task.head.words
        np.testing.assert_array_equal(back.head.weight_RD, task.head.weight_RD)


def test_a_mix_alone() -> None:
    document = {
        "name": "mine", "kind": "tag", "model": "enko", "model_sha256": SHA256, "scalars": [0, 1], "gamma": 2,
    }  # fmt: skip
    task = Task.from_document(document)
    assert (task.scalars, task.gamma, task.labels, task.head, task.report) == (
        (0.0, 1.0),
        2.0,
        (),
        None,
        None,
    )
    assert task.dimension is None
    np.testing.assert_array_equal(task.weights, softmax_weights([0.0, 1.0]))
    assert_same(task, through_json(task))
    with pytest.raises(
        ValueError, match=r"^head: expected one that predicts labels, got a mix alone \(tag\)$"
    ):
        predict(task, np.zeros((1, 4), dtype=np.float32))


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        at: Any = document
        for name in outer:
            at = at[int(name)] if name.isdigit() else at[name]
        if value is ...:
            del at[last]
        else:
            at[int(last) if last.isdigit() else last] = value

    return apply


NOT_ENOUGH = {"dtype": "float32", "shape": [3], "data": "AAAA"}
NAN = {"dtype": "float32", "shape": [3], "data": "AADAfwAAwH8AAMB/"}

LINEAR_REFUSALS = [
    ("format_version", 2, "format_version: expected 1, got 2"),
    ("colour", 1, "colour: expected no such field"),
    ("name", "", "name: expected a text, not empty, got ''"),
    ("name", ..., "name: expected a value, found none"),
    ("kind", "rank", "kind: expected classify or tag or sense, got 'rank'"),
    ("kind", ["tag"], "kind: expected classify or tag or sense, got a list of 1"),
    ("model", 3, "model: expected a text, not empty, got 3"),
    ("model_sha256", "abc", "model_sha256: expected 64 characters of 0-9 and a-f, got 3 characters"),
    ("scalars", [], "scalars: expected one or more numbers in a row"),
    ("scalars", "0 1", "scalars: expected a list, got '0 1'"),
    ("scalars", [0.0, None], r"scalars\[1\]: expected a finite number, got None"),
    ("scalars", [0.0, math.inf], r"scalars\[1\]: expected a finite number, got inf"),
    ("scalars", [True], r"scalars\[0\]: expected a finite number, got True"),
    ("gamma", math.nan, "gamma: expected a finite number, got nan"),
    ("gamma", 10**400, "gamma: expected a finite number, got a very large number"),
    ("gamma", 1e7, "gamma: expected a number from -1,000,000 to 1,000,000"),
    ("labels", ["a", "b", "a"], r"labels\[2\]: expected different texts, got 'a' twice"),
    ("labels", ["a", "b", ""], r"labels\[2\]: expected a text, not empty, got ''"),
    ("labels", ["a", "b"], r"head\.weight\.shape: expected \(2, D\), got \(3, 4\)"),
    ("labels", ["a"], "labels: expected at least 2, got 1"),
    ("labels", None, "labels: expected the labels of the head, found none"),
    ("head", None, "head: expected one for the 3 labels, found none"),
    ("head", [], "head: expected an object, got a list of 0"),
    ("head.method", "linear", r"head\.method: expected no such field"),
    ("head.bias", ..., r"head\.bias: expected a value, found none"),
    ("head.bias.dtype", "float64", r"head\.bias\.dtype: expected float32, got 'float64'"),
    ("head.bias.shape", [2], r"head\.bias\.shape: expected \(3\), got \(2,\)"),
    ("head.weight.shape", [3, 0], r"head\.weight\.shape: expected \(3, D\), got \(3, 0\)"),
    ("head.weight.shape", [3, -4], r"head\.weight\.shape\[1\]: expected a whole number from 0, got -4"),
    ("head.bias.data", 5, r"head\.bias\.data: expected base64, got 5"),
    ("head.bias.data", "*", r"head\.bias\.data: expected base64: "),
    ("head.bias.data", "é", r"head\.bias\.data: expected base64: "),
    ("head.bias", NOT_ENOUGH, r"head\.bias\.data: expected 12 bytes, got 3"),
    ("head.bias", NAN, r"head\.bias\.data: expected finite numbers"),
]


@pytest.mark.parametrize(("path", "value", "message"), LINEAR_REFUSALS)
def test_what_a_document_is_refused_for(path: str, value: object, message: str) -> None:
    document = json.loads(json.dumps(linear_task().to_document()))
    change(path, value)(document)
    with pytest.raises(ValueError, match=f"^{message}"):
        Task.from_document(document)


SENSE_REFUSALS = [
    ("head.method", "nearest", r"head\.method: expected centroid or linear, got 'nearest'"),
    ("head.words", [], r"head\.words: expected one word or more, got none"),
    ("head.words.1.word", "배", r"head\.words\[1\]\.word: expected different words, got '배' twice"),
    ("head.words.0.labels", [0, 3], r"head\.words\[0\]\.labels: expected different numbers from 0 to 2"),
    ("head.words.0.labels", [0, 0], r"head\.words\[0\]\.labels: expected different numbers from 0 to 2"),
    ("head.words.0.labels", [], r"head\.words\[0\]\.labels: expected different numbers from 0 to 2"),
    ("head.words.0.counts", [3], r"head\.words\[0\]\.counts: expected 2, one a label, got 1"),
    ("head.global_context", -0.5, r"head\.global_context: expected a number from 0 to 1,000,000, got -0\.5"),
    (
        "head.global_context",
        1e7,
        r"head\.global_context: expected a number from 0 to 1,000,000, got 10000000\.0$",
    ),
    ("head.global_context", "x", r"head\.global_context: expected a finite number, got 'x'"),
    ("head.words.0.extra", 1, r"head\.words\[0\]\.extra: expected no such field"),
    ("head.words.1", ..., r"head\.weight\.shape: expected \(2, D\), got \(3, 4\)"),
]


@pytest.mark.parametrize(("path", "value", "message"), SENSE_REFUSALS)
def test_what_a_document_of_senses_is_refused_for(path: str, value: object, message: str) -> None:
    document = json.loads(json.dumps(sense_task().to_document()))
    if value is ...:
        document["head"]["words"].pop()
    else:
        change(path, value)(document)
    with pytest.raises(ValueError, match=f"^{message}"):
        Task.from_document(document)


def test_a_task_without_a_global_context_says_nothing_of_it() -> None:
    """As tasks were kept before there was one: older servers and this one read each other's."""
    classify, sense = fitted_tasks()
    assert "global_context" not in json.dumps(classify.to_document())
    document = json.loads(json.dumps(sense.to_document()))
    assert document["head"].pop("global_context") == document["report"].pop("global_context") > 0
    assert sense.reads_texts
    task = Task.from_document(document)
    assert task.to_document() == document
    assert isinstance(task.head, SenseHead)
    assert not task.reads_texts
    vectors = np.random.default_rng(6).standard_normal((2, 24)).astype(np.float32)
    words = [task.head.words[0].word] * 2
    for global_ND in (None, 100 * vectors):
        senses = predict_senses(task, vectors, global_ND, words)
        for found, expected in zip(senses, task.head.predict(vectors, words), strict=True):
            assert found.probabilities.tolist() == expected.probabilities.tolist()


REPORT_REFUSALS = [
    ("report.verdict", ..., r"report\.verdict: expected a value, found none"),
    ("report.global_context", -5, r"report\.global_context: expected a number from 0 to 1,000,000, got -5"),
    ("report.surprise", 1, r"report\.surprise: expected no such field"),
    ("report.num_held_out", -1, r"report\.num_held_out: expected a whole number from 0, got -1"),
    ("report.held_out", "some", r"report\.held_out: expected folds or split or dev, got 'some'"),
    ("report.method", "guess", r"report\.method: expected logistic or centroid or linear, got 'guess'"),
    ("report.label_counts", [1], r"report\.label_counts: expected an object, got a list of 1"),
    ("report.rows.0.accuracy", 1.5, r"report\.rows\[0\]\.accuracy: expected a number from 0 to 1, got 1\.5"),
    ("report.calibration.num_bins", 1.5, r"report\.calibration\.num_bins: expected a whole number"),
    ("report.against_layer.low", "x", r"report\.against_layer\.low: expected a finite number, got 'x'"),
    (
        "report.against_majority.chance_by_accuracy", 2,
        r"report\.against_majority\.chance_by_accuracy: expected a number from 0 to 1, got 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), REPORT_REFUSALS)
def test_what_a_report_is_refused_for(path: str, value: object, message: str) -> None:
    features, labels = labelled_layers(40, 1)
    document = json.loads(json.dumps(fit("tag", features, labels).task("a", "enko", SHA256).to_document()))
    change(path, value)(document)
    with pytest.raises(ValueError, match=f"^{message}"):
        Task.from_document(document)


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_a_document_is_an_object(document: Any) -> None:
    with pytest.raises(ValueError, match=r"^document: expected an object, got "):
        Task.from_document(document)


def test_errors_are_short() -> None:
    document = linear_task().to_document() | {"name": ["x" * 100_000], "gamma": "y" * 100_000}
    with pytest.raises(ValueError, match=r"^gamma: .{0,100}$"):
        Task.from_document(document)


def test_predict_is_the_formula() -> None:
    task = linear_task()
    assert isinstance(task.head, LinearHead)
    mixed_ND = np.random.default_rng(5).standard_normal((7, 4)).astype(np.float32)
    probabilities = predict(task, mixed_ND)
    assert probabilities.dtype == np.float64
    scores = mixed_ND.astype(np.float64) @ task.head.weight_KD.T + task.head.bias_K
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-15)
    assert predict(task, mixed_ND[:0]).shape == (0, 3)


def test_predict_with_extreme_vectors() -> None:
    probabilities = predict(linear_task(), np.full((1, 4), 3e38, dtype=np.float32))
    assert probabilities.sum() == pytest.approx(1.0)


def test_predict_senses() -> None:
    task = sense_task()
    assert isinstance(task.head, SenseHead)
    mixed_ND, global_ND = np.random.default_rng(6).standard_normal((2, 3, 4)).astype(np.float32)
    ship, snow, unknown = predict_senses(task, mixed_ND, global_ND, ["배", "눈", "말"])
    x_ND = mixed_ND + task.gamma * task.head.global_context * global_ND
    scores = task.head.weight_RD[:2].astype(np.float64) @ x_ND[0] + task.head.bias_R[:2]
    assert (ship.known, ship.labels) == (True, (0, 2))
    np.testing.assert_allclose(ship.probabilities, np.exp(scores) / np.exp(scores).sum(), rtol=1e-6)
    # One sense in 4 examples, by the rule of succession.
    assert (snow.known, snow.labels, snow.probabilities.tolist()) == (True, (1,), [5 / 6])
    assert (unknown.known, unknown.labels, unknown.probabilities.tolist()) == (False, (), [])


def test_centroids_look_at_the_direction_alone() -> None:
    task = sense_task()
    assert isinstance(task.head, SenseHead)
    centroids = replace(task.head, method="centroid")
    x_ND = np.random.default_rng(6).standard_normal((1, 4)).astype(np.float32)
    (near,), (far,) = (centroids.predict(x_ND * scale, ["배"]) for scale in (1, 100))
    np.testing.assert_allclose(near.probabilities, far.probabilities, rtol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    vectors = np.zeros((2, 5), dtype=np.float32)
    with pytest.raises(ValueError, match=r"^vectors: expected \(N, 4\), got \(2, 5\)$"):
        predict(linear_task(), vectors)
    with pytest.raises(ValueError, match=r"^vectors: expected \(N, 4\), got \(2, 5\)$"):
        predict_senses(sense_task(), vectors, vectors, ["배", "눈"])
    with pytest.raises(ValueError, match=r"^global contexts: expected \(2, 4\), got none$"):
        predict_senses(sense_task(), vectors[:, :4], None, ["배", "눈"])
    with pytest.raises(ValueError, match=r"^global contexts: expected \(2, 4\), got \(2, 5\)$"):
        predict_senses(sense_task(), vectors[:, :4], vectors, ["배", "눈"])
    with pytest.raises(ValueError, match=r"^words: expected 2, one for each vector, got 1$"):
        predict_senses(sense_task(), vectors[:, :4], vectors[:, :4], ["배"])
    with pytest.raises(ValueError, match=r"^head: expected one that predicts labels, got one of kind sense$"):
        predict(sense_task(), vectors)
    with pytest.raises(
        ValueError, match=r"^head: expected one that predicts senses, got one of kind classify$"
    ):
        predict_senses(linear_task(), vectors, vectors, ["배", "눈"])
