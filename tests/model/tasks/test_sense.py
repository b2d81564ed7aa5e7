from __future__ import annotations

import json

import numpy as np
import pytest

from model.scalar_mix import mix
from model.tasks.examples import Examples
from model.tasks.fit import Fitted, fit
from model.tasks.head import SenseHead
from model.tasks.report import LEARNED, LEARNED_WITH_TEXT, MAJORITY
from model.tasks.task import Task, predict_senses
from model.tasks.watch import Cancelled
from tests.model.made_up_tasks import CONTEXT_SCALE, GLOBAL_CONTEXT, SHA256, Floats, word_senses


def mixed_and_context(task: Task, features_NCD: Floats) -> tuple[Floats, Floats]:
    layers_LND = features_NCD[:, :GLOBAL_CONTEXT].transpose(1, 0, 2)
    return mix(layers_LND, task.weights, task.gamma), features_NCD[:, GLOBAL_CONTEXT]


def accuracy(fitted: Fitted, features_NCD: Floats, labels: list[str], words: list[str]) -> float:
    task = fitted.task("t", "enko", SHA256)
    found = predict_senses(task, *mixed_and_context(task, features_NCD), words)
    right = [
        p.known and task.labels[p.labels[int(p.probabilities.argmax())]] == label
        for p, label in zip(found, labels, strict=True)
    ]
    return float(np.mean(right))


def test_senses_are_told_apart_by_the_layer_that_knows_them() -> None:
    features, labels, words = word_senses(30, 10, 2, noise=1.5)
    train = [i for i in range(600) if i % 10 < 6]
    test = [i for i in range(600) if i % 10 >= 6]
    fitted = fit("sense", features[train], [labels[i] for i in train], [words[i] for i in train])
    report = fitted.report
    assert report.weights[2] * features[:, 2].std() > 4 * report.weights[1] * features[:, 1].std()
    assert report.row(LEARNED).accuracy > 0.8
    assert report.row("layer 0").accuracy < 0.6
    assert report.row("layer 0").log_loss == pytest.approx(np.log(2), abs=0.01)
    assert report.against_majority.told_apart
    assert accuracy(fitted, features[test], [labels[i] for i in test], [words[i] for i in test]) > 0.8


def test_senses_are_told_apart_by_what_the_text_is_about() -> None:
    features, labels, words = word_senses(30, 10, GLOBAL_CONTEXT, noise=1.5)
    train = [i for i in range(600) if i % 10 < 6]
    test = [i for i in range(600) if i % 10 >= 6]
    fitted = fit("sense", features[train], [labels[i] for i in train], [words[i] for i in train])
    report = fitted.report
    assert isinstance(fitted.head, SenseHead)
    assert fitted.head.global_context == report.global_context
    # Weights are of what stands there: one of a large scale needs a small one.
    assert report.global_context * CONTEXT_SCALE > 4 * report.weights[2]
    assert sum(report.weights) == pytest.approx(1.0)
    assert [row.name for row in report.rows[-3:]] == ["equal", "learned", "learned + text"]
    assert report.row(LEARNED_WITH_TEXT).accuracy > 0.8
    for name in ("layer 0", "layer 1", "layer 2", "equal", "learned"):
        assert report.row(name).accuracy < 0.6
    assert "the learned mix with the text is right in" in report.verdict
    assert "Without the text, right in " in report.verdict
    assert report.against_majority.told_apart
    assert report.against_layer.difference < 0.1, "the mix alone is compared, and knows nothing"
    held_out = [labels[i] for i in test], [words[i] for i in test]
    assert accuracy(fitted, features[test], *held_out) > 0.8
    blind = features[test].copy()
    blind[:, GLOBAL_CONTEXT] = 0
    assert accuracy(fitted, blind, *held_out) < 0.6


def test_a_text_that_tells_nothing_hardly_counts() -> None:
    report = fit("sense", *word_senses(30, 10, 2, noise=1.5)).report
    assert report.global_context * CONTEXT_SCALE < 0.2 * report.weights[2]


def test_one_word_and_forty_sentences() -> None:
    features, labels, words = word_senses(1, 20, 1)
    fitted = fit("sense", features, labels, words)
    assert (fitted.report.held_out, fitted.report.num_held_out) == ("folds", 40)
    assert fitted.report.row(LEARNED).accuracy > 0.9
    assert fitted.labels == ("sense 0.0", "sense 0.1")


def test_words_that_differ_only_in_what_is_noise_for_others() -> None:
    # Directions of large variance that no sense depends on: what all words together can learn.
    features, labels, words = word_senses(40, 8, 2, noise=0.6)
    generator = np.random.default_rng(9)
    common = generator.standard_normal((len(words), 3, 4)) @ generator.standard_normal((4, 24)) * 3
    features[:, 1:3] += (common[:, 1:] * np.array([0.5, 1.0])[:, None]).astype(np.float32)
    fitted = fit("sense", features, labels, words)
    assert fitted.report.method == "linear"
    assert fitted.report.regularisation in (0.05, 0.2, 0.5, 0.9)
    assert isinstance(fitted.head, SenseHead)
    assert fitted.head.method == "linear"
    assert fitted.report.row(LEARNED).accuracy > 0.9


