from __future__ import annotations

import numpy as np
import pytest

from model.tasks import moments
from model.tasks.head import SenseHead
from model.tasks.sense_heads import SenseStatistics
from model.tasks.sense_words import Inventory
from model.tasks.watch import Watch
from tests.model.made_up_tasks import Floats, word_senses


def watch() -> Watch:
    return Watch(lambda share: None, lambda: False)


def words_in_one_layer() -> tuple[Floats, Inventory]:
    features, labels, words = word_senses(5, 6, 2, dim=8)
    labels[:12] = ["only"] * 12
    return features[:, 2].copy(), Inventory.of(words, labels)


def test_centroids_are_the_senses_means() -> None:
    vectors, inventory = words_in_one_layer()
    scorer = SenseStatistics(vectors, np.arange(60), inventory, watch()).centroid()
    targets = inventory.sense_N
    scored = scorer.score(vectors, inventory.word_N, inventory, targets)
    i = 30
    rows = inventory.rows_of(int(inventory.word_N[i]))
    means = [vectors[inventory.row_N == row].mean(axis=0) for row in range(rows.start, rows.stop)]
    cosines = [vectors[i] @ m / np.linalg.norm(vectors[i]) / np.linalg.norm(m) for m in means]
    np.testing.assert_allclose(scored.scores_NK[i], cosines, rtol=1e-5)


def test_linear_scores_are_fishers() -> None:
    vectors, inventory = words_in_one_layer()
    scorer = SenseStatistics(vectors, np.arange(60), inventory, watch()).linear(0.2)
    exact = vectors.astype(np.float64)
    means = np.stack([exact[inventory.row_N == row].mean(axis=0) for row in range(len(inventory.label_R))])
    about = exact - means[inventory.row_N]
    covariance = about.T @ about / (60 - len(means))
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 8 * np.eye(8)
    scored = scorer.score(vectors, inventory.word_N, inventory, inventory.sense_N)
    for i in (20, 45):
        rows = inventory.rows_of(int(inventory.word_N[i]))
        one, other = means[rows]
        distance = np.sqrt((one - other) @ np.linalg.solve(shrunk, one - other)) / 2
        expected = (one - other) @ np.linalg.solve(shrunk, exact[i] - (one + other) / 2) / distance
        assert scored.scores_NK[i, 0] - scored.scores_NK[i, 1] == pytest.approx(expected, rel=1e-4)


def test_a_word_with_one_sense_leaves_room_for_another() -> None:
    vectors, inventory = words_in_one_layer()
    word = inventory.words.index("word 0")
    scorer = SenseStatistics(vectors, np.arange(60), inventory, watch()).centroid()
    scored = scorer.score(vectors[:2], np.array([word, word]), inventory, np.array([0, -1]))
    np.testing.assert_allclose(scored.probabilities(0.01), [[13 / 14, 1 / 14]] * 2)


@pytest.mark.parametrize("method", ["centroid", "linear"])
def test_the_head_says_what_the_scorer_says(method: str) -> None:
    vectors, inventory = words_in_one_layer()
    statistics = SenseStatistics(vectors, np.arange(60), inventory, watch())
    scorer = statistics.centroid() if method == "centroid" else statistics.linear(0.5)
    head = scorer.head(inventory, 0.3, 0.5)
    assert isinstance(head, SenseHead)
    expected = scorer.score(vectors, inventory.word_N, inventory, inventory.sense_N).probabilities(0.3)
    predicted = head.predict(vectors, [inventory.words[word] for word in inventory.word_N])
    for i, prediction in enumerate(predicted):
        size = len(prediction.labels)
        np.testing.assert_allclose(prediction.probabilities, expected[i, :size], rtol=1e-4, atol=1e-7)
        assert prediction.labels[inventory.sense_N[i]] == inventory.label_R[inventory.row_N[i]]


def test_without_context_no_sense_is_preferred() -> None:
    features, labels, words = word_senses(4, 5, 2)
    inventory = Inventory.of(words, labels)
    scorer = SenseStatistics(features[:, 0], np.arange(40), inventory, watch()).linear(0.05)
    scores = scorer.score(features[:, 0], inventory.word_N, inventory, inventory.sense_N).scores_NK
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=1e-3)


def test_chunks_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, inventory = words_in_one_layer()
    whole = SenseStatistics(vectors, np.arange(60), inventory, watch()).linear(0.2)
    monkeypatch.setattr(moments, "CHUNK_ROWS", 7)
    chunked = SenseStatistics(vectors, np.arange(60), inventory, watch()).linear(0.2)
    np.testing.assert_allclose(chunked.weight_RD, whole.weight_RD, atol=1e-4)