def test_one_sense_words_and_single_examples() -> None:
    features, labels, words = word_senses(6, 6, 2)
    words[0:12] = ["눈"] * 12
    labels[0:12] = ["snow"] * 12
    labels[12] = "once"
    fitted = fit("sense", features, labels, words)
    assert isinstance(fitted.head, SenseHead)
    assert fitted.report.never_held_out == ("once",)
    assert fitted.report.label_counts["once"] == 1
    task = fitted.task("t", "enko", SHA256)
    twice = np.repeat(features[:1], 2, axis=0)
    snow, unknown = predict_senses(task, *mixed_and_context(task, twice), ["눈", "말"])
    assert [task.labels[label] for label in snow.labels] == ["snow"]
    assert snow.probabilities.tolist() == [13 / 14]
    assert not unknown.known


def test_senses_without_a_difference_are_called_so() -> None:
    # One set in twenty may be called otherwise, by chance.
    reports = [fit("sense", *word_senses(6, 10, None, seed=seed)).report for seed in range(12)]
    alike = [report for report in reports if not report.against_majority.told_apart]
    assert len(alike) >= 10
    for report in alike:
        assert report.verdict.startswith("Your labels cannot be told apart from chance.")
        assert "each word's most frequent sense" in report.verdict


def test_each_row_has_the_head_that_suits_it() -> None:
    # The text tells all by its direction alone, layer 2 under noise that only "linear" sees through.
    features, labels, words = word_senses(40, 8, 2, noise=0.6)
    generator = np.random.default_rng(9)
    common = generator.standard_normal((len(words), 4)) @ generator.standard_normal((4, 24)) * 3
    features[:, 2] += common.astype(np.float32)
    alone = fit("sense", features[:, [2, GLOBAL_CONTEXT]], labels, words).report
    assert alone.method == "linear"
    clean, _, _ = word_senses(40, 8, GLOBAL_CONTEXT, noise=0.1)
    lengths = np.exp(1.5 * generator.standard_normal((len(words), 1))).astype(np.float32)
    features[:, GLOBAL_CONTEXT] = clean[:, GLOBAL_CONTEXT] * lengths
    report = fit("sense", features, labels, words).report
    assert report.method == "centroid"
    assert report.row(LEARNED_WITH_TEXT).accuracy > 0.95
    assert report.row("layer 2").accuracy == alone.row("layer 0").accuracy > 0.9


def test_the_mix_that_is_served_is_learned_without_the_text() -> None:
    features, labels, words = word_senses(30, 10, 2, noise=1.5)
    without = fit("sense", features, labels, words)
    telling, _, _ = word_senses(30, 10, GLOBAL_CONTEXT, noise=0.1)
    features[:, GLOBAL_CONTEXT] = telling[:, GLOBAL_CONTEXT]
    with_text = fit("sense", features, labels, words)
    np.testing.assert_allclose(with_text.scalars, without.scalars, atol=1e-9)
    assert with_text.report.row(LEARNED) == without.report.row(LEARNED)
    assert with_text.report.row(LEARNED_WITH_TEXT).accuracy > without.report.row(LEARNED_WITH_TEXT).accuracy
    assert with_text.report.global_context > 4 * without.report.global_context


def test_the_most_frequent_sense_is_each_words_own() -> None:
    features, labels, words = word_senses(10, 10, 2)
    kept = [i for i in range(200) if i % 20 < 10 or i % 20 >= 16]
    report = fit("sense", features[kept], [labels[i] for i in kept], [words[i] for i in kept]).report
    assert report.row(MAJORITY).accuracy == pytest.approx(10 / 14, abs=0.01)
    assert report.row(MAJORITY).macro_recall == 0.5


def test_the_same_examples_give_the_same_task_to_the_last_bit() -> None:
    features, labels, words = word_senses(8, 6, 1)
    first, second = (
        json.dumps(fit("sense", features, labels, words).task("t", "enko", SHA256).to_document())
        for _ in range(2)
    )
    assert first == second


def test_the_callers_own_dev() -> None:
    features, labels, words = word_senses(10, 6, 2)
    dev = Examples(
        features[::5].copy(), [*labels[:60:5], *["new sense"] * 12], [*words[:115:5], "unknown word"]
    )
    fitted = fit("sense", features, labels, words, dev=dev)
    assert (fitted.report.held_out, fitted.report.num_held_out) == ("dev", 23)
    assert fitted.report.num_unjudged == 1
    assert fitted.report.row(LEARNED).accuracy == pytest.approx(12 / 23, abs=0.05)
    strangers = Examples(features[:3], labels[:3], ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"^dev words: expected some of the 10 to learn, got none$"):
        fit("sense", features, labels, words, dev=strangers)


def test_progress_and_cancelling() -> None:
    features, labels, words = word_senses(5, 6, 2)
    seen: list[float] = []
    fit("sense", features, labels, words, progress=seen.append)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    with pytest.raises(Cancelled):
        fit("sense", features, labels, words, cancelled=lambda: len(seen) > 0)


def test_what_cannot_be_learned_from() -> None:
    features, labels, words = word_senses(4, 5, 2)
    with pytest.raises(ValueError, match=r"^examples words: expected 40, one for each example, got none$"):
        fit("sense", features, labels)
    with pytest.raises(ValueError, match=r"^examples words: expected 40, one for each example, got 39$"):
        fit("sense", features, labels, words[:39])
    with pytest.raises(
        ValueError, match=r"^senses: expected a word with at least 2, .*, got none among 4 words$"
    ):
        fit("sense", features, ["one"] * 40, words)
    with pytest.raises(ValueError, match=r"^senses: expected a word with at least 2, .* among 40 words$"):
        fit("sense", features, labels, [f"w{i}" for i in range(40)])
